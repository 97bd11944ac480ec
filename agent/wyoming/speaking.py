"""Text to speech: voices outside a session, each in a thread of its own, kept and lent by name."""

import re
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from agent import registry
from agent.config import Config
from agent.wyoming.errors import Busy, Refusal
from agent.wyoming.requests import Which, base
from embodied.errors import VoiceError
from embodied.ports import Chunk, Voice
from streams.clock import Clock
from streams.types import Samples
from streams.worker import Worker

FIRST_MS, BATCH_MS = 20, 250  # the first piece as soon as there is one, then longer ones
_END = re.compile(r"(?:(?<=[.!?…;:])|(?<=[.!?…][\"')\]]))\s+|\n+")


class Listed(NamedTuple):
    """A voice that can be asked for. name: as it is asked for;  title: for people;  languages: codes, the best first"""

    name: str
    title: str
    languages: tuple[str, ...]


class Voices:
    """The voices of a server. most: how many may speak at the same time; as many idle ones are kept."""

    def __init__(self, config: Config, clock: Clock, most: int) -> None:
        self._config, self._clock, self._most = config, clock, most
        self._free: list[tuple[str, Voice, Worker]] = []
        self._lent = 0
        self.listed: tuple[Listed, ...] = ()

    async def prepare(self) -> None:
        """Learn which there are and start the first. Raises `VisavisError` where there is none."""
        worker = Worker(self._clock, "voices")
        try:
            self.listed = await worker.work(0, listing, self._config)
        finally:
            worker.abandon()
        name, voice, worker = await self._lend(self.listed[0].name)
        self._give_back(name, voice, worker)

    def choose(self, which: Which | None) -> str:
        """The name of the voice that is meant; ours where nothing is said. Raises `Refusal` where there is none."""
        ours = self.listed[0].name
        if which is None or (which.name is None and which.language is None):
            return ours
        if which.name is not None:
            plain, _, variant = which.name.partition("+")
            if any(each.name == plain for each in self.listed) and re.fullmatch(r"\w*", variant):
                return which.name
            raise Refusal("voice", f"there is no voice {which.name[:60]!r}; `describe` tells which there are")
        wanted = str(which.language)
        for same in (lambda code: code.lower() == wanted.lower(), lambda code: base(code) == base(wanted)):
            for each in self.listed:
                if any(map(same, each.languages)):
                    return each.name
        raise Refusal("voice", f"there is no voice for the language {wanted[:60]!r}")

    async def speak(self, text: str, name: str) -> AsyncGenerator[tuple[Samples, int], None]:
        """The sound of `text` in order: int16[samples] and its rate (Hertz). Never on the loop.

        Closing the generator (or cancelling who waits in it) ends the synthesis within milliseconds.
        Raises `Busy`, `VoiceError` and other `VisavisError`s.
        """
        name, voice, worker = await self._lend(name)
        chunks = voice.speak(text)
        wanted = voice.rate * FIRST_MS // 1000
        try:
            while len(samples := await worker.work(0, _take, chunks, wanted)):
                wanted = voice.rate * BATCH_MS // 1000
                yield samples, voice.rate
        finally:
            worker.begin(partial(_end, chunks))
            self._give_back(name, voice, worker)

    async def _lend(self, name: str) -> tuple[str, Voice, Worker]:
        if self._lent >= self._most:
            raise Busy(f"{self._most} texts are being spoken already")
        self._lent += 1
        try:
            same = [each for each in self._free if each[0] == name]
            if same:
                self._free.remove(same[-1])
                return same[-1]
            worker = Worker(self._clock, "voice")
            try:
                return name, await worker.work(0, begin, self._config, name), worker
            except BaseException:
                worker.abandon()
                raise
        except BaseException:
            self._lent -= 1
            raise

    def _give_back(self, name: str, voice: Voice, worker: Worker) -> None:
        self._lent -= 1
        self._free.append((name, voice, worker))
        if len(self._free) > self._most:
            self._part(self._free.pop(0))

    def _part(self, kept: tuple[str, Voice, Worker]) -> None:
        _, voice, worker = kept
        worker.begin(voice.close)
        worker.abandon()

    def close(self) -> None:
        """End those that are not lent."""
        while self._free:
            self._part(self._free.pop())


def begin(config: Config, name: str) -> Voice:
    """A voice by its name, started. Raises `VisavisError`."""
    if config.voice.engine == "espeak":
        config = replace(config, voice=replace(config.voice, espeak=replace(config.voice.espeak, language=name)))
    voice: Voice = registry.find("voices", config.voice.engine, "voice.engine")(config)
    start = getattr(voice, "start", None)
    if start is not None:
        try:
            start()
        except VoiceError:
            voice.close()
            raise
    return voice


def listing(config: Config) -> tuple[Listed, ...]:
    """The voices of the configured engine, the configured one first. Raises `DependencyMissing`."""
    if config.voice.engine != "espeak":
        return (Listed(config.voice.engine, config.voice.engine, (config.language,)),)
    registry.find("voices", "espeak", "voice.engine")(config).close()  # raises where the library is missing
    import espeakng_loader  # noqa: PLC0415 - optional

    named = {each.name: each for each in _espeak_voices(Path(espeakng_loader.get_data_path()))}
    found = sorted(named.values(), key=lambda each: each.title)
    ours = config.voice.espeak.language
    plain = ours.partition("+")[0]
    first = [each._replace(name=ours) for each in found if each.name == plain]
    return (*(first or [Listed(ours, ours, (base(ours),))]), *(each for each in found if each.name != ours))


def _espeak_voices(data: Path) -> Iterator[Listed]:
    """What the files of espeak-ng's languages say: https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md"""
    for path in sorted((data / "lang").rglob("*")):
        if path.is_file():
            lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
            codes = tuple(line[1] for line in lines if len(line) > 1 and line[0] == "language")
            title = " ".join(next((line[1:] for line in lines if line and line[0] == "name"), [path.name]))
            if codes:
                yield Listed(path.name.lower(), title, codes)  # by its file each one is found, by its first code not


def _take(chunks: Iterator[Chunk], wanted: int) -> Samples:
    """At least `wanted` samples, fewer at the end, none after it."""
    pieces: list[Samples] = [np.zeros(0, np.int16)]
    count = 0
    while count < wanted and (chunk := next(chunks, None)) is not None:
        pieces.append(chunk.samples)
        count += len(chunk.samples)
    samples: Samples = np.concatenate(pieces)
    return samples


def _end(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


class Sentences:
    """Text that comes in pieces, cut where a voice can speak it: at the ends of sentences."""

    def __init__(self) -> None:
        self._rest = ""
        self.chars = 0

    def add(self, text: str) -> list[str]:
        """The sentences that are whole now."""
        self.chars += len(text)
        *whole, self._rest = _END.split(self._rest + text)
        return [each.strip() for each in whole if each.strip()]

    def finish(self) -> list[str]:
        """What is left."""
        rest, self._rest = self._rest.strip(), ""
        return [rest] if rest else []
