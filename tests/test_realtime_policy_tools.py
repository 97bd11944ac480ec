"""A speech-to-speech model that wants things done: calls in pieces, several at once, risky ones, late results."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from embodied.toolbox import tool
from streams import clock as clocks
from streams.types import Call, Command, Halt, Offer, Outcome, Say, Typed
from tests.realtime_model_server import QUICK, Script, Talk, asking, model_server, says
from tests.test_realtime_policy import url

pytest.importorskip("av")
WEATHER = Offer("weather", "The weather.", {"type": "object", "properties": {"place": {"type": "string"}}})
SLOW = Offer("slow", "Takes its time.", {"type": "object"})
MOVE = Offer("move", "Drives.", {"type": "object"}, kind="command", risky=True, on_cut="cancel")


def run(main: Any) -> None:
    clocks.run(main)


async def _weather(place: str) -> str:
    """The weather."""
    return f"rain in {place}"


async def _slow() -> str:
    """Takes its time."""
    await asyncio.sleep(3)
    return "at last"


TOOLS = [tool(_weather, name="weather"), tool(_slow, name="slow")]


class Robot:
    """Does as it is told."""

    name = "robot"
    accepts: tuple[type, ...] = (Command,)

    def __init__(self) -> None:
        self.done: list[Any] = []

    async def perform(self, action: Any) -> Outcome:
        self.done.append(action)
        return Outcome(action.turn, action.id, "Command", action.name, "done")

    def cut(self, turn: int) -> None: ...

    def pause(self, turn: int) -> None: ...

    def resume(self, turn: int) -> None: ...

    async def halt(self) -> None: ...

    async def aclose(self) -> None: ...


def wants(*calls: tuple[str, str], pieces: int = 3, added: bool = True) -> Script:
    async def script(talk: Talk) -> None:
        await talk.created()
        for index, (name, arguments) in enumerate(calls):
            await talk.call(name, arguments, index, pieces, added)
        await talk.done()

    return script


def results(model: Any) -> dict[str, Any]:
    items = [each["item"] for each in model.of("conversation.item.create")]
    return {each["call_id"]: json.loads(each["output"]) for each in items if each["type"] == "function_call_output"}


async def thanks(talk: Talk) -> None:
    await says(talk, "There you are")


@pytest.mark.parametrize(("pieces", "added"), [(5, True), (1, True), (0, True), (0, False)])
def test_two_calls_at_once_in_pieces_or_whole_and_their_results(pieces: int, added: bool) -> None:
    script = wants(
        ("weather", '{"place": "Rome"}'),
        ("weather", '{"place": "Paris"}'),
        pieces=pieces,
        added=added or pieces > 0,
    )

    async def main() -> None:
        async with model_server(script, thanks) as model, asking(url(model), tools=TOOLS, offers=[WEATHER]) as asked:
            asked.hand.give(Typed("the weather please"))
            second = await asked.outcome(count=2)
            first = asked.outcomes("Ask")[0]
            assert first.result["finish"] == "tool_calls" and second.result["finish"] == "stop"
            assert [each.arguments for each in asked.log.of(Call)] == [{"place": "Rome"}, {"place": "Paris"}]
            assert results(model) == {
                "c0": {"status": "done", "result": "rain in Rome"},
                "c1": {"status": "done", "result": "rain in Paris"},
            }
            (told,) = [each for each in model.of("session.update") if "tools" in each["session"]]
            (function,) = told["session"]["tools"]
            assert (function["name"], function["type"]) == ("weather", "function") and function["parameters"]
            assert (
                len([each for each in model.of("conversation.item.create") if each["item"]["type"] == "message"]) == 1
            )

    run(main())


def test_what_cannot_be_done_is_told_to_the_model_and_nothing_happens() -> None:
    script = wants(("weather", '{"place": '), ("no_such", "{}"), ("move", "{}"), ("weather", "[1]"))

    async def main() -> None:
        async with (
            model_server(script, thanks) as model,
            asking(url(model), tools=TOOLS, offers=[WEATHER, MOVE], robot=(robot := Robot())) as asked,
        ):
            asked.hand.give(Typed("go on"))
            await asked.outcome(count=2)
            assert {each["status"] for each in results(model).values()} == {"refused"} and len(results(model)) == 4
            assert "risky" in results(model)["c2"]["detail"] and "JSON" in results(model)["c0"]["detail"]
            assert not asked.log.of(Call) and not asked.log.of(Command) and not robot.done

    run(main())


def test_it_may_stop_what_moves_without_asking_anybody() -> None:
    async def main() -> None:
        async with (
            model_server(wants(("stop", "{}")), thanks) as model,
            asking(url(model), tools=TOOLS, offers=[WEATHER, MOVE], robot=Robot()) as asked,
        ):
            asked.hand.give(Typed("there is a cat before you"))
            await asked.outcome(count=2)
            assert [each.reason for each in asked.log.of(Halt)] == ["the model"]
            assert [each["status"] for each in results(model).values()] == ["done"]
            (functions,) = [
                each["session"]["tools"] for each in model.of("session.update") if "tools" in each["session"]
            ]
            assert [each["name"] for each in functions] == ["stop", "weather", "move"]

    run(main())


def test_calls_and_rounds_are_limited() -> None:
    async def again(talk: Talk) -> None:
        await wants(("weather", '{"place": "Rome"}'), ("weather", '{"place": "Oslo"}'))(talk)

    async def main() -> None:
        config = msgspec.structs.replace(QUICK, calls_per_turn=3, rounds_per_turn=3)
        async with (
            model_server(otherwise=again) as model,
            asking(url(model), config, tools=TOOLS, offers=[WEATHER]) as asked,
        ):
            asked.hand.give(Typed("go on"))
            await asked.outcome(count=3)
            await asyncio.sleep(0.2)
            assert len(asked.outcomes("Ask")) == 3 and len(asked.log.of(Call)) == 3

    run(main())


def test_a_slow_tool_does_not_hold_the_answer_up() -> None:
    async def main() -> None:
        config = msgspec.structs.replace(QUICK, result_ms=200)
        async with (
            model_server(wants(("slow", "{}")), thanks) as model,
            asking(url(model), config, tools=TOOLS, offers=[SLOW]) as asked,
        ):
            asked.hand.give(Typed("go on"))
            assert (await asked.outcome(count=2, seconds=3)).status == "done"
            assert results(model)["c0"]["status"] == "under way"

    run(main())


class Asks:
    """A consent that asks about what is risky, and takes "yes" for one."""

    def __init__(self) -> None:
        self.pending: Any = None

    def weigh(self, offer: Offer, action: Any, turn: Any) -> Any:
        from policies.llm.consent import Verdict

        if not offer.risky:
            return Verdict("do")
        self.pending = action
        return Verdict("ask", "Shall I move?")

    def hear(self, turn: Any) -> Any:
        pending, self.pending = self.pending, None
        return [pending] if pending is not None and turn.text == "yes" else None

    def forget(self) -> None:
        self.pending = None


def test_what_is_risky_waits_for_a_persons_yes() -> None:
    async def main() -> None:
        async with (
            model_server(wants(("move", '{"distance_m": 1}')), thanks) as model,
            asking(url(model), offers=[MOVE], robot=(robot := Robot()), consent=Asks()) as asked,
        ):
            asked.hand.give(Typed("come here"))
            await asked.until(lambda data: isinstance(data, Say) and data.text == "Shall I move?")
            assert not robot.done and len(asked.outcomes("Ask")) == 1
            asked.hand.give(Typed("yes"))
            done = await asked.outcome("Command")
            assert done.status == "done" and robot.done[0].arguments == {"distance_m": 1}
            asked.hand.give(Typed("well"))
            assert (await asked.outcome(count=2)).status == "done"
            assert results(model)["c0"]["status"] == "waiting", "the server's call is not left without a result"

    run(main())


def test_a_cut_between_call_and_result_leaves_no_call_without_a_result() -> None:
    async def main() -> None:
        async with (
            model_server(wants(("slow", "{}")), thanks) as model,
            asking(url(model), tools=TOOLS, offers=[SLOW]) as asked,
        ):
            asked.hand.give(Typed("go on"))
            await asked.until(lambda data: isinstance(data, Call))
            asked.hand.give(Typed("never mind"))
            await asked.outcome(count=2)
            kinds = [each["item"]["type"] for each in model.of("conversation.item.create")]
            assert kinds == ["message", "function_call_output", "message"]

    run(main())
