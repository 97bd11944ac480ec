"""Whether what a model wants done is done: what is risky needs a person's own words.

A model may be talked into anything, by what somebody says, by a picture, by what a tool returns. So its wish alone
moves nothing. A motion, or a tool that is marked as risky, is carried out

- if the words of the turn that is being answered ask for just that, as understood without any model
  (`IntentsPolicy.wanted`): the same action with the same arguments, or less far, once for each time it was asked for
  (but not where the offer says that it needs a yes each time: `Offer.consent`);
- or if the person says a plain yes to a question that names it (`naming.question`), and that was the last thing heard
  of the agent, whole, and not long ago.

What that rests on are a person's turns, the configuration and what was heard of the agent; nothing that a model, a
tool, a server or a picture wrote can turn an "ask" or a "refuse" into a "do". What is not guarded: docs/safety.md.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from policies.intents import FORBIDDEN, IntentsPolicy
from policies.llm.lately import WHILE_NS, Lately
from policies.llm.naming import question
from policies.scene import MS, Said, Snapshot, Spoken
from streams.types import Action, Call, Command, Halt, Offer, Say, TurnCommitted

ALIKE = 0.01
"""Two numbers that differ by less than this part of them are the same: 1.57 rad is a right angle."""
WAYS = frozenset({"distance_m", "angle_rad"})
"""Arguments of motions of which less, the same way, is no more than was asked for."""
LATER = 2
"""So many more wishes of one turn are asked about, each when the one before it got its yes."""
IN_VAIN = 3
"""After so many questions in a row without a yes nobody is asked for a while, unless a person's own words ask for
something: a model cannot wear anybody down."""
ALREADY = "already, a moment ago, and is not asked again: answer what was said; who wants it can order it plainly"


class Verdict(Struct, frozen=True):
    """What is to become of a wish. say: the question, or why not."""

    does: Literal["do", "ask", "refuse"]
    say: str = ""


class _Open(Struct, frozen=True):
    """A question that waits for a yes, or to be asked: what it is about, the digest of that, and who in which turn
    made the model wish it (and, once it is asked, in which turn it was)."""

    offer: Offer
    action: Call | Command
    digest: str
    question: str
    turn: int
    speaker: str


class Consent:
    """Weighs wishes, and keeps the one that waits for a yes.

    intents: understands a person's words without a model, and knows what was said and heard. Its configuration bounds
    this as well: `confirm_below`, `yes_above`, `confirm_ms`. It must have observed all that the caller has
    """

    def __init__(self, intents: IntentsPolicy) -> None:
        self._intents = intents
        self._open: _Open | None = None
        self._turn = -1  # the turn whose own words are in `_left`
        self._left: list[Call | Command] = []  # what they ask for and has not been done
        self._unclear: Sequence[Call | Command] = ()  # what they ask for but were not heard clearly enough
        self._lately = Lately()
        self._next: list[_Open] = []  # what is asked after that, one by one
        self._in_vain = 0
        self._asked_ns = 0  # when the person spoke to whom the last question was an answer

    @property
    def pending(self) -> bool:
        """Whether a question waits for a yes."""
        return self._open is not None

    def forget(self) -> None:
        """No question waits any more: everything was stopped, or other rules hold."""
        self._open = None
        self._next.clear()

    def weigh(self, offer: Offer, action: Call | Command, turn: TurnCommitted) -> Verdict:
        """May `action` (which `offer` stands for) be done in answer to `turn`?

        One that is to be asked about ("ask") is kept until the person's next turn: the caller says the question and
        nothing after it. "refuse": nobody spoke, the words were not for the agent, the arguments are out of range or
        cannot be named, it was asked about or done a moment ago, or it is asked about later: one question at a time.
        """
        if self._open is not None and self._open.turn != turn.turn:
            self.forget()
        if not offer.risky and not isinstance(action, Command):
            return Verdict("do")
        if turn.reason == "unasked":
            return Verdict("refuse", "nobody has asked for anything")
        if turn.evidence.get("aside"):
            return Verdict("refuse", "what was said was not said to you")
        if wrong := _wrong(offer, action):
            return Verdict("refuse", wrong)
        if self._turn != turn.turn:
            self._turn, self._left = turn.turn, list(self._intents.wanted(turn))
            # surer than any `confirm_below`, and all of it: this can only lead to a question
            self._unclear = [] if self._left else self._intents.wanted(replace(turn, confidence=math.inf, words=()))
        for place, wanted in enumerate(self._left):
            if covers(wanted, action) and not offer.consent:
                del self._left[place]
                self._in_vain = 0
                self._lately.note(question(offer, action), "it was begun", turn)
                return Verdict("do")
        return self._ask(offer, action, turn)

    def _ask(self, offer: Offer, action: Call | Command, turn: TurnCommitted) -> Verdict:
        if turn.start_ns - self._asked_ns > WHILE_NS:
            self._in_vain = 0
        asked = question(offer, action)
        if asked is None:
            return Verdict("refuse", "the person must agree, and this is too much to ask about in one question")
        lately = self._lately.of(asked, turn)
        if lately and self._open is None and not any(covers(wanted, action) for wanted in self._unclear):
            return Verdict("refuse", f"{lately} {ALREADY}")
        if self._in_vain >= IN_VAIN:
            return Verdict("refuse", "the person was asked several times without a yes, and must say it plainly")
        speaker = str(turn.evidence.get("speaker", ""))
        wish = _Open(offer, action, digest(action), asked, turn.turn, speaker)
        if self._open is None:
            self._asked_ns = turn.start_ns
            self._in_vain += 1
            return Verdict("ask", self._put(wish, turn))
        if wish.digest not in [each.digest for each in (self._open, *self._next)] and len(self._next) < LATER:
            self._next.append(wish)
            return Verdict("refuse", "not yet: the person is asked about it after the first one")
        return Verdict("refuse", "the person is being asked about something already, one thing at a time")

    def _put(self, wish: _Open, turn: TurnCommitted) -> str:
        """The question about `wish`, which is said in answer to `turn` and waits for a yes from now on."""
        self._open = replace(wish, turn=turn.turn)
        self._lately.note(wish.question, "the person was asked", turn)
        return wish.question

    def hear(self, turn: TurnCommitted) -> Sequence[Action] | None:
        """What follows from the person's next turn; None if it is to be answered as any other.

        A plain yes: what was asked about, once, and the next question if there is more to ask about. A yes that was
        not heard clearly, or before the question was heard whole: the question again. A plain no, or a prohibition: it
        is acknowledged, and what moves is stopped, also if no question is open. Anything else takes the question back.
        """
        if not turn.text:
            return None
        waiting, later = self._open, self._next
        self._open, self._next = None, []
        scene = self._intents.scene
        moving = any(each.kind == "Command" for each in scene.running)
        if waiting is None and not moving:
            return None
        said = self._intents.plainly(turn)
        if waiting is not None and (said == "yes" or (said != "no" and not _heard(waiting, scene))):
            # one that was cut off has not been asked; a yes that is too late for it deserves another
            self._lately.forget(waiting.question)
        if said == "no":
            return [*([Halt("forbidden")] if moving else ()), Say(FORBIDDEN)]
        if said != "yes" or waiting is None or not self._answers(waiting, turn, scene):
            return None
        if turn.confidence < self._intents.config.yes_above or not _heard(waiting, scene):
            self._next = later
            return [Say(self._put(waiting, turn))]
        self._in_vain = 0
        if digest(waiting.action) != waiting.digest:
            return None
        action = waiting.action
        if isinstance(action, Command):
            origin: Literal["text", "speech"] = "text" if turn.reason == "typed" else "speech"
            action = replace(action, origin=origin, confidence=turn.confidence, confirmed=True)
        self._lately.note(waiting.question, "it was begun", turn)
        if not later:
            return [Say("All right."), action]
        self._next = later[1:]
        self._in_vain += 1
        return [Say("All right."), action, Say(self._put(later[0], turn))]

    def _answers(self, waiting: _Open, turn: TurnCommitted, scene: Snapshot) -> bool:
        """Whether a yes in `turn` can be meant for the question: the last thing said, lately, of what is there still,
        to this person."""
        spoken, said = _asked(waiting, scene)
        if spoken is None or said is None:
            return False
        if turn.start_ns > spoken.end_ns + self._intents.config.confirm_ms * MS or turn.evidence.get("aside"):
            return False
        speaker = str(turn.evidence.get("speaker", ""))
        if speaker and waiting.speaker and speaker != waiting.speaker:
            return False
        return any(waiting.offer in each.offers for each in scene.offered)


def covers(wanted: Call | Command, action: Call | Command) -> bool:
    """Whether who asked for `wanted` asked for `action`: the same, to a hundredth; a way may be shorter."""
    if type(wanted) is not type(action) or wanted.name != action.name:
        return False
    if set(wanted.arguments) != set(action.arguments):
        return False
    ways = WAYS if isinstance(action, Command) else frozenset()
    return all(_same(value, action.arguments[key], shorter=key in ways) for key, value in wanted.arguments.items())


def digest(action: Call | Command) -> str:
    """SHA-256 (hexadecimal) of what is asked for: kind, name and arguments."""
    what = [type(action).__name__, action.name, action.arguments]
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()


def _same(wanted: Any, given: Any, *, shorter: bool) -> bool:
    numbers = [each for each in (wanted, given) if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) < 2:
        return type(wanted) is type(given) and bool(wanted == given)
    close = math.isclose(wanted, given, rel_tol=ALIKE, abs_tol=1e-9)
    return close or (shorter and abs(given) <= abs(wanted) and given * wanted > 0)


def _wrong(offer: Offer, action: Call | Command) -> str:
    """What is wrong with the numbers of `action`; "" if nothing is. The body checks all of it again."""
    properties = offer.parameters.get("properties")
    known: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
    for key, value in action.arguments.items():
        if not _finite(value):
            return "an argument is no number that can be worked with"
        schema = known.get(key)
        if isinstance(schema, dict) and not _of_kind(value, schema.get("type")):
            return "an argument is of another kind than it should be"
        if not isinstance(schema, dict) or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = schema.get("minimum"), schema.get("maximum")
        if (isinstance(least, int | float) and value < least) or (isinstance(most, int | float) and value > most):
            return "an argument is out of range"
    return ""


_KINDS: Mapping[str, tuple[type, ...]] = {
    "number": (int, float), "integer": (int,), "string": (str,), "boolean": (bool,), "array": (list, tuple),
    "object": (dict,),
}  # fmt: skip


def _of_kind(value: Any, kind: Any) -> bool:
    """Whether `value` is what a JSON Schema's `type` says; what says nothing, or more than one, is left to the body."""
    if not isinstance(kind, str) or kind not in _KINDS:
        return True
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _finite(value: Any) -> bool:
    match value:
        case bool() | None | str():
            return True
        case int() | float():
            return abs(value) < 2**53
        case list() | tuple():
            return all(map(_finite, value))
        case dict():
            return all(map(_finite, value.values()))
    return False


def _asked(waiting: _Open, scene: Snapshot) -> tuple[Spoken | None, Said | None]:
    """The agent's last turn and what it said last in it, if that is the question."""
    spoken = scene.last(Spoken)
    if spoken is None or spoken.turn != waiting.turn or not spoken.says or spoken.says[-1].meant != waiting.question:
        return None, None
    return spoken, spoken.says[-1]


def _heard(waiting: _Open, scene: Snapshot) -> bool:
    """Whether every word of the question has left the loudspeaker."""
    turns = [each for each in scene.events if isinstance(each, Spoken) and each.turn == waiting.turn]
    says = [said for each in turns for said in each.says if said.meant == waiting.question]
    return bool(says) and (says[-1].status == "done" or len(says[-1].heard) >= len(says[-1].meant.split()))
