"""Devices far away: time by counting, losses told, and a ledger that equals what the far loudspeaker really played."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.far_clock import FarClock
from streams.devices.jpeg import jpeg_size
from streams.devices.remote import BLOCK, RATE, SAMPLE, RemoteCamera, RemoteMicrophone
from streams.devices.remote_speaker import RemoteSpeaker
from streams.errors import SourceError
from streams.ports import Source, Speaker
from streams.topics import ALL, FEEDBACK, PLAYBACK
from streams.types import Audio, Fault, Image, Recovered, StopPressed, Typed
from tests.far_player import FarPlayer


def steps(*kinds: str) -> Any:
    """Sequences of what is done: kind, samples, ms until the next."""
    return st.lists(
        st.tuples(st.sampled_from(kinds), st.integers(1, 15_000), st.integers(0, 900)), min_size=3, max_size=20
    )


NETWORKS = st.sampled_from([(0, 0), (5, 20), (60, 150)])
SPOKEN = ("write", "write", "write", "pause", "resume", "flush")
LEFT = ("lose", "release", "attach")


def take(lane: Any) -> list[Any]:
    packets = []
    while (packet := lane.take()) is not None:
        packets.append(packet)
    return packets


class Scene:
    """A remote speaker with players that come and go; `value` of a sample is its number in the order of writing."""

    def __init__(self, clock: Clock, rate: int, seed: int, latency_ms: float, jitter_ms: float) -> None:
        self.clock, self.seed = clock, seed
        self.bus = Bus(clock)
        self.lane = self.bus.open(PLAYBACK, FEEDBACK)
        self.speaker = RemoteSpeaker(self.bus, clock, rate)
        self.how = {"latency_ms": latency_ms, "jitter_ms": jitter_ms}
        self.players: list[FarPlayer] = []
        self.reports: list[tuple[int, int]] = []
        self.told: list[tuple[int, int]] = []
        self.gone = 0
        self.speaker.listen(lambda played, t: self.reports.append((played, t)), self._given_up)

    def attach(self, group: asyncio.TaskGroup) -> FarPlayer:
        player = FarPlayer(self.speaker, self.clock, self.seed + len(self.players), **self.how)
        self.players.append(player)
        self.tasks = [*getattr(self, "tasks", []), group.create_task(player.run())]
        self.speaker.attach(player)
        return player

    def _given_up(self) -> None:
        self.gone += 1
        heard: list[int] = []
        self.speaker.flush(heard.append)
        assert heard == [self.speaker.played], "without a player it is known at once"

    def leave(self, why: str) -> None:
        if self.players:
            self.players[-1].connected = False
        self.speaker.detach(why)


def perform(steps: list[tuple[str, int, int]], rate: int, seed: int, latency: float, jitter: float) -> Scene:
    async def main() -> Scene:
        clock = Clock()
        scene = Scene(clock, rate, seed, latency, jitter)
        speaker = scene.speaker
        async with asyncio.TaskGroup() as group, speaker.device():
            scene.attach(group)
            for kind, size, wait in steps:
                if kind == "write":
                    begin = speaker._written
                    values = (np.arange(begin, begin + size) % 30_000 + 1).astype(np.int16)
                    assert speaker.write(values) == begin
                elif kind == "flush":
                    boundary = speaker._written
                    speaker.flush(lambda heard, boundary=boundary: scene.told.append((heard, boundary)))  # type: ignore[misc]
                elif kind in ("lose", "release"):
                    scene.leave("it is gone." if kind == "lose" else "")
                elif kind == "attach":
                    scene.leave("")
                    scene.attach(group)
                else:
                    getattr(speaker, kind)()
                await asyncio.sleep(wait / 1000)
            speaker.resume()
            for _ in range(60):
                await asyncio.sleep(1)
                if not speaker._pieces:
                    break
            for task in scene.tasks:
                task.cancel()
        return scene

    return run(main(), virtual=True)


@settings(max_examples=100, deadline=None)
@given(steps(*SPOKEN), st.sampled_from([16000, 22050]), st.integers(0, 9), NETWORKS)
def test_what_is_told_is_what_sounded(
    steps: list[tuple[str, int, int]], rate: int, seed: int, network: tuple[float, float]
) -> None:
    scene = perform(steps, rate, seed, *network)
    blocks = accounts(scene, steps)
    told = np.concatenate([np.zeros(0, np.int16), *(packet.data.samples for packet in blocks)]).tolist()
    heard = scene.players[0].heard
    assert len(told) == len(heard), "the ledger is what the far player really played"
    faded = sum(value != own for value, (_, _, own) in zip(told, heard))
    cuts = sum(kind == "flush" for kind, *_ in steps)
    assert faded <= cuts * 5 * rate // 1000
    times = {index: t for index, t, _ in heard}
    for index, t in scene.reports:
        late = t - times[index - 1]
        assert abs(late) <= (network[0] + network[1]) * MS + 80 * MS


@settings(max_examples=100, deadline=None)
@given(steps(*SPOKEN, *LEFT), st.sampled_from([16000, 22050]), st.integers(0, 9), NETWORKS)
def test_whoever_leaves_nothing_is_told_twice_and_every_wait_ends(
    steps: list[tuple[str, int, int]], rate: int, seed: int, network: tuple[float, float]
) -> None:
    scene = perform(steps, rate, seed, *network)
    blocks = accounts(scene, steps)
    told = sum(len(packet.data.samples) for packet in blocks)
    written = sum(size for kind, size, _ in steps if kind == "write")
    assert told == written if not scene.gone and "flush" not in [kind for kind, *_ in steps] else told <= written
    cuts = {kind for kind, *_ in steps} & {"flush", *LEFT}
    if cuts <= {"lose"}:  # whose player is never replaced, and nothing is taken back: the one player heard it all
        assert told <= len(scene.players[0].heard)


def accounts(scene: Scene, steps: list[tuple[str, int, int]]) -> list[Any]:
    """What holds whatever happens; returns the blocks that sounded."""
    packets = take(scene.lane)
    blocks = [packet for packet in packets if packet.topic is PLAYBACK]
    faults = [packet.data for packet in packets if isinstance(packet.data, Fault)]
    assert not [fault for fault in faults if fault.error == "PlayerWrong"], faults
    end = 0
    for packet in blocks:  # never overlapping, on the session's sample clock
        assert packet.data.start >= end
        assert packet.t == round(packet.data.end * SECOND / scene.speaker.rate)
        end = packet.data.end
    played = [played for played, _ in scene.reports]
    assert played == sorted(set(played))
    assert len(played) == len(blocks)
    for heard, boundary in scene.told:
        assert not [index for index in played if heard < index <= boundary], "nothing after a cut"
    assert len(scene.told) == sum(kind == "flush" for kind, *_ in steps), "every flush is told, once"
    assert not scene.speaker._pieces, "everything comes to its end"
    return blocks


def speak(act: Any, rate: int = 16_000, **how: Any) -> tuple[Any, list[Any], Any]:
    """Run `act(speaker, clock, player)` on a speaker with one far player; its answer, the packets, and the player."""

    async def main() -> tuple[Any, list[Any], Any]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(*ALL)
        speaker = RemoteSpeaker(bus, clock, rate, **how)
        assert isinstance(speaker, Speaker)
        player = FarPlayer(speaker, clock, 1, latency_ms=5, jitter_ms=10)
        async with asyncio.TaskGroup() as group, speaker.device():
            playing = group.create_task(player.run())
            answer = await act(speaker, clock, player)
            playing.cancel()
        return answer, take(lane), player

    return run(main(), virtual=True)


def tone(samples: int) -> Any:
    return np.full(samples, 1000, np.int16)


@pytest.mark.parametrize("lost", ["", "the page has gone."])
@pytest.mark.parametrize("paused", [False, True])
def test_with_nobody_nothing_is_heard_and_what_waits_is_given_up_each_time(lost: str, paused: bool) -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> list[float]:
        gone: list[int] = []

        def given_up() -> None:
            gone.append(clock.now())
            speaker.flush(lambda heard: None)

        speaker.listen(lambda played, t: None, given_up)
        if lost:
            speaker.attach(player)
            speaker.detach(lost)
        if paused:
            speaker.pause()
        waited = []
        for _ in range(2):
            await asyncio.sleep(5)
            speaker.write(tone(16_000))
            began, count = clock.now(), len(gone)
            await asyncio.sleep(5)
            assert len(gone) == count + 1
            waited.append((gone[-1] - began) / SECOND)
        assert speaker.played == 0
        return waited

    waited, packets, _ = speak(act)
    assert waited == [3.0 if lost else 0.5] * 2
    assert not packets


def test_who_hands_the_player_over_in_time_loses_nothing() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> int:
        gone: list[int] = []
        speaker.listen(lambda played, t: None, lambda: gone.append(1))
        speaker.write(tone(16_000))
        await asyncio.sleep(0.4)
        speaker.attach(player)
        await asyncio.sleep(2)
        assert not gone
        return speaker.played

    played, _, player = speak(act)
    assert played == len(player.heard) == 16_000


def test_a_player_lost_in_mid_speech_is_told_and_its_return_goes_on_from_the_last_sample_reported() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> tuple[int, int]:
        speaker.attach(player)
        speaker.write(tone(48_000))
        await asyncio.sleep(1)
        player.connected = False
        speaker.detach("the page has gone.")
        left = speaker.played
        await asyncio.sleep(1)
        assert speaker.played == left, "it waits"
        again = FarPlayer(speaker, clock, 2, latency_ms=5, jitter_ms=10)
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(again.run())
            speaker.attach(again)
            await asyncio.sleep(4)
            playing.cancel()
        player.heard += again.heard
        return left, speaker.played

    (left, played), packets, player = speak(act)
    assert 12_000 < left < 16_000
    assert played == 48_000
    kinds = [type(packet.data) for packet in packets if packet.topic is FEEDBACK]
    assert kinds == [Fault, Recovered]
    again = [index for index, *_ in player.heard]
    assert sorted(set(again)) == list(range(48_000))


def test_a_player_that_stands_still_is_given_up_and_taken_back_when_it_answers() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> int:
        gone: list[int] = []
        speaker.listen(lambda played, t: None, lambda: gone.append(clock.now()))
        speaker.attach(player)
        player.deaf = True
        speaker.write(tone(80_000))
        await asyncio.sleep(2.5)
        assert speaker.played == 0
        assert not gone
        await asyncio.sleep(1.5)
        assert gone == [3 * SECOND]
        assert speaker.played == 0, "nobody has heard it"
        player.deaf = False
        player._send(speaker.flushed, speaker._deaf, 0)
        await asyncio.sleep(6)
        return speaker.played

    played, packets, _ = speak(act)
    assert played == 80_000
    assert [type(packet.data) for packet in packets if packet.topic is FEEDBACK] == [Fault, Recovered]


def test_a_flush_that_is_not_answered_is_told_after_a_second() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> list[tuple[int, int]]:
        speaker.attach(player)
        speaker.write(tone(48_000))
        await asyncio.sleep(0.5)
        player.deaf = True
        told: list[tuple[int, int]] = []
        speaker.flush(lambda heard: told.append((heard, clock.now())))
        at = clock.now()
        await asyncio.sleep(2)
        return [(heard, t - at) for heard, t in told]

    told, _, _ = speak(act)
    assert [t for _, t in told] == [SECOND]
    assert 0 < told[0][0] < 16_000


def test_hostile_reports_are_clamped_and_told_once_each() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> list[int]:
        player.deaf = True
        speaker.attach(player)
        speaker.write(tone(160_000))
        seen = []
        for index in (10**15, -5, 10**15, 0, 12, 48_000):
            await asyncio.sleep(0.1)
            speaker.report(index, -(10**18))
            seen.append(speaker.played)
        speaker.flushed(999, 10**12)
        speaker.flush(seen.append)
        number = speaker._flushes[0].number
        speaker.flushed(number, 10**15)
        return seen

    seen, packets, _ = speak(act)
    assert seen == sorted(seen)
    assert seen[-1] <= 0.8 * 16_000, "not more than can have sounded since it was sent"
    faults = [packet.data for packet in packets if isinstance(packet.data, Fault)]
    assert {fault.error for fault in faults} == {"PlayerWrong"}
    assert len(faults) == len({fault.message for fault in faults}) == 3


NUMBERS = st.integers(-(2**60), 2**60) | st.integers(0, 40_000)
HOSTILE = st.tuples(
    st.sampled_from(["write", "pause", "resume", "flush", "report", "flushed", "detach", "attach", "wait"]),
    NUMBERS,
    st.integers(0, 6),
)


class Mute:
    """A player that does nothing."""

    def play(self, samples: Any, rate: int, index: int) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def flush(self, number: int) -> None: ...


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, max_size=40))
def test_whatever_a_page_says_nothing_breaks_and_every_flush_is_told_once(calls: list[tuple[str, int, int]]) -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(PLAYBACK)
        speaker = RemoteSpeaker(bus, clock, 16_000)
        told: list[int] = []
        flushes = last = 0
        async with speaker.device():
            speaker.attach(Mute())
            for kind, number, small in calls:
                if kind == "write":
                    speaker.write(tone(small * 3000))
                elif kind == "flush":
                    flushes += 1
                    speaker.flush(told.append)
                elif kind == "report":
                    speaker.report(number, -number)
                elif kind == "flushed":
                    speaker.flushed(small, number)
                elif kind == "detach":
                    speaker.detach("gone." if small % 2 else "")
                elif kind == "attach":
                    speaker.attach(Mute())
                elif kind == "wait":
                    await asyncio.sleep(small)
                else:
                    getattr(speaker, kind)()
                assert last <= speaker.played <= speaker.written
                last = speaker.played
            speaker.listen(lambda played, t: None, lambda: speaker.flush(lambda heard: None))
            speaker.detach()
            speaker.resume()
            await asyncio.sleep(90)
            assert not speaker._pieces
            assert len(told) == flushes
            assert told == sorted(told)
        assert sum(len(packet.data.samples) for packet in take(lane)) <= speaker.written

    run(main(), virtual=True)


def test_it_is_sent_at_most_a_second_ahead() -> None:
    async def act(speaker: RemoteSpeaker, clock: Clock, player: FarPlayer) -> int:
        speaker.attach(player)
        speaker.pause()
        speaker.write(tone(16_000 * 20))
        await asyncio.sleep(1)
        return speaker._sent

    sent, _, _ = speak(act)
    assert 16_000 <= sent <= 16_800


# --- microphone


def listen(act: Any) -> tuple[RemoteMicrophone, list[Any]]:
    """Run `act(microphone, clock)` on a running microphone."""

    async def main() -> tuple[RemoteMicrophone, list[Any]]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(*ALL)
        microphone = RemoteMicrophone()
        assert isinstance(microphone, Source)
        async with microphone, asyncio.TaskGroup() as group:
            running = group.create_task(microphone.run(bus, clock))
            await asyncio.sleep(0)
            await act(microphone, clock)
            running.cancel()
        return microphone, take(lane)

    return run(main(), virtual=True)


def block(number: int) -> Any:
    return np.full(BLOCK, number % 1000 + 1, np.int16)


async def send(
    microphone: RemoteMicrophone, clock: Clock, count: int, *, first: int = 0, late_ms: Any = lambda number: 3.0
) -> None:
    """`count` blocks from now on, each at its time plus `late_ms(number)`, in order."""
    begin = clock.now()
    for number in range(count):
        end = begin + (number + 1) * 20 * MS
        await clock.sleep_until(end + round(late_ms(number) * MS))
        microphone.push(block(first + number), first + number, end + 77 * SECOND)


def sound(packets: list[Any]) -> list[Any]:
    return [packet for packet in packets if isinstance(packet.data, Audio)]


def whole(packets: list[Any]) -> None:
    """The stream is on one sample clock, and its times follow it."""
    end = 0
    last = 0
    for packet in sound(packets):
        assert packet.data.start >= end
        end = packet.data.end
        assert packet.t >= last
        last = packet.t
        assert packet.t <= packet.at


def test_silence_at_the_pace_of_the_clock_while_nobody_is_there() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.push(block(1), 0, 0)  # nobody attached it
        await asyncio.sleep(1)

    _, packets = listen(act)
    whole(packets)
    assert sum(len(packet.data.samples) for packet in sound(packets)) == pytest.approx(RATE, abs=BLOCK)
    assert not any(packet.data.samples.any() for packet in sound(packets))


def test_blocks_come_through_whole_at_their_times_whatever_the_network_does() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        await asyncio.sleep(0.5)
        microphone.attach()
        await send(microphone, clock, 200, late_ms=lambda number: 3 + (number * 7919 % 60))
        microphone.detach()
        await asyncio.sleep(0.5)

    microphone, packets = listen(act)
    whole(packets)
    assert microphone.lost == 0
    spoken = [packet for packet in sound(packets) if packet.data.samples.any()]
    numbers = [int(packet.data.samples[-1]) for packet in spoken]
    assert numbers == list(range(numbers[0], 201)), "in order, none missing"
    assert numbers[0] <= 5, "of the beginning only what had been filled with silence"
    for packet in spoken[20:]:
        true = 500 * MS + int(packet.data.samples[-1]) * 20 * MS
        assert abs(packet.t - true) <= 25 * MS
    assert not [packet for packet in packets if isinstance(packet.data, Fault)]


def test_lost_blocks_are_a_jump_and_a_fault_with_their_count() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        await send(microphone, clock, 50)
        await asyncio.sleep(0.1)
        await send(microphone, clock, 50, first=55)

    microphone, packets = listen(act)
    whole(packets)
    assert microphone.lost == 5 * BLOCK
    jumps = [
        b.data.start - a.data.end for a, b in zip(sound(packets), sound(packets)[1:]) if b.data.start != a.data.end
    ]
    assert 5 * BLOCK in jumps
    faults = [packet.data for packet in packets if isinstance(packet.data, Fault)]
    assert [fault.error for fault in faults] == ["SamplesLost"]
    assert "1600 samples" in faults[0].message
    last = sound(packets)[-1]
    assert abs(last.t - last.data.end * SAMPLE) < 25 * MS, "the sample clock is the session's"


@pytest.mark.parametrize("blocks", [6, 240, -50])
def test_a_jump_for_which_no_time_has_passed_does_not_move_the_sample_clock(blocks: int) -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        for first in range(4):
            await send(microphone, clock, 50, first=100 + first * (50 + blocks))

    _, packets = listen(act)
    whole(packets)
    last = sound(packets)[-1]
    assert abs(last.t - 4 * SECOND) < 25 * MS
    assert abs(last.t - last.data.end * SAMPLE) < 250 * MS, "the sample clock is the session's"


def test_a_burst_after_a_stall_with_blocks_missing_keeps_their_place() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        await send(microphone, clock, 50)
        began = clock.now()
        await asyncio.sleep(0.4)
        for number in (0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19):  # 3 to 9 were dropped over there
            microphone.push(block(number), 50 + number, began + (number + 1) * 20 * MS + 77 * SECOND)
        await send(microphone, clock, 50, first=70)

    microphone, packets = listen(act)
    whole(packets)
    assert microphone.lost == 7 * BLOCK
    last = sound(packets)[-1]
    assert abs(last.t - last.data.end * SAMPLE) < 25 * MS


def test_who_takes_it_again_and_again_is_laid_at_the_time_of_the_session() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        for _ in range(10):
            microphone.attach()
            await send(microphone, clock, 10)
            await asyncio.sleep(0.4)

    _, packets = listen(act)
    whole(packets)
    last = sound(packets)[-1]
    assert abs(last.t - last.data.end * SAMPLE) < 25 * MS


def test_a_talker_who_goes_silent_is_told_within_a_second_and_so_is_the_return() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        await send(microphone, clock, 50)
        await asyncio.sleep(1.5)
        await send(microphone, clock, 50, first=50)
        microphone.detach("the page has gone.")
        await asyncio.sleep(0.3)
        microphone.attach()
        await send(microphone, clock, 10)
        microphone.detach()
        await asyncio.sleep(0.3)

    _, packets = listen(act)
    whole(packets)
    told = [(type(packet.data), packet.at) for packet in packets if packet.topic is FEEDBACK]
    assert [kind for kind, _ in told] == [Fault, Recovered, Fault, Recovered]
    assert told[0][1] <= 2 * SECOND
    for a, b in zip(sound(packets), sound(packets)[1:]):
        assert b.t - a.t <= 600 * MS, "it goes on, silent"


@pytest.mark.parametrize(("away_s", "wished", "kinds"), [
    (3.0, False, ["SourceAway", "Recovered"]),
    (8.0, False, ["SourceAway", "SourceLost", "Recovered"]),
    (8.0, True, ["SourceAway", "Recovered"]),
])  # fmt: skip
def test_only_who_does_not_come_back_soon_is_lost(away_s: float, wished: bool, kinds: list[str]) -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        await send(microphone, clock, 10)
        if wished:
            await asyncio.sleep(1)
            microphone.detach()
        else:
            microphone.detach("the page has gone.")
        await asyncio.sleep(away_s)
        microphone.attach()
        await send(microphone, clock, 10)

    _, packets = listen(act)
    whole(packets)
    told = [packet for packet in packets if packet.topic is FEEDBACK]
    assert [getattr(packet.data, "error", "Recovered") for packet in told] == kinds
    if "SourceLost" in kinds:
        assert 4.9 * SECOND < told[1].at - told[0].at < 5.2 * SECOND


def test_too_much_is_dropped_and_told_and_never_runs_ahead_of_the_clock() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        for number in range(1000):
            microphone.push(block(number), number, number * 20 * MS)
            await asyncio.sleep(0.002)

    microphone, packets = listen(act)
    whole(packets)
    assert microphone.lost > 0
    assert any(isinstance(packet.data, Fault) for packet in packets)
    assert sum(len(packet.data.samples) for packet in sound(packets)) <= 3.2 * RATE


def test_muted_is_silence_on_the_same_clock() -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        microphone.muted = True
        await send(microphone, clock, 50)
        await asyncio.sleep(1)

    _, packets = listen(act)
    whole(packets)
    assert not any(packet.data.samples.any() for packet in sound(packets))
    assert not [packet for packet in packets if isinstance(packet.data, Fault)]


def test_typed_and_stop_are_percepts_also_what_was_typed_before_a_session_began() -> None:
    async def main() -> list[Any]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(*ALL)
        microphone = RemoteMicrophone()
        microphone.type("early")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(microphone.run(bus, clock))
            await asyncio.sleep(0.01)
            microphone.type("hello")
            microphone.stop("console")
            running.cancel()
        return take(lane)

    packets = run(main(), virtual=True)
    said = [packet.data for packet in packets if not isinstance(packet.data, Audio)]
    assert said == [Typed("early"), Typed("hello"), StopPressed("console")]


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(320, np.float32), np.zeros((2, 160), np.int16)])
def test_what_is_no_block_is_refused(samples: Any) -> None:
    with pytest.raises(SourceError, match="int16"):
        RemoteMicrophone().push(samples, 0, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 60) | st.integers(-3, 2**32), st.integers(-(2**62), 2**62)), max_size=40))
def test_hostile_numbers_never_break_the_stream(numbers: list[tuple[int, int]]) -> None:
    async def act(microphone: RemoteMicrophone, clock: Clock) -> None:
        microphone.attach()
        for sequence, time_ns in numbers:
            microphone.push(block(1), sequence, time_ns)
            await asyncio.sleep(0.02)

    _, packets = listen(act)
    whole(packets)
    for packet in sound(packets):
        assert abs(packet.t - packet.data.end * SAMPLE) <= 300 * MS, "the sample clock is the session's"


def test_a_far_clock_is_followed_through_drift_and_never_lies_in_the_future() -> None:
    clock = FarClock()
    worst = 0
    for number in range(10_000):
        true = number * 20 * MS
        far = round(true * (1 + 100e-6)) + 5 * SECOND
        arrival = true + 2 * MS + number * 7919 % 40 * MS
        t = clock.map(far, arrival)
        assert t <= arrival
        if number > 100:
            worst = max(worst, abs(t - true))
    assert worst < 8 * MS


# --- camera


def jpeg(width: int = 64, height: int = 48, shade: int = 128) -> bytes:
    import av

    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), shade, np.uint8), format="rgb24")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = __import__("fractions").Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def test_pictures_are_looked_at_dropped_when_too_many_and_the_newest_is_there() -> None:
    async def main() -> tuple[RemoteCamera, list[Any]]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(*ALL)
        camera = RemoteCamera(max_hz=10)
        picture = jpeg()
        assert not camera.push(picture, 0), "no session runs"
        async with asyncio.TaskGroup() as group:
            running = group.create_task(camera.run(bus, clock))
            await asyncio.sleep(0)
            assert not camera.push(picture, 0), "nobody attached it"
            camera.attach()
            taken = 0
            for _ in range(100):
                taken += camera.push(picture, clock.now() + SECOND)
                await asyncio.sleep(0.01)
            assert 9 <= taken <= 12
            camera.detach("the page has gone.")
            camera.attach()
            running.cancel()
        return camera, take(lane)

    camera, packets = run(main(), virtual=True)
    assert camera.dropped >= 88
    assert packets[0].data.width == 64
    assert packets[0].data.height == 48
    assert isinstance(packets[0].data, Image)
    assert [type(packet.data) for packet in packets if packet.topic is FEEDBACK] == [Fault, Recovered]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_what_is_no_jpeg_is_refused_and_never_crashes(data: bytes, cut: int) -> None:
    whole = jpeg()
    assert jpeg_size(whole) == (64, 48)
    for broken in (data, b"\xff\xd8" + data + b"\xff\xd9", whole[:cut] + data, whole[:-3]):
        try:
            width, height = jpeg_size(broken)
        except SourceError:
            continue
        assert width > 0 < height


def test_too_large_pictures_are_refused() -> None:
    with pytest.raises(SourceError, match="bytes"):
        RemoteCamera(limit=100).push(jpeg(), 0)
    with pytest.raises(SourceError, match="pixels"):
        RemoteCamera(side=32).push(jpeg(), 0)
