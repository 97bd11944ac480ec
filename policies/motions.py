"""The embedded policy's motions and tool calls: what is asked of the body, what is said of it before and after."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from policies import phrasing
from policies.numbers import spell
from policies.scene import Done
from policies.sentences import Understood
from policies.tables import Ask
from streams.types import Action, Call, Command, Say, TurnCommitted, Withdraw

_WISHES = {
    "move": "move",
    "turn": "turn",
    "come_back": "come back",
    "set_timer": "set the timer",
    "cancel_timer": "cancel the timer",
    "set_volume": "change the volume",
}
_OPPOSITE = {"move": "distance_m", "turn": "angle_rad"}
"""Motions of which it is known that the negative goes back, and by which argument."""


class Motion(Struct, frozen=True):
    """A motion, what is said before it (told, "" = nothing), and how it is asked about.

    instead_of: number of the command that is under way and taken back for it, 0 = of none
    """

    name: str
    arguments: dict[str, Any]
    told: str
    question: str
    instead_of: int = 0

    def actions(self, confidence: float, *, confirmed: bool = False) -> Sequence[Action]:
        """Say it, then do it. confirmed: the person was asked about just this, and said yes"""
        before: list[Action] = [Withdraw(self.instead_of, "the other way")] if self.instead_of else []
        told: list[Action] = [Say(self.told)] if self.told else []
        return [*before, *told, Command(self.name, self.arguments, confidence=confidence, confirmed=confirmed)]


def move(slots: Mapping[str, Any], default_m: float) -> Motion:
    """Straight on, `distance_m` in metres, backward negative."""
    distance_m, words = phrasing.metres_of(slots, default_m)
    where = _join("forward" if slots["direction"] > 0 else "back", words)
    return Motion("move", {"distance_m": slots["direction"] * distance_m}, f"Going {where}.", f"Shall I go {where}?")


def turn_by(slots: Mapping[str, Any], default_deg: float) -> Motion:
    """On the spot, `angle_rad` in radians, left positive (REP-103)."""
    degrees, words = phrasing.degrees_of(slots, default_deg)
    around = slots.get("degrees") == 180 and not isinstance(slots["degrees"], float)  # "turn around"
    where = "around" if around else _join("left" if slots["side"] > 0 else "right", words)
    return Motion(
        "turn", {"angle_rad": math.radians(slots["side"] * degrees)}, f"Turning {where}.", f"Shall I turn {where}?"
    )


def come_back() -> Motion:
    """To where it started."""
    return Motion("come_back", {}, "Coming back.", "Shall I come back?")


def other_way(last: Done | None) -> Motion | None:
    """The opposite of the last motion, as far, from where it is now; None for one that has no opposite.

    The robot turns its speed round within its limits: what is under way is taken back, not stopped first.
    """
    if last is None or len(last.arguments) != 1:
        return None
    ((name, amount),) = last.arguments.items()
    if name != _OPPOSITE.get(last.name) or isinstance(amount, bool) or not isinstance(amount, int | float):
        return None
    running = 0 if last.status else last.id
    return Motion(last.name, {name: -amount}, "The other way.", "Shall I go the other way?", running)


def contradict(motions: Sequence[Motion]) -> bool:
    """Whether one takes back another: the same motion, the other way."""
    ways: dict[tuple[str, str], bool] = {}
    return any(
        ways.setdefault((motion.name, name), value > 0) is not (value > 0)
        for motion in motions
        for name, value in motion.arguments.items()
        if isinstance(value, float | int)
    )


def declared(understood: Understood, turn: TurnCommitted) -> tuple[str, Sequence[Action], Motion | None]:
    """What the file of sentences wants: what to say, the calls to make, the motion to carry out."""
    intent, slots = understood.intent, understood.slots
    replies = intent.replies
    told = _fill(replies[turn.turn % len(replies)], slots) if replies else ""
    calls = [] if intent.call is None else [Call(intent.call.name, _arguments(intent.call, slots))]
    if intent.command is None:
        return told, calls, None
    question = _fill(intent.confirm, slots) or f"Did you say: {turn.text}?"
    return told, calls, Motion(intent.command.name, _arguments(intent.command, slots), told, question)


def report(done: Done, *, answer: bool) -> str:
    """What is to be said of an outcome: of a timer that it is done, else only what the person would not expect.

    answer: the result of the call is the answer to a question
    """
    if done.status in ("", "cut", "fenced"):  # the person cut it, and knows
        return ""
    if done.status == "done":
        if done.name == "set_timer":
            return f"Your {done.arguments.get('label', '')} timer is done."
        if answer and done.result is not None:
            return f"{spell(done.result) if isinstance(done.result, float | int) else done.result}"
        return _fell_short(done)
    if done.kind == "Call" and done.status == "refused":  # no such tool, or not with these arguments
        return "I cannot do that here."
    if done.status == "timeout":
        return f"{_so_far(done)}: it took too long."
    # A detail with names or symbols in it is for the log, not for the ear.
    detail = re.sub(r"^[A-Z]\w*: ", "", done.detail).partition(": ")[0].rstrip(".")
    return f"{_so_far(done)}: {detail}." if phrasing.SPEAKABLE.fullmatch(detail) else f"{_so_far(done)}."


def _failed(done: Done) -> str:
    """Names of motions and tools are for the log: those of one's own are not said."""
    return f"I could not {_WISHES.get(done.name, 'do that')}"


def _so_far(done: Done) -> str:
    """What was not done; of a motion that was done in part, how much was."""
    wanted, came, told = _came(done)
    if not told or wanted * came <= 0:
        return _failed(done)
    return "I did not quite get there" if abs(wanted - came) <= 0.1 * abs(wanted) else f"I only {told}"


def _fell_short(done: Done) -> str:
    wanted, came, told = _came(done)
    if "distance_m" not in done.arguments or abs(wanted - came) <= 0.1 * abs(wanted):
        return ""
    return f"I only {told}." if told else "I did not get anywhere."


def _came(done: Done) -> tuple[float, float, str]:
    """How far it was to go (m) or turn (rad), and how far it came; that in words, "" if it is not known, or nothing."""
    for name in ("distance_m", "angle_rad"):
        wanted = done.arguments.get(name)
        came = done.result.get(name) if isinstance(done.result, dict) else None
        if not isinstance(wanted, float | int) or not isinstance(came, float | int) or not math.isfinite(came):
            continue
        if name == "distance_m":
            metres = round(abs(came), 1)
            return wanted, came, f"went {phrasing.count(metres, 'metre')}" if metres else ""
        degrees = 5 * round(math.degrees(abs(came)) / 5)
        return wanted, came, f"turned {phrasing.count(degrees, 'degree')}" if degrees else ""
    return 0.0, 0.0, ""


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _fill(text: str, slots: Mapping[str, Any]) -> str:
    return text.format_map({name: _spoken(value) for name, value in slots.items()})


def _spoken(value: Any) -> str:
    return spell(value) if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def _arguments(ask: Ask, slots: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _argument(value, slots) for name, value in ask.arguments.items()}


def _argument(value: Any, slots: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _argument(each, slots) for name, each in value.items()}
    if isinstance(value, list):
        return [_argument(each, slots) for each in value]
    if not isinstance(value, str):
        return value
    whole = value[1:-1] if value.startswith("{") and value.endswith("}") else ""
    return slots[whole] if whole in slots else _fill(value, slots)
