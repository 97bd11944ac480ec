"""The robot's own eye and ear, told as telemetry: small JPEGs, and sound in short blocks.

    cameras: {front: {device: 0, hz: 5, width: 320, quality: 70}}       options of a profile, under `senses`
    microphone: {file: talk.wav, loop: true}  or  {device: "", rate: 16000}

A picture is `camera.NAME` with {"jpeg": BASE64}, at most 32 kB and five a second. Sound is `microphone` with
{"pcm": BASE64 of int16 little-endian mono, "rate", "start"}; `start` counts samples and goes on where some are lost.
A simulator that draws its own pictures tells them itself (`embodied.node.driver.Telling`).
"""

import asyncio
import base64
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embodied.errors import BodyError
from streams.clock import SECOND, Clock
from streams.errors import DependencyMissing
from streams.pictures import compress, opencv
from streams.worker import Worker

Publish: TypeAlias = Callable[[str, dict[str, Any]], None]
"""`publish(channel, values)`: tell it now, or drop it. Never waits."""
JPEG_MOST = 32_000
HZ_MOST = 5.0
BLOCK_MS = 40
BEHIND = SECOND
"""A loop that was away for longer does not make up for it: the sound of that time is lost."""
AGAIN = 2 * SECOND
FILE_S = 600


class SenseMissing(BodyError):
    """A camera or microphone of a profile cannot be had: which, and why."""


class Sense(Protocol):
    """Something that tells what it perceives for as long as it runs; cancelling ends it, devices are given back."""

    name: str

    async def run(self, publish: Publish, clock: Clock) -> None:
        """Tell. A device that goes is tried again."""


def senses(options: Mapping[str, Any], folder: Path = Path()) -> tuple[Sense, ...]:
    """What `options` name (see above). folder: against which files are looked for. Raises `SenseMissing`."""
    found: list[Sense] = []
    try:
        for name, camera in options.get("cameras", {}).items():
            found.append(CameraSense(f"camera.{name}", **camera))
        ear = dict(options.get("microphone", {}))
        if "file" in ear:
            found.append(FileSense(folder / ear.pop("file"), **ear))
        elif ear:
            found.append(MicrophoneSense(**ear))
    except (TypeError, AttributeError) as error:
        raise SenseMissing(f"senses of the profile: {error}: see the head of embodied/node/senses.py.") from error
    return tuple(found)


def picture(jpeg: bytes) -> dict[str, Any] | None:
    """The values of a picture; None if it is too large to be sent."""
    return {"jpeg": base64.b64encode(jpeg).decode()} if len(jpeg) <= JPEG_MOST else None


def sound(samples: NDArray[np.int16], rate: int, start: int) -> dict[str, Any]:
    """The values of a block of sound. samples: int16[n]; start: index of the first"""
    return {"pcm": base64.b64encode(samples.astype("<i2").tobytes()).decode(), "rate": rate, "start": start}


class CameraSense:
    """A camera that OpenCV can open. device: its number, or a path;  hz: at most 5;  quality: of the JPEGs

    too_large: pictures that were not sent for it. Raises `DependencyMissing`.
    """

    def __init__(self, name: str, device: int | str = 0, hz: float = 5.0, width: int = 320, quality: int = 70) -> None:
        self.name, self.device, self.too_large = name, device, 0
        self._every = round(SECOND / min(hz, HZ_MOST))
        self._width, self._quality = width, quality
        self._cv2 = opencv(f"the camera {device!r} of this robot")

    async def run(self, publish: Publish, clock: Clock) -> None:
        """See `Sense`. Its thread reads one picture at a time."""
        worker = Worker(clock, self.name)
        try:
            while True:
                capture = await worker.work(0, self._cv2.VideoCapture, self.device)
                try:
                    await self._watch(worker, capture, publish, clock)
                finally:
                    worker.begin(capture.release)
                await clock.sleep_until(clock.now() + AGAIN)
        finally:
            await worker.aclose(0.5)

    async def _watch(self, worker: Worker, capture: Any, publish: Publish, clock: Clock) -> None:
        due = clock.now()
        while True:
            jpeg = await worker.work(0, self._take, capture)
            if jpeg is None:
                return
            if clock.now() >= due:
                due = max(due, clock.now() - self._every) + self._every
                values = picture(jpeg)
                if values is not None:
                    publish(self.name, values)
                else:
                    self.too_large += 1

    def _take(self, capture: Any) -> bytes | None:
        good, pixels = capture.read()
        return compress(pixels, self._width, self._quality).data if good else None


