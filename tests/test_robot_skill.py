"""A policy of action chunks as an actuator: one at a time, and every end is an outcome. Virtual time."""

import asyncio
from types import SimpleNamespace
from typing import Any

from agent.robots.skills import Skill
from embodied.remote.motions import Motions
from streams.clock import SECOND, Clock, run
from streams.types import Command, Outcome


class Scene:
    """A skill on a client that says no for a second: it waits for the lease."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lease_at = self.clock.now() + SECOND
        self.done: list[str] = []
        client: Any = SimpleNamespace(
            robot="r1", rank="policy", factsheet=None, listen=lambda listener: None, use=lambda: None,
            tell=self.done.append,
            lease=SimpleNamespace(id="l-1"), motions=Motions(),
            watch=SimpleNamespace(latched=False), gone="",
            why_not=lambda moves: "" if self.clock.now() >= self.lease_at else "the lease was not granted yet",
        )  # fmt: skip
        spec = SimpleNamespace(
            name="reach", rtc="none", given={}, task="", drives="arm.chunk", observation={}, pictures={}
        )
        policy: Any = SimpleNamespace(spec=spec)
        publisher: Any = SimpleNamespace(publish=print)
        self.skill = Skill(policy, client, publisher, self.clock)
        executor: Any = SimpleNamespace(
            begin=lambda task: self.done.append("begin"), cancel=lambda: self.done.append("cancel")
        )
        self.skill._executor = executor

    def do(self, turn: int) -> "asyncio.Task[Outcome]":
        action = Command("reach", {"seconds": 2.0}, turn=turn, id=turn)
        return asyncio.create_task(self.skill.perform(action))


def test_a_second_one_is_refused_also_while_the_first_waits_for_the_lease() -> None:
    async def main() -> None:
        scene = Scene()
        first, second = scene.do(1), scene.do(2)
        assert (await second).status == "refused" and (await first).status == "done"
        assert scene.done == ["begin", "cancel"]
        assert (await scene.do(3)).status == "done"

    run(main(), virtual=True)


def test_one_that_is_cancelled_while_it_waits_has_an_outcome() -> None:
    async def main() -> None:
        scene = Scene()
        task = scene.do(1)
        await scene.clock.sleep_until(scene.clock.now() + SECOND // 2)
        task.cancel()
        assert (await task).status == "fenced" and scene.done == []

    run(main(), virtual=True)
