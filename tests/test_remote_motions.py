"""The motions of one agent on one robot: a newer turn's ends the older elsewhere, those of one turn wait in line."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from embodied.remote.motions import Motion, Motions


def scene(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


class Ledger(Motions):
    """Remembers which were ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def line(self, turn: int, by: str, name: str, *resources: str) -> Motion:
        return self.line_up(turn, by, lambda: self.ends.append(name), resources)


def test_a_newer_turn_ends_what_is_older_at_other_actuators_and_waiting_ones_never_begin() -> None:
    async def main() -> None:
        motions = Ledger()
        goal, waiting = motions.line(1, "body", "goal"), motions.line(1, "skill", "waiting")
        assert motions.begin(goal)
        newer = motions.line(2, "arm", "newer")
        assert motions.ends == []  # it may be refused yet
        assert motions.begin(newer)
        assert motions.ends == ["goal", "waiting"]
        assert goal.ended and not motions.begin(waiting)
        assert motions.newest(newer) and not motions.newest(goal)

    scene(main())


def test_within_one_actuator_the_robot_says_how_a_newer_one_replaces_an_older() -> None:
    async def main() -> None:
        motions = Ledger()
        assert motions.begin(motions.line(1, "body", "first")) and motions.begin(motions.line(2, "body", "second"))
        assert motions.ends == []

    scene(main())


def test_what_uses_another_resource_is_not_in_its_way() -> None:
    async def main() -> None:
        motions = Ledger()
        drive, wave = motions.line(1, "body", "drive", "base"), motions.line(2, "skill", "wave", "arm", "gripper")
        assert motions.begin(drive) and motions.begin(wave)
        assert motions.ends == [] and motions.newest(drive) and motions.newest(wave)
        assert motions.begin(motions.line(3, "hand", "grip", "gripper")) and motions.ends == ["wave"]
        assert motions.newest(drive) and not motions.newest(wave)
        assert motions.begin(motions.line(4, "hand", "of unknown resources")) and "drive" in motions.ends

    scene(main())


def test_those_of_one_turn_come_one_after_the_other_whoever_does_them() -> None:
    async def main() -> None:
        for done in (True, False):
            motions = Ledger()
            first, second = motions.line(1, "body", "first"), motions.line(1, "skill", "second")
            waiting = asyncio.ensure_future(second.its_turn())
            await asyncio.sleep(0)
            assert await first.its_turn() and motions.begin(first) and not waiting.done()
            motions.over(first, done)
            assert await waiting is done
            assert motions.begin(second) and motions.ends == [] and len(motions) == 1

    scene(main())
