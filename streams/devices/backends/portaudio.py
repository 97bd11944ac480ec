"""Sound devices through PortAudio and the package sounddevice: the default, on all systems."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import sounddevice

INVALID_CHANNELS, INVALID_RATE = -9998, -9997  # portaudio.h: PaErrorCode
_open: "set[_Stream]" = set()  # of this process


class SoundDevices:
    """`streams.devices.sound.SoundBackend`. Raises `DependencyMissing`, or `SourceError` without the PortAudio library.

    PortAudio looks for devices only when it is initialised. So it is only as long as a stream is open: who opens or
    lists after that sees what there is then.
    """

    name = "sounddevice"
    moves = True

    def __init__(self) -> None:
        with alone():  # importing initialises PortAudio
            try:
                import sounddevice  # noqa: PLC0415 - an extra, and it starts PortAudio
            except ModuleNotFoundError as error:
                if error.name != "sounddevice":
                    raise
                raise DependencyMissing("sounddevice", "live", "using a microphone or loudspeaker") from error
            except OSError as error:
                raise SourceError(f"{error}: install it, on Debian by `apt-get install libportaudio2`.") from error
            # At its end the process gives all devices back anyway, and a stuck driver would keep it from ending.
            atexit.unregister(sounddevice._exit_handler)
            _rest(sounddevice)
        self._library = sounddevice
        hush_alsa()

    def devices(self) -> list[SoundDevice]:
        """What there is now (what there was, while a stream is open)."""
        with alone(), self._awake():
            return self._look()

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """PortAudio is initialised within, and stays so if a stream is open in the end."""
        try:
            if not self._library._initialized:
                self._library._initialize()
            yield
        finally:
            _rest(self._library)

    def _look(self) -> list[SoundDevice]:
        library = self._library
        try:
            systems = library.query_hostapis()
            usual = _usual(systems)
            return [
                SoundDevice(
                    index=device["index"],
                    name=device["name"],
                    api=systems[device["hostapi"]]["name"],
                    inputs=device["max_input_channels"],
                    outputs=device["max_output_channels"],
                    rate=round(device["default_samplerate"]),
                    default_input=device["index"] == usual[0],
                    default_output=device["index"] == usual[1],
                )
                for device in library.query_devices()
            ]
        except library.PortAudioError as error:
            raise SourceError(f"PortAudio cannot list the sound devices: {error}.") from error

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        """Open and start."""

        def mono(data: Any, frames: int, time: Any, status: "sounddevice.CallbackFlags") -> None:
            heard(bytes(data), bool(status))

        def stereo(data: Any, frames: int, time: Any, status: "sounddevice.CallbackFlags") -> None:
            heard(np.frombuffer(data, np.int16)[::2].tobytes(), bool(status))

        return self._open("input", wanted, rate, block, latency_s, [mono, stereo])

    def open_output(self, wanted: str | int, rate: int, block: int, latency_s: float, ask: Ask) -> SoundStream:
        """Open and start."""

        def mono(out: Any, frames: int, time: Any, status: "sounddevice.CallbackFlags") -> None:
            out[:] = ask(status.output_underflow) or bytes(len(out))

        def stereo(out: Any, frames: int, time: Any, status: "sounddevice.CallbackFlags") -> None:
            data = ask(status.output_underflow)
            out[:] = bytes(len(out)) if data is None else np.repeat(np.frombuffer(data, np.int16), 2).tobytes()

        return self._open("output", wanted, rate, block, latency_s, [mono, stereo])

    def _open(
        self, way: Way, wanted: str | int, rate: int, block: int, latency_s: float,
        callbacks: list[Callable[[Any, int, Any, Any], None]],
    ) -> SoundStream:  # fmt: skip
        library = self._library
        with alone(), self._awake():
            device = choose(self._look(), wanted, way)
            kind = library.RawInputStream if way == "input" else library.RawOutputStream
            for channels, callback in enumerate(callbacks, 1):
                try:
                    with quiet():
                        stream = kind(
                            samplerate=rate, blocksize=block, device=device.index, channels=channels, dtype="int16",
                            latency=latency_s, callback=callback,
                        )  # fmt: skip
                except library.PortAudioError as error:
                    code = error.args[1] if len(error.args) > 1 else 0
                    if code == INVALID_CHANNELS and channels == 1:
                        continue
                    if code == INVALID_RATE:
                        raise RateRefused(device.name, rate, device.rate) from error
                    raise SourceError(f"{device.name} cannot be opened: {error.args[0]}.") from error
                opened = _Stream(library, stream, device.name, rate, block)
                try:
                    stream.start()
                except library.PortAudioError as error:
                    stream.close()
                    raise SourceError(f"{device.name} cannot be started: {error.args[0]}.") from error
                _open.add(opened)
                return opened
            raise SourceError(f"{device.name} takes neither one nor two channels.")


class _Stream:
    """`streams.devices.sound.SoundStream`."""

    def __init__(self, library: Any, stream: Any, device: str, rate: int, block: int) -> None:
        self.device, self.rate, self.block = device, rate, block
        self.latency_ns = round(stream.latency * SECOND)
        self._library, self._stream = library, stream
        self._closed = False

    def alive(self) -> bool:
        """Whether PortAudio thinks that it runs."""
        return not self._closed and bool(self._stream.active)

    def close(self) -> None:
        """Stop and release."""
        with alone():
            if not self._closed:
                self._closed = True
                self._stream.abort()
                self._stream.close()
                _open.discard(self)
                _rest(self._library)


def _rest(library: Any) -> None:
    """Let go of PortAudio if no stream is open."""
    while library._initialized and not _open:
        library._terminate()


def _usual(systems: Any) -> tuple[int, int]:
    """Index of the usual input and output of the first sound system that has them; -1 for none."""
    inputs = [system["default_input_device"] for system in systems if system["default_input_device"] >= 0]
    outputs = [system["default_output_device"] for system in systems if system["default_output_device"] >= 0]
    return (inputs or [-1])[0], (outputs or [-1])[0]
