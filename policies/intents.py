"""The embedded default policy: sentences in, short spoken answers, tool calls and motions out. No model, no network.

Knows the dialogue around the sentences: a motion that was not heard clearly is asked about first, an outcome that
differs from what was said is reported, and what was not understood is apologised for, but not for ever.
Deterministic: the same packets and turns give the same actions.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from policies.announcing import Announcements
from policies.answers import ANSWERS, Question
from policies.motions import Motion, come_back, contradict, declared, move, other_way, report, turn_by
from policies.own_words import assent, covered, orders
from policies.reflex import Reflex, find_stop, stop_words
from policies.scene import MS, Done, Scene, Snapshot, Spoken
from policies.sentences import Sentences, Understood
from policies.splitting import Part, allowed, split
from policies.templates import normalise
from policies.troubles import Troubles
from streams.packet import Packet
from streams.types import (
    Action,
    Adjusted,
    Call,
    Command,
    Halt,
    Manner,
    Offer,
    Offered,
    Outcome,
    Say,
    TurnCommitted,
    Words,
)

FORBIDDEN = "All right, I will not."
NOT_ALLOWED = "I am not allowed to do that."
UNCLEAR = "I did not understand, so I stay where I am."
_HOLD = "wait "
"""Who begins with it wants the robot to hold: only all of "wait, the other way" is taken for another way."""


class IntentsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the embedded policy behaves.

    confirm_below: a motion heard with less confidence is asked about aloud first (above 1 = always, 0 = never)
    yes_above: a "yes" heard with less confidence than this is asked for again
    confirm_ms: a question about a motion that is not answered within this time of its last word is void
    move_m, turn_deg: how far "go forward" and "turn left" go
    apologies: turns in a row that may be answered with "I did not catch that" before the policy stays silent
    noise_ms: a turn without any words that is shorter than this is noise and gets no answer
    tell_faults: say it when the microphone or the camera is gone, and when it is back
    stop_words: None = those of the language
    """

    confirm_below: float = 0.8
    yes_above: float = 0.5
    confirm_ms: int = 10_000
    move_m: float = 1.0
    turn_deg: float = 90.0
    apologies: int = 20
    noise_ms: int = 400
    tell_faults: bool = True
    stop_words: tuple[str, ...] | None = None


class _Asked(Struct, frozen=True):
    """A motion that waits for a "yes", and the turn in which it was asked about."""

    motion: Motion
    confidence: float
    turn: int


