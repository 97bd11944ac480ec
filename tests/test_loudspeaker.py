"""The loudspeaker, heard at the sound card: every sample, where it was cut, and what happens to the device."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import clock as clocks
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock
from streams.devices.loudspeaker import Loudspeaker, LoudspeakerConfig
from streams.devices.outlet import Feed, Outlet
from streams.devices.sound import Engine, backend
from streams.errors import SourceError
from streams.ports import Speaker
from streams.topics import FEEDBACK, PLAYBACK
from streams.types import Fault, Recovered
from tests.sound_card import Ear, Samples, SoundCard, sound_card, undisturbed
from tests.test_microphone import ENGINES, Picky

RATE = 24_000
NAMES = {"sounddevice": "virtspk", "pyaudio": "virtspk", "miniaudio": "Speaker"}
FADE = RATE * 5 // 1000


@pytest.fixture(scope="module")
def card() -> Iterator[SoundCard]:
    with sound_card(speaker_rate=RATE, speaker_channels=1) as card:
        yield card


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


class Session:
    """A loudspeaker on the bus of a session, and what it has published and reported."""

    def __init__(self, name: Engine, rate: int = RATE, **settings: Any) -> None:
        self.clock = Clock()
        self.bus = Bus(self.clock)
        self._lane = self.bus.open(PLAYBACK, FEEDBACK)
        config = LoudspeakerConfig(engine=name, device=NAMES[name], period_ms=20, latency_ms=60)  # also under load
        self.speaker = Loudspeaker(self.bus, self.clock, rate, config, **settings)
        self.reports: list[tuple[int, int, int]] = []
        self.gone: list[int] = []
        self.speaker.listen(
            lambda played, t: self.reports.append((played, t, self.clock.now())),
            lambda: self.gone.append(self.clock.now()),
        )
        self.blocks: list[Any] = []
        self.told: list[Any] = []

    def take(self) -> None:
        while (packet := self._lane.take()) is not None:
            (self.blocks if packet.topic is PLAYBACK else self.told).append(packet)

    async def until(self, true: Callable[[], bool], seconds: float = 6.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    await asyncio.sleep(0.01)
                    self.take()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {self.speaker.played} played; {self.told}") from None

    def of(self, kind: type) -> list[Any]:
        return [packet.data for packet in self.told if isinstance(packet.data, kind)]

    @property
    def recording(self) -> Samples:
        """The blocks laid at `start` into silence, from the first on."""
        self.take()
        first = self.blocks[0].data.start
        laid = np.zeros(self.blocks[-1].data.end - first, np.int16)
        for packet in self.blocks:
            laid[packet.data.start - first : packet.data.end - first] = packet.data.samples
        return laid

    def check(self) -> None:
        """No block overlaps another, times go with places, and reports come when they say."""
        end = t = -1
        for packet in self.blocks:
            audio = packet.data
            assert audio.start >= end
            assert packet.t > t
            assert abs(packet.t - audio.end * SECOND / audio.rate) < 30 * MS
            assert -100 * MS < packet.t - packet.at < 150 * MS  # before its end is heard, unless the machine is busy
            end, t = audio.end, packet.t
        played = 0
        for index, at, now in self.reports:
            assert index > played
            assert -5 * MS < now - at < 150 * MS
            played = index
        assert played == self.speaker.played


def speech(seconds: float, seed: int = 1, rate: int = RATE) -> Samples:
    """Noise without a zero in it."""
    values = np.random.default_rng(seed).integers(500, 8000, round(seconds * rate))
    return (values * np.where(values % 2, 1, -1)).astype(np.int16)


def find(heard: Samples, said: Samples) -> int:
    """Where `said` begins in `heard`."""
    for place in np.flatnonzero(heard == said[0]):
        if np.array_equal(heard[place : place + 50], said[:50]):
            return int(place)
    raise AssertionError("it was not heard")


async def heard_by(ear: Ear, seconds: float = 0.4) -> Samples:
    await asyncio.sleep(seconds)
    return ear.samples


@undisturbed
def test_what_is_written_is_heard_sample_by_sample(card: SoundCard, engine: Engine) -> None:
    said = speech(1.5)

    async def main() -> tuple[Session, Samples, list[int]]:
        session = Session(engine)
        assert isinstance(session.speaker, Speaker)
        begins = []
        with card.listen() as ear:
            async with session.speaker.device():
                for begin in range(0, len(said), 1777):  # no whole blocks
                    begins.append(session.speaker.write(said[begin : begin + 1777]))
                await session.until(lambda: session.speaker.played == len(said))
                return session, await heard_by(ear), begins

    session, heard, begins = clocks.run(main())
    assert begins == list(range(0, len(said), 1777))
    session.check()
    assert not session.of(Fault)
    first = find(heard, said)
    assert np.array_equal(heard[first : first + len(said)], said)
    assert np.array_equal(session.recording[: len(said)], said)
    assert not session.recording[len(said) + FADE :].any()


@undisturbed
def test_pausing_and_resuming_misses_and_repeats_nothing(card: SoundCard, engine: Engine) -> None:
    said = speech(1.5, seed=2)

    async def main() -> tuple[Session, Samples]:
        session = Session(engine)
        with card.listen() as ear:
            async with session.speaker.device():
                session.speaker.write(said)
                for _ in range(4):
                    await asyncio.sleep(0.21)
                    session.speaker.pause()
                    await asyncio.sleep(0.13)
                    session.speaker.resume()
                await session.until(lambda: session.speaker.played == len(said))
                return session, await heard_by(ear)

    session, heard = clocks.run(main())
    session.check()
    laid = session.recording
    speaking = np.concatenate([p.data.samples for p in session.blocks if np.abs(p.data.samples).min() >= 500])
    assert np.array_equal(speaking, said[: len(speaking)])
    assert len(speaking) >= len(said) - session.blocks[0].data.rate // 100
    first = find(heard, said)
    assert np.array_equal(heard[first : first + len(laid)], laid)  # the pauses too, and how they begin
    assert (laid == 0).sum() > 4 * 0.1 * RATE


@undisturbed
def test_what_was_heard_of_what_is_cut_is_what_it_tells(card: SoundCard, engine: Engine) -> None:
    one, two = speech(3.0, seed=3), speech(0.5, seed=4)

    async def main() -> tuple[Session, Samples, int, int]:
        session = Session(engine)
        with card.listen() as ear:
            async with session.speaker.device():
                session.speaker.write(one)
                await session.until(lambda: session.speaker.played > RATE // 2)
                told: list[int] = []
                before = session.speaker.played
                session.speaker.flush(told.append)
                (heard,) = told
                assert 0 <= heard - before <= RATE // 8
                await session.until(lambda: session.speaker.played == heard)
                await asyncio.sleep(0.3)
                assert session.speaker.played == heard
                assert session.speaker.write(two) == heard
                await session.until(lambda: session.speaker.played == heard + len(two))
                return session, await heard_by(ear), heard, before

    session, heard, cut, _ = clocks.run(main())
    session.check()
    first = find(heard, one)
    assert np.array_equal(heard[first : first + cut], one[:cut])
    after = heard[first + cut :]
    assert np.all(np.abs(np.diff(after[:FADE].astype(int))) < abs(int(one[cut - 1])) / 30 + 2)  # no click
    begins = find(after, two)
    assert not after[FADE:begins].any()
    assert np.array_equal(after[begins : begins + len(two)], two)


def test_flushing_while_paused_or_idle(card: SoundCard) -> None:
    async def main() -> None:
        session = Session("sounddevice")
        told: list[int] = []
        session.speaker.flush(told.append)
        async with session.speaker.device():
            session.speaker.pause()
            session.speaker.write(speech(0.5))
            await asyncio.sleep(0.2)
            session.speaker.flush(told.append)
            session.speaker.resume()
            await asyncio.sleep(0.2)
            session.take()
            assert told == [0, 0]
            assert not session.blocks
            session.speaker.write(speech(0.1))
            await session.until(lambda: session.speaker.played == RATE // 10)

    clocks.run(main())


def test_the_sound_server_dies_and_comes_back(engine: Engine) -> None:
    """Nothing waits for ever meanwhile, and what is said afterwards is heard."""
    said = speech(0.5, seed=5)

    async def main(card: SoundCard) -> tuple[Session, Samples]:
        session = Session(engine)
        async with session.speaker.device():
            session.speaker.write(speech(1.0))
            await asyncio.sleep(0.4)
            await asyncio.to_thread(card.kill)
            killed = session.clock.now()
            await session.until(lambda: bool(session.of(Fault)), 3)
            assert session.clock.now() - killed < SECOND
            assert session.speaker.played < RATE
            left = session.speaker.played
            await session.until(lambda: len(session.gone) == 2, 8)  # again and again
            assert session.speaker.played == left, "nobody has heard it"
            session.speaker.flush(lambda heard: None)
            await asyncio.to_thread(card.start)
            await session.until(lambda: bool(session.of(Recovered)))
            with card.listen() as ear:
                begin = session.speaker.write(said)
                assert begin == left
                await session.until(lambda: session.speaker.played == begin + len(said))
                return session, await heard_by(ear)

    with sound_card(RATE, 1) as card:
        session, heard = clocks.run(main(card))
    fault = session.of(Fault)[0]
    assert (fault.where, fault.error) == ("speaker", "SourceLost")
    assert NAMES[engine] in fault.message
    assert find(heard, said) + len(said) - 50 <= find(heard, said[-50:])


class Sink:
    """A device that takes a block whenever one is due, and can be pulled out; an engine that has no other."""

    name, moves, device, latency_ns = "sink", False, "sink", 0

    def __init__(self) -> None:
        self.there = True
        self._thread: threading.Thread | None = None
        self._open = False

    def devices(self) -> list[Any]:
        return []

    def open_output(
        self, device: Any, rate: int, block: int, latency: int, ask: Callable[[bool], bytes | None]
    ) -> "Sink":
        if not self.there:
            raise SourceError("it is not there.")
        self.rate, self.block, self._open = rate, block, True

        def play() -> None:
            due = time.monotonic()
            while self._open and self.there:
                due += block / rate
                time.sleep(max(0.0, due - time.monotonic()))
                ask(False)

        self._thread = threading.Thread(target=play)
        self._thread.start()
        return self

    def alive(self) -> bool:
        return self.there

    def close(self) -> None:
        self._open = False
        if self._thread is not None:
            self._thread.join()


def test_it_comes_back_in_the_middle_of_what_waits_and_is_the_only_one_that_takes_it() -> None:
    async def main() -> Session:
        sink = Sink()
        session = Session("sounddevice", engine=sink)
        async with session.speaker.device():
            session.speaker.write(speech(3.0))
            await asyncio.sleep(0.3)
            sink.there = False
            await session.until(lambda: len(session.gone) == 1)
            lost = next(packet.at for packet in session.told if isinstance(packet.data, Fault))
            assert 1.9 * SECOND < session.gone[0] - lost < 4 * SECOND
            left = session.speaker.played
            assert 0 < left < RATE
            sink.there = True
            await session.until(lambda: session.speaker.played == 3 * RATE, 12)
            return session

    session = clocks.run(main())
    played = [index for index, *_ in session.reports]
    assert played == sorted(set(played)), "reports never go back"
    spoken = np.concatenate([packet.data.samples for packet in session.blocks])
    assert np.count_nonzero(np.abs(spoken) >= 500) >= 3 * RATE, "each block was played, none of them to nobody"


def test_a_device_that_refuses_the_rate_is_resampled(card: SoundCard) -> None:
    tone = np.round(8000 * np.sin(np.arange(22_050) * 2 * np.pi * 440 / 22_050)).astype(np.int16)

    async def main() -> tuple[Session, Samples]:
        session = Session("sounddevice", 22_050, engine=Picky(backend("sounddevice"), RATE))
        with card.listen() as ear:
            async with session.speaker.device():
                for begin in range(0, len(tone), 5000):
                    session.speaker.write(tone[begin : begin + 5000])
                await session.until(lambda: session.speaker.played == len(tone))  # to the very last
                session.speaker.write(tone)
                await session.until(lambda: session.speaker.played > len(tone) + 5000)
                told: list[int] = []
                session.speaker.flush(told.append)
                await session.until(lambda: session.speaker.played == told[0])
                return session, await heard_by(ear)

    session, heard = clocks.run(main())
    assert {packet.data.rate for packet in session.blocks} == {RATE}
    first = int(np.flatnonzero(np.abs(heard) > 500)[0])
    piece = heard[first : first + RATE - 100].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
    assert abs(int(spectrum.argmax()) * RATE / len(piece) - 440) < 1.1
    assert abs(np.count_nonzero(np.abs(heard) > 50) / RATE - session.speaker.played / 22_050) < 0.05


def test_one_that_cannot_be_opened_says_why_and_what_there_is(card: SoundCard, engine: Engine) -> None:
    async def main() -> None:
        clock = Clock()
        config = LoudspeakerConfig(engine=engine, device="nonesuch")
        async with Loudspeaker(Bus(clock), clock, RATE, config).device():
            pass

    with pytest.raises(SourceError, match=rf"no loudspeaker 'nonesuch'.*{NAMES[engine]}.*--list-devices"):
        clocks.run(main())


def test_virtual_time_is_refused() -> None:
    async def main() -> None:
        clock = Clock()
        async with Loudspeaker(Bus(clock), clock, RATE).device():
            pass

    with pytest.raises(SourceError, match="real time"):
        clocks.run(main(), virtual=True)


# --- the queue


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "take", "take", "flush", "pause"]), st.integers(1, 1500)), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_each_sample_is_taken_or_taken_back(steps: list[tuple[str, int]]) -> None:
    outlet = Outlet(RATE, RATE, 240)
    feed = Feed(outlet, RATE, 240)
    while not outlet.pop() and feed._position < feed._settle:
        feed.take(0, False)
    expected: list[int] = []  # what must have been taken up to now, or will be
    value = 0
    for kind, size in steps:
        if kind == "write":
            value = value % 30_000 + 1
            assert outlet.write(np.full(size, value, np.int16)) == len(expected)
            expected += [value] * size
        elif kind == "take":
            for _ in range(size % 7):
                feed.take(0, False)
        elif kind == "flush":
            index = outlet.flush()
            assert index == max((taken.end for taken in feed.taken if taken.speech), default=0)
            del expected[index:]
        else:
            outlet.paused = not outlet.paused
    outlet.paused = False
    while len(outlet):
        feed.take(0, False)
    spoken: list[int] = []
    for taken in feed.taken:
        if taken.speech:
            assert taken.samples is not None
            assert len(taken.samples) == 240
            spoken += taken.samples[: taken.speech].tolist()
            assert taken.end == len(spoken)
    assert spoken == expected


@pytest.mark.parametrize("device_rate", [RATE, 44_100])
def test_two_threads_never_get_the_same_block(device_rate: int) -> None:
    """The device's thread takes as fast as it can, while the loop writes and flushes."""
    block = device_rate // 100
    outlet = Outlet(RATE, device_rate, block)
    feed = Feed(outlet, device_rate, block)
    feed._position = device_rate
    stop = threading.Event()

    def device() -> None:
        while not stop.is_set():
            feed.take(0, False)

    thread = threading.Thread(target=device)
    thread.start()
    told, ends = 0, []
    try:
        for n in range(300):
            begin = outlet.write(np.full(1 + n * 37 % 2000, 1 + n % 30_000, np.int16))
            assert begin >= told
            if n % 3 == 0:
                told = outlet.flush()
                ends.append(told)
    finally:
        stop.set()
        thread.join()
    taken = [(each.end, each.speech) for each in feed.taken if each.speech]
    reached = [end for end, _ in taken]
    assert reached == sorted(reached)  # never back
    if device_rate == RATE:
        last = 0
        for end, count in taken:
            assert end - count == last  # no sample missing, none twice
            last = end
    assert set(ends) <= {0, *reached}


def test_another_device_goes_on_where_the_first_stopped() -> None:
    outlet = Outlet(RATE, RATE, 240)
    outlet.write(speech(1.0))
    for _ in range(10):
        outlet.pop()
    outlet.change(48_000, 480)
    outlet.write(speech(0.5))
    pieces = []
    while (piece := outlet.pop()) is not None:
        pieces.append(piece)
        outlet.settle()
    assert pieces[0].begin == 2400
    assert pieces[-1].end == round(1.5 * RATE)
    assert all(a.end == b.begin for a, b in pairwise(pieces))
    assert abs(sum(len(piece.samples) for piece in pieces) - 48_000 * 1.4) <= 2
