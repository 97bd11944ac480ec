"""What the model set going is told by somebody, once: also where its reply was cut, or the model is gone."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from agent import assembly, config
from agent.model_figures import model_figures
from agent.replay import Replay
from agent.replaying import perform
from agent.session import Log
from embodied.toolbox import tool
from policies.llm.policy import LlmPolicy
from policies.models.scripted import ScriptedModel, Tokens
from streams.clock import MS, SECOND
from streams.recording import Recorder, Recording
from streams.types import Ask, Call, Command, Declined, Fault, Image, Outcome, Say, SensesEnded, TurnCommitted, Withdraw
from tests.minds import BASE, NOON, Held, hold, typed
from tests.scenes import Percepts, spoken

TIMER = ("set_timer", {"seconds": 20, "label": "eggs"})


async def slow() -> str:
    """Take eight seconds."""
    await asyncio.sleep(8)
    return "the mail has come"


def policy_of(held: Held) -> LlmPolicy:
    policy = held.session.conductor.policy
    assert isinstance(policy, LlmPolicy)
    return policy


def nothing_left(held: Held) -> None:
    policy = policy_of(held)
    promises: Any = policy.promises
    left = (policy._answers, policy._voiced, promises._waiting, promises._ended, promises._late)
    assert not any(left), left


def test_a_timer_of_a_reply_that_was_cut_rings_all_the_same() -> None:
    scene = [typed(100, "eggs, and the mail"), *spoken(1, 1300, 2100, "no wait")]
    script = [Tokens(calls=(TIMER, ("slow", {}))), "All right.", "The mail is there."]
    held = hold(scene, script, tools=[slow], tail_ms=26_000)
    assert "Your eggs timer is done." in held.said()
    assert "The mail is there." in held.said()  # the result that nobody waited for
    nothing_left(held)


def test_the_result_that_comes_late_is_told_once() -> None:
    script = [Tokens(calls=(("slow", {}),)), "I am looking.", "It is there."]
    held = hold([typed(100, "the mail")], script, tools=[slow], tail_ms=15_000)
    assert held.said() == ["I am looking.", "It is there."]
    assert [turn.reason for turn in held.of(TurnCommitted)] == ["typed", "unasked"]
    assert "the mail has come" in str(held.asks()[-1].request["messages"])
    nothing_left(held)


def test_a_session_does_not_wait_for_a_timer_at_its_end() -> None:
    held = hold([typed(100, "eggs")], [Tokens(calls=(("set_timer", {"seconds": 3600}),)), "It is set."], tail_ms=100)
    assert held.said() == ["It is set."]
    assert held.session.ended_ns < 5 * SECOND
    assert held.t(SensesEnded) < held.t(Say)


def test_unasked_without_the_model_everything_is_told_once_and_nothing_else() -> None:
    script = [Tokens(calls=(TIMER, ("slow", {}))), "Both.", *[Tokens(fails="server")] * 5]
    held = hold([typed(100, "eggs, and the mail")], script, tools=[slow], tail_ms=40_000)
    assert held.said() == ["Both.", "Your eggs timer is done."]
    faults = held.of(Fault)
    assert {fault.error for fault in faults} == {"ModelUnavailable"}
    assert len(faults) <= 2, "it is not tried again at once"


def test_calls_under_one_name_have_each_their_own_result() -> None:
    def add(a: int) -> int:
        """Add a hundred."""
        return a + 100

    class Twins(ScriptedModel):
        def _answer(self, ask: Ask) -> Tokens:
            return Tokens(calls=(("add", {"a": 11}), ("add", {"a": 22}))) if not self.asked else Tokens("So.")

    log, loaded = Log(), config.load(None, BASE)

    def model(publisher: Any, clock: Any, pictures: Any) -> Any:
        class Renamed:
            def publish(self, topic: Any, t: int, data: Any) -> Any:
                if getattr(data, "tools", ()):
                    import msgspec

                    pieces = tuple(msgspec.structs.replace(piece, call="function-call") for piece in data.tools)
                    data = msgspec.structs.replace(data, tools=pieces)
                return publisher.publish(topic, t, data)

        return Twins([], Renamed(), clock)

    body = assembly.AgentBody(loaded, [add], installed=False, model=model)
    assembly.assemble(loaded, [Percepts([typed(100, "add")], 3000)], taps=[log], senses=False, body=body).run(
        speed=None
    )
    asks = [packet.data for packet in log.packets if isinstance(packet.data, Ask)]
    results = [message["content"] for message in asks[-1].request["messages"] if message["role"] == "tool"]
    assert "111" in results[0] and "122" in results[1]


def test_a_picture_is_shown_only_where_one_may_look() -> None:
    def asked(*settings: str, camera: bool) -> list[Ask]:
        loaded, log = config.load(None, [*BASE, "faces.engine=none", *settings]), Log()
        sources: list[Any] = [Percepts([typed(500, "what is there")], 3000), *([Eye()] if camera else [])]
        script = [Tokens(calls=(("look", {}),)), "A cat."]
        body = assembly.AgentBody(loaded, installed=False, model=lambda p, c, pictures: ScriptedModel(script, p, c))
        assembly.assemble(loaded, sources, taps=[log], senses=False, body=body).run(speed=None)
        return [packet.data for packet in log.packets if isinstance(packet.data, Ask)]

    class Eye:
        from streams.topics import IMAGE

        name, writes = "eye", (IMAGE,)

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *exc: Any) -> None:
            return None

        async def run(self, bus: Any, clock: Any) -> None:
            from streams.topics import IMAGE

            for _ in range(10):
                bus.publish(IMAGE, clock.now(), Image(b"", "jpeg", 1, 1))
                await clock.sleep_until(clock.now() + 300 * MS)

    seen = asked(camera=True)
    assert [ask.picture_ns > 0 for ask in seen] == [False, True]
    for settings, camera in (
        ((), False),
        (('manner.forbidden_tools=["look"]',), True),
        (("manner.pictures=never",), True),
    ):
        asks = asked(*settings, camera=camera)
        assert not any(ask.picture_ns for ask in asks), settings
        assert "Here is the picture" not in str(asks[-1].request)
        assert "refused" in str(asks[-1].request["messages"][-1])


def test_an_empty_answer_is_not_met_with_silence_but_where_that_is_the_answer() -> None:
    def ring() -> str:
        """Ring."""
        return "rung"

    assert hold([typed(100, "well")], [""]).said() == ["I do not know what to say to that."]
    assert hold([typed(100, "ring")], [Tokens(calls=(("ring", {}),)), ""], tools=[ring]).said() == ["Done."]
    unasked = hold([typed(100, "the mail")], [Tokens(calls=(("slow", {}),)), "Wait.", ""], tools=[slow], tail_ms=12_000)
    assert unasked.said() == ["Wait."]


def test_a_draft_that_failed_became_no_answer() -> None:
    said = spoken(1, 300, 1500, "how do rainbows come about")
    held = hold(said, lambda ask: Tokens(fails="connect", first_ms=5), "llm.broken_after=1")
    figures = model_figures(held.packets)
    assert figures is not None and figures.drafts >= 1 and figures.drafts_taken == 0
    drafts = [ask.id for ask in held.asks() if ask.purpose == "draft"]
    assert {each.id for each in held.of(Withdraw)} == set(drafts)


def test_what_a_model_does_in_silence_is_done() -> None:
    rung = []

    def ring() -> str:
        """Ring."""
        rung.append(True)
        return "rung"

    held = hold([typed(100, "ring")], [Tokens("<silence/>", calls=(("ring", {}),)), "<silence/>"], tools=[ring])
    assert rung == [True] and held.said() == []


def test_it_speaks_the_language_it_is_set_to() -> None:
    held = hold([typed(100, "hallo")], [Tokens("Es war einmal. Und da", fails="closed")], "language=de")
    assert held.said() == ["Es war einmal.", "Entschuldigung, ich habe den Faden verloren."]


def test_a_filler_comes_while_a_model_only_thinks() -> None:
    from streams.types import Delta

    class Thinker(ScriptedModel):
        async def perform(self, action: Any) -> Outcome:
            for index in range(10):
                await self._clock.sleep_until(self._clock.now() + 200 * MS)
                self._publisher.publish(*self._thought(action, index))
            return await super().perform(action)

        def _thought(self, action: Any, index: int) -> Any:
            from streams.topics import FEEDBACK

            return FEEDBACK, self._clock.now(), Delta(action.turn, action.id, 1000 + index, thought="hm")

    loaded, log = config.load(None, [*BASE, "manner.fillers=true"]), Log()
    body = assembly.AgentBody(loaded, installed=False, model=lambda p, c, pictures: Thinker(["Yes."], p, c))
    scene = Percepts([typed(100, "is it so")], 5000)
    assembly.assemble(loaded, [scene], taps=[log], senses=False, body=body).run(speed=None)
    assert [say.text for say in log.of(Say)] == ["One moment.", "Yes."]


def test_a_fault_that_is_over_is_not_told_for_ever() -> None:
    scene = [typed(100, "what is two plus three"), typed(5000, "and now")]
    held = hold(scene, [Tokens(fails="server"), "Fine."])
    assert "Not working" not in str(held.asks()[-1].request)


def test_what_is_forbidden_is_forbidden_without_the_model_too() -> None:
    held = hold([typed(100, "go forward one metre")], [Tokens(fails="server")], 'manner.forbidden_tools=["move"]')
    assert held.said()[-1] == "I am not allowed to do that." and not held.of(Command)


def test_the_result_of_what_was_agreed_to_is_told() -> None:
    @tool(risky=True)
    def unlock(door: str) -> str:
        """Unlock a door."""
        return f"{door} is open, and the alarm is off"

    script = [Tokens(calls=(("unlock", {"door": "front"}),)), "The front door is open."]
    held = hold([typed(100, "let them in"), typed(6000, "yes")], script, tools=[unlock], tail_ms=8000)
    assert [outcome.result for outcome in held.ends("Call")] == ["front is open, and the alarm is off"]
    assert held.said()[-1] == "The front door is open."
    assert "the alarm is off" in str(held.asks()[-1].request)
    nothing_left(held)


def test_what_a_model_may_not_have_is_told_as_declined() -> None:
    def ring() -> str:
        """Ring."""
        return "rung"

    held = hold([typed(100, "fly")], [Tokens(calls=(("fly", {"to": "Mars"}), ("ring", {}))), "No."], tools=[ring])
    (declined,) = held.of(Declined)
    assert (declined.name, declined.arguments, declined.turn) == ("fly", '{"to":"Mars"}', 1)
    assert "there is no tool named" in declined.reason
    assert [call.name for call in held.of(Call)] == ["ring"]
    again = hold([typed(100, "ring")], lambda ask: Tokens(calls=(("ring", {}),)), "llm.rounds_per_turn=2", tools=[ring])
    assert len(again.of(Call)) == 1 and "in this turn" in again.of(Declined)[0].reason


def test_an_answer_without_end_is_not_spoken_without_end() -> None:
    answer = Tokens("This goes on. " * 3000, each_ms=1)
    held = hold([typed(100, "go on")], [answer], "llm.output_tokens=50", tail_ms=9000)
    assert len(" ".join(held.said())) < 400
    assert held.of(Withdraw) and held.ends("Ask")[0].status == "cut"


@pytest.mark.parametrize("wrong", ["text", "plain"])
def test_a_policy_that_yields_what_is_no_action_is_told_so(wrong: str) -> None:
    from policies.ports import Policy

    class Yields(Policy):
        async def reply(self, turn: TurnCommitted) -> Any:
            yield "hello"

    class Plain(Policy):
        def reply(self, turn: TurnCommitted) -> Any:
            return ["hello"]

    policy, log = Yields() if wrong == "text" else Plain(), Log()
    loaded = config.load(None, [*BASE, "policy.engine=intents"])
    assembly.assemble(loaded, [Percepts([typed(100, "hi")], 500)], taps=[log], policy=policy).run(speed=None)
    (fault,) = log.of(Fault)
    assert fault.error == "PolicyError" and ("Say('hello')" in fault.message or "async generator" in fault.message)


def test_news_does_not_take_a_question_away() -> None:
    @tool(risky=True)
    def unlock(door: str) -> str:
        """Unlock a door."""
        return f"{door} is open"

    calls = (("unlock", {"door": "front"}), ("unlock", {"door": "back"}))
    scene = [typed(100, "let them in"), typed(6000, "yes"), typed(12_000, "yes")]
    held = hold(scene, [Tokens(calls=calls), "Both are open."], tools=[unlock], tail_ms=9000)
    assert [call.arguments["door"] for call in held.of(Call)] == ["front", "back"]
    assert "Both are open." in held.said()
    nothing_left(held)


def test_after_a_question_of_the_fallback_the_model_has_its_turns_again() -> None:
    scene = [typed(100, "turn left"), typed(60_000, "tell me a joke")]
    held = hold(scene, [Tokens(fails="server"), "A horse walks into a bar."], "policy.confirm_below=1.0", tail_ms=6000)
    assert held.said(2) == ["A horse walks into a bar."]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_of_a_long_conversation(seed: int) -> None:
    rng, at, scene = random.Random(seed), 100.0, list[Any]()
    for number in range(40):
        if rng.random() < 0.5:
            scene.append(typed(at, f"wish {number}"))
        else:
            scene += spoken(number, at, at + 800, f"wish {number}")
        at += rng.choice([600, 1500, 4000, 9000])

    def script(ask: Ask) -> Tokens:
        if rng.random() < 0.3 and "tool" not in str(ask.request["messages"][-1]["role"]):
            return Tokens(
                calls=(rng.choice([("slow", {}), ("set_timer", {"seconds": 5}), ("move", {"distance_m": 1})]),)
            )
        return Tokens(
            "Well. " * rng.randrange(1, 6), first_ms=rng.choice([50, 900]), fails=rng.choice([""] * 5 + ["closed"])
        )

    held = hold(scene, script, "manner.fillers=true", "manner.backchannels=true", tools=[slow], tail_ms=30_000)
    assert len(held.of(TurnCommitted)) > 20
    nothing_left(held)
    ended = [outcome.id for outcome in held.of(Outcome)]
    assert len(ended) == len(set(ended))


@pytest.mark.slow
def test_a_live_session_with_fillers_and_slow_tools_replays_with_its_real_races(tmp_path: Path) -> None:
    """In real time: what the policy does at a deadline has the time of its cause, not of the loop."""
    path = tmp_path / "live.mcap"
    settings = [*BASE, "manner.fillers=true", "manner.backchannels=true"]
    loaded = config.load(None, settings)

    async def wait() -> str:
        """Take a while."""
        await asyncio.sleep(6.5)
        return "so it is"

    def model(publisher: Any, clock: Any, pictures: Any) -> ScriptedModel:
        script = [Tokens("It took a while.", first_ms=1400), Tokens(calls=(("wait", {}),)), "I wait.", "There it is."]
        return ScriptedModel(script, publisher, clock)

    scene = [*spoken(1, 100, 900, "what is it"), typed(3500, "and wait")]
    body = assembly.AgentBody(loaded, [wait], installed=False, model=model)
    recorder = Recorder(path, assembly.header(loaded, NOON))
    session = assembly.assemble(
        loaded, [Percepts(scene, 8500)], taps=[recorder], senses=False, body=body, started=NOON
    )  # fmt: skip
    session.run(speed=1.0)
    recording = Recording.open(path)
    performance = Replay(recording, mode="percepts")
    perform(performance, config.reload(recording.header.config), recording)
    assert performance.identical, performance.first
    said = [packet.data.text for packet in performance.replayed if isinstance(packet.data, Say)]
    assert said == ["One moment.", "It took a while.", "I wait.", "There it is."]
