"""Sound devices through PortAudio and the package PyAudio, for those who have it already."""

from collections.abc import Callable
from typing import Any

import numpy as np

from streams.clock import SECOND
from streams.devices.sound import (
    Ask,
    Heard,
    RateRefused,
    SoundDevice,
    SoundStream,
    Way,
    alone,
    choose,
    hush_alsa,
    quiet,
)
from streams.errors import DependencyMissing, SourceError

INVALID_CHANNELS, INVALID_RATE = -9998, -9997  # portaudio.h: PaErrorCode


class PyAudios:
    """`streams.devices.sound.SoundBackend`. Raises `DependencyMissing`.

    PortAudio looks for devices only when it is initialised, which it is as long as a stream is open in this process.
    PyAudio passes no wish for a latency on: PortAudio takes the lowest it thinks safe.
    """

    name = "pyaudio"
    moves = True

    def __init__(self) -> None:
        try:
            import pyaudio  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            if error.name != "pyaudio":
                raise
            raise DependencyMissing("PyAudio", "pyaudio", "the engine pyaudio", "the engine sounddevice") from error
        self._library = pyaudio
        hush_alsa()

    def devices(self) -> list[SoundDevice]:
        """What there is now."""
        with alone():
            library = self._start()
            try:
                return _look(library)
            finally:
                library.terminate()

    def _start(self) -> Any:
        with quiet():
            return self._library.PyAudio()

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        """Open and start."""
        go_on = self._library.paContinue

        def mono(data: bytes, frames: int, time: Any, status: int) -> tuple[None, int]:
            heard(data, status != 0)
            return None, go_on

        def stereo(data: bytes, frames: int, time: Any, status: int) -> tuple[None, int]:
            heard(np.frombuffer(data, np.int16)[::2].tobytes(), status != 0)
            return None, go_on

        return self._open("input", wanted, rate, block, [mono, stereo])

    def open_output(self, wanted: str | int, rate: int, block: int, latency_s: float, ask: Ask) -> SoundStream:
        """Open and start."""
        go_on, dry = self._library.paContinue, self._library.paOutputUnderflow

        def mono(_: None, frames: int, time: Any, status: int) -> tuple[bytes, int]:
            return ask(bool(status & dry)) or bytes(2 * frames), go_on

        def stereo(_: None, frames: int, time: Any, status: int) -> tuple[bytes, int]:
            data = ask(bool(status & dry))
            return bytes(4 * frames) if data is None else np.repeat(np.frombuffer(data, np.int16), 2).tobytes(), go_on

        return self._open("output", wanted, rate, block, [mono, stereo])

    def _open(
        self, way: Way, wanted: str | int, rate: int, block: int, callbacks: list[Callable[..., Any]]
    ) -> SoundStream:
        with alone():
            library = self._start()
            try:
                device = choose(_look(library), wanted, way)
                for channels, callback in enumerate(callbacks, 1):
                    try:
                        with quiet():
                            stream = library.open(
                                rate, channels, self._library.paInt16, frames_per_buffer=block,
                                input=way == "input", output=way == "output", stream_callback=callback,
                                **{f"{way}_device_index": device.index},
                            )  # fmt: skip
                    except (OSError, ValueError) as error:
                        code = next((word for word in error.args if isinstance(word, int)), 0)
                        if code == INVALID_CHANNELS and channels == 1:
                            continue
                        if code == INVALID_RATE:
                            raise RateRefused(device.name, rate, device.rate) from error
                        reason = next((word for word in error.args if isinstance(word, str)), str(error))
                        raise SourceError(f"{device.name} cannot be opened: {reason}.") from error
                    latency = stream.get_input_latency() if way == "input" else stream.get_output_latency()
                    return _Stream(library, stream, device.name, rate, block, round(latency * SECOND))
                raise SourceError(f"{device.name} takes neither one nor two channels.")
            except SourceError:
                library.terminate()
                raise


class _Stream:
    """`streams.devices.sound.SoundStream`."""

    def __init__(self, library: Any, stream: Any, device: str, rate: int, block: int, latency_ns: int) -> None:
        self.device, self.rate, self.block, self.latency_ns = device, rate, block, latency_ns
        self._library, self._stream = library, stream
        self._closed = False

    def alive(self) -> bool:
        """Whether PortAudio thinks that it runs."""
        return not self._closed and bool(self._stream.is_active())

    def close(self) -> None:
        """Stop and release."""
        with alone():
            if not self._closed:
                self._closed = True
                self._stream.close()
                self._library.terminate()


def _look(library: Any) -> list[SoundDevice]:
    usual = {}
    for way, find in (("in", library.get_default_input_device_info), ("out", library.get_default_output_device_info)):
        try:
            usual[way] = find()["index"]
        except OSError:
            usual[way] = -1
    devices = [library.get_device_info_by_index(index) for index in range(library.get_device_count())]
    return [
        SoundDevice(
            index=device["index"],
            name=device["name"],
            api=library.get_host_api_info_by_index(device["hostApi"])["name"],
            inputs=device["maxInputChannels"],
            outputs=device["maxOutputChannels"],
            rate=round(device["defaultSampleRate"]),
            default_input=device["index"] == usual["in"],
            default_output=device["index"] == usual["out"],
        )
        for device in devices
    ]
