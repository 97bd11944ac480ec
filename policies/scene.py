"""What was heard, said and done so far, with ages: the facts a policy may build on.

Built from packets only. What the agent "said" is what left the speaker (`Played`), what it "did" is what the body
reported (`Outcome`); what a policy merely wished is kept apart. Knows nothing of what any of it means.
"""

from collections import OrderedDict
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from policies.sight import people_placed
from streams.clock import MS as MS  # noqa: PLC0414 - policies/intents.py takes it from here
from streams.clock import SECOND
from streams.packet import Packet
from streams.types import Call, Command, Face, Faces, Fault, Hush, Outcome, OverlapCut, Played, Say, TurnCommitted


class Heard(Struct, frozen=True):
    """What a person said in one turn ("" = speech nobody could make out)."""

    turn: int
    text: str
    confidence: float
    start_ns: int
    end_ns: int


class Spoken(Struct, frozen=True):
    """One turn of the agent.

    meant: the texts given to the voice;  heard: the words that really left the speaker
    cut: it was ended early by the person;  ended: the voice has done with it;  whole: every text was spoken to its end
    exact: every word time came from the voice
    start_ns: when the first text was given to the voice;  end_ns: end of the last word heard (start_ns if none)
    """

    turn: int
    meant: tuple[str, ...]
    heard: tuple[str, ...]
    start_ns: int
    end_ns: int
    cut: bool = False
    ended: bool = False
    whole: bool = False
    exact: bool = True


class Done(Struct, frozen=True):
    """A `Call` or `Command` and what became of it.

    status: as in `Outcome`, "" while it is under way
    """

    turn: int
    id: int
    kind: str
    name: str
    arguments: dict[str, Any]
    start_ns: int
    end_ns: int
    status: str = ""
    detail: str = ""
    result: Any = None


class Trouble(Struct, frozen=True):
    """A fault of a component."""

    where: str
    error: str
    message: str
    start_ns: int


class Timer(Struct, frozen=True):
    """A timer that is running: a `Call` of "set_timer" without an outcome."""

    id: int
    label: str
    due_ns: int


class Sight(Struct, frozen=True):
    """What the eyes saw last: the faces in the picture of `t_ns`, from left to right."""

    t_ns: int
    faces: tuple[Face, ...]


Event: TypeAlias = Heard | Spoken | Done | Trouble
E = TypeVar("E", Heard, Spoken, Done, Trouble)


class Snapshot(Struct, frozen=True):
    """The scene at `now_ns`, in the order in which things began. Reading it changes nothing.

    sight: the newest of what was seen; None if nobody ever looked
    """

    now_ns: int
    events: tuple[Event, ...]
    sight: Sight | None = None

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
        """The scene as text, one event a line and who is in sight, as a language model will read it."""
        faces = self.seen()
        sight = [] if faces is None else [f"(in sight: {people_placed(faces)})"]
        return "\n".join([*(_line(event) for event in self.events), *sight])


