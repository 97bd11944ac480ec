"""The voice espeak-ng: any language, no model, no GPU, sample-exact word times, robotic.

espeak-ng comes from the wheel `espeakng-loader` and is GPL-3; it never enters this process. `espeak_helper.py` runs it
in a process of its own and describes the frames that are exchanged over the pipe. This module is blocking I/O, for a
worker thread (or inline in virtual time); one utterance at a time.
"""

import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from embodied.errors import VoiceCrashed, VoiceError, VoiceSilent
from embodied.ports import Chunk, Mark
from embodied.voices.words import Event, WordMarks
from streams.errors import DependencyMissing
from streams.types import Tone

_HEAD = struct.Struct("<Ic")
_HELPER = Path(__file__).with_name("espeak_helper.py")
_HOW = struct.Struct("<4H")
_MS = 1_000_000
_WORD = 1
# What a tone does to espeak's voice: factor of the rate, added to the pitch (0 to 99), range of the pitch (0 to 100;
# None: the voice's own, about 50), factor of the volume. Small, for the voice must stay the same person.
_TONES: dict[str, tuple[float, int, int | None, float]] = {
    "": (1.0, 0, None, 1.0),
    "calm": (0.92, -4, 38, 0.9),
    "warm": (0.96, -2, 60, 0.95),
    "cheerful": (1.06, 8, 78, 1.0),
    "serious": (0.95, -8, 36, 1.0),
    "soft": (0.96, 0, 42, 0.6),
}
# espeak reads commands after control characters, and a NUL would end the text; each becomes one blank, so that
# positions in the text stay what they are.
_PLAIN = dict.fromkeys((*range(0x20), 0x7F), " ") | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Espeak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How espeak-ng is to sound.

    language: name of an espeak-ng voice, such as "en-us", "de" or "en-us+f3";  rate_wpm: words per minute, 80 to 450
    pitch: 0 to 99;  volume: 0 to 200 (100 is normal);  timeout_ms: longest silence of the process before it is given up
    """

    language: str = "en-us"
    rate_wpm: int = 165
    pitch: int = 50
    volume: int = 100
    timeout_ms: int = 5000

    def __post_init__(self) -> None:
        for name, low, high in (("rate_wpm", 80, 450), ("pitch", 0, 99), ("volume", 0, 200)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name)} is not between {low} and {high}")


class _Died(Exception):
    """The process ended in the middle of an utterance."""


class EspeakVoice:
    """`embodied.ports.Voice` by espeak-ng. The process starts with the first utterance, or with `start`.

    The same text gives the same samples in any process on this machine. Raises `DependencyMissing` on construction.
    """

    name = "espeak-ng"
    rate = 22050
    cost = 5 * _MS

    def __init__(self, config: Espeak | None = None) -> None:
        self.config = config or Espeak()
        self._arguments = [*_library(), self.config.language]
        self._arguments += [str(n) for n in (self.config.rate_wpm, self.config.pitch, self.config.volume)]
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()  # over `_process`, `_closed` and `_users`; held for moments only
        self._users = 0  # utterances and starts in progress: the pipes are theirs

    @property
    def pid(self) -> int | None:
        """Process id of the helper; None while it does not run."""
        process = self._process
        return process.pid if process else None

    def start(self) -> None:
        """Start the process now, so that the first utterance need not wait for it. Raises `VoiceError`."""
        with self._use():
            self._start()

    def _start(self) -> None:
        if self._closed.is_set():
            raise VoiceError("the voice has been closed")
        if self._process is not None:
            return
        command = [sys.executable, "-I", "-S", str(_HELPER), *self._arguments]
        # A session of its own: Ctrl-C ends us, and we end the voice once it has spoken.
        process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self._lock:
            self._process = process
            if self._closed.is_set():  # in the meantime: `close` saw no process
                _signal(process)
        try:
            kind, body = self._receive()
        except _Died:
            raise VoiceCrashed("espeak-ng ended while it started: reinstall it with 'visavis[voice]'") from None
        if kind == b"X":
            self._kill()
            raise VoiceError(f"{body.decode()}: choose another voice, such as language = 'en-us'")
        if (rate := msgspec.json.decode(body)["rate"]) != self.rate:
            self._kill()
            raise VoiceError(f"espeak-ng speaks at {rate} Hz instead of {self.rate}: use one of its own voices")

    def speak(self, text: str, *, pace: float = 1.0, tone: Tone = "") -> Iterator[Chunk]:
        """The chunks of `text`, about 60 ms each. Markup is spoken as it is written, never obeyed.

        pace: factor of the rate, as far as espeak goes (80 to 450 words per minute)
        tone: changes pitch and its range, rate and volume a little, for this text only (see `_TONES`)
        Closing the iterator cancels within milliseconds. If the process dies, the text is begun again in a fresh one
        and what was already given is left out, once; then `VoiceCrashed`. Raises `VoiceSilent`, `VoiceError`.
        """
        samples, marks = 0, 0
        for attempt in (1, 2):
            try:
                seen_samples, seen_marks = 0, 0
                for chunk in self._attempt(self._how(pace, tone), text):
                    fresh = chunk.samples[max(0, samples - seen_samples) :]
                    news = chunk.marks[max(0, marks - seen_marks) :]
                    seen_samples += len(chunk.samples)
                    seen_marks += len(chunk.marks)
                    samples, marks = max(samples, seen_samples), max(marks, seen_marks)
                    if len(fresh) or news:
                        yield Chunk(fresh, news)
                return
            except _Died:
                if attempt == 2 or self._closed.is_set():
                    raise VoiceCrashed(f"espeak-ng died while it spoke {text[:60]!r}: say it in other words") from None

    def close(self) -> None:
        """End the process. Idempotent; an utterance in progress, in this thread or another, ends with `VoiceCrashed`.

        Pipes that are being read are not closed here, where their numbers might be given to other files in mid-read:
        the reader comes to their end and closes them.
        """
        with self._lock:
            self._closed.set()
            if self._process is not None:
                _signal(self._process)
            used = self._users > 0
        if not used:
            self._kill()

    @contextmanager
    def _use(self) -> Iterator[None]:
        """What is done with the process and its pipes; the last one out after `close` gives them back."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed.is_set() and not self._users
            if last:
                self._kill()

    # --- one utterance

    def _how(self, pace: float, tone: Tone) -> bytes:
        """Rate, pitch, range (0: leave it) and volume, as the helper takes them."""
        config = self.config
        quick, higher, wide, loud = _TONES[tone]
        rate = min(450, max(80, round(config.rate_wpm * pace * quick)))
        pitch = min(99, max(0, config.pitch + higher))
        return _HOW.pack(rate, pitch, wide or 0, min(200, round(config.volume * loud)))

    def _attempt(self, how: bytes, text: str) -> Iterator[Chunk]:
        with self._use():
            yield from self._utterance(how, text)

    def _utterance(self, how: bytes, text: str) -> Iterator[Chunk]:
        self._start()
        plain = text.translate(_PLAIN)
        marks = WordMarks(plain)
        total = 0
        self._send(b"S", how + plain.encode())
        finished = False
        try:
            news: tuple[Mark, ...] = ()
            while True:
                kind, body = self._receive()
                if kind == b"D":
                    finished = True
                    if rest := marks.finish(total):
                        yield Chunk(np.zeros(0, np.int16), tuple(rest))
                    return
                if kind == b"W":
                    events = msgspec.json.decode(body, type=list[tuple[int, int, int, str]])
                    found = marks.feed(
                        Event(position, sample, "" if type_ == _WORD else name or "_")
                        for type_, position, sample, name in events
                    )
                    news = (*news, *found)
                elif kind == b"A":
                    samples = np.frombuffer(body, "<i2").astype(np.int16, copy=False)
                    total += len(samples)
                    ready, news = news, ()
                    yield Chunk(samples, ready)
        except _Died:
            finished = True
            raise
        finally:
            if not finished:
                self._cancel()

    def _cancel(self) -> None:
        """Bring the process back to where it waits for the next text."""
        try:
            self._send(b"C", b"")
            while self._receive()[0] != b"D":
                pass
        except (_Died, VoiceSilent):
            self._kill()

    # --- frames

    def _send(self, kind: bytes, body: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise _Died
        rest = memoryview(_HEAD.pack(len(body), kind) + body)
        try:
            while rest:
                rest = rest[process.stdin.write(rest) or 0 :]
        except OSError:
            self._kill()
            raise _Died from None

    def _receive(self) -> tuple[bytes, bytes]:
        size, kind = _HEAD.unpack(self._read(_HEAD.size))
        return kind, self._read(size)

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            process = self._process
            if process is None or process.stdout is None:
                raise _Died
            pipe = process.stdout.fileno()
            if not select.select([pipe], [], [], self.config.timeout_ms / 1000)[0]:
                self._kill()
                raise VoiceSilent(f"espeak-ng has said nothing for {self.config.timeout_ms} ms: it was ended")
            part = os.read(pipe, size - len(parts))
            if not part:
                self._kill()
                raise _Died
            parts += part
        return bytes(parts)

    def _kill(self) -> None:
        """End the process and close its pipes: only by who uses them, or when nobody does."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        _signal(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _signal(process: "subprocess.Popen[bytes]") -> None:
    """Let it end."""
    if process.returncode is not None:  # it has been waited for, and its number may be another's by now
        return
    try:
        os.killpg(process.pid, 9)  # the helper and the fork that speaks
    except (ProcessLookupError, PermissionError):
        process.kill()


def _library() -> list[str]:
    """Where the library and its data lie. Looking does not load it."""
    try:
        import espeakng_loader  # noqa: PLC0415 - optional
    except ImportError:
        raise DependencyMissing("espeakng-loader", "voice", "The voice espeak-ng") from None
    return [str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())]
