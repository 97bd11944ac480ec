"""The embedded policy and a robot that says for itself what a motion needs: a yes, an end, the other way."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from policies.motions import other_way
from policies.numbers import spell
from policies.scene import Done
from streams.topics import FEEDBACK, PERCEPT
from streams.types import (
    Adjusted,
    Attached,
    BodyState,
    Command,
    Fault,
    Halt,
    Manner,
    Offer,
    Offered,
    Outcome,
    Recovered,
    Say,
    Withdraw,
)
from tests.test_intents import SECOND, Talk


def offered(talk: Talk, **fields: Any) -> None:
    """The robot offers `move` and `turn`."""
    offers = tuple(Offer(name, "", {}, "command", risky=True, **fields) for name in ("move", "turn"))
    talk.publish(FEEDBACK, Offered("r1", offers))


def test_a_motion_that_needs_a_yes_gets_one_however_clearly_it_was_asked_for() -> None:
    talk = Talk()
    offered(talk, consent=True)
    asked = talk.person("turn left")
    assert asked == [Say("Shall I turn left?", turn=1, id=1)]
    done = talk.person("yes")
    assert [(each.name, each.confirmed) for each in done if isinstance(each, Command)] == [("turn", True)]


def test_without_that_it_moves_at_once_and_is_not_called_confirmed() -> None:
    talk = Talk()
    offered(talk)
    (command,) = [each for each in talk.person("turn left") if isinstance(each, Command)]
    assert (command.confirmed, command.origin, command.on_cut) == (False, "speech", "finish")


def test_what_an_interruption_does_to_a_motion_is_what_the_robot_says() -> None:
    for on_cut in ("finish", "cancel"):
        talk = Talk()
        offered(talk, on_cut=on_cut)
        (command,) = [each for each in talk.person("go forward one meter") if isinstance(each, Command)]
        assert command.on_cut == on_cut


def test_several_motions_of_which_one_needs_a_yes_are_not_begun() -> None:
    talk = Talk()
    offered(talk, consent=True)
    actions = talk.person("go forward one meter and turn left")
    assert not [each for each in actions if isinstance(each, Command)]


def test_the_other_way_takes_back_what_is_under_way_and_goes_as_far_the_other_way() -> None:
    talk = Talk()
    offered(talk)
    (first,) = [each for each in talk.person("turn left") if isinstance(each, Command)]
    actions = talk.person("no the other way")
    assert actions[0] == Withdraw(first.id, "the other way")
    (second,) = [each for each in actions if isinstance(each, Command)]
    assert second.name == "turn"
    assert math.isclose(second.arguments["angle_rad"], -first.arguments["angle_rad"])


def test_the_other_way_after_a_motion_that_is_over_takes_nothing_back() -> None:
    talk = Talk()
    (first,) = [each for each in talk.person("go forward one meter") if isinstance(each, Command)]
    talk.publish(FEEDBACK, Outcome(first.turn, first.id, "Command", "move", "done", result={"distance_m": 1.0}))
    actions = talk.person("the other way please")
    assert not [each for each in actions if isinstance(each, Withdraw)]
    assert [each.arguments for each in actions if isinstance(each, Command)] == [{"distance_m": -1.0}]


def test_the_other_way_of_nothing_is_asked_back_and_not_guessed() -> None:
    for before in ([], ["come back"]):
        talk = Talk()
        for text in before:
            talk.person(text)
        assert not [each for each in talk.person("no the other way") if isinstance(each, Command)]


def test_what_is_no_way_has_no_other_way() -> None:
    def last(name: str, **arguments: float) -> Done:
        return Done(0, 1, "Command", name, arguments, 0, 0)

    for strange in (last("heat", celsius=20.0), last("move", speed=0.4), last("turn", distance_m=1.0)):
        assert other_way(strange) is None
    assert other_way(last("turn", angle_rad=0.5)) is not None


def test_a_robot_that_is_lost_and_found_is_told_once_each() -> None:
    talk = Talk()
    talk.publish(FEEDBACK, Attached("r1"))
    talk.publish(FEEDBACK, Fault("r1", "RobotSilent", "not heard for 2 s"))
    assert talk.floor() == [Say("I have lost the robot.", turn=1, id=1)]
    talk.now += 2 * SECOND
    talk.publish(FEEDBACK, Recovered("r1", "the broker is reached again."))
    assert not talk.policy.wants_floor
    talk.publish(FEEDBACK, BodyState("r1", "heard"))
    assert [each.text for each in talk.floor() if isinstance(each, Say)] == ["The robot is back."]
    assert not talk.policy.wants_floor


def test_of_several_robots_it_says_which() -> None:
    talk = Talk()
    for name in ("r1", "r2"):
        talk.publish(FEEDBACK, Attached(name))
    talk.publish(FEEDBACK, Fault("r2", "RobotSilent", "not heard for 2 s"))
    assert [each.text for each in talk.floor() if isinstance(each, Say)] == ["I have lost the robot r2."]


def test_a_stop_that_no_robot_confirms_is_said_each_time() -> None:
    talk = Talk()
    talk.publish(FEEDBACK, Attached("r1"))
    for _ in range(2):
        talk.publish(FEEDBACK, Fault("r1", "StopUnconfirmed", "no answer within 1 s"))
        (said,) = talk.floor()
        assert isinstance(said, Say) and "Use the stop on the robot itself" in said.text


def test_it_is_said_also_of_a_robot_that_was_never_heard_and_when_it_is_given_up() -> None:
    talk = Talk()
    for error in ("StopUnconfirmed", "StopGivenUp"):
        talk.publish(FEEDBACK, Fault("r7", error, "cannot be reached"))
        assert talk.policy.urgent
        (said,) = talk.floor()
        assert isinstance(said, Say) and "Use the stop on the robot itself" in said.text
        assert not talk.policy.urgent


def test_who_wants_nothing_said_unasked_is_warned_and_told_nothing_else() -> None:
    talk = Talk()
    talk.publish(PERCEPT, Adjusted(Manner(proactivity="none")))
    talk.publish(FEEDBACK, Attached("r1"))
    talk.publish(FEEDBACK, Fault("r1", "RobotSilent", "not heard for 2 s"))
    assert not talk.policy.urgent
    talk.publish(FEEDBACK, Fault("r1", "StopUnconfirmed", "no answer within 1 s"))
    (said,) = talk.floor()
    assert isinstance(said, Say) and "has not confirmed the stop" in said.text


def test_what_many_robots_can_do_is_told_briefly_and_only_in_words() -> None:
    talk = Talk()
    offers = [Offer(f"o{n}", f"Do thing {name}.", {}, "command") for n, name in enumerate("abcd")]
    strange = Offer("arm.spin_up", "What the robot calls 'arm spin up'.", {}, "command")
    brake = Offer("brake", "Stop at once.", {}, "command")
    talk.publish(FEEDBACK, Offered("r1", (brake, strange, *offers, Offer("o9", "Do thing e.", {}, "command"))))
    talk.publish(FEEDBACK, Offered("r2", (replace(offers[0], name="r2.o0"), Offer("call", "Call somebody.", {}))))
    (said,) = [each.text for each in talk.person("what can you do") if isinstance(each, Say)]
    told = said.partition("The robot ")[2]
    assert told == "can do this: arm spin up, do thing a, do thing b, do thing c, do thing d, and more."


@pytest.mark.parametrize(
    ("description", "deed"),
    [
        ("Brings the tool to goal.x, goal.y.", "bring the tool to goal"),
        ("Carries a cup.", "carry a cup"),
        ("Presses the button.", "press the button"),
        ("Press the button.", "press the button"),
        ("Goes to the dock; and stays.", "go to the dock"),
        ("Closes the door.", "close the door"),
        ("Focus the camera.", "focus the camera"),
        ("Always the same dance.", "always the same dance"),
        ("Waves.", "waves"),
    ],
)
def test_what_it_can_do_is_listed_as_one_says_it_whatever_its_description_begins_with(
    description: str, deed: str
) -> None:
    talk = Talk()
    talk.publish(FEEDBACK, Offered("r1", (Offer("reach", description, {}, "command"),)))
    (said,) = [each.text for each in talk.person("what can you do") if isinstance(each, Say)]
    assert said.endswith(f"The robot can do this: {deed}.")


def test_what_a_skill_does_is_told_beside_the_rest() -> None:
    talk = Talk()
    reach = Offer("reach", "Brings the tool to the red lamp.", {}, "command", risky=True)
    talk.publish(FEEDBACK, Offered("r1", (Offer("lamp", "Switch the lamp on or off.", {}, "command"), reach)))
    (said,) = [each.text for each in talk.person("what can you do") if isinstance(each, Say)]
    assert said.endswith("The robot can do this: switch the lamp on or off, and bring the tool to the red lamp.")


def test_every_number_is_read_back_before_the_motion() -> None:
    for n in (*range(1, 13), 20):
        for verb, said in (
            (f"go forward {spell(n)} meters", "Going forward"),
            (f"turn left {5 * n} degrees", "Turning"),
        ):
            talk = Talk()
            first, second = talk.person(verb)
            assert isinstance(first, Say) and first.text.startswith(said) and isinstance(second, Command)
            number = n if "meters" in verb else 5 * n
            assert f" {spell(number)} " in first.text, first.text
    talk = Talk()
    assert talk.person("go forward half a meter")[0] == Say("Going forward half a metre.", turn=1, id=1)


def test_a_person_who_objects_to_what_was_read_back_stops_it() -> None:
    talk = Talk()
    offered(talk)
    talk.person("go forward two meters")
    assert [type(each) for each in talk.person("no")] == [Halt, Say]
