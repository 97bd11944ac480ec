"""An executor and a robot behind its guards, with a link between them that takes its time, in virtual time."""

import asyncio
from typing import Any

import numpy as np
import pytest

from embodied.robot.decisions import Note, Tell
from embodied.robot.reports import Heartbeat
from policies.chunks.beats import Beats
from policies.chunks.executor import ChunkExecutor
from policies.chunks.policy import Observation
from policies.chunks.scaling import Floats
from policies.chunks.told import ActionChunk
from streams.clock import MS, SECOND, Clock, run
from tests.chunk_scenes import DT, Script
from tests.robot_scenes import STEP, Scene

DOWN, UP = 9 * MS, 14 * MS
ROWS = 25  # of 20 ms: twice the longest latency, and a little


def wave(seconds: Any) -> Any:
    return 0.5 * np.sin(2 * seconds)


def waving(seen: Observation) -> Floats:
    """Where the joints are to be at each instant: a wave, and another one."""
    at = (seen.t + np.arange(ROWS) * DT) / SECOND
    return np.stack([wave(at), 0.5 + wave(at + 1)], axis=1).astype(np.float32)


class Room:
    """The robot, its clock 5000 s ahead, and an agent that hears and tells it late."""

    def __init__(self) -> None:
        self.robot, self.clock, self.beats = Scene(), Clock(), Beats()
        self.seen: Observation | None = None
        self.followed: list[tuple[int, float, float]] = []
        self.notes: list[Note | None] = []
        self._seq = 0
        self.robot.lease()
        self._offset = self.robot.now

    async def live(self) -> None:
        """The robot, step by step."""
        while True:
            known = len(self.robot.effects)
            self.robot.step()
            now = self.robot.now - self._offset
            await self.clock.sleep_until(now)
            for each in self.robot.effects[known:]:
                if isinstance(each, Tell) and isinstance(each.message, Heartbeat):
                    self.clock.call_at(now + DOWN, self.heard, each.message)
            joints = dict(self.robot.joints)
            self.clock.call_at(now + DOWN, self.sensed, joints)
            self.followed.append((now, joints["j1"], joints["j2"]))
            if now % SECOND < STEP:
                self.robot.lease(op="renew")

    def heard(self, beat: Heartbeat) -> None:
        self.beats.heard(beat.boot, beat.beat, beat.mono_ms, self.clock.now())

    def sensed(self, joints: dict[str, float]) -> None:
        state = np.array([joints["j1"], joints["j2"]], np.float32)
        self.seen = Observation(self.clock.now(), {"observation.state": state})

    def send(self, chunk: ActionChunk) -> None:
        args = self.beats.wire(chunk)
        if args is not None:
            self.clock.call_at(self.clock.now() + UP, self.arrive, args)

    def arrive(self, args: dict[str, Any]) -> None:
        self._seq += 1
        self.notes.append(self.robot.stream("arm.chunk", args, self._seq))


@pytest.mark.parametrize("latency", [40, 120, 200])
def test_a_guarded_robot_follows_over_a_slow_link(latency: int) -> None:
    async def main() -> Room:
        room = Room()
        executor = ChunkExecutor(
            Script(waving, rows=ROWS), room.clock, observe=lambda: room.seen, send=room.send, stitch="replace",
            cost=lambda: latency * MS, link=lambda: DOWN + UP,
        )  # fmt: skip
        executor.begin("wave")
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(room.live()), group.create_task(executor.run())]
            await room.clock.sleep_until(20 * SECOND)
            for each in running:
                each.cancel()
        assert executor.counts.starved == executor.counts.refused == 0
        return room

    room = run(main(), virtual=True)
    assert len(room.notes) > 50
    assert {note.verdict for note in room.notes if note is not None} == {"accepted"}
    assert not room.robot.events("arm.chunk ttl")  # it never ran out
    later = [(now, one, two) for now, one, two in room.followed if now > 2 * SECOND]
    for now, one, two in later:
        # a row for the agent's instant t is done when what the agent sees at t happens: DOWN before it
        assert one == pytest.approx(wave((now + DOWN) / SECOND), abs=0.003)
        assert two == pytest.approx(0.5 + wave((now + DOWN) / SECOND + 1), abs=0.003)
    assert np.abs(np.diff([one for _, one, _ in later])).max() < 0.022  # 1 rad/s at most, in 20 ms: no seam to be seen
