"""Sound devices: what a library that reaches them must do, the choice of one by name, and the list of what there is.

The libraries are in `streams/devices/backends/`; each is imported only when it is used. All of this blocks: call it in
a thread (`streams.devices.reopening`). The two callbacks are called in the library's own thread and must be short.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal, Protocol, TypeAlias, TypeVar

from msgspec import Meta, Struct

from streams.errors import SourceError

T = TypeVar("T")

Engine: TypeAlias = Literal["sounddevice", "pyaudio", "miniaudio"]
Way: TypeAlias = Literal["input", "output"]
Heard: TypeAlias = Callable[[bytes, bool], None]
"""Told by an input: int16 of one block, and whether samples before it were lost."""
Ask: TypeAlias = Callable[[bool], bytes | None]
"""Asked by an output for int16 of exactly one block (None: silence); told whether the device ran dry before."""

LIST = "`visavis live --list-devices` shows what there is"
_PATIENCE_S = 2.0


class NoDevice(SourceError):
    """This machine has no microphone, or no loudspeaker, at all."""


class RateRefused(SourceError):
    """A device does not run at the rate asked for. own: Hertz it prefers"""

    def __init__(self, device: str, rate: int, own: int) -> None:
        self.own = own
        super().__init__(f"{device} does not run at {rate} Hz (but at {own} Hz, it says).")


class SoundDevice(Struct, frozen=True):
    """A device as its library describes it.

    index: its number in the list, of its engine;  api: the sound system it is reached through, such as "ALSA"
    inputs, outputs: channels, 0 if it has none of the kind;  rate: Hertz it prefers, 0 if unknown
    default_input, default_output: the one that is used when none is named
    """

    index: int
    name: str
    api: str
    inputs: int
    outputs: int
    rate: int = 0
    default_input: bool = False
    default_output: bool = False


STEADY: dict[Engine, tuple[int, int]] = {"sounddevice": (10, 30), "pyaudio": (20, 40), "miniaudio": (20, 40)}
"""Period and latency in ms: the least that did not break beside other work (`benchmarks/sound_card.py`)."""


class DeviceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A device and how it is driven.

    engine: the library that reaches it: "sounddevice" | "pyaudio" | "miniaudio"
    device: its name, a part of that which no other has, or its number in the list; "" for the usual one
    period_ms: how often the device is served; None: what is steady with the engine (sounddevice 10, others 20)
    latency_ms: of its buffer, as a wish: less is faster, and may crackle; None: what is steady (30, others 40)
    """

    engine: Engine = "sounddevice"
    device: str | int = ""
    period_ms: Annotated[int, Meta(ge=5, le=40)] | None = None
    latency_ms: Annotated[int, Meta(ge=5, le=200)] | None = None

    @property
    def period(self) -> int:
        """ms between two callbacks."""
        return self.period_ms or STEADY[self.engine][0]

    @property
    def latency(self) -> int:
        """ms of buffer wished for."""
        return self.latency_ms or STEADY[self.engine][1]


class SoundStream(Protocol):
    """An open device that calls back once per block.

    device: its name;  rate: Hertz;  block: samples per callback
    latency_ns: between callback and sound (or sound and callback), as the library reports it
    """

    device: str
    rate: int
    block: int
    latency_ns: int

    def alive(self) -> bool:
        """False once the library says that it has stopped; True does not mean that anything comes. Returns at once."""

    def close(self) -> None:
        """Stop and release; no callback after it returns. May block if the driver is stuck. Raises `SourceError`."""


class SoundBackend(Protocol):
    """A library that reaches sound devices. All methods block and raise `SourceError`.

    moves: a stream whose device is pulled out may be moved to another one by the sound server, without a word
    """

    name: str
    moves: bool

    def devices(self) -> list[SoundDevice]:
        """What there is now."""

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        """Open and start, mono (the first channel of a device that has no less).

        wanted: as in `choose`;  block: samples per callback;  latency_s: of the device's buffer, as a wish
        Raises `RateRefused` if only the rate is wrong.
        """

    def open_output(self, wanted: str | int, rate: int, block: int, latency_s: float, ask: Ask) -> SoundStream:
        """As `open_input`; the same sound on both channels of a device that has no less."""


def backend(engine: Engine) -> SoundBackend:
    """The library of that name. Raises `DependencyMissing`, or `SourceError` if a system library is missing."""
    if engine == "sounddevice":
        from streams.devices.backends.portaudio import SoundDevices  # noqa: PLC0415 - each is an extra

        return SoundDevices()
    if engine == "pyaudio":
        from streams.devices.backends.pyaudio import PyAudios  # noqa: PLC0415

        return PyAudios()
    from streams.devices.backends.miniaudio import MiniAudios  # noqa: PLC0415

    return MiniAudios()