class FileSense:
    """A WAV file (16 bits, 8 to 48 kHz) as microphone, at the pace of the clock: for robots that are simulated.

    loop: begin again at its end; else silence follows. Raises `SenseMissing`.
    """

    name = "microphone"

    def __init__(self, path: Path, *, loop: bool = False, block_ms: int = BLOCK_MS) -> None:
        try:
            with wave.open(str(path)) as file:
                self.rate, channels = file.getframerate(), file.getnchannels()
                if file.getsampwidth() != 2 or not 8000 <= self.rate <= 48_000:
                    raise SenseMissing(f"{path}: a microphone's file must have 16 bits and 8 to 48 kHz.")
                data = file.readframes(self.rate * FILE_S)
        except (OSError, EOFError, wave.Error) as error:
            raise SenseMissing(f"{path}: it cannot be read as a WAV file: {error}.") from error
        self._samples = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1).astype(np.int16)
        self._loop = loop and len(self._samples) > 0
        self._size = self.rate * block_ms // 1000

    async def run(self, publish: Publish, clock: Clock) -> None:
        """See `Sense`. A block is told when its last sample would have been heard."""
        began, start = clock.now(), 0
        while True:
            end = start + self._size
            due = began + end * SECOND // self.rate
            await clock.sleep_until(due)
            if clock.now() - due <= BEHIND:
                publish(self.name, sound(self._block(start), self.rate, start))
            start = end

    def _block(self, start: int) -> NDArray[np.int16]:
        if self._loop:
            return np.take(self._samples, range(start, start + self._size), mode="wrap")
        block = self._samples[start : start + self._size]
        return np.concatenate([block, np.zeros(self._size - len(block), np.int16)])


class MicrophoneSense:
    """A microphone that PortAudio has (extra `live`). device: its name or number, "" for the default one

    dropped: samples that came while the loop was away. Raises `DependencyMissing`.
    """

    name = "microphone"

    def __init__(self, device: str | int = "", rate: int = 16_000, block_ms: int = BLOCK_MS) -> None:
        self.device, self.rate, self.dropped = device, rate, 0
        self._size = rate * block_ms // 1000
        try:
            import sounddevice  # noqa: PLC0415 - an extra, and looks for its library as it is imported
        except (ImportError, OSError) as error:
            raise DependencyMissing("sounddevice", "live", "the microphone of this robot") from error
        self._library: Any = sounddevice

    async def run(self, publish: Publish, clock: Clock) -> None:
        """See `Sense`. The device's thread hands each block over; at most two seconds of them wait."""
        loop, start, quiet = asyncio.get_running_loop(), 0, 5.0
        blocks: asyncio.Queue[bytes] = asyncio.Queue(max(1, 2 * self.rate // self._size))

        def take(block: bytes) -> None:
            if blocks.full():
                blocks.get_nowait()
                self.dropped += self._size
            blocks.put_nowait(block)

        def heard(data: Any, *_: Any) -> None:
            try:
                loop.call_soon_threadsafe(take, bytes(data))
            except RuntimeError:  # the loop is closed
                pass

        worker = Worker(clock, self.name)
        try:
            while True:
                stream = await worker.work(0, self._open, heard)
                lost = self.dropped
                try:
                    while stream is not None:
                        async with asyncio.timeout(quiet):
                            block = await blocks.get()
                        start, lost = start + self.dropped - lost, self.dropped
                        publish(self.name, sound(np.frombuffer(block, np.int16), self.rate, start))
                        start += self._size
                except TimeoutError:  # the device has gone
                    pass
                finally:
                    if stream is not None:
                        worker.begin(stream.close)
                await clock.sleep_until(clock.now() + AGAIN)
        finally:
            await worker.aclose(0.5)

    def _open(self, heard: Callable[..., None]) -> Any:
        try:
            stream = self._library.RawInputStream(
                samplerate=self.rate, blocksize=self._size, channels=1, dtype="int16", callback=heard,
                device=self.device if self.device != "" else None,
            )  # fmt: skip
            stream.start()
        except (self._library.PortAudioError, ValueError):
            return None
        return stream
