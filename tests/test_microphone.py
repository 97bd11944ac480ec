"""The microphone on a real sound server: every sample, what happens to the device, and how it comes back."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streams import clock as clocks
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock
from streams.devices.intake import Arrival, DeadSilence, Intake
from streams.devices.microphone import Microphone, MicrophoneConfig
from streams.devices.sound import (
    Ask,
    Engine,
    Heard,
    NoDevice,
    RateRefused,
    SoundBackend,
    SoundDevice,
    SoundStream,
    backend,
    choose,
    list_devices,
)
from streams.errors import SourceError
from streams.ports import Source
from streams.topics import AUDIO, FEEDBACK
from streams.types import Fault, Gauge, Recovered
from tests.sound_card import Samples, SoundCard, sound_card, undisturbed

ENGINES: list[Engine] = ["sounddevice", "pyaudio", "miniaudio"]
NAMES = {"sounddevice": "virtmic", "pyaudio": "virtmic", "miniaudio": "VirtMic"}


@pytest.fixture(scope="module")
def card() -> Iterator[SoundCard]:
    with sound_card() as card:
        yield card


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


class Session:
    """A microphone that runs on the bus of a session, and what it has published."""

    def __init__(self, microphone: Microphone) -> None:
        self.microphone = microphone
        self.blocks: list[Any] = []
        self.told: list[Any] = []

    async def __aenter__(self) -> "Session":
        await self.microphone.__aenter__()
        self.clock = Clock()
        self.bus = Bus(self.clock)
        self._lane = self.bus.open(AUDIO, FEEDBACK)
        self._running = asyncio.create_task(self.microphone.run(self.bus, self.clock))
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self.microphone.__aexit__(*exc)
        self.take()

    def take(self) -> None:
        while (packet := self._lane.take()) is not None:
            (self.blocks if packet.topic is AUDIO else self.told).append(packet)

    async def until(self, true: Callable[[], bool], seconds: float = 5.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    await asyncio.sleep(0.01)
                    self.take()
        except TimeoutError:
            raise AssertionError(f"it has not happened within {seconds} s; told: {self.told}") from None

    def of(self, kind: type) -> list[Any]:
        return [packet.data for packet in self.told if isinstance(packet.data, kind)]

    @property
    def heard(self) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *(packet.data.samples for packet in self.blocks)])

    @property
    def sounding(self) -> int:
        """How many of the samples are not zero."""
        return int(np.count_nonzero(self.heard))

    def check(self, rate: int = 16_000) -> None:
        """Whole blocks, in order, at increasing times that go with the samples."""
        last: Any = None
        for packet in self.blocks:
            audio = packet.data
            assert (audio.rate, len(audio.samples), audio.samples.dtype) == (rate, rate // 50, np.int16)
            assert packet.t <= packet.at
            if last is not None:
                assert audio.start >= last.data.end
                assert packet.t > last.t
                assert abs(packet.t - last.t - (audio.end - last.data.end) * SECOND / rate) <= 25 * MS
            last = packet


def microphone(name: Engine, **settings: Any) -> Microphone:
    return Microphone(MicrophoneConfig(engine=name, device=NAMES[name]), **settings)


def noise(seconds: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).integers(-8000, 8000, round(seconds * 16_000)).astype(np.int16)


def place(heard: Samples, said: Samples) -> int:
    """Where `said` begins in `heard`."""
    needle = said[:400].astype(np.float64)
    scores = np.correlate(heard.astype(np.float64), needle, "valid")
    return int(scores.argmax())


def test_it_is_a_source() -> None:
    assert isinstance(Microphone(), Source)


@undisturbed
def test_every_sample_of_what_is_said_arrives_as_it_was_said(card: SoundCard, engine: Engine) -> None:
    said = noise(1.0)

    async def main() -> Session:
        async with Session(microphone(engine)) as session:
            await asyncio.sleep(0.3)
            card.say(said)
            await session.until(lambda: session.sounding > 15_900)
            await asyncio.sleep(0.2)
        return session

    session = clocks.run(main())
    session.check()
    assert not session.of(Fault)
    first = place(session.heard, said)
    assert np.array_equal(session.heard[first : first + len(said)], said)
    end = session.blocks[-1]
    assert end.data.end == len(session.heard)  # no gap
    assert 0 <= (end.at - end.t) / MS < 60


def test_pulled_out_and_put_in_again(card: SoundCard, engine: Engine) -> None:
    """Also where the sound server quietly gives us the monitor of the loudspeaker instead."""

    async def main() -> Session:
        async with Session(microphone(engine)) as session:
            await session.until(lambda: len(session.blocks) > 50)
            await asyncio.to_thread(card.unplug)
            before = session.clock.now()
            await session.until(lambda: bool(session.of(Fault)), 3)
            noticed.append((session.clock.now() - before) / SECOND)
            for _ in range(2):  # it is not there, and silence goes on
                await asyncio.to_thread(card.say(noise(0.3), sink="speaker").wait)
            pulled = len(session.blocks)
            await asyncio.sleep(0.5)
            session.take()
            assert 15 <= len(session.blocks) - pulled <= 80
            assert not session.of(Recovered)
            await asyncio.to_thread(card.plug)
            await session.until(lambda: bool(session.of(Recovered)), 6)
            card.say(said)
            await session.until(lambda: session.sounding >= int(np.count_nonzero(said)))
            await asyncio.sleep(0.2)
        return session

    noticed: list[float] = []
    said = noise(1.0)
    try:
        session = clocks.run(main())
    finally:
        if "virt_mic" not in card._modules:
            card.plug()
    assert noticed[0] < 1
    assert [type(told).__name__ for told in (p.data for p in session.told) if not isinstance(told, Gauge)] == [
        "Fault", "Recovered",
    ]  # fmt: skip
    fault = session.of(Fault)[0]
    assert (fault.where, fault.error) == ("microphone", "SourceLost")
    assert NAMES[engine] in fault.message
    session.check()
    heard = session.heard
    first = place(heard, said)
    assert np.array_equal(heard[first : first + len(said)], said)
    assert not heard[:first].any()  # nothing of the loudspeaker


def test_the_sound_server_dies_and_comes_back(engine: Engine) -> None:
    async def main(card: SoundCard) -> Session:
        async with Session(microphone(engine)) as session:
            await session.until(lambda: len(session.blocks) > 25)
            card.kill()
            before = session.clock.now()
            await session.until(lambda: bool(session.of(Fault)), 3)
            noticed.append((session.clock.now() - before) / SECOND)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(card.start)
            await session.until(lambda: bool(session.of(Recovered)), 6)
            card.say(noise(1.0))
            await session.until(lambda: session.sounding > 15_000)
        return session

    noticed: list[float] = []
    with sound_card() as card:
        session = clocks.run(main(card))
    assert noticed[0] < 1
    session.check()
    seconds = (session.blocks[-1].t - session.blocks[0].t) / SECOND
    assert abs(len(session.blocks) * 0.02 - seconds) < 0.15  # silence in its place


def test_a_sound_server_that_hangs_is_noticed_and_holds_nobody_up(engine: Engine) -> None:
    async def main(card: SoundCard) -> Session:
        async with Session(microphone(engine)) as session:
            await session.until(lambda: len(session.blocks) > 25)
            card.freeze()
            await session.until(lambda: bool(session.of(Fault)), 3)
            await asyncio.sleep(0.5)
        return session

    with sound_card() as card:
        began = time.monotonic()
        try:
            session = clocks.run(main(card))
        finally:
            card.thaw()
        assert time.monotonic() - began < 6
        assert "ms" in session.of(Fault)[0].message
        time.sleep(0.5)  # the calls that hung come back


def test_a_device_that_refuses_the_rate_is_resampled(card: SoundCard) -> None:
    said = np.round(8000 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000)).astype(np.int16)

    async def main() -> Session:
        async with Session(microphone("sounddevice", engine=Picky(backend("sounddevice"), 44_100))) as session:
            card.say(said)
            await session.until(lambda: session.sounding > 31_000)
            await asyncio.sleep(0.3)
        return session

    session = clocks.run(main())
    session.check()
    heard = session.heard
    first = int(np.flatnonzero(np.abs(heard) > 500)[0]) + 800
    piece = heard[first : first + 28_800].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
    assert abs(int(spectrum.argmax()) * 16_000 / len(piece) - 440) < 1
    assert np.abs(piece).max() == pytest.approx(8000, rel=0.05)


def test_samples_that_get_lost_are_counted(card: SoundCard) -> None:
    """Also where the library says nothing of it: the count of samples must not slip."""

    async def main() -> Session:
        async with Session(microphone("sounddevice", engine=Lossy(backend("sounddevice"), 8))) as session:
            await session.until(lambda: bool(session.of(Recovered)), 8)
            await asyncio.sleep(0.5)
        return session

    session = clocks.run(main())
    session.check()
    fault = session.of(Fault)[0]
    assert fault.error == "SamplesLost"
    gaps = [b.data.start - a.data.end for a, b in pairwise(session.blocks)]
    assert str(sum(gaps)) in fault.message
    assert abs(sum(gaps) - 8 * 160) <= 160
    assert sum(gap > 0 for gap in gaps) == 1


def test_a_process_that_was_stopped_has_lost_nothing(card: SoundCard) -> None:
    async def main() -> Session:
        async with Session(microphone("sounddevice")) as session:
            await session.until(lambda: len(session.blocks) > 50)
            time.sleep(0.8)  # noqa: ASYNC251 - the loop is stuck
            await asyncio.sleep(0.5)
        return session

    session = clocks.run(main())
    session.check()
    assert not session.of(Fault)
    assert session.blocks[-1].data.end == len(session.heard)


def test_muted_is_silence(card: SoundCard) -> None:
    async def main() -> Session:
        async with Session(microphone("sounddevice")) as session:
            session.microphone.muted = True
            await asyncio.to_thread(card.say(noise(0.5)).wait)
            await asyncio.sleep(0.3)
            session.take()
            assert len(session.blocks) > 25
            assert not session.heard.any()
            session.microphone.muted = False
            card.say(noise(0.5))
            await session.until(lambda: bool(session.heard.any()))
        return session

    clocks.run(main())


def test_latency_and_drift_are_told(card: SoundCard) -> None:
    async def main() -> Session:
        async with Session(microphone("sounddevice")) as session:
            await session.until(lambda: any(gauge.name == "drift_ppm" for gauge in session.of(Gauge)), 30)
        return session

    session = clocks.run(main())
    figures = {gauge.name: gauge.value for gauge in session.of(Gauge)}
    assert 5 <= figures["latency_ms"] <= 100
    assert abs(figures["drift_ppm"]) < 100


def test_one_that_cannot_be_opened_says_why_and_what_there_is(card: SoundCard, engine: Engine) -> None:
    async def main(config: MicrophoneConfig) -> None:
        async with Microphone(config):
            pass

    with pytest.raises(SourceError, match=rf"no microphone 'nonesuch'.*{NAMES[engine]}.*--list-devices"):
        clocks.run(main(MicrophoneConfig(engine=engine, device="nonesuch")))


def test_a_driver_that_hangs_on_closing_is_left_behind(card: SoundCard) -> None:
    hung = Hanging(backend("sounddevice"))

    async def main() -> float:
        async with Session(microphone("sounddevice", engine=hung)) as session:
            await session.until(lambda: len(session.blocks) > 10)
            began = time.monotonic()
        return time.monotonic() - began

    assert clocks.run(main()) < 4
    hung.let_go.set()


def test_cancelled_it_stops_at_once_and_gives_the_device_back(card: SoundCard) -> None:
    async def main() -> None:
        for _ in range(3):
            began = time.monotonic()
            async with Session(microphone("sounddevice")):
                await asyncio.sleep(0.1)
            assert time.monotonic() - began < 1.5

    clocks.run(main())
    assert "protocol-native" not in card._pactl("list", "short", "source-outputs").stdout.decode()


def test_virtual_time_is_refused() -> None:
    async def main() -> None:
        async with Microphone():
            pass

    with pytest.raises(SourceError, match="real time"):
        clocks.run(main(), virtual=True)


# --- choosing


DEVICES = [
    SoundDevice(0, "HDA Analog", "ALSA", 2, 2, 48_000),
    SoundDevice(1, "USB Headset", "ALSA", 1, 2, 44_100),
    SoundDevice(2, "USB Camera", "ALSA", 1, 0, 16_000, default_input=True),
    SoundDevice(3, "HDMI", "ALSA", 0, 2, 48_000, default_output=True),
]


@pytest.mark.parametrize(
    ("wanted", "index"), [("", 2), (1, 1), ("1", 1), ("USB Headset", 1), ("usb headset", 1), ("camera", 2), ("hda", 0)]
)
def test_a_device_is_chosen_by_name_part_or_number(wanted: str | int, index: int) -> None:
    assert choose(DEVICES, wanted, "input").index == index


@pytest.mark.parametrize(
    ("wanted", "error"),
    [("usb", "could be any of these: 1 'USB Headset', 2 'USB Camera'"), ("hdmi", "no microphone 'hdmi'"), (7, "7")],
)
def test_what_cannot_be_chosen_says_so(wanted: str | int, error: str) -> None:
    with pytest.raises(SourceError, match=error):
        choose(DEVICES, wanted, "input")


def test_without_any_device_it_says_what_to_look_for() -> None:
    with pytest.raises(NoDevice, match="plugged in"):
        choose([], "", "input")


def test_the_list_names_each_device(card: SoundCard, engine: Engine) -> None:
    assert NAMES[engine] in list_devices(engine)


# --- counting


def arrivals(start: int, count: int, rate: int = 16_000, late: int = 5 * MS) -> list[Arrival]:
    block = rate // 100
    return [
        Arrival(bytes(2 * block), False, late + round(k * SECOND / 100)) for k in range(start + 1, start + count + 1)
    ]


def test_another_rate_counts_the_same_time() -> None:
    intake = Intake(16_000, 320)
    intake.begin(44_100, 0)
    blocks = []
    for k in range(500):
        blocks += intake.put(arrivals(k, 1, 44_100), (k + 1) * 10 * MS + 6 * MS)
    assert len(blocks) in (249, 250)
    for n, (t, audio) in enumerate(blocks):
        assert audio.start == n * 320
        assert abs(t - ((n + 1) * 20 + 5) * MS) < 5 * MS


def test_silence_takes_the_place_of_an_outage() -> None:
    intake = Intake(16_000, 320)
    intake.begin(16_000, 0)
    blocks = intake.put(arrivals(0, 11), 120 * MS)
    intake.outage()
    blocks += [intake.silence() for _ in range(50)]
    intake.begin(16_000, 0)
    blocks += intake.put(arrivals(112, 10), 1300 * MS)
    assert [audio.start for _, audio in blocks] == [n * 320 for n in range(60)]
    assert all(17 * MS < b - a < 23 * MS for (a, _), (b, _) in pairwise(blocks))


def test_before_anything_has_come_silence_begins_with_the_session() -> None:
    intake = Intake(16_000, 320)
    intake.begin(16_000, 7 * MS)
    intake.outage()
    assert [intake.silence()[0] for _ in range(2)] == [27 * MS, 47 * MS]


def test_only_a_device_that_was_never_silent_is_suspect() -> None:
    block, zeros = noise(0.02), np.zeros(320, np.int16)
    silence = DeadSilence(16_000)
    assert not any(silence.put(zeros) for _ in range(1000))  # it was so before
    assert not any(silence.put(block) for _ in range(600))
    changes = [k for k in range(1000) if silence.put(zeros)]
    assert changes == [249]
    assert silence.put(block)  # and back
    assert not any(silence.put(zeros) for _ in range(1000))  # not twice


# --- libraries that misbehave


class Picky:
    """Refuses every rate but one."""

    def __init__(self, real: SoundBackend, only: int) -> None:
        self.name, self.moves = real.name, real.moves
        self._real, self._only = real, only

    def devices(self) -> list[SoundDevice]:
        return self._real.devices()

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        if rate != self._only:
            raise RateRefused("the picky one", rate, self._only)
        return self._real.open_input(wanted, rate, block, latency_s, heard)

    def open_output(self, wanted: str | int, rate: int, block: int, latency_s: float, ask: Ask) -> SoundStream:
        if rate != self._only:
            raise RateRefused("the picky one", rate, self._only)
        return self._real.open_output(wanted, rate, block, latency_s, ask)


class Lossy(Picky):
    """Once, after two seconds, so many of its blocks get lost."""

    def __init__(self, real: SoundBackend, blocks: int) -> None:
        super().__init__(real, 16_000)
        self._lost = range(200, 200 + blocks)
        self._calls = 0

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        def lossy(data: bytes, flagged: bool) -> None:
            self._calls += 1
            if self._calls not in self._lost:
                heard(data, flagged)

        return self._real.open_input(wanted, rate, block, latency_s, lossy)


class Hanging(Picky):
    """Closing does not come back until `let_go` is set."""

    def __init__(self, real: SoundBackend) -> None:
        super().__init__(real, 16_000)
        self.let_go = threading.Event()

    def open_input(self, wanted: str | int, rate: int, block: int, latency_s: float, heard: Heard) -> SoundStream:
        stream = self._real.open_input(wanted, rate, block, latency_s, heard)
        close = stream.close

        def hangs() -> None:
            self.let_go.wait()
            close()

        stream.close = hangs  # type: ignore[method-assign]
        return stream