def choose(devices: Sequence[SoundDevice], wanted: str | int, way: Way) -> SoundDevice:
    """The one device meant by `wanted`: its index, its name, or a part of that which no other has, in any case.

    "" is the default one. Raises `SourceError`, which lists what there is; `NoDevice` if there is none.
    """
    able = [device for device in devices if (device.inputs if way == "input" else device.outputs)]
    kind = "microphone" if way == "input" else "loudspeaker"
    if not able:
        raise NoDevice(f"there is no {kind}: is one plugged in, and is the sound server running? {LIST}.")
    if wanted == "":
        usual = [device for device in able if (device.default_input if way == "input" else device.default_output)]
        return (usual or able)[0]
    found = [device for device in able if wanted in (device.index, device.name)]
    if not found and isinstance(wanted, str):
        part = wanted.casefold()
        found = [device for device in able if device.name.casefold() == part]
        found = found or [device for device in able if part in device.name.casefold()]
        if not found and wanted.isdecimal():
            found = [device for device in able if device.index == int(wanted)]
    if len(found) == 1 or (found and len({device.name for device in found}) == 1):
        return found[0]  # the same one through several systems: the first is the usual one
    names = ", ".join(f"{device.index} {device.name!r}" for device in found or able)
    if found:
        raise SourceError(f"{wanted!r} could be any of these: {names}; say more of the name, or the number.")
    raise SourceError(f"there is no {kind} {wanted!r}; there is: {names}.")


Opens: TypeAlias = Callable[[str | int, int, int, float, T], SoundStream]


def open_stream(opens: Opens[T], config: DeviceConfig, rate: int, told: T) -> SoundStream:
    """Open what `config` says at `rate` Hertz or, if the device refuses that, at its own. Blocks.

    opens: `open_input` or `open_output` of a backend;  told: its callback
    """
    latency_s = config.latency / 1000
    try:
        return opens(config.device, rate, rate * config.period // 1000, latency_s, told)
    except RateRefused as refused:
        own = refused.own
        if own in (0, rate):
            raise
        return opens(config.device, own, own * config.period // 1000, latency_s, told)


def list_devices(engine: Engine = "sounddevice") -> str:
    """All sound devices as a table in plain text, for people. Blocks; raises as `backend` and `devices` of it."""
    devices = backend(engine).devices()
    if not devices:
        return f"{engine} finds no sound devices: is one plugged in, and is the sound server running?"
    width = max(len(device.name) for device in devices)
    lines = [f"{'':>4} {'':2} {'name':{width}} {'in':>3} {'out':>3} {'Hz':>6}  through"]
    for device in devices:
        usual = (">" if device.default_input else " ") + ("<" if device.default_output else " ")
        lines.append(
            f"{device.index:>4} {usual} {device.name:{width}} {device.inputs:>3} {device.outputs:>3} "
            f"{device.rate or '':>6}  {device.api}"
        )
    return "\n".join([*lines, "", "> microphone and < loudspeaker that are used when none is named"])


@contextmanager
def alone() -> Iterator[None]:
    """One thread at a time opens, closes and lists: PortAudio demands it. Raises `SourceError` if another is stuck."""
    if not _LOCK.acquire(timeout=_PATIENCE_S):
        raise SourceError("the sound system does not answer: an earlier call into it has not come back.")
    try:
        yield
    finally:
        _LOCK.release()


def hurry() -> None:
    """Let the calling thread go before others that want the processor, where this process may ask for that.

    Called once in the thread of each device: it works for microseconds at a time, and being late is heard. Elsewhere
    than on Linux, or without the right to (`ulimit -r`, `ulimit -e`), nothing changes.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(5))
    except (OSError, AttributeError):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -11)
        except (OSError, AttributeError):
            pass


def hush_alsa() -> None:
    """ALSA writes what goes wrong to standard error by itself; we tell it as a `Fault`. Does nothing without ALSA."""
    try:
        alsa, libc = ctypes.CDLL("libasound.so.2"), ctypes.CDLL(None)
        nothing = ctypes.cast(libc.getpid, ctypes.c_void_p)  # a C function that needs no arguments, nor Python's lock
        alsa.snd_lib_error_set_handler(nothing)
    except (OSError, AttributeError):
        pass


@contextmanager
def quiet() -> Iterator[None]:
    """What C libraries write to standard error within goes nowhere: ALSA and JACK tell of every system not there.

    For the whole process, so only around calls of some milliseconds, and only within `alone`.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_LOCK = threading.Lock()
