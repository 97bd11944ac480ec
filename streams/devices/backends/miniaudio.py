"""Sound devices through miniaudio: needs no system library, and has the least latency."""

from collections.abc import Generator
from typing import Any

from streams.clock import MS
from streams.devices.sound import Ask, Heard, SoundDevice, SoundStream, Way, alone, choose
from streams.errors import DependencyMissing, SourceError

ROOM = 20
"""Periods a recording may be behind before anything is lost (without a word): they cost no latency."""
NOTHING = "Null"  # miniaudio's name of what it falls back to where no sound system answers


class MiniAudios:
    """`streams.devices.sound.SoundBackend`. Raises `DependencyMissing`.

    It converts rates by itself, and never refuses one. It does not say how much latency it has, nor when it stops, nor
    which device is the usual one: the first is taken to be what was measured on PulseAudio (three quarters of a period,
    `benchmarks/sound_card.py`), the second is left to who waits for its blocks, and the third it knows when none is
    named.
    """

    name = "miniaudio"
    moves = False

    def __init__(self) -> None:
        try:
            import miniaudio  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            if error.name != "miniaudio":
                raise
            what = "the engine miniaudio"
            raise DependencyMissing("miniaudio", "miniaudio", what, "the engine sounddevice") from error
        self._library = miniaudio

    def devices(self) -> list[SoundDevice]:
        """What there is now."""
        with alone():
            return [device for device, _ in self._look()]

    def _look(self) -> list[tuple[SoundDevice, Any]]:
        """The devices, and miniaudio's identity of each. Inputs and outputs are devices of their own."""
        found: list[tuple[SoundDevice, Any]] = []
        try:
            known = self._library.Devices()
            if known.backend == NOTHING:
                return found
            for way, entries in (("input", known.get_captures()), ("output", known.get_playbacks())):
                for entry in entries:
                    best = next(iter(entry["formats"]), {"channels": 2, "samplerate": 0})
                    device = SoundDevice(
                        index=len(found),
                        name=entry["name"],
                        api=known.backend,
                        inputs=max(1, best["channels"]) if way == "input" else 0,
                        outputs=max(1, best["channels"]) if way == "output" else 0,
                        rate=best["samplerate"],
                    )
                    found.append((device, entry["id"]))
        except self._library.MiniaudioError:
            return found  # a sound system that answers nothing, such as ALSA without a card
        return found

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        """Open and start. The block is rounded to whole milliseconds."""

        def feed() -> Generator[None, bytes, None]:
            while True:
                heard(bytes((yield)), False)

        return self._open("input", wanted, rate, block, latency_s, feed())

    def open_output(self, wanted: str | int, rate: int, block: int, latency_s: float, ask: Ask) -> SoundStream:
        """Open and start. The device's block is rounded to whole milliseconds; asked for is exactly `block`."""
        silence = bytes(2 * block)

        def feed() -> Generator[bytes, int, None]:
            ready, data = b"", b""
            while True:
                frames = yield data
                while len(ready) < 2 * frames:
                    ready += ask(False) or silence
                data, ready = ready[: 2 * frames], ready[2 * frames :]

        return self._open("output", wanted, rate, block, latency_s, feed())

    def _open(
        self, way: Way, wanted: str | int, rate: int, block: int, latency_s: float, feed: Generator[Any, Any, None]
    ) -> SoundStream:
        library = self._library
        next(feed)
        period_ms = max(1, round(block * 1000 / rate))
        periods = max(2, round(latency_s * 1000 / period_ms)) if way == "output" else ROOM
        with alone():
            known = self._look()
            chosen = choose([device for device, _ in known], wanted, way)
            identity = known[chosen.index][1] if wanted != "" else None
            name = chosen.name if wanted != "" else "the usual one"
            kind = library.CaptureDevice if way == "input" else library.PlaybackDevice
            try:
                stream = kind(
                    library.SampleFormat.SIGNED16, 1, rate, buffersize_msec=period_ms, device_id=identity,
                    callback_periods=periods, app_name="visavis",
                )  # fmt: skip
                stream.start(feed)
            except library.MiniaudioError as error:
                raise SourceError(f"{name} cannot be opened: {error}.") from error
            latency_ns = period_ms * MS if way == "input" else period_ms * MS * 3 // 4
            return _Stream(library, stream, name, rate, block, latency_ns)


class _Stream:
    """`streams.devices.sound.SoundStream`."""

    def __init__(self, library: Any, stream: Any, device: str, rate: int, block: int, latency_ns: int) -> None:
        self.device, self.rate, self.block, self.latency_ns = device, rate, block, latency_ns
        self._library, self._stream = library, stream

    def alive(self) -> bool:
        """Whether it has not been closed: miniaudio knows no more."""
        return self._stream is not None

    def close(self) -> None:
        """Stop and release."""
        with alone():
            stream, self._stream = self._stream, None
            if stream is not None:
                context = stream._context
                stream.close()
                self._library.lib.ma_context_uninit(context)  # miniaudio leaves its connection open
