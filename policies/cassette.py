"""A cassette: streamed answers recorded once and played back at the same pace, so that a live model can be replayed.

Requests and answers are any JSON values; the cassette does not know what they mean. A request is known by the
SHA-256 of its canonical JSON (keys sorted). The file has one line of JSON per exchange, in the order of the requests.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from policies.errors import CassetteError
from policies.scripted import Timing
from streams.clock import SECOND
from streams.errors import VisavisError

_GRACE_NS = SECOND


class Piece(Struct, frozen=True):
    """A piece of an answer, `after_ns` after the request."""

    after_ns: int
    data: Any


class Exchange(Struct, frozen=True):
    """A request and its answer.

    ended: "whole", or "cut" (cancelled) or "failed" after `ended_ns`;  error: message of the failure
    """

    key: str
    request: Any
    pieces: tuple[Piece, ...]
    ended: Literal["whole", "cut", "failed"]
    ended_ns: int
    error: str = ""


def request_key(request: Any) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of `request`."""
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()


class CassetteRecorder:
    """Passes answers through and writes each to the file `path` when it has ended. Use as a context manager.

    Raises `CassetteError` if the file cannot be written.
    """

    def __init__(self, path: Path | str, clock: Timing) -> None:
        self._path = Path(path)
        self._clock = clock
        self._count = 0
        self._waiting: dict[int, Exchange] = {}
        self._streaming: set[int] = set()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "CassetteRecorder":
        try:
            self._file = self._path.open("wb")
        except OSError as error:
            raise CassetteError(f"cannot write the cassette {self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streaming.clear()  # what was asked for and never read has no end of its own
        self._write()
        if self._file is not None:
            self._file.close()
            self._file = None

    def answer(self, request: Any, stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """`stream`, the live answer to `request`, recorded as it passes and closed at the end.

        Cancelling records what came until then.
        """
        number = self._count
        self._count += 1
        self._waiting[number] = Exchange(request_key(request), request, (), "cut", 0)
        self._streaming.add(number)
        return self._passed(number, stream, self._clock.now())

    async def _passed(self, number: int, stream: AsyncGenerator[Any, None], asked: int) -> AsyncGenerator[Any, None]:
        pieces: list[Piece] = []
        ended: Literal["whole", "cut", "failed"] = "failed"
        message = ""
        try:
            async with aclosing(stream):
                async for data in stream:
                    pieces.append(Piece(self._clock.now() - asked, data))
                    yield data
            ended = "whole"
        except (asyncio.CancelledError, GeneratorExit):
            ended = "cut"
            raise
        except VisavisError as error:
            message = str(error)
            raise
        finally:
            self._waiting[number] = msgspec.structs.replace(
                self._waiting[number],
                pieces=tuple(pieces),
                ended=ended,
                ended_ns=self._clock.now() - asked,
                error=message,
            )
            self._streaming.discard(number)
            self._write()

    def _write(self) -> None:
        """Write what has ended, in the order of the requests."""
        for number in sorted(self._waiting):
            if number in self._streaming or self._file is None:
                return
            try:
                self._file.write(msgspec.json.encode(self._waiting[number]) + b"\n")
                self._file.flush()
            except OSError as error:
                raise CassetteError(f"cannot write the cassette {self._path}: {error.strerror}") from error
            del self._waiting[number]


class CassettePlayer:
    """Answers requests from a cassette, on the session's clock.

    Raises `CassetteError` if the file cannot be read.
    """

    def __init__(self, path: Path | str, clock: Timing) -> None:
        self._path = Path(path)
        self._clock = clock
        self._next = 0
        try:
            lines = self._path.read_bytes().splitlines()
            self._exchanges = [msgspec.json.decode(line, type=Exchange) for line in lines]
        except OSError as error:
            raise CassetteError(f"cannot read the cassette {self._path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise CassetteError(f"{self._path} is not a cassette, or is torn: {error}") from error

    def answer(self, request: Any) -> AsyncGenerator[Any, None]:
        """The recorded answer to `request`, each piece when it came then.

        Raises `CassetteError` if the recorded request was another one, saying where they first differ; in the stream,
        if the recorded answer failed, or was cut and now is not.
        """
        number = self._next
        self._next += 1
        if number >= len(self._exchanges):
            raise CassetteError(f"request {number + 1} is not on the cassette {self._path}, which has {number}.")
        exchange = self._exchanges[number]
        if request_key(request) != exchange.key:
            now = msgspec.json.decode(msgspec.json.encode(request))
            where = _difference(exchange.request, now, "request")
            raise CassetteError(f"request {number + 1} no longer matches the cassette {self._path}: {where}.")
        return self._played(number, exchange, self._clock.now())

    async def _played(self, number: int, exchange: Exchange, asked: int) -> AsyncGenerator[Any, None]:
        for piece in exchange.pieces:
            await self._clock.sleep_until(asked + piece.after_ns)
            yield piece.data
        await self._clock.sleep_until(asked + exchange.ended_ns)
        if exchange.ended == "failed":
            raise CassetteError(f"answer {number + 1} failed when it was recorded: {exchange.error}")
        if exchange.ended == "cut":
            await self._clock.sleep_until(asked + exchange.ended_ns + _GRACE_NS)  # to be cut here again
            raise CassetteError(f"answer {number + 1} was cut when it was recorded; how it went on is not known.")


def _difference(recorded: Any, now: Any, path: str) -> str:
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted(recorded.keys() | now.keys()):
            if key not in now or key not in recorded:
                return f"{path}.{key} is {'missing' if key not in now else 'new'}"
            if recorded[key] != now[key]:
                return _difference(recorded[key], now[key], f"{path}.{key}")
    if isinstance(recorded, list) and isinstance(now, list):
        for place, (old, new) in enumerate(zip(recorded, now, strict=False)):
            if old != new:
                return _difference(old, new, f"{path}[{place}]")
        return f"{path} has {len(now)} items, not {len(recorded)}"
    return f"{path} was {_short(recorded)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
