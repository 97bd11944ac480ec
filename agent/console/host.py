"""`visavis live --web`: one session after another in one program, while pages stay connected.

A session ends when somebody wants the next one recorded (or no longer), or when the program ends. Each has its own
clock, its own bus and, if it is recorded, a file of its own that is complete when the session has ended.
"""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec.structs import astuple

from agent import assembly
from agent.config import Config
from agent.console.protocol import BINARY_LIMIT, Notice, RecordingsChanged
from agent.console.settings import ConsoleConfig
from agent.session import Session, first_error
from streams.clock import Clock, wall_now
from streams.errors import DependencyMissing, RecordingError, VisavisError
from streams.ports import Source, Tap
from streams.recording import Recorder
from streams.worker import Worker

try:
    from agent.console.app import Beside, application
    from agent.console.recordings import Shelf, empty
    from agent.console.room import Room
    from agent.console.security import Budget, Gate, is_loopback, new_token
    from agent.console.server import Tls, hurried, listen, serving
    from agent.console.tap import RoomTap
    from agent.console.viewers import MakePeer
except ModuleNotFoundError as error:
    if error.name not in ("starlette", "uvicorn", "websockets", "anyio"):
        raise
    raise DependencyMissing(str(error.name), "web", "the console in the browser") from error

GRACE_S = 2.0
"""What is being said when a session ends for the next one may take so long."""
PULSE_S = 5.0
REQUESTS_PER_S = 100.0
"""That those who know the token may make, anybody may make of the page's files, and are refused in words: each."""
NEVER_TOLD_S = 1.0

MakeSession: TypeAlias = Callable[[Config, Sequence[Source], Sequence[Tap], datetime, assembly.MakeSpeaker], Session]
"""Makes a session of its configuration (with the behaviour as it is by then), sources, taps, wall time of its
beginning, and what makes its speaker. Called in a thread."""


class Extra(Protocol):
    """More taps for each session, and who is told when it has ended."""

    def taps(self) -> Sequence[Tap]:
        """For the session that is about to begin."""

    def ended(self, session: Session) -> None:
        """It has come to its end."""


