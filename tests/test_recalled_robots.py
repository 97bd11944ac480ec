"""The robots of a recording, for a what-if: what was done then is done again, in words only."""

import asyncio
from typing import Any

from agent.robots.recalled import Journal, RecalledRobots
from streams.clock import MS, SECOND, Clock, run
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK
from streams.types import Command, Outcome


def packet(at_ms: int, data: Any) -> Packet[Any]:
    topic = ACTION if isinstance(data, Command) else FEEDBACK
    return Packet(topic, at_ms * MS, at_ms * MS, at_ms, at_ms, data)


RECORDED = [
    packet(100, Command("move", {"distance_m": 1.0}, turn=1, id=1)),
    packet(2100, Outcome(1, 1, "Command", "move", "done", result={"distance_m": 0.99})),
    packet(3000, Command("move", {"distance_m": 1.0}, turn=2, id=2)),
    packet(3500, Outcome(2, 2, "Command", "move", "cut", "stopped", {"distance_m": 0.2})),
]


def performed(*commands: Command) -> list[tuple[Outcome, int]]:
    """How each ended, and ns of session time that it took."""

    async def main() -> list[tuple[Outcome, int]]:
        clock = Clock()
        robots, ends = RecalledRobots(Journal(RECORDED), clock), []
        for command in commands:
            began = clock.now()
            ends.append((await robots.perform(command), clock.now() - began))
        return ends

    return run(main(), virtual=True)


def test_the_same_commands_end_as_they_did_after_as_long() -> None:
    move = Command("move", {"distance_m": 1.0}, turn=7, id=9)
    (first, took), (second, took_too) = performed(move, move)
    assert (first.status, first.result, took) == ("done", {"distance_m": 0.99}, 2 * SECOND)
    assert (second.status, second.result, took_too) == ("cut", {"distance_m": 0.2}, SECOND // 2)
    assert (first.turn, first.id) == (7, 9)


def test_once_more_is_as_the_last_time() -> None:
    move = Command("move", {"distance_m": 1.0})
    assert [outcome.status for outcome, _ in performed(move, move, move)] == ["done", "cut", "cut"]


def test_what_nobody_asked_then_is_refused() -> None:
    ((outcome, took),) = performed(Command("move", {"distance_m": 2.0}))
    assert (outcome.status, took) == ("refused", 0)
    assert "was not asked for this" in outcome.detail


def test_a_cut_ends_it() -> None:
    async def main() -> bool:
        robots = RecalledRobots(Journal(RECORDED), Clock())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(robots.perform(Command("move", {"distance_m": 1.0})))
            await asyncio.sleep(0.5)
            task.cancel()
        return task.cancelled()

    assert run(main(), virtual=True)
