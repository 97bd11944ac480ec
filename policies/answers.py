"""Answers of the embedded policy that need no memory of their own: from the scene, the wall clock and arithmetic.

Each function here takes a `Question` and returns the actions that answer it, and changes nothing.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from policies import phrasing, sight
from policies.numbers import spell
from policies.reflex import find_stop, stop_words
from policies.scene import Heard, Snapshot, Spoken
from streams.types import Action, Call, Offer, Say, TurnCommitted

HELP = (
    "You can ask me the time or the date, set a timer, do sums, change my volume, or tell me to move. "
    "For example, say: go forward two metres."
)
HELP_AT_REST = "You can ask me the time or the date, set a timer, do sums, or change my volume."
KNOWN = frozenset({"move", "turn", "come_back"})
"""Motions of which `HELP` tells."""
MOST = 5  # other things that a robot can do are told
_CLAUSE = re.compile(r"[.,;:]")
_THIRD = re.compile(
    r"(?!always|sometimes|besides)[a-z]{2,}[^suia\W]s(?= (?:the|a|an|to|its|your|one|two|all|every|things|what)\b)"
)
"""How a description begins that says what it does, "brings the tool": of other words with an s few are followed so."""
_SUFFIX = re.compile(r"ies$|(?:ch|sh|ss|x|zz|o)es$|s$")


class Question(Struct, frozen=True):
    """A turn that was understood, and all that an answer may depend on.

    slots: by name, numbers as float;  now: wall time of the end of the scene
    forbidden: names of tools and motions that are not to be used
    """

    turn: TurnCommitted
    slots: Mapping[str, Any]
    scene: Snapshot
    now: datetime
    forbidden: Collection[str] = ()

    def vary(self, *variations: str) -> list[Action]:
        """One of the variations, another one each turn."""
        return [Say(variations[self.turn.turn % len(variations)])]


def greeting(question: Question) -> list[Action]:
    """A greeting for a greeting."""
    return question.vary("Hello.", "Hi, what can I do for you?", "Hello there.")


def parting(question: Question) -> list[Action]:
    """A goodbye."""
    return question.vary("Goodbye.", "Bye, see you soon.")


def thanks(question: Question) -> list[Action]:
    """A reply to thanks."""
    return question.vary("You are welcome.", "Any time.", "My pleasure.")


def help_(question: Question) -> list[Action]:
    """What can be said, and what the robots that are attached can do, in the words that come with it."""
    offered = [offer for each in question.scene.offered for offer in each.offers if offer.kind == "command"]
    offered = [offer for offer in offered if offer.name not in question.forbidden]
    moves = not question.scene.offered or any(offer.name == "move" for offer in offered)
    deeds = list(dict.fromkeys(_deed(offer) for offer in offered if offer.name.rpartition(".")[2] not in KNOWN))
    deeds = [deed for deed in deeds if find_stop(deed, stop_words()) is None]  # it must not stop itself by its own echo
    told = HELP if moves else HELP_AT_REST
    if not deeds:
        return [Say(told)]
    listed = deeds[:MOST] if len(deeds) <= MOST else [*deeds[:MOST], "more"]
    can = phrasing.listed(listed)
    return [Say(f"{told} The robot can {'also ' if moves else ''}do this: {can}.")]


def _deed(offer: Offer) -> str:
    """What `offer` does, in a list of what it can do: the first clause of its description, or its name."""
    clause = _CLAUSE.split(offer.description, maxsplit=1)[0].strip()
    if not phrasing.SPEAKABLE.fullmatch(clause):
        return " ".join(re.findall(r"[^\W_]+", offer.name))
    clause = clause[:1].lower() + clause[1:]
    verb = _THIRD.match(clause)
    return clause if verb is None else _SUFFIX.sub(_bare, verb[0]) + clause[verb.end() :]


def _bare(suffix: re.Match[str]) -> str:
    return "y" if suffix[0] == "ies" else suffix[0][:-2] if len(suffix[0]) > 1 else ""


def time(question: Question) -> list[Action]:
    """The time of day."""
    return [Say(f"It is {phrasing.time_of_day(question.now)}.")]


def date(question: Question) -> list[Action]:
    """Weekday, day and month."""
    return [Say(f"It is {phrasing.date(question.now)}.")]


def year(question: Question) -> list[Action]:
    """The year."""
    return [Say(f"It is {phrasing.year(question.now)}.")]


def arithmetic(question: Question) -> list[Action]:
    """A sum."""
    slots = question.slots
    return [Say(phrasing.result(slots["operator"], slots["a"], slots.get("b", 0.0)))]


def repeat(question: Question) -> list[Action]:
    """The agent's last turn once more, all that it meant to say."""
    last = question.scene.last(Spoken, before=question.turn.turn)
    if last is None or not last.meant:
        return [Say("I have not said anything yet.")]
    return [Say(text) for text in last.meant]


