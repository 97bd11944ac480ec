"""What was heard, said and done so far, with ages: the facts a policy may build on.

Built from packets only. What the agent "said" is what left the speaker (`Played`), what it "did" is what the body
reported (`Outcome`); what a policy merely wished is kept apart. Knows nothing of what any of it means.
"""

from collections import Counter, OrderedDict, deque
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from policies.happened import (
    Done,
    Event,
    Forgotten,
    Halted,
    Heard,
    Overheard,
    Said,
    Spoken,
    Timer,
    Trouble,
    line,
)
from policies.sight import Person, Watch, people_placed
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    BodyState,
    Call,
    Command,
    Face,
    Faces,
    Fault,
    Halt,
    Hush,
    Offered,
    Outcome,
    OverlapCut,
    Played,
    Recovered,
    Say,
    SpeechEnded,
    TurnCommitted,
    TurnDropped,
    Typed,
    Withdraw,
)

__all__ = [
    "MS",
    "Done",
    "Event",
    "Forgotten",
    "Halted",
    "Heard",
    "Overheard",
    "Said",
    "Scene",
    "Sight",
    "Snapshot",
    "Spoken",
    "Timer",
    "Trouble",
]

E = TypeVar("E", Heard, Spoken, Done, Trouble, Halted, Overheard)
_OFFERERS = 64  # components that may offer something
_KINDS = 200  # different ways to end that are counted one by one when they are forgotten


class Sight(Struct, frozen=True):
    """What the eyes saw last: the faces in the picture of `t_ns`, from left to right."""

    t_ns: int
    faces: tuple[Face, ...]


