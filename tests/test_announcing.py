"""What is said before a motion that is then refused: it is not heard, or cut, and the reason comes at once."""

from pathlib import Path
from typing import Any

import pytest

from agent import assembly, config
from agent.session import Log
from embodied.remote.agent_link import AgentLink
from embodied.remote.client import RobotClient
from embodied.remote.settings import RobotConfig
from embodied.robot.settings import GuardSettings
from policies.models.scripted import Tokens
from streams.recording import Recorder
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Ask, Command, Declined, Outcome, Played, PlayStarted, Say, TurnCommitted, Withdraw
from tests.minds import NOON
from tests.minds import typed as written
from tests.robot_room import BASE, Held, Hosted, Room, hold, typed
from tests.scenes import Percepts, spoken
from tests.test_llm_robot import asked
from tests.test_llm_robot import hold as minded
from tests.test_robot_session import replayed

AT_ONCE = 0.1
"""s; a word more of the announcement takes 0.25 s, all of it a second"""


def refusal(held: Held) -> tuple[Outcome, float]:
    """The only end, a refusal, and how long after the command the voice began to say why."""
    (end,) = held.ends()
    assert end.status == "refused"
    reason = held.of(Say)[-1]
    began = next(p.t for p in held.log.packets if isinstance(p.data, PlayStarted) and p.data.id == reason.id)
    told = next(p.at for p in held.log.packets if isinstance(p.data, Outcome) and p.data.id == end.id)
    return end, (began - told) / 1e9


def words(held: Held) -> list[str]:
    return [each.text for each in held.of(Played)]


def unheard(held: Held, reason: str) -> None:
    """Nothing of the announcement has left the loudspeaker, and the reason comes at once, in the same turn."""
    _, wait = refusal(held)
    assert words(held)[0] == "I" and " ".join(words(held)).startswith("I could not")
    assert reason in held.said()[-1] and wait < AT_ONCE
    assert [each.reason for each in held.of(TurnCommitted)] == ["typed"]


def test_what_the_agents_own_guards_refuse_is_never_announced() -> None:
    unheard(hold([typed(1500, "go forward nine meters")]), "outside of where it may be")


def test_what_the_robot_refuses_is_not_announced_either() -> None:
    unheard(hold([typed(1500, "go forward one meter")], Room(changes={"options.mode": "manual"})), "mode")


def test_without_any_robot_nothing_is_announced() -> None:
    loaded = config.load(None, [*BASE[:4], "body.motion=none"])
    log = Log(PERCEPT, TURN, ACTION, FEEDBACK)
    session = assembly.assemble(
        loaded, [Percepts([typed(1500, "turn left")], 3000)], taps=[log], senses=False, started=NOON
    )
    session.run(speed=None)
    unheard(Held(session, log, Room()), "no robot is attached")


class Contested(Room):
    """Somebody else of the same rank moves the robot."""

    def moving(self, publisher: Any, clock: Any) -> list[Any]:
        made = super().moving(publisher, clock)
        other = AgentLink(
            RobotConfig(url="mqtt://nowhere", ids=("r1",), agent="agent2"), self.broker.dial("agent2"), clock,
            session="s-2",
        )  # fmt: skip
        client = RobotClient(other, "r1")
        clock.call_at(1_000_000_000, client.use)

        class Other(Hosted):
            def __init__(self) -> None:
                self.name = "agent2"

            async def serve(self) -> None:
                await other.serve()

        return [Other(), *made]


def test_a_lease_that_somebody_else_holds_is_told_at_once() -> None:
    unheard(hold([typed(2500, "go forward one meter")], Contested()), "agent2 moves it")


def test_a_lease_that_is_refused_is_not_waited_for() -> None:
    settings = GuardSettings(ranks={"agent1": "model"})
    room = Room(settings=settings, agent=RobotConfig(url="mqtt://nowhere", ids=("r1",), find_s=1, rank="policy"))
    unheard(hold([typed(1500, "go forward one meter")], room), "")


def test_one_that_has_begun_is_cut_at_a_word_and_the_reason_follows() -> None:
    held = hold([typed(1500, "go forward one meter")], Room(changes={"options.mode": "manual"}, delay_ms=120))
    _, wait = refusal(held)
    assert words(held)[:3] in (["Going", "I", "could"], ["Going", "forward", "I"])
    assert wait < 0.3  # there is a short silence between two texts
    (say,) = [each for each in held.of(Outcome) if each.action == "Say" and each.status == "cut"]
    assert say.result in ("Going", "Going forward")


