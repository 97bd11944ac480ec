"""Plays the part of the page of the console: talks, listens, reports what it played, and keeps all it was told."""

import asyncio
import json
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

JITTER_S = 0.06
STEP_S = 0.01
FADE_S = 0.005


def where(address: str) -> tuple[str, str]:
    """host:port and token of a printed address."""
    split = urlsplit(address)
    return split.netloc, split.query.removeprefix("token=")


class Page:
    """One page. told: every text message;  events: of all `events` messages;  heard: int16 samples that left its
    loudspeaker, `indices` their indices;  pictures: frames of kind 2
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.pictures: list[bytes] = []
        self.heard: list[int] = []
        self.indices: list[int] = []
        self.frames = 0
        self.rate = 16_000
        self.closed: tuple[int, str] | None = None
        self._queue: deque[tuple[int, int]] = deque()
        self._paused = False
        self._index = 0
        self._reported = 0
        self._ready_at = 0.0
        self._sequence = 0
        self._voice = np.zeros(0, np.int16)
        self._news = asyncio.Event()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def take(self, *media: str) -> None:
        await self.send(type="take", media=list(media))
        await self.until(lambda page: [m for m in page.told if m["type"] in ("taken", "refused")])

    async def until(self, found: Callable[["Page"], Any], within_s: float = 10.0) -> Any:
        """What `found(page)` gives, once it is true. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while not (answer := found(self)):
                if self.closed is not None:
                    raise ConnectionError(f"closed: {self.closed}")
                self._news.clear()
                await self._news.wait()
            return answer

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of a type."""
        return [event for event in self.events if event["type"] == kind]

    def messages(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]

    @property
    def session(self) -> dict[str, Any]:
        """The latest that was told of the session."""
        facts = [
            m["session"] if m["type"] == "welcome" else m for m in self.told if m["type"] in ("welcome", "session")
        ]
        return facts[-1]

    async def microphone(self) -> None:
        """Push blocks in real time until cancelled: what is being said, else silence. Take the microphone first."""
        begin, number = self.now(), 0
        while True:
            number += 1
            await asyncio.sleep(begin + number * 0.02 - self.now())
            block, self._voice = self._voice[:320], self._voice[320:]
            await self.push(np.concatenate([block, np.zeros(320 - len(block), np.int16)]))

    async def speak(self, samples: NDArray[np.int16], rest_s: float = 0.0) -> None:
        """Say `samples` into the microphone that is on, and wait until that is said, and `rest_s` more."""
        self._voice = np.concatenate([self._voice, samples])
        while len(self._voice):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.sleep(rest_s)

    async def push(self, block: NDArray[np.int16]) -> None:
        head = struct.pack("<B3xId", 1, self._sequence, self.now() * 1000)
        self._sequence += 1
        await self.socket.send(head + block.astype("<i2").tobytes())

    async def show(self, jpeg: bytes, sequence: int = 0) -> None:
        await self.socket.send(struct.pack("<B3xId", 2, sequence, self.now() * 1000) + jpeg)

    async def read(self) -> None:
        """Take what comes until the connection closes, however it does."""
        await _quietly(self._read())
        self.closed = (self.socket.close_code or 0, self.socket.close_reason or "")
        self._news.set()

    async def _read(self) -> None:
        async for frame in self.socket:
            if isinstance(frame, str):
                message = json.loads(frame)
                self.told.append(message)
                await self._obey(message)
            elif frame[0] == 2:
                self.pictures.append(frame)
            else:
                _, self.rate, _, index = struct.unpack_from("<BxHIq", frame)
                self.frames += 1
                samples = np.frombuffer(frame[16:], "<i2")
                if not self._queue:
                    self._ready_at = self.now() + JITTER_S
                self._queue.extend((index + place, int(value)) for place, value in enumerate(samples))
            self._news.set()

    async def _obey(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "events":
                self.events += message["events"]
            case "pause":
                self._paused = True
            case "resume":
                self._paused = False
            case "flush":
                fade = round(FADE_S * self.rate)
                if not self._paused and self.now() >= self._ready_at:
                    self._play(min(fade, len(self._queue)))
                self._queue.clear()
                await self.send(type="flushed", id=message["id"], index=self._index)

    def _play(self, count: int) -> None:
        for _ in range(count):
            index, value = self._queue.popleft()
            self._index = index + 1
            self.heard.append(value)
            self.indices.append(index)

    async def play(self) -> None:
        """The loudspeaker."""
        last, debt = self.now(), 0.0
        told = 0.0
        while True:
            await asyncio.sleep(STEP_S)
            now = self.now()
            if self._queue and not self._paused and now >= self._ready_at:
                debt += (now - max(last, self._ready_at)) * self.rate
                count = min(int(debt), len(self._queue))
                debt -= count
                self._play(count)
                if not self._queue:
                    debt = 0.0
            else:
                debt = 0.0
            last = now
            if self._index != self._reported and now - told >= 0.035:
                told, self._reported = now, self._index
                await self.send(type="played", index=self._index, time=now * 1000)


@asynccontextmanager
async def opened(address: str, talking: bool = False, **options: Any) -> AsyncIterator[Page]:
    """A connected page that reads and plays until the context is left. talking: its microphone is taken, and on"""
    netloc, token = where(address)
    async with connect(f"ws://{netloc}/ws?token={token}", origin=f"http://{netloc}", **options) as socket:  # type: ignore[arg-type]
        page = Page(socket)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (page.read(), _quietly(page.play()))]
            try:
                await page.until(lambda page: page.messages("welcome"))
                if talking:
                    await page.take("microphone")
                    tasks.append(group.create_task(_quietly(page.microphone())))
                yield page
            finally:
                for task in tasks:
                    task.cancel()


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        await work
    except ConnectionClosed:
        pass
