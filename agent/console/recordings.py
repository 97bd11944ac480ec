"""The recordings of a folder, for pages: listed, taken in, and read in threads, so that no session is held up."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from msgspec import Struct

from agent.console.summary import encoded
from streams import clock as clocks
from streams.bus import Bus
from streams.clock import SECOND, Clock
from streams.devices.wav import WavTap
from streams.errors import RecordingError, VisavisError
from streams.recording import Recording
from streams.recording.reader import header_of
from streams.topics import ACTION, AUDIO, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import Audio, Fault
from streams.worker import Worker

T = TypeVar("T")

SOUND_RATE = 16_000
DAY = 24 * 3600 * SECOND
"""No sound is made of a recording that is longer: what has one packet at a time far away is nearly all silence."""
STEP = 10 * SECOND
HIGHEST = 192_000
KEPT = 8
"""So many sounds, and so many tracks of pictures, are kept made."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._\-]{0,120}\.mcap")
_SHOWN = (VOICE, PERCEPT, TURN, ACTION, FEEDBACK)
_LINES = 200


class NoSuchRecording(VisavisError):
    """There is none of that name, or it cannot be one."""


class UploadRefused(VisavisError):
    """What was sent is too large, or no recording."""


class Entry(Struct, frozen=True):
    """A line of the list. started: wall time;  open: it is being written;  torn: it has no proper end"""

    name: str
    bytes: int
    duration_s: float
    started: str
    open: bool
    torn: bool = False


class Shot(NamedTuple):
    """A picture, where it lies in a file made of all of them."""

    t: int
    begin: int
    size: int
    kind: str


class Shelf:
    """Recordings in `folder`; what is made of them is kept in `cache`, made when it is needed; the owner removes it.

    clock: of the server;  limit: bytes of an upload. Reading raises `VisavisError`.
    writing: name of the file that is being recorded, and how long (s) it is by now
    """

    def __init__(self, folder: Path, cache: Path, clock: Clock, limit: int) -> None:
        self.folder, self._cache, self._clock, self._limit = folder, cache, clock, limit
        self.writing: Callable[[], tuple[str, float] | None] = lambda: None
        self._known: dict[tuple[str, int, int], Entry | None] = {}
        self._shots: dict[str, list[Shot]] = {}
        self._making = asyncio.Lock()
        self._uploads = 0

    def path(self, name: str) -> Path:
        """The file of that name. Raises `NoSuchRecording`; no name leads out of the folder."""
        path = self.folder / name
        if not _NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise NoSuchRecording(f"there is no recording {name[:130]!r}.")
        return path

    async def entries(self) -> list[Entry]:
        """All of them, the newest first. Files that are no recordings are passed over."""
        return await self._aside(self._list)

    async def events(self, name: str) -> AsyncIterator[bytes]:
        """Lines of JSON of all that happened in it (`agent.console.summary`), in pieces.

        A torn file ends where it can be read no further.
        """
        path = self.path(name)
        worker = Worker(self._clock, "recording")
        try:
            left = await worker.begin(_lines, path)
            while piece := await worker.begin(_piece, left):
                yield piece
        finally:
            worker.abandon()

    async def sound(self, name: str) -> Path:
        """A WAV file: person left, agent right, on the time base of the session."""
        path = self.path(name)
        return await self._made(f"{self._stamp(path)}.wav", lambda made: _make_sound(path, made))

    async def image(self, name: str, t: float) -> tuple[bytes, str] | None:
        """The newest picture at `t` s or before it, and its format; None if there is none."""
        path = self.path(name)
        stamp = self._stamp(path)
        made = await self._made(f"{stamp}.pictures", lambda target: self._keep_shots(stamp, _make_shots(path, target)))
        shots = self._shots[stamp]
        at = round(t * SECOND)
        before = [shot for shot in shots if shot.t <= at]
        return None if not before else await self._aside(_cut_out, made, before[-1])

    async def store(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Take in an upload; returns the name it got, which is another if there is one of that name.

        Makes the folder. Raises `UploadRefused`, and `RecordingError` for what is no recording or cannot be written;
        nothing is left of it then.
        """
        if not _NAME.fullmatch(name):
            raise UploadRefused(f"a recording may not be called {name[:130]!r}: name it like 'visit.mcap'.")
        self._uploads += 1
        part = self.folder / f".upload-{os.getpid()}-{self._uploads}"
        worker = Worker(self._clock, "upload")
        try:
            await worker.begin(_make, part)
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > self._limit:
                    raise UploadRefused(f"{name} is too large: {self._limit // 1_000_000} MB at most.")
                await worker.begin(_append, part, chunk)
            await worker.begin(Recording.open, part)
            return await worker.begin(self._settle, part, name)
        except OSError as error:
            reason = error.strerror or error
            raise RecordingError(f"{name} cannot be written in the folder {self.folder}: {reason}.") from error
        finally:
            worker.begin(_remove, part)
            worker.abandon()

    # --- in threads

    async def _aside(self, function: Callable[..., T], *args: object) -> T:
        worker = Worker(self._clock, "recordings")
        try:
            return await worker.begin(function, *args)
        finally:
            worker.abandon()

    async def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The file `name` of the cache, made if it is not there: one at a time."""
        target = self._cache / name
        async with self._making:
            if not target.exists():
                if not self._cache.exists():
                    self._cache.mkdir(mode=0o700)
                part = target.with_suffix(".part")
                await self._aside(_whole, make, part)
                part.rename(target)
                self._tidy()
        return target

    def _tidy(self) -> None:
        made = sorted(self._cache.iterdir(), key=lambda each: each.stat().st_mtime_ns, reverse=True)
        for old in made[KEPT:]:
            old.unlink(missing_ok=True)
            if old.suffix == ".pictures":
                self._shots.pop(old.stem, None)

    def _keep_shots(self, stamp: str, shots: list[Shot]) -> None:
        self._shots[stamp] = shots

    def _stamp(self, path: Path) -> str:
        stat = path.stat()
        return f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}"

    def _list(self) -> list[Entry]:
        writing = self.writing()
        found: list[Entry] = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                entry = self._entry(path, writing)
                found += [entry] if entry is not None else []
        return sorted(found, key=lambda entry: (entry.started, entry.name), reverse=True)

    def _entry(self, path: Path, writing: tuple[str, float] | None) -> Entry | None:
        stat = path.stat()
        key = (path.name, stat.st_size, stat.st_mtime_ns)
        try:
            if writing is not None and path.name == writing[0]:
                return Entry(path.name, stat.st_size, writing[1], _wall(header_of(path)), True)
            if key not in self._known:
                recording = Recording.open(path)
                torn = bool(recording.torn)
                self._known[key] = Entry(
                    path.name, stat.st_size, recording.duration / SECOND, _wall(recording.header), False, torn
                )  # fmt: skip
        except RecordingError:
            self._known[key] = None
        return self._known.get(key)

    def _settle(self, part: Path, name: str) -> str:
        for number in range(1, 10_000):
            chosen = name if number == 1 else f"{name.removesuffix('.mcap')}-{number}.mcap"
            try:
                os.link(part, self.folder / chosen)  # fails where a rename would replace
                return chosen
            except FileExistsError:
                continue
        raise UploadRefused(f"there are too many recordings called {name}.")