class Snapshot(Struct, frozen=True):
    """The scene at `now_ns`, in the order in which things began. Reading it changes nothing.

    sight: the newest of what was seen; None if nobody ever looked;  people: who is in view, steadied (`sight.Watch`)
    asked_ns: when a person last ended speaking or typing, or the agent was given the floor
    offered: what each component can do, by name of the component
    robots: how each robot stands, as it said last, by name
    forgotten: how calls and commands ended that are too long ago;  turns_forgotten: turns of persons too long ago
    """

    now_ns: int
    events: tuple[Event, ...]
    sight: Sight | None = None
    people: tuple[Person, ...] = ()
    asked_ns: int = 0
    offered: tuple[Offered, ...] = ()
    robots: tuple[BodyState, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    turns_forgotten: int = 0

    def last(self, kind: type[E], *, before: int | None = None) -> E | None:
        """The newest event of a kind, not counting turn `before` and later ones of the agent and the person."""
        for event in reversed(self.events):
            if isinstance(event, kind) and (before is None or getattr(event, "turn", -1) < before):
                return event
        return None

    @property
    def timers(self) -> tuple[Timer, ...]:
        """The timers that are running, the earliest first."""
        running = [
            Timer(event.id, str(event.arguments.get("label", "")), event.start_ns + _seconds_ns(event.arguments))
            for event in self.events
            if isinstance(event, Done) and event.name == "set_timer" and not event.status
        ]
        return tuple(sorted(running, key=lambda timer: timer.due_ns))

    @property
    def running(self) -> tuple[Done, ...]:
        """The calls and commands that are under way, as far as anybody has told, in the order in which they began."""
        return tuple(event for event in self.events if isinstance(event, Done) and not event.status)

    def seen(self, fresh_s: float = 2.0) -> tuple[Face, ...] | None:
        """The faces in sight; None if nobody has looked for longer than `fresh_s`."""
        if self.sight is None or self.now_ns - self.sight.t_ns > fresh_s * SECOND:
            return None
        return self.sight.faces

    def age_s(self, event: Event | Sight) -> float:
        """Seconds since `event` ended (or, while it lasts, began), or since the look."""
        if isinstance(event, Sight):
            return (self.now_ns - event.t_ns) / SECOND
        return (self.now_ns - getattr(event, "end_ns", event.start_ns)) / SECOND

    def dialogue(self) -> str:
        """The scene as text, one event a line and who is in sight. What a language model reads is in `policies.llm`."""
        faces = self.seen()
        sight = [] if faces is None else [f"(in sight: {people_placed(faces)})"]
        return "\n".join([*(line(event) for event in self.events), *sight])


class Scene:
    """Takes packets in, gives snapshots out. Keeps the newest `keep` events, and every call that is still under way.

    A `Say` that is a backchannel is no turn, and leaves no trace here.
    """

    def __init__(self, keep: int = 200) -> None:
        self._keep = keep
        self._now = 0
        self._asked = 0
        self._troubles: dict[tuple[str, str], int] = {}
        self._sight: Sight | None = None
        self._watch = Watch()
        self._events: OrderedDict[tuple[str, int], Event] = OrderedDict()
        self._says: dict[int, set[int]] = {}  # turn: texts that have no outcome yet
        self._withdrawn: set[int] = set()  # texts that the agent took back itself, and that have no outcome yet
        self._unasked: deque[int] = deque(maxlen=keep)
        self._offered: dict[str, Offered] = {}
        self._robots: dict[str, BodyState] = {}
        self._forgotten: Counter[tuple[str, str]] = Counter()
        self._turns_forgotten = 0

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of `packet`; other topics and payloads than those of the conversation change only the time."""
        self._now = max(self._now, packet.at)
        data = packet.data
        match data:
            case TurnCommitted(reason="unasked"):
                self._asked = data.end_ns
                self._unasked.append(data.turn)
            case TurnCommitted():
                self._put("heard", data.turn, _heard(data))
            case TurnDropped(reason="aside") if data.text:
                self._put("overheard", data.turn, Overheard(data.turn, data.text, packet.t))
            case SpeechEnded() | Typed():
                self._asked = packet.t
            case Say() if not data.backchannel:
                self._say(data, packet.t)
            case Played():
                self._played(data)
            case OverlapCut():  # of a reply that had more to do, even if all it had said by then was heard
                self._cut(data.turn, unfinished=True)
            case Hush():
                self._cut(data.turn)
            case Withdraw():
                self._take_back(data.id)
            case Call() | Command():
                kind = type(data).__name__
                done = Done(data.turn, data.id, kind, data.name, data.arguments, packet.t, packet.t)
                self._put("done", data.id, done)
            case Halt():
                self._halted(data.reason, packet.t)
            case Outcome():
                self._end(data, packet.t)
            case _:
                self._component(packet)

    def snapshot(self) -> Snapshot:
        """The scene as it is now."""
        return Snapshot(
            self._now,
            tuple(self._events.values()),
            self._sight,
            self._watch.people,
            self._asked,
            tuple(self._offered[where] for where in sorted(self._offered)),
            tuple(self._robots[where] for where in sorted(self._robots)),
            tuple(Forgotten(*key, count) for key, count in sorted(self._forgotten.items())),
            self._turns_forgotten,
        )

    # --- what components tell of themselves

    def _component(self, packet: Packet[Any]) -> None:
        data = packet.data
        match data:
            case Faces():
                self._sight = Sight(packet.t, data.faces)
                self._watch.feed(packet.t, data.faces)
            case BodyState(where=where) if where in self._robots or len(self._robots) < _OFFERERS:
                self._robots[where] = packet.data
            case Offered():
                if data.where in self._offered or len(self._offered) < _OFFERERS:
                    self._offered[data.where] = data
            case Fault():
                number = self._troubles.setdefault((data.where, data.error), len(self._troubles))
                self._events.pop(("fault", number), None)  # told again: the newest counts, and crowds nothing out
                self._put("fault", number, Trouble(data.where, data.error, data.message, packet.t))
            case Recovered():
                for key, event in list(self._events.items()):
                    if isinstance(event, Trouble) and event.where == data.where:
                        self._put(*key, replace(event, over=True))

    def _halted(self, reason: str, t: int) -> None:
        same = [key for key, old in self._events.items() if isinstance(old, Halted) and old.reason == reason]
        number = same[0][1] if same else t
        self._events.pop(("halted", number), None)  # pressed again and again: the newest counts
        self._put("halted", number, Halted(reason, t))

    # --- what the agent says

    def _say(self, say: Say, t: int) -> None:
        self._says.setdefault(say.turn, set()).add(say.id)
        spoken = self._spoken(say.turn) or Spoken(say.turn, (), (), t, t, unasked=say.turn in self._unasked)
        says = (*spoken.says, Said(say.id, say.text, t))
        spoken = replace(spoken, meant=(*spoken.meant, say.text), says=says, ended=False, whole=False)
        self._put("spoken", say.turn, spoken)

    def _played(self, word: Played) -> None:
        spoken = self._spoken(word.turn)
        if spoken is None:
            return  # a backchannel, or so long ago that it is forgotten
        says = tuple(
            replace(said, heard=(*said.heard, word.text)) if said.id == word.id else said for said in spoken.says
        )
        if says != spoken.says:
            exact = spoken.exact and word.quality == "exact"
            heard = (*spoken.heard, word.text)
            self._put("spoken", word.turn, replace(spoken, heard=heard, end_ns=word.end_ns, exact=exact, says=says))

    def _take_back(self, number: int) -> None:
        """The agent itself does not want to have said it: no more than what was heard by now counts."""
        turn = next((turn for turn, open_says in self._says.items() if number in open_says), None)
        spoken = None if turn is None else self._spoken(turn)
        if spoken is not None:
            self._withdrawn.add(number)
            says = tuple(replace(said, status="cut") if said.id == number else said for said in spoken.says)
            self._put("spoken", spoken.turn, replace(spoken, says=says))

    def _cut(self, turn: int, *, unfinished: bool = False) -> None:
        for each in {*(each for each in self._says if each <= turn), *((turn,) if unfinished else ())}:
            spoken = self._spoken(each)
            if spoken is not None:
                self._put("spoken", each, replace(spoken, cut=True, whole=False))

    def _spoken(self, turn: int) -> Spoken | None:
        event = self._events.get(("spoken", turn))
        return event if isinstance(event, Spoken) else None

    # --- how things end

    def _end(self, outcome: Outcome, t: int) -> None:
        if outcome.action == "Say":
            self._said(outcome)
            return
        done = self._events.get(("done", outcome.id))
        if isinstance(done, Done):
            status, detail, result = outcome.status, outcome.detail, outcome.result
            self._put("done", outcome.id, replace(done, status=status, detail=detail, result=result, end_ns=t))

    def _said(self, outcome: Outcome) -> None:
        spoken = self._spoken(outcome.turn)
        if spoken is None or outcome.id not in [said.id for said in spoken.says]:
            return
        open_says = self._says.get(outcome.turn, set())
        open_says.discard(outcome.id)
        if not open_says:
            self._says.pop(outcome.turn, None)
        says = tuple(replace(said, status=outcome.status) if said.id == outcome.id else said for said in spoken.says)
        withdrawn = outcome.id in self._withdrawn
        self._withdrawn.discard(outcome.id)
        if withdrawn and outcome.status == "fenced":  # as if it had never been meant
            says = tuple(said for said in says if said.id != outcome.id)
            spoken = replace(spoken, meant=tuple(said.meant for said in says))
        cut = spoken.cut or (outcome.status in ("cut", "fenced") and not withdrawn)
        whole = not open_says and not cut and all(said.status == "done" for said in says)
        self._put("spoken", outcome.turn, replace(spoken, cut=cut, ended=not open_says, whole=whole, says=says))

    def _put(self, kind: str, number: int, event: Event) -> None:
        self._events[kind, number] = event
        if len(self._events) > self._keep:
            oldest = next(
                (key for key, old in self._events.items() if not (isinstance(old, Done) and not old.status)),
                next(iter(self._events)),
            )
            self._forget(self._events.pop(oldest))

    def _forget(self, event: Event) -> None:
        match event:
            case Spoken():
                self._says.pop(event.turn, None)
            case Heard():
                self._turns_forgotten += 1
            case Done():
                key = (event.name, event.status or "under way")
                known = key in self._forgotten or len(self._forgotten) < _KINDS
                self._forgotten[key if known else ("others", event.status)] += 1


def _heard(turn: TurnCommitted) -> Heard:
    speaker, bearing = turn.evidence.get("speaker", ""), turn.evidence.get("bearing_rad")
    return Heard(
        turn.turn,
        turn.text,
        turn.confidence,
        turn.start_ns,
        turn.end_ns,
        turn.reason == "typed",
        str(speaker),
        float(bearing) if isinstance(bearing, float | int) else None,
    )


def _seconds_ns(arguments: dict[str, Any]) -> int:
    return round(float(arguments.get("seconds", 0.0)) * SECOND)