def heard(question: Question) -> list[Action]:
    """The person's words before this turn, as they were recognised."""
    last = question.scene.last(Heard, before=question.turn.turn)
    if last is None:
        return [Say("I have not heard anything yet.")]
    return [Say(f"I heard: {last.text}." if last.text else "I could not make out what you said.")]


def said(question: Question) -> list[Action]:
    """Of the agent's last turn only what the person can have heard."""
    last = question.scene.last(Spoken, before=question.turn.turn)
    if last is None:
        return [Say("I have not said anything yet.")]
    if not last.heard:
        return [Say("You cut in before I had said a word." if last.cut else "I did not get to say anything.")]
    words = " ".join(last.heard).rstrip(".,;:!?")
    return [Say(f"I said: {words}, before you cut in." if last.cut else f"I said: {words}.")]


def people(question: Question) -> list[Action]:
    """How many people are in sight and where; who they are, nobody knows."""
    faces = question.scene.seen()
    if faces is None:
        return [Say(_blind(question))]
    told = f"I see {sight.people_placed(faces)}."
    if faces and question.slots.get("who"):
        told += " I cannot tell who." if len(faces) > 1 else " I cannot tell who it is."
    return [Say(told)]


def see_me(question: Question) -> list[Action]:
    """Whether the person is seen: whoever asks is taken for one of those in sight."""
    faces = question.scene.seen()
    if faces is None:
        return [Say(_blind(question))]
    if not faces:
        return [Say("No, I see nobody.")]
    return [
        Say(f"Yes, I see you {sight.place(faces[0])}." if len(faces) == 1 else f"Yes, I see {sight.people(faces)}.")
    ]


def anybody(question: Question) -> list[Action]:
    """Whether there is anybody: by sight, or else by the voice that asks."""
    faces = question.scene.seen()
    if faces is None:
        return [Say(f"I hear you. {_blind(question)}")]
    return [Say(f"Yes, I see {sight.people_placed(faces)}." if faces else "I hear you, but I see nobody.")]


def _blind(question: Question) -> str:
    last = question.scene.sight
    return sight.blind(None if last is None else question.scene.age_s(last))


def add_timer(question: Question) -> list[Action]:
    """A tool call that ends when the timer does."""
    seconds = phrasing.seconds_of(question.slots)
    label = phrasing.timer_name(seconds)
    arguments = {"seconds": seconds, "label": label}
    return [Call("set_timer", arguments), Say(f"Timer set for {phrasing.duration(seconds)}.")]


def time_left(question: Question) -> list[Action]:
    """What is left of the timer that ends first, and of the others."""
    timers = question.scene.timers
    if not timers:
        return [Say("No timer is running.")]
    left = [max(1.0, (timer.due_ns - question.scene.now_ns) / 1e9) for timer in timers]
    if len(timers) == 1:
        return [Say(phrasing.sentence(f"{phrasing.duration(left[0])} left."))]
    return [
        Say(f"The {timer.label} timer has {phrasing.duration(seconds)} left.") for timer, seconds in zip(timers, left)
    ]


def cancel_timer(question: Question) -> list[Action]:
    """Takes back the timer set last, or all of them."""
    timers = sorted(question.scene.timers, key=lambda timer: timer.id)
    if not timers:
        return [Say("No timer is running.")]
    chosen = timers if question.slots.get("all") else timers[-1:]
    calls: list[Action] = [Call("cancel_timer", {"label": timer.label}) for timer in chosen]
    which = f"The {chosen[0].label} timer is cancelled." if len(chosen) == 1 else "All timers are cancelled."
    return [*calls, Say(which)]


def volume(question: Question) -> list[Action]:
    """Volume up, down, or to a level, in per cent."""
    if "level" in question.slots:
        level = question.slots["level"]
        return [Call("set_volume", {"percent": level}), Say(f"Volume {spell(level)} percent.")]
    change = float(question.slots["change"])
    return [Call("set_volume", {"by_percent": change}), Say("Louder." if change > 0 else "Quieter.")]


ANSWERS: dict[str, Callable[[Question], Sequence[Action]]] = {
    "greeting": greeting,
    "parting": parting,
    "thanks": thanks,
    "help": help_,
    "time": time,
    "date": date,
    "year": year,
    "arithmetic": arithmetic,
    "repeat": repeat,
    "heard": heard,
    "said": said,
    "people": people,
    "see_me": see_me,
    "anybody": anybody,
    "add_timer": add_timer,
    "time_left": time_left,
    "cancel_timer": cancel_timer,
    "volume": volume,
}
