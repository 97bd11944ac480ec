"""The executor in time: rows for the right instant, nothing starved, and nothing done that should not be."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from policies.chunks.executor import ChunkExecutor, Pace
from policies.chunks.policy import Observation
from policies.chunks.told import ActionChunk, Event, Tick
from policies.errors import PolicyError
from streams.clock import MS, SECOND, Clock, run
from tests.chunk_scenes import DT, ROWS, Script, clocked

TOLERANCE = 1e-5  # s: what float32 makes of seconds


@dataclass
class Scene:
    """A robot that notes everything."""

    script: Script
    latency: Callable[[], int] = lambda: 60 * MS
    ticks: list[Tick] = field(default_factory=list)
    sent: list[ActionChunk] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    state: Any = None
    age: int = 0
    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    executor: Any = None
    clock: Any = None

    def observe(self) -> Observation | None:
        columns = len(self.script.spec.action.names)
        state = np.zeros(columns, np.float32) if self.state is None else self.state
        return Observation(self.clock.now() - self.age, {"observation.state": state})

    def tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        for step in [step for step in self.at if step <= tick.step]:
            self.at.pop(step)()

    def play(self, seconds: float, *, virtual: bool = True, task: str = "reach", **options: Any) -> "Scene":
        async def main() -> None:
            self.clock = Clock()
            observe = options.pop("observe", self.observe)
            self.executor = ChunkExecutor(
                self.script, self.clock, observe=observe, tick=self.tick, send=self.sent.append,
                told=self.told.append, cost=self.latency, **{"stitch": "replace", **options},
            )  # fmt: skip
            self.executor.begin(task)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.executor.run())
                await self.clock.sleep_until(round(seconds * SECOND))
                running.cancel()

        run(main(), virtual=virtual)
        return self

    def cancel(self) -> None:
        self.executor.cancel()

    def moving(self) -> list[Tick]:
        return [tick for tick in self.ticks if tick.state == "moving"]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


def drawn(least: int, most: int, seed: int = 0) -> Callable[[], int]:
    random = np.random.default_rng(seed)
    return lambda: int(random.integers(least, most) * MS)


@pytest.mark.parametrize("latency", [40, 80, 120, 160, 200])
def test_nothing_starves_and_each_row_is_for_its_instant(latency: int) -> None:
    scene = Scene(Script(), latency=lambda: latency * MS).play(60)
    counts = scene.executor.counts
    assert (counts.starved, counts.skipped, counts.late) == (0, 0, 0)
    first = next(n for n, tick in enumerate(scene.ticks) if tick.state == "moving")
    assert first <= latency // 20 + 2
    for tick in scene.ticks[first:]:
        assert tick.state == "moving" and tick.due == tick.t == tick.step * DT
        assert tick.action is not None and abs(float(tick.action[0]) - tick.due / SECOND) < TOLERANCE


def test_ten_minutes_with_a_latency_that_changes() -> None:
    scene = Scene(Script(rows=40), latency=drawn(40, 200)).play(600)
    assert scene.executor.counts.starved == 0
    assert scene.executor.counts.moved > 29_900
    assert scene.executor.latency.p95 > 180 * MS


def test_an_observation_between_two_steps_is_brought_onto_their_grid() -> None:
    scene = Scene(Script(), age=13 * MS).play(5)
    for tick in scene.moving():
        assert tick.action is not None and abs(float(tick.action[0]) - tick.due / SECOND) < TOLERANCE


def test_the_same_calls_give_the_same_ticks() -> None:
    first, second = (Scene(Script(), latency=drawn(40, 200)).play(20) for _ in range(2))
    assert len(first.ticks) == 1001
    for one, other in zip(first.ticks, second.ticks, strict=True):
        assert one[:4] == other[:4] and one[5:] == other[5:]
        assert (one.action is None) == (other.action is None)
        assert one.action is None or (one.action == other.action).all()


def test_the_policy_is_told_what_will_be_done_meanwhile() -> None:
    scene = Scene(Script(), latency=lambda: 100 * MS, age=10 * MS).play(10, stitch="forward")
    later = [asked for asked in scene.script.asked if asked[1] is not None][2:]
    assert len(later) > 20
    for t, previous, delay, stitch in later:
        assert stitch == "forward"
        assert delay == 6  # 100 ms, and the 10 ms of the observation
        assert previous is not None and len(previous) >= delay
        times = (t + np.arange(len(previous)) * DT) / SECOND
        assert np.abs(previous[:, 0] - times).max() < TOLERANCE


def test_rows_within_reach_of_the_link_are_left_as_they_are() -> None:
    """What is sent now arrives later: those rows are done as they were."""
    scene = Scene(Script(lambda seen: np.full((ROWS, 2), seen.t / SECOND, np.float32)), latency=lambda: 40 * MS)
    scene.play(5, link=lambda: 50 * MS)
    assert scene.executor.counts.starved == 0
    for before, after in zip(scene.sent[2:], scene.sent[3:]):
        if after.supersedes:
            assert len({float(row[0]) for row in after.actions[:3]}) == 1  # three steps of 20 ms cover 50 ms
            assert float(after.actions[0, 0]) == float(before.actions[-1, 0])
            assert float(after.actions[3, 0]) > float(after.actions[2, 0])


def test_what_is_sent_is_what_will_be_done() -> None:
    scene = Scene(Script()).play(3, pace=Pace(most_rows=8))
    done = {tick.step: tick for tick in scene.moving()}
    assert {chunk.id for chunk in scene.sent} == {tick.chunk for tick in scene.moving()} | {scene.sent[-1].id}
    news = [chunk for chunk in scene.sent if chunk.supersedes]
    assert [chunk.supersedes for chunk in news] == [f"k{n}" for n in range(1, len(news) + 1)]
    for chunk in scene.sent:
        assert chunk.names == ("j1.pos", "j2.pos") and chunk.dt == DT and 1 <= len(chunk.actions) <= 8
        assert chunk.at == chunk.step0 * DT
        assert np.abs(chunk.actions[:, 0] - (chunk.at + np.arange(len(chunk.actions)) * DT) / SECOND).max() < TOLERANCE
        assert chunk.step0 + 3 not in done or done[chunk.step0].action is not None


# --- when nothing comes


def only_first(scene: Scene) -> Callable[[], Observation | None]:
    return lambda: scene.observe() if scene.clock.now() < 100 * MS else None


def test_an_arm_that_starves_holds_and_a_base_comes_to_rest() -> None:
    for names, ends in ((("j1.pos", "gripper.pos"), 1.0), (("x.vel", "theta.vel"), 0.0)):
        scene = Scene(Script(lambda _: np.ones((ROWS, 2), np.float32), names=names))
        scene.play(2, observe=only_first(scene))
        starved = [tick for tick in scene.ticks if tick.state == "starved"]
        assert len(starved) == scene.executor.counts.starved > 50
        values = [float(tick.action[0]) for tick in starved if tick.action is not None]
        assert values[-1] == ends
        assert max(-np.diff([1.0, *values])) <= 0.081  # 20 of 250 ms
        assert len(values) == len(starved)
        assert scene.kinds() == ["starving", "blind"]  # each once
        assert scene.told[0].t - starved[0].t == 180 * MS  # the tenth step without a row: 200 ms
        assert scene.executor.counts.blind > 50


def test_after_a_gap_the_chunk_begins_where_the_robot_stood() -> None:
    """What was not consumed is not left out: the robot stood still, as it was seen."""
    waits = iter([60, 60, 800, *[60] * 50])
    ramp = np.repeat(np.arange(ROWS, dtype=np.float32)[:, None], 2, axis=1)
    scene = Scene(Script(lambda _: ramp), latency=lambda: next(waits) * MS).play(2.5)
    states = [tick.state for tick in scene.ticks]
    gap = states.index("starved")
    again = states.index("moving", gap)
    assert again - gap > 15
    assert scene.kinds() == ["starving", "fed"]
    before, after = scene.ticks[gap - 1], scene.ticks[again]
    assert before.action is not None and after.action is not None
    seen_at = scene.script.asked[2][0]
    consumed = sum(1 for tick in scene.ticks if seen_at <= tick.due and tick.step < gap)
    # the step of the observation itself was done already when it was seen
    assert float(after.action[0]) == pytest.approx(consumed, abs=1)
    assert float(after.action[0]) < (800 * MS) // DT / 2


def test_an_old_observation_is_not_answered() -> None:
    scene = Scene(Script(), age=400 * MS).play(1)
    assert not scene.script.asked
    assert scene.executor.counts.blind > 40
    assert {tick.state for tick in scene.ticks} == {"waiting"}
    assert scene.kinds() == ["blind"]
    assert all(tick.action is None for tick in scene.ticks)


def test_what_comes_too_late_is_not_done() -> None:
    scene = Scene(Script(), latency=lambda: 700 * MS).play(3)
    assert scene.executor.counts.late > 0 and "late" in scene.kinds()
    assert not scene.moving()


# --- what is wrong is not done


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.full((ROWS, 2), np.nan, np.float32), "no number"),
        (np.full((ROWS, 2), np.inf, np.float32), "no number"),
        (np.zeros((ROWS, 3), np.float32), "shape"),
        (np.zeros((ROWS - 1, 2), np.float32), "shape"),
        (None, "shape"),
        (np.full((ROWS, 2), 9.0, np.float32), "row 0: j1.pos is 9, outside -2 to 2"),
        ("the observation has no observation.state", "no observation.state"),
    ],
)
def test_a_chunk_that_is_wrong_is_refused_and_the_one_before_is_finished(wrong: Any, says: str) -> None:
    asked = iter(range(1000))
    scene = Scene(Script(lambda _: np.ones((ROWS, 2), np.float32) if next(asked) == 0 else wrong))
    scene.play(2, limits={"j1.pos": (-2.0, 2.0)})
    moving = scene.moving()
    assert {tick.chunk for tick in moving} == {"k1"}
    assert len(moving) == ROWS - 3  # all that was left of it after 60 ms
    assert all(tick.action is not None and np.isfinite(tick.action).all() for tick in scene.ticks[4:])
    refused = [event for event in scene.told if event.kind == "refused"]
    assert says in refused[0].detail
    assert scene.executor.counts.refused > 10
    assert 2 <= len(refused) <= 4  # the first, the fifth, then seldom


def test_a_way_to_stitch_that_the_policy_cannot_do_is_refused_at_once() -> None:
    async def make(script: Script, stitch: Any) -> None:
        ChunkExecutor(script, Clock(), observe=lambda: None, stitch=stitch)

    with pytest.raises(PolicyError, match='choose "replace" or "best_of"'):
        run(make(Script(rtc="none"), "forward"), virtual=True)
    with pytest.raises(PolicyError, match="no choice"):
        run(make(Script(rtc="none", family="one_pass"), "best_of"), virtual=True)


# --- tasks


def test_cancelling_clears_everything_within_a_tick() -> None:
    scene = Scene(Script(), latency=lambda: 100 * MS)
    asked: list[int] = []

    def cancel() -> None:
        asked.append(len(scene.script.asked))
        scene.executor.cancel()

    scene.at[30] = cancel
    scene.at[60] = lambda: scene.executor.begin("again")
    scene.play(2)
    assert scene.ticks[30].state == "moving"
    for tick in scene.ticks[31:61]:
        assert tick.state == "idle" and tick.action is None
    assert not [chunk for chunk in scene.sent if 30 * DT < chunk.at <= 60 * DT]
    assert asked == [len([each for each in scene.script.asked if each[0] <= 30 * DT])]
    resumed = next(tick for tick in scene.ticks[61:] if tick.state == "moving")
    assert resumed.task == "again" and resumed.action is not None
    assert abs(float(resumed.action[0]) - resumed.due / SECOND) < TOLERANCE
    assert scene.script.asked[asked[0]][1] is None  # nothing of before is followed


def test_an_answer_to_what_was_cancelled_is_dropped() -> None:
    scene = Scene(Script(), latency=lambda: 100 * MS)
    scene.at[2] = scene.cancel
    scene.play(0.5)
    assert len(scene.script.asked) == 1 and scene.executor.counts.dropped == 1
    assert not scene.sent and not scene.moving()


def test_each_row_keeps_the_task_that_made_it() -> None:
    scene = Scene(Script(), latency=lambda: 100 * MS)
    scene.at[30] = lambda: scene.executor.begin("right")
    scene.play(2, task="left")
    tasks = [tick.task for tick in scene.moving()]
    change = tasks.index("right")
    assert set(tasks[:change]) == {"left"} and set(tasks[change:]) == {"right"}
    step = scene.moving()[change].step
    assert 30 < step <= 30 + 12  # an inference under way, and one of its own
    assert scene.executor.counts.starved == 0


def test_blending_weighs_old_and_new() -> None:
    asked = iter(range(1000))
    scene = Scene(Script(lambda _: np.full((ROWS, 2), float(min(1, next(asked))), np.float32)))
    scene.play(0.5, stitch="blend")
    values = [round(float(tick.action[0]), 3) for tick in scene.moving() if tick.action is not None]
    assert 0.7 in values and values[0] == 0.0 and values[-1] == 1.0


# --- in real time


def hang() -> None:
    threading.Event().wait(0.13)


def test_a_slow_inference_does_not_stop_the_steps() -> None:
    scene = Scene(Script(wait=0.12, rows=100)).play(2, virtual=False)
    assert scene.executor.counts.starved == 0
    assert len(scene.moving()) > 30  # of a hundred: the machine may be busy
    during = [t for t, *_ in scene.script.asked]
    assert len(during) >= 3
    meanwhile = [len([tick for tick in scene.ticks if asked < tick.t < asked + 120 * MS]) for asked in during[:-1]]
    assert max(meanwhile) >= 3
    for tick in scene.moving():
        assert tick.action is not None and abs(float(tick.action[0]) - tick.due / SECOND) < TOLERANCE


def test_a_loop_that_hung_leaves_steps_out_instead_of_making_up_for_them() -> None:
    scene = Scene(Script(wait=0.04, rows=100))
    scene.at[25] = hang
    scene.play(1.2, virtual=False)
    assert scene.executor.counts.skipped >= 4
    assert all(0 <= tick.t - tick.due < DT for tick in scene.ticks)  # each in its own time
    assert all(before.step < after.step for before, after in zip(scene.ticks, scene.ticks[1:]))
    for tick in scene.moving():
        assert tick.action is not None and abs(float(tick.action[0]) - tick.due / SECOND) < TOLERANCE


def test_an_inference_that_hangs_is_told() -> None:
    scene = Scene(Script(wait=1.0)).play(0.9, virtual=False, pace=Pace(patience=200 * MS))
    assert scene.kinds() == ["stuck"]


def test_a_fault_of_the_program_ends_the_run() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        Scene(Script(lambda _: 1 / 0)).play(1)
    assert raised.group_contains(ZeroDivisionError)


def test_clocked_rows_are_seconds() -> None:
    assert np.allclose(clocked(Observation(SECOND, {}), 3, 1)[:, 0], [1.0, 1.02, 1.04])
