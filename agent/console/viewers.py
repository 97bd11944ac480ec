"""One connected page: what waits to be sent to it, and what it may send."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect

from agent.console import protocol
from agent.console.in_order import InOrder
from agent.console.security import Budget
from agent.console.voice_line import Channel, VoiceLine
from streams.clock import SECOND, Clock
from streams.devices.far_clock import FarClock
from streams.errors import VisavisError
from streams.types import Samples

WAITING_BYTES = 4_000_000
WAITING_NS = 5 * SECOND
MESSAGES_PER_S = 200.0
OVER_S = 5.0
CLOSE_S = 1.0
ADJUSTMENTS_PER_S, ADJUSTMENTS_OVER_S = 3.0, 10.0
STEERED_PER_S, STEERED_OVER_S = 30.0, 1.0
DATAGRAMS_PER_S = 300.0
OFFERS_PER_S, OFFERS_OVER_S = 0.5, 10.0
POLICY_VIOLATION, GOING_AWAY, TRY_LATER, TOO_BIG = 1008, 1001, 1013, 1009


class Outbox:
    """Frames that wait to be sent to one page, in order, and of pictures the newest only.

    `put` never waits. overflow: set when more than 4 MB wait; `age` says how long the oldest has waited
    """

    def __init__(self, clock: Clock) -> None:
        self.overflow = asyncio.Event()
        self._clock = clock
        self._frames: deque[tuple[int, str | bytes]] = deque()
        self._bytes = 0
        self._picture: bytes | None = None
        self._sending: int | None = None  # since when
        self._wake = asyncio.Event()

    def put(self, frame: str | bytes) -> None:
        """Queue a frame."""
        if not self.overflow.is_set():
            self._frames.append((self._clock.now(), frame))
            self._bytes += len(frame)
            if self._bytes > WAITING_BYTES:
                self.overflow.set()
                self._frames.clear()
            self._wake.set()

    def show(self, picture: bytes) -> None:
        """Put a picture in the place of one that has not been sent."""
        self._picture = picture
        self._wake.set()

    @property
    def age(self) -> int:
        """How long (ns) the oldest frame has waited, the one being sent included."""
        since = self._sending if self._sending is not None else self._frames[0][0] if self._frames else None
        return 0 if since is None else self._clock.now() - since

    async def get(self) -> str | bytes:
        """The next frame."""
        self._sending = None
        while not self._frames and self._picture is None:
            self._wake.clear()
            await self._wake.wait()
        if self._frames:
            since, frame = self._frames.popleft()
            self._bytes -= len(frame)
        else:
            assert self._picture is not None
            since, frame, self._picture = self._clock.now(), self._picture, None
        self._sending = since
        return frame


class Listening(Protocol):
    """Who is told what a page sends: a `Room`."""

    def heard_text(self, viewer: "Viewer", message: protocol.FromPage) -> None:
        """A text frame. Raises `ProtocolError`."""

    def heard_block(self, viewer: "Viewer", block: protocol.Block) -> None:
        """A binary frame. Raises `VisavisError`."""


class Meeting(Channel, Protocol):
    """A peer connection: `agent.console.peer.Peer`."""

    async def answer(self, sdp: str) -> str:
        """The answer to an offer. Raises `ProtocolError`."""

    async def close(self) -> None:
        """End it, within a moment."""


MakePeer: TypeAlias = Callable[[Callable[[bytes], None], Callable[[], None]], Meeting]
"""Makes a peer connection: of who hears what the page sends, and who is told when more can be sent."""


class Viewer:
    """A page and its WebSocket. number: by which people are told apart;  clock: of the server

    adjustments: how often it may change the agent's behaviour, each of which is recorded;  steering: a robot's speed
    peers: what makes peer connections for its sound (None: it may have none)
    voice: what the agent says, on its way there;  order: of its microphone's blocks, once they may come out of it
    """

    def __init__(self, number: int, socket: WebSocket, clock: Clock, peers: MakePeer | None = None) -> None:
        self.number = number
        self.outbox = Outbox(clock)
        self.voice = VoiceLine(self.outbox.put, self.send, clock, ordered=peers is not None)
        self.order: InOrder[protocol.Block] | None = None
        self._peers = peers
        self._offer = ""  # the newest; "": none
        self._offered = asyncio.Event()
        self._offering = Budget(clock, OFFERS_PER_S, OFFERS_OVER_S)
        self._datagrams = Budget(clock, DATAGRAMS_PER_S, OVER_S)
        self.reason = ""  # why we closed it
        self._socket = socket
        self._budget = Budget(clock, MESSAGES_PER_S, OVER_S)
        self.adjustments = Budget(clock, ADJUSTMENTS_PER_S, ADJUSTMENTS_OVER_S)
        self.steering = Budget(clock, STEERED_PER_S, STEERED_OVER_S)
        self._clock, self._far = clock, FarClock()
        self._wrong = Budget(clock, 5.0, 5.0)  # errors told
        self._ending = asyncio.Event()
        self._code = GOING_AWAY

    def send(self, message: protocol.ToPage) -> None:
        """Queue a message."""
        self.outbox.put(protocol.text(message))

    def lateness(self, time_ms: float) -> int:
        """How long (ns) what it sent at `time_ms` of its own clock was under way, beyond the fastest; 0: not told."""
        now = self._clock.now()
        return now - self._far.map(round(time_ms * 1e6), now) if time_ms else 0

    def offer(self, sdp: str) -> None:
        """It offers a peer connection, which takes the place of the one it has; with "" it gives that up.

        Raises `ProtocolError`.
        """
        if self._peers is None:
            raise protocol.ProtocolError("sound goes over the WebSocket only here: console.transport says so.")
        if sdp and not self._offering.spend():
            raise protocol.ProtocolError("connections are offered too often.")
        self._offer = sdp
        self._offered.set()

    def part(self) -> None:
        """Its microphone is not used any more, and so no peer connection."""
        self.order = None
        self._offer = ""
        self._offered.set()

    def end(self, reason: str, code: int = GOING_AWAY) -> None:
        """Close the connection, soon."""
        if not self._ending.is_set():
            self.reason, self._code = reason, code
            self._ending.set()

    async def attend(self, room: Listening) -> None:
        """Read and write until the page or we close; then the connection is closed, whatever the page does."""
        async with asyncio.TaskGroup() as group:
            works = [self._read(room), self._write(), self._watch(), self._ending.wait()]
            if self._peers is not None:
                works.append(self._meet(room, self._peers))
            tasks = [group.create_task(work) for work in works]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        await self._close()

    async def _read(self, room: Listening) -> None:
        while True:
            try:
                message = await self._socket.receive()
            except (WebSocketDisconnect, RuntimeError):
                return
            if message["type"] == "websocket.disconnect":
                return
            if not self._budget.spend():
                self.end(f"more than {MESSAGES_PER_S:g} messages a second", POLICY_VIOLATION)
                return
            text, data = message.get("text"), message.get("bytes")
            if len(text or data or b"") > protocol.BINARY_LIMIT:  # what is mounted beside us may take longer ones
                self.end(f"a message is longer than {protocol.BINARY_LIMIT} bytes", TOO_BIG)
                return
            self._take(room, text, data)

    def _take(self, room: Listening, text: str | None, data: bytes | None) -> None:
        try:
            if text is not None:
                room.heard_text(self, protocol.read_text(text))
            elif data is not None:
                room.heard_block(self, protocol.read_binary(data))
        except VisavisError as error:
            if self._wrong.spend():
                self.send(protocol.Error(str(error)))

    async def _meet(self, room: Listening, make: MakePeer) -> None:
        """Answer offers. Where that fails, or the connection does, sound goes over the WebSocket."""
        peer: Meeting | None = None
        try:
            while True:
                await self._offered.wait()
                self._offered.clear()
                sdp = self._offer
                self.voice.channel = None
                self.voice.pump()
                if peer is not None:
                    await peer.close()
                    peer = None
                if not sdp:
                    continue
                self.order = self.order or InOrder()
                peer = make(lambda data: self._take_datagram(room, data), self.voice.pump)
                try:
                    self.send(protocol.Answer(await peer.answer(sdp)))
                    self.voice.channel = peer
                except protocol.ProtocolError as error:
                    self.send(protocol.Error(str(error)))
        finally:
            self.voice.close()
            if peer is not None:
                await peer.close()

    def _take_datagram(self, room: Listening, data: bytes) -> None:
        """Sound that came by the channel. What comes when it is not wanted is late, which is nobody's fault."""
        if not self._datagrams.spend():
            return
        try:
            block = protocol.read_binary(data)
            if block.kind == protocol.SOUND:
                room.heard_block(self, block)
        except VisavisError:
            pass

    async def _write(self) -> None:
        try:
            while True:
                frame = await self.outbox.get()
                if isinstance(frame, str):
                    await self._socket.send_text(frame)
                else:
                    await self._socket.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError):
            return

    async def _watch(self) -> None:
        """A page that does not read is dropped, not waited for."""
        while self.outbox.age < WAITING_NS and not self.outbox.overflow.is_set():
            try:
                async with asyncio.timeout(0.25):
                    await self.outbox.overflow.wait()
            except TimeoutError:
                pass
        self.end("it does not read what it is sent", POLICY_VIOLATION)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(self._code, self.reason[:100])
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # it has closed already, or does not even read that
        if self.outbox.age >= WAITING_NS or self.outbox.overflow.is_set():
            abort = self._socket.scope.get("extensions", {}).get("visavis.abort")
            if abort is not None:
                abort()


class PagePlayer:
    """`streams.devices.remote_speaker.Player` in a page. first: index there of the session's sample 0"""

    def __init__(self, viewer: Viewer, first: int) -> None:
        self.viewer, self.first = viewer, first
        viewer.voice.skip()

    def play(self, samples: Samples, rate: int, index: int) -> None:
        """Sound to play."""
        self.viewer.voice.play(samples, rate, self.first + index)

    def pause(self) -> None:
        """Hold."""
        self.viewer.send(protocol.PausePlaying())

    def resume(self) -> None:
        """Go on."""
        self.viewer.send(protocol.ResumePlaying())

    def flush(self, number: int) -> None:
        """Drop what is queued."""
        epoch, sequence = self.viewer.voice.cut()
        self.viewer.send(protocol.FlushPlaying(number, epoch, sequence))