class Host:
    """The program. Has `main` and `stop` as a `Session` has, so that it is run and interrupted like one.

    config: of the agent;  settings: of the console (default: `config.console`)
    host, port: where it listens (port 0: any free one)
    token: what pages must know (None: a new one);  tls: certificate and key, for https
    recordings: the folder they are in, made when the first is written;  record: whether the first session is recorded
    announce: told the address, and what people should know of it
    mounts: other ASGI applications by their path, behind the same token and limits
    mount_limit: bytes of the longest message of a WebSocket that one of them takes, if more than the console does
    extra: more taps;  assignments: of the command line, for the headers of recordings
    make: makes a session (default: that of `config`);  page: folder of the page's files (default: ours)
    address: where it is reached, once it is;  token: what must be known
    """

    def __init__(
        self,
        config: Config,
        *,
        recordings: Path,
        settings: ConsoleConfig | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        tls: Tls | None = None,
        record: bool = False,
        announce: Callable[[str], None] = lambda line: None,
        mounts: Mapping[str, Any] | None = None,
        mount_limit: int = 0,
        extra: Extra | None = None,
        assignments: Sequence[str] = (),
        make: MakeSession | None = None,
        page: Path | None = None,
    ) -> None:
        self.config, self.settings = config, settings or config.console
        self.token = token or new_token()
        self.address = ""
        self.sessions = 0
        price = config.llm.price if any(astuple(config.llm.price)) else None
        peers = _peers(self.settings, host)
        self.room = Room(self.settings, config.language, self._wanted, config.manner, price, peers)
        self._host, self._port, self._tls, self._page = host, port, tls, page
        self._folder, self._recording = recordings, record
        self._announce, self._mounts, self._extra = announce, mounts or {}, extra
        self._max_size = max(BINARY_LIMIT, mount_limit)
        self._assignments = list(assignments)
        self._make = make or self._assembled
        self._session: Session | None = None
        self._file: Path | None = None
        self._recorder: Recorder | None = None
        self._ending = False
        self._grace: float | None = None

    def stop(self, grace_s: float | None = None) -> None:
        """End the session that runs, as `Session.stop` does, and then the program."""
        self._ending, self._grace = True, grace_s
        if self._session is not None:
            self._session.stop(grace_s)

    async def main(self) -> None:
        """Serve until `stop`. Raises `VisavisError` where it cannot begin, and what ends a session."""
        clock = Clock()
        sock = listen(self._host, self._port)
        # Made when the first recording is opened: a program that is killed mostly leaves nothing behind.
        cache = Path(tempfile.gettempdir(), f"visavis-console-{secrets.token_hex(8)}")
        shelf = Shelf(self._folder, cache, clock, self.settings.upload_mb * 1_000_000)
        shelf.writing = self._writing
        options = {} if self._page is None else {"page": self._page}
        app = application(self.room, shelf, clock, changed=self._changed, **options)
        gate = Gate(
            Beside(app, self._mounts), self.token, self._host, names=self.settings.hosts, origins=self.settings.origins,
            budget=Budget(clock, REQUESTS_PER_S, 2.0), files=Budget(clock, REQUESTS_PER_S, 2.0),
            refusals=Budget(clock, REQUESTS_PER_S, 2.0),
        )  # fmt: skip
        try:
            async with serving(gate, sock, self._tls, max_size=self._max_size):
                self._tell_address(sock.getsockname())
                try:
                    async with asyncio.TaskGroup() as group:
                        pulse = group.create_task(self._pulse(), name="console pulse")
                        while not self._ending:
                            await self._hold(clock)
                        pulse.cancel()
                except BaseExceptionGroup as group_error:
                    error = first_error(group_error)
                    self.room.broadcast(Notice(f"The agent has ended with an error: {error}"))
                    raise error from group_error
                finally:
                    await self._part()
        except BaseExceptionGroup as group_error:
            raise first_error(group_error) from group_error
        finally:
            sock.close()
            empty(cache)

    # --- sessions

    async def _hold(self, clock: Clock) -> None:
        """One session, from its making to its end. One that cannot be recorded is held without that."""
        recorded = self._recording
        try:
            session = await self._made(clock, recorded)
        except VisavisError as error:
            if not recorded or not self.sessions:
                raise
            self._recording = False
            self._tell(f"The session cannot be recorded: {error} It goes on without recording.")
            return
        self._session = session
        try:
            if self._ending or self._recording != recorded:  # it was changed while this was made
                session.stop(0)
            await session.main()
        finally:
            self._session = None
            self._close(session)
            self._end_recording()  # it has ended, unless the session was cancelled before it began
            self._file = None
            if recorded:
                self._changed()
            if self._extra is not None:
                self._extra.ended(session)

    async def _made(self, clock: Clock, recorded: bool) -> Session:
        """Whoever is cancelled here leaves nothing behind: what the thread has begun by then is ended there."""
        worker = Worker(clock, "console")
        made: list[Session] = []
        try:
            return await worker.begin(self._prepared, made, recorded)
        except asyncio.CancelledError:
            worker.begin(self._drop, made)
            raise
        finally:
            worker.abandon()

    def _prepared(self, made: list[Session], recorded: bool) -> Session:
        """In a thread: models are loaded, a voice is started, a file is made. It is put into `made`."""
        started = wall_now()
        config = self._adjusted()
        taps: list[Tap] = [RoomTap(self.room, self._began)]
        if self._extra is not None:
            taps += self._extra.taps()
        try:
            if recorded:
                taps.append(self._begin_recording(config, started))
            room = self.room
            sources: list[Source] = [room.microphone, room.camera, room.behaviour, room.hands]
            session = self._make(config, sources, taps, started, room.make_speaker)
        except BaseException:
            self._drop([])
            raise
        made.append(session)
        return session

    def _adjusted(self) -> Config:
        """The configuration of the next session: it begins with what was changed of the behaviour in those before."""
        return msgspec.structs.replace(self.config, manner=self.room.behaviour.handed())

    def _begin_recording(self, config: Config, started: datetime) -> Recorder:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = _free(self._folder, started)
        except OSError as error:
            reason = error.strerror or error
            raise RecordingError(f"there can be no recordings in the folder {self._folder}: {reason}.") from error
        changed = config.manner != self.config.manner
        given = [each for each in self._assignments if not (changed and each.strip().startswith("manner."))]
        self._recorder = Recorder(path, assembly.header(config, started, given))
        self._file = path
        return self._recorder

    def _drop(self, made: list[Session]) -> None:
        """In the thread: end what was prepared for a session that will never run. Nothing was recorded of it."""
        for session in made:
            self._close(session)
        self._end_recording()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None

    def _close(self, session: Session) -> None:
        close = getattr(session.body, "close", None)
        if close is not None:
            close()

    def _end_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with contextlib.suppress(OSError):  # what is on the disk by then can be read
                recorder.close()

    def _assembled(
        self,
        config: Config,
        sources: Sequence[Source],
        taps: Sequence[Tap],
        started: datetime,
        speaker: assembly.MakeSpeaker,
    ) -> Session:
        body = assembly.AgentBody(config, speaker=speaker)
        try:
            body.begin()
            return assembly.assemble(config, sources, taps=taps, started=started, body=body)
        except BaseException:
            body.close()
            raise

    def _began(self, clock: Clock) -> None:
        self.sessions += 1
        self.room.begin(self.sessions, clock, None if self._file is None else self._file.name)
        if self._file is not None:
            self._changed()

    def _wanted(self, record: bool) -> None:
        """Somebody wants the next session recorded, or not: it begins."""
        if record != self._recording and not self._ending:
            self._recording = record
            if self._session is not None:
                self._session.stop(GRACE_S)

    # --- pages

    def _tell(self, line: str) -> None:
        self._announce(f"warning: {line}")
        self.room.broadcast(Notice(line))
        self.room.tell()

    def _changed(self) -> None:
        self.room.broadcast(RecordingsChanged())

    def _writing(self) -> tuple[str, float] | None:
        return None if self._file is None else (self._file.name, self.room.facts.now)

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self.room.tell()

    async def _part(self) -> None:
        """Let every page go, and wait for that, but not long."""
        if hurried():
            return
        for _ in range(round(NEVER_TOLD_S / 0.04)):
            if not any(viewer.outbox.age for viewer in self.room.viewers.values()):
                break
            await asyncio.sleep(0.02)
        for viewer in list(self.room.viewers.values()):
            viewer.end("the agent has ended")
        for _ in range(round(2 * NEVER_TOLD_S / 0.02)):
            if not self.room.viewers:
                return
            await asyncio.sleep(0.02)

    def _tell_address(self, name: tuple[Any, ...]) -> None:
        scheme = "https" if self._tls else "http"
        host = f"[{self._host.strip('[]')}]" if ":" in self._host else self._host
        shown = "127.0.0.1" if self._host in ("", "0.0.0.0") else "[::1]" if self._host == "::" else host
        self.address = f"{scheme}://{shown}:{name[1]}/?token={self.token}"
        self._announce(self.address)
        if not is_loopback(self._host):
            self._announce(
                f"warning: everybody who reaches this machine on port {name[1]} and knows the token can listen."
            )
            if not self._tls:
                self._announce(
                    "warning: without TLS the token and every word can be read on the way, and browsers give no"
                )
                self._announce("microphone to pages of other machines: use --tls-cert and --tls-key.")


async def serve(config: Config, *, recordings: Path, **options: Any) -> None:
    """A `Host` with these options, until cancelled."""
    await Host(config, recordings=recordings, **options).main()


def _peers(settings: ConsoleConfig, host: str) -> MakePeer | None:
    """What makes peer connections, None where sound does not go by them. Raises `DependencyMissing`."""
    if settings.transport == "websocket" or (settings.transport == "auto" and is_loopback(host)):
        return None
    try:
        from agent.console.peer import Peer  # noqa: PLC0415 - a second, and not everybody has it
    except DependencyMissing:
        if settings.transport == "webrtc":
            raise
        return None
    return partial(Peer, settings.ice_servers)


def _free(folder: Path, started: datetime) -> Path:
    """A name made of the wall time that nothing has yet."""
    stem = started.strftime("%Y-%m-%dT%H-%M-%S")
    path, number = folder / f"{stem}.mcap", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.mcap"
    return path