def _wall(header: object) -> str:
    started = header.started.astimezone(UTC)  # type: ignore[attr-defined]
    return str(started.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def _append(path: Path, chunk: bytes) -> None:
    with path.open("ab") as file:
        file.write(chunk)


def _whole(make: Callable[[Path], None], part: Path) -> None:
    try:
        make(part)
    except BaseException:
        _remove(part)
        raise


def _remove(path: Path) -> None:
    with suppress(NotADirectoryError):  # the folder has become a file meanwhile
        path.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[bytes]:
    return (encoded(packet) for packet in Recording.open(path).packets(_SHOWN))


def _piece(left: Iterator[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in islice(left, _LINES))


def _make_sound(path: Path, target: Path) -> None:
    """The same sound that `--both-out` writes while a session runs."""
    tap = WavTap(target, "both", SOUND_RATE)
    faults: list[Fault] = []

    async def play() -> None:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(*tap.reads, reader=tap.name) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(tap.run(lane, clock, faults.append))
                await clock.settle()  # it closes its file, once it has begun
                for number, (topic, t, audio) in enumerate(_heard(path)):
                    bus.publish(topic, t, audio)
                    if number % 100 == 0:
                        await clock.settle()
                    if faults:
                        break
                bus.close(AUDIO, PLAYBACK)

    try:
        clocks.run(play(), virtual=True)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    if faults:
        raise RecordingError(f"the sound of {path.name} cannot be made: {faults[0].message}")


def _heard(path: Path) -> Iterator[tuple[Topic[Audio], int, Audio]]:
    """Its sound: topic, session time and block. What is long silent gets a sample of silence now and then, so that it
    is written as it comes and does not lie in memory. Raises `RecordingError` for what no session can have heard."""
    reached, rate = 0, SOUND_RATE
    for packet in Recording.open(path).packets((AUDIO, PLAYBACK)):
        t, audio = packet.t, packet.data
        if t > DAY:
            until = f"{t / 3600 / SECOND:.1f} hours"
            raise RecordingError(f"the sound of {path.name} cannot be made: it is {until} long, and a day is the most.")
        if not 0 < audio.rate <= HIGHEST:
            raise RecordingError(f"the sound of {path.name} cannot be made: {audio.rate} Hz is no rate of sound.")
        while t - reached > 2 * STEP:
            reached += STEP
            yield AUDIO, reached, Audio(np.zeros(1, np.int16), rate, -1)
        reached = max(reached, t)
        rate = audio.rate if packet.topic is AUDIO else rate
        yield packet.topic, t, audio


def _make_shots(path: Path, target: Path) -> list[Shot]:
    shots: list[Shot] = []
    with target.open("wb") as file:
        for packet in Recording.open(path).packets([IMAGE]):
            shots.append(Shot(packet.t, file.tell(), len(packet.data.data), packet.data.format))
            file.write(packet.data.data)
    return sorted(shots)


def _cut_out(path: Path, shot: Shot) -> tuple[bytes, str]:
    with path.open("rb") as file:
        file.seek(shot.begin)
        return file.read(shot.size), shot.kind


def empty(folder: Path) -> None:
    """Remove what was made."""
    shutil.rmtree(folder, ignore_errors=True)