class IntentsPolicy:
    """A `Policy` over `sentences`.

    wall: wall time of a session time in ns (`Clock.wall`)
    manner: what it may not do, until `Adjusted`; the rest of it is for those who can
    wants_floor: something is to be said unasked: a timer is done, a motion did not go as announced, the camera is gone
    asking: the agent has asked a yes-or-no question that is still open
    """

    def __init__(
        self,
        sentences: Sentences,
        config: IntentsConfig,
        wall: Callable[[int], datetime],
        manner: Manner | None = None,
    ) -> None:
        self.sentences = sentences
        self.manner = manner or Manner()
        self.config = config
        self.wants_floor = self.urgent = False
        self._wall = wall
        self._scene = Scene()
        words = stop_words(sentences.language) if config.stop_words is None else config.stop_words
        self._stop_words = words
        ways = sentences.begun("other_way").items()
        self._ways = {text: whole for text, whole in ways if whole or not text.startswith(_HOLD)}
        self._asked: _Asked | None = None
        self._missed = 0
        self._notices: list[str] = []
        self._announced: dict[int, list[str]] = {}  # by the unasked turn that tells them
        self._announcing: dict[int, Announcements] = {}  # by the turn whose reply announces
        self._told: set[str] = set()  # what is said before the motions of the turn that is being answered
        self._answering: set[int] = set()  # turns whose tool call's result is the answer
        self._left: set[int] = set()  # actions of others, who tell what became of them
        self._troubles = Troubles()
        self._offers: dict[str, tuple[Offer, ...]] = {}  # by component
        self._told_faults: tuple[int, list[str]] = (-1, [])  # the last unasked turn that tells of faults, and what

    @property
    def scene(self) -> Snapshot:
        """What was heard, said and done so far."""
        return self._scene.snapshot()

    @property
    def asking(self) -> bool:
        """Whether a yes-or-no question is open."""
        return self._asked is not None

    def wanted(self, turn: TurnCommitted) -> list[Call | Command]:
        """What the words of `turn` plainly ask to be done: motions, and calls of sentences of one's own.

        All or nothing: none of it if there is anything else in the turn but orders and courtesies, if it was not heard
        clearly, or if one part takes back another.
        """
        if not self._sure(turn):
            return []
        if find_stop(turn.text, self._stop_words, language=self.sentences.language) is not None:
            return []
        wanted: list[Call | Command] = []
        motions: list[Motion] = []
        for part in orders(self.sentences, turn):
            if part.understood is None:
                return []
            if (motion := self._motion_of(turn, part.understood)) is not None:
                motions.append(motion)
                wanted.append(Command(motion.name, motion.arguments))
            elif not part.does:
                wanted += [each for each in declared(part.understood, turn)[1] if isinstance(each, Call)]
        return [] if contradict(motions) else wanted

    def plainly(self, turn: TurnCommitted) -> Literal["yes", "no", ""]:
        """Whether `turn` is a yes or a no and nothing else; a prohibition ("do not move") is a no."""
        return assent(self.sentences, turn)

    def awaits(self, turn: TurnCommitted) -> bool:
        """Whether `turn` answers the open question, plainly and in time. If it does not, the question is void."""
        asked = self._asked
        if asked is None or self._expired(asked, turn, self.scene) or not self.plainly(turn):
            self._asked = None
        return self._asked is not None

    def redirects(self, text: str) -> Literal["", "begins", "whole"]:
        """As in `Redirecting`: "no the other", while one motion is under way that has another way."""
        whole = self._ways.get(normalise(text))
        if whole is None:
            return ""
        running = [each for each in self.scene.running if each.kind == "Command"]
        if len(running) != 1 or other_way(running[0]) is None:
            return ""
        return "whole" if whole else "begins"

    def leave(self, number: int, *, alone: bool = True) -> None:
        """Somebody else tells what became of action `number`; with `alone` False this policy does after all."""
        (self._left.add if alone else self._left.discard)(number)

    def observe(self, packet: Packet[Any]) -> None:
        """As in the port."""
        self._scene.observe(packet)
        if self.config.tell_faults:
            self._troubles.feed(packet)
        data = packet.data
        told = [each.feed(data) for each in self._announcing.values()]
        if isinstance(data, Adjusted):
            self.manner = data.manner
        elif isinstance(data, Offered):
            self._offers[data.where] = data.offers
        elif isinstance(data, Outcome):
            if not any(told):
                self._ended(data)
        elif isinstance(data, Halt):
            self._asked = None
        elif isinstance(data, TurnCommitted) and data.reason == "unasked":
            self._announce(data.turn)
        self.wants_floor = bool(self._notices or self._troubles.pending)
        self.urgent = self._troubles.urgent

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port. Everything is decided in this call; the generator only hands it out."""
        self._told.clear()
        actions = self._decide(turn)
        origin: Literal["text", "speech"] = "text" if turn.reason == "typed" else "speech"
        actions = [self._placed(each, origin) if isinstance(each, Command) else each for each in actions]
        forbidden = self.manner.forbidden_tools
        if any(isinstance(each, Call | Command) and each.name in forbidden for each in actions):
            actions = [Say(NOT_ALLOWED)]
        return self._carried(actions, Announcements(turn.turn, frozenset(self._told)))

    async def _carried(self, actions: Sequence[Action], announcements: Announcements) -> AsyncGenerator[Action, None]:
        turn = announcements.turn
        self._announcing[turn] = announcements
        try:
            async with aclosing(announcements.carry(actions, self._why)) as carried:
                async for action in carried:
                    yield action
        finally:
            del self._announcing[turn]

    def _offer(self, name: str) -> Offer | None:
        """What the motion `name` is, as who carries it out tells it."""
        offers = (each for all_ in self._offers.values() for each in all_)
        return next((each for each in offers if each.name == name and each.kind == "command"), None)

    def _placed(self, command: Command, origin: Literal["text", "speech"]) -> Command:
        """`command` with where it came from, and with what an interruption does to it."""
        offer = self._offer(command.name)
        return replace(command, origin=origin, on_cut=command.on_cut if offer is None else offer.on_cut)

    # --- turns

    def _decide(self, turn: TurnCommitted) -> Sequence[Action]:
        if turn.reason == "unasked":
            self._announce(turn.turn)
            number, faults = self._told_faults
            texts = self._announced.get(turn.turn, [])
            return [Say(text) for text in [*(faults if number == turn.turn else ()), *texts]]
        scene = self._scene.snapshot()
        asked, self._asked = self._asked, None
        stop = Reflex(self._stop_words, language=self.sentences.language).feed(Words(0, turn.text, (), True))
        if stop is not None:  # typed, or recognised too late for the reflex
            return [Halt(stop.word), Say("All right.")]
        understood = self.sentences.understand(turn.text)
        parts = split(self.sentences, turn) if understood is None else ()
        if understood is None and not allowed(parts):
            return self._not_understood(turn, asked)
        self._missed = 0
        if asked is not None and self._expired(asked, turn, scene):
            asked = None
        if understood is None:
            return self._several(turn, parts, scene, asked)
        return self._understood(turn, understood, scene, asked)

    def _several(
        self, turn: TurnCommitted, parts: Sequence[Part], scene: Snapshot, asked: _Asked | None
    ) -> Sequence[Action]:
        """Answer one part after the other; ask, or say what was not understood, at the end."""
        pieces = [(part.does, replace(turn, text=part.text), known) for part, known in allowed(parts)]
        motions = [motion for _, piece, known in pieces if (motion := self._motion_of(piece, known)) is not None]
        sure = self._sure(turn) and not contradict(motions) and not any(map(self._needs_yes, motions))
        refusals = [does for does, _, _ in pieces if does in ("no", "forbid")]
        actions: list[Action] = []
        if refusals:
            meant = asked is not None or "forbid" in refusals or any(part.acts for part in parts)
            actions += self._forbidden(scene, FORBIDDEN if meant else "All right.")
        for does, piece, known in pieces:
            motion = self._motion_of(piece, known)
            if motion is not None:
                actions += self._begin(motion, turn.confidence) if sure else ()
            elif does == "yes" and asked is not None and not sure:
                motions = [asked.motion]
            elif does not in ("no", "forbid"):
                actions += self._understood(piece, known, scene, asked)
        return [*actions, *self._rest(turn, parts, [] if sure else motions, asked)]

    def _rest(
        self, turn: TurnCommitted, parts: Sequence[Part], doubtful: Sequence[Motion], asked: _Asked | None
    ) -> Sequence[Action]:
        if len(doubtful) == 1:
            return self._ask(doubtful[0], turn.confidence, turn.turn)
        if doubtful:
            return [Say("I am not sure what you said, so I stay where I am.")]
        if all(part.understood for part in parts):
            return []
        return [Say("I did not understand the rest." if asked is None else UNCLEAR)]

    def _understood(
        self, turn: TurnCommitted, understood: Understood, scene: Snapshot, asked: _Asked | None
    ) -> Sequence[Action]:
        does, slots = understood.intent.does, understood.slots
        if (motion := self._motion_of(turn, understood)) is not None:
            return self._motion(turn, motion)
        wall = self._wall(max(scene.now_ns, turn.end_ns))
        question = Question(turn, slots, scene, wall, self.manner.forbidden_tools)
        match does:
            case "yes" if asked is not None:
                return self._confirmed(turn, scene, asked)
            case "yes":
                return [Say("All right.")]
            case "other_way":  # there is nothing of which it would be the other way
                return [Say("I do not know which way you mean.")]
            case "no":
                return self._forbidden(scene, "All right." if asked is None else FORBIDDEN)
            case "forbid":
                return self._forbidden(scene, FORBIDDEN)
            case "tell_about":
                return [Say("I only do that when you tell me to.")]
            case "repeat" if asked is not None:
                return self._ask(asked.motion, asked.confidence, turn.turn)
            case "":
                return self._declared(turn, understood)
            case _:
                return ANSWERS[does](question)

    def _forbidden(self, scene: Snapshot, told: str) -> Sequence[Action]:
        """The question that was open is void already. What moves all the same was meant, too."""
        return [Halt("forbidden"), Say(told)] if _moving(scene) else [Say(told)]

    def _declared(self, turn: TurnCommitted, understood: Understood) -> Sequence[Action]:
        told, calls, _ = declared(understood, turn)
        if calls and not told:
            self._answering.add(turn.turn)
        return [*calls, *([Say(told)] if told else [])]

    def _not_understood(self, turn: TurnCommitted, asked: _Asked | None) -> Sequence[Action]:
        if not turn.text and not turn.guess and turn.end_ns - turn.start_ns < self.config.noise_ms * MS:
            self._asked = asked
            return []
        self._missed += 1
        if asked is not None:
            return [Say(UNCLEAR)]
        if self._missed > self.config.apologies:
            return []
        if self._missed == 2:
            return [Say("I still did not understand. Say help, to hear what I can do.")]
        return [Say("Sorry, I did not catch that.")]

    # --- motions

    def _motion_of(self, turn: TurnCommitted, understood: Understood) -> Motion | None:
        """The motion that was asked for, if one was."""
        match understood.intent.does:
            case "move":
                return move(understood.slots, self.config.move_m)
            case "turn":
                return turn_by(understood.slots, self.config.turn_deg)
            case "come_back":
                return come_back()
            case "other_way":
                moved = [each for each in self.scene.events if isinstance(each, Done) and each.kind == "Command"]
                return other_way(moved[-1] if moved else None)
            case "":
                return declared(understood, turn)[2]
        return None

    def _motion(self, turn: TurnCommitted, motion: Motion) -> Sequence[Action]:
        if not self._sure(turn) or self._needs_yes(motion):
            return self._ask(motion, turn.confidence, turn.turn)
        return self._begin(motion, turn.confidence)

    def _begin(self, motion: Motion, confidence: float, *, confirmed: bool = False) -> Sequence[Action]:
        self._told.add(motion.told)
        return motion.actions(confidence, confirmed=confirmed)

    def _needs_yes(self, motion: Motion) -> bool:
        """Whether the robot carries it out only after a person was asked and said yes."""
        offer = self._offer(motion.name)
        return offer is not None and offer.consent

    def _sure(self, turn: TurnCommitted) -> bool:
        """Whether the words of `turn` were heard clearly, and are all of it."""
        return turn.confidence >= self.config.confirm_below and covered(turn)

    def _ask(self, motion: Motion, confidence: float, turn: int) -> Sequence[Action]:
        self._asked = _Asked(motion, confidence, turn)
        return [Say(motion.question)]

    def _confirmed(self, turn: TurnCommitted, scene: Snapshot, asked: _Asked) -> Sequence[Action]:
        spoken = _spoken(scene, asked.turn)
        heard_whole = spoken is None or not spoken.cut or len(spoken.heard) >= len(asked.motion.question.split())
        if turn.confidence < self.config.yes_above or not heard_whole:
            return self._ask(asked.motion, asked.confidence, turn.turn)
        return self._begin(asked.motion, max(turn.confidence, asked.confidence), confirmed=True)

    def _expired(self, asked: _Asked, turn: TurnCommitted, scene: Snapshot) -> bool:
        spoken = _spoken(scene, asked.turn)
        return spoken is not None and turn.start_ns > spoken.end_ns + self.config.confirm_ms * MS

    # --- what is said unasked

    def _why(self, outcome: Outcome) -> str:
        """What is said of a motion that did not come to its end."""
        done = self._done(outcome)
        return "" if done is None else report(done, answer=False)

    def _done(self, outcome: Outcome) -> Done | None:
        events = self._scene.snapshot().events
        return next((each for each in events if isinstance(each, Done) and each.id == outcome.id), None)

    def _ended(self, outcome: Outcome) -> None:
        if outcome.action == "Say":
            self._spoke(outcome)
            return
        done = self._done(outcome)
        answer = outcome.turn in self._answering and outcome.action == "Call"
        if answer:
            self._answering.discard(outcome.turn)
        if outcome.id in self._left:
            self._left.discard(outcome.id)
            return
        if done is not None and (notice := report(done, answer=answer)):
            self._notices.append(notice)

    def _spoke(self, outcome: Outcome) -> None:
        """An unasked turn that was cut before a word of it was heard is said again."""
        texts = self._announced.get(outcome.turn)
        if texts is None:
            return
        spoken = _spoken(self._scene.snapshot(), outcome.turn)
        if outcome.status in ("cut", "fenced") and (spoken is None or not spoken.heard):
            self._notices = texts + self._notices
        del self._announced[outcome.turn]

    def _announce(self, turn: int) -> None:
        quiet = self.manner.proactivity == "none"
        if faults := self._troubles.tell(warnings=quiet):
            self._told_faults = (turn, faults)
        if self._notices and not quiet:
            self._announced.setdefault(turn, []).extend(self._notices)
            self._notices = []
        self.wants_floor = self.urgent = False


def _spoken(scene: Snapshot, turn: int) -> Spoken | None:
    return next((each for each in scene.events if isinstance(each, Spoken) and each.turn == turn), None)


def _moving(scene: Snapshot) -> bool:
    return any(isinstance(each, Done) and each.kind == "Command" and not each.status for each in scene.events)