class Scene:
    """Takes packets in, gives snapshots out. Keeps the newest `keep` events, and every call that is still under way."""

    def __init__(self, keep: int = 200) -> None:
        self._keep = keep
        self._now = 0
        self._troubles: dict[tuple[str, str], int] = {}
        self._sight: Sight | None = None
        self._events: OrderedDict[tuple[str, int], Event] = OrderedDict()
        self._says: dict[int, set[int]] = {}  # turn: texts that have no outcome yet
        self._broken: set[int] = set()  # turns with a text that did not come to its end

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of `packet`; other topics and payloads than those of the conversation change only the time."""
        self._now = max(self._now, packet.at)
        data = packet.data
        match data:
            case TurnCommitted() if data.reason != "unasked":
                heard = Heard(data.turn, data.text, data.confidence, data.start_ns, data.end_ns)
                self._put("heard", data.turn, heard)
            case Say():
                self._says.setdefault(data.turn, set()).add(data.id)
                spoken = self._spoken(data.turn, packet.t)
                self._put("spoken", data.turn, msgspec.structs.replace(spoken, meant=(*spoken.meant, data.text)))
            case Played():
                spoken = self._spoken(data.turn, data.start_ns)
                exact = spoken.exact and data.quality == "exact"
                words = (*spoken.heard, data.text)
                spoken = msgspec.structs.replace(spoken, heard=words, end_ns=data.end_ns, exact=exact)
                self._put("spoken", data.turn, spoken)
            case Hush() | OverlapCut():
                self._cut(data.turn)
            case Call() | Command():
                kind = type(data).__name__
                done = Done(data.turn, data.id, kind, data.name, data.arguments, packet.t, packet.t)
                self._put("done", data.id, done)
            case Outcome():
                self._end(data, packet.t)
            case Faces():
                self._sight = Sight(packet.t, data.faces)
            case Fault():
                number = self._troubles.setdefault((data.where, data.error), len(self._troubles))
                self._events.pop(("fault", number), None)  # told again: the newest counts, and crowds nothing out
                self._put("fault", number, Trouble(data.where, data.error, data.message, packet.t))

    def snapshot(self) -> Snapshot:
        """The scene as it is now."""
        return Snapshot(self._now, tuple(self._events.values()), self._sight)

    def _spoken(self, turn: int, t: int) -> Spoken:
        event = self._events.get(("spoken", turn))
        return event if isinstance(event, Spoken) else Spoken(turn, (), (), t, t)

    def _cut(self, turn: int) -> None:
        for open_turn in [each for each in self._says if each <= turn]:
            spoken = self._events.get(("spoken", open_turn))
            if isinstance(spoken, Spoken):
                self._put("spoken", open_turn, msgspec.structs.replace(spoken, cut=True))

    def _end(self, outcome: Outcome, t: int) -> None:
        if outcome.action == "Say":
            open_says = self._says.get(outcome.turn, set())
            open_says.discard(outcome.id)
            spoken = self._spoken(outcome.turn, t)
            cut = spoken.cut or outcome.status in ("cut", "fenced")
            self._broken |= {outcome.turn} if outcome.status != "done" else set()
            ended = not open_says
            whole = ended and not cut and outcome.turn not in self._broken
            spoken = msgspec.structs.replace(spoken, cut=cut, ended=ended, whole=whole)
            self._put("spoken", outcome.turn, spoken)
            if ended:
                self._says.pop(outcome.turn, None)
                self._broken.discard(outcome.turn)
            return
        done = self._events.get(("done", outcome.id))
        if isinstance(done, Done):
            status, detail, result = outcome.status, outcome.detail, outcome.result
            done = msgspec.structs.replace(done, status=status, detail=detail, result=result, end_ns=t)
            self._put("done", outcome.id, done)

    def _put(self, kind: str, number: int, event: Event) -> None:
        self._events[kind, number] = event
        if len(self._events) > self._keep:
            oldest = next(
                (key for key, old in self._events.items() if not (isinstance(old, Done) and not old.status)),
                next(iter(self._events)),
            )
            del self._events[oldest]
            if oldest[0] == "spoken":
                self._says.pop(oldest[1], None)
                self._broken.discard(oldest[1])


def _seconds_ns(arguments: dict[str, Any]) -> int:
    return round(float(arguments.get("seconds", 0.0)) * SECOND)


def _line(event: Event) -> str:
    if isinstance(event, Heard):
        return f"user: {event.text or '(unclear)'}"
    if isinstance(event, Spoken):
        words = " ".join(event.heard)
        if event.cut:
            return f"agent: {words} — (cut off by the user)" if words else "agent: — (cut off before it was heard)"
        if event.whole:
            return f"agent: {words}"
        return f"agent: {words} — (broke off)" if event.ended else f"agent: {words} … (still speaking)"
    if isinstance(event, Done):
        arguments = ", ".join(f"{name}={value!r}" for name, value in event.arguments.items())
        what = {"Command": "motion", "Call": "tool"}[event.kind]
        became = event.status or "under way"
        return f"({what} {event.name}({arguments}): {became}{': ' + event.detail if event.detail else ''})"
    return f"(fault of the {event.where}: {event.message})"