def test_the_reason_is_an_answer_and_told_where_nothing_is_said_unasked() -> None:
    unheard(
        hold([typed(1500, "go forward nine meters")], None, "manner.proactivity=none"), "outside of where it may be"
    )


def test_what_was_to_follow_is_not_announced_any_more() -> None:
    scene = [*spoken(1, 1500, 2500, "go forward nine meters"), *spoken(2, 2700, 3300, "turn left")]
    held = hold(scene, tail_ms=6000)
    assert [end.status for end in held.ends()] == ["refused", "fenced"]
    assert "Turning" not in words(held) and "Going" not in words(held)


def test_a_motion_that_is_done_takes_nothing_back() -> None:
    held = hold([typed(1500, "go forward one meter")])
    assert not held.of(Withdraw) and held.said() == ["Going forward one metre."]


def test_one_that_fails_later_is_told_later() -> None:
    room = Room(changes={"options.world": {"posts": [[0.9, 0.0, 0.2]]}})
    held = hold([typed(1500, "go forward two meters")], room, tail_ms=20_000)
    assert [end.status for end in held.ends()] == ["failed"] and not held.of(Withdraw)
    assert [each.reason for each in held.of(TurnCommitted)] == ["typed", "unasked"]


def test_another_answer_of_the_same_turn_is_left_alone() -> None:
    own = (
        'policy.texts=[["own", """[intents.sweep]\\nsentences=["sweep the floor"]\\n'
        'command={ name = "sweep" }\\n[intents.sky]\\nsentences=["how is the sky"]\\nreply="The sky is blue."\\n"""]]'
    )
    held = hold([typed(1500, "how is the sky and sweep the floor")], None, own)
    assert held.said()[0] == "The sky is blue." and words(held)[:4] == ["The", "sky", "is", "blue"]


def test_it_replays_as_it_was(tmp_path: Path) -> None:
    for place, delay_ms in enumerate((2, 120)):
        path = tmp_path / f"{place}.mcap"
        room = Room(changes={"options.mode": "manual"}, delay_ms=delay_ms)
        scene = [typed(1500, "go forward one meter"), typed(6000, "turn left")]
        held = hold(scene, room, taps=[Recorder(path, assembly.header(config.load(None, BASE), NOON))], tail_ms=6000)
        assert len(held.of(Withdraw)) == 2
        performances = [replayed(path) for _ in range(5)]
        assert all(each.identical for each in performances)
        assert len({each.digest for each in performances}) == 1


# --- a language model


def test_a_models_announcement_is_taken_back_and_the_model_knows() -> None:
    script = [Tokens("It is noon. Going.", calls=(("move", {"distance_m": 9.0}),)), Tokens("I cannot go that far.")]
    log, _ = minded([written(2000, "go forward nine meters")], script)
    heard = " ".join(each.text for each in log.of(Played))
    assert heard == "It is noon I cannot go that far"
    (back,) = log.of(Withdraw)
    assert next(each.text for each in log.of(Say) if each.id == back.id) == "Going."
    assert "Going." not in asked(log) and "It is noon." in asked(log)


@pytest.mark.parametrize("call", [("nav_goto", {"x": 0.6, "y": 0.3}), ("move", {"distance_m": "far"})])
def test_nor_is_it_said_before_a_question_or_a_refusal_of_the_policy(call: Any) -> None:
    log, _ = minded([written(2000, "have a look over there")], [Tokens("Going.", calls=(call,)), Tokens("Sorry.")])
    assert not log.of(Command) and (log.of(Declined) or len(log.of(Ask)) == 1)
    assert "Going" not in [each.text for each in log.of(Played)]


def test_of_a_robot_that_is_known_to_be_gone_nothing_is_announced() -> None:
    def lose(room: Room) -> None:
        room.broker.drop("robot-r1")
        room.broker.hold("robot-r1")

    held = hold([typed(6000, "turn left")], Room(happening=[(1500, lose)]), tail_ms=8000)
    end, wait = refusal(held)
    assert end.detail == "it has lost its connection" and wait < AT_ONCE
    assert held.said()[-1] == "I could not turn: it has lost its connection."
    assert not any(word.startswith("Turning") for word in words(held))
