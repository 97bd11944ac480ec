"""A cassette: what a model was asked and what it answered in a recorded session, to be answered again at the same pace.

There is no other file: questions and answers are packets of the recording. A question is known by the SHA-256 of its
canonical JSON (keys sorted). One that was not asked then is answered with what was answered in its place (the same
turn, the same question in the order of that turn), and told with the place in which it differs: what the model would
have said to it, only the model knows.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Answered, Ask, Delta, Outcome, Withdraw


def canonical(value: Any) -> str:
    """A JSON value as text, one and the same for equal values: keys sorted, no blanks."""
    return msgspec.json.encode(value, order="sorted").decode()


def request_key(ask: Ask) -> str:
    """SHA-256 (hexadecimal) of what the answer to `ask` depends on."""
    return hashlib.sha256(canonical([ask.request, ask.picture_ns]).encode()).hexdigest()


class Exchange(Struct, frozen=True):
    """A question and its answer.

    pieces: each with how long after the question it came, ns;  outcome: None if the recording ends before it
    withdrawn: taken back by who asked it, as a draft that came to nothing is
    """

    ask: Ask
    asked_ns: int
    pieces: tuple[tuple[int, Delta], ...] = ()
    outcome: Outcome | None = None
    ended_ns: int = 0
    withdrawn: bool = False


class Mismatch(Struct, frozen=True):
    """A question that was not asked when the session was recorded.

    place: where it first differs from the one in its place, in words ("" if there was none)
    """

    turn: int
    place: str


def exchanges(packets: Iterable[Packet[Any]]) -> list[Exchange]:
    """All that was asked in `packets` (of ACTION and FEEDBACK), in its order."""
    found: dict[int, Exchange] = {}
    for packet in packets:
        match packet.data:
            case Ask() as ask:
                found[ask.id] = Exchange(ask, packet.at)
            case Delta(id=number) as delta if number in found:
                exchange = found[number]
                piece = (packet.at - exchange.asked_ns, delta)
                found[number] = msgspec.structs.replace(exchange, pieces=(*exchange.pieces, piece))
            case Withdraw(id=number) if number in found:
                found[number] = msgspec.structs.replace(found[number], withdrawn=True)
            case Outcome(action="Ask", id=number) as outcome if number in found:
                after = packet.at - found[number].asked_ns
                found[number] = msgspec.structs.replace(found[number], outcome=outcome, ended_ns=after)
    return list(found.values())


class Cassette:
    """`embodied.ports.Actuator` for `Ask`: answers from a recording.

    An answer that was cut when it was recorded, and is not cut now, ends there as "failed": how it went on is unknown.
    matched: how many questions were asked as then;  mismatches: those that were not
    """

    name = "cassette"
    accepts: tuple[type, ...] = (Ask,)

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.matched = 0
        self.mismatches: list[Mismatch] = []
        self._by_key: dict[str, list[Exchange]] = {}
        self._by_place: dict[tuple[int, int], Exchange] = {}
        self._asked: dict[int, int] = {}
        counts: dict[int, int] = {}
        for each in exchanges:
            same = self._by_key.setdefault(request_key(each.ask), [])
            same.append(each)
            same.sort(key=_cut)  # what was answered whole comes first
            if each.ask.purpose == "draft" and each.withdrawn:  # it came to nothing, and stands in nobody's place
                continue
            place = counts[each.ask.turn] = counts.get(each.ask.turn, -1) + 1
            self._by_place[each.ask.turn, place] = each

    def attach(self, publisher: Publisher, clock: Clock) -> "Cassette":
        """Let it answer in a session."""
        self._publisher, self._clock = publisher, clock
        return self

    async def perform(self, action: Action) -> Outcome:
        """Answer as then. Cancelling ends it at once."""
        if not isinstance(action, Ask):
            raise TypeError(f"a cassette takes Ask, not {type(action).__name__}")
        begun = self._clock.now()
        exchange = self._find(action)
        if exchange is None:
            return _failed(action, "the recording has no answer in this place, and the model is not asked")
        for after, delta in exchange.pieces:
            await self._clock.sleep_until(begun + after)
            piece = msgspec.structs.replace(delta, turn=action.turn, id=action.id)
            self._publisher.publish(FEEDBACK, self._clock.now(), piece)
        await self._clock.sleep_until(begun + exchange.ended_ns)
        if exchange.outcome is None or _cut(exchange):
            return _failed(action, "it was cut when it was recorded; how it went on is not known")
        return msgspec.structs.replace(exchange.outcome, turn=action.turn, id=action.id)

    def _find(self, ask: Ask) -> Exchange | None:
        place = self._asked[ask.turn] = self._asked.get(ask.turn, -1) + 1
        same = self._by_key.get(request_key(ask))
        if same:
            self.matched += 1
            return same.pop(0) if len(same) > 1 else same[0]
        instead = self._by_place.get((ask.turn, place))
        where = "" if instead is None else difference(instead.ask.request, ask.request)
        self.mismatches.append(Mismatch(ask.turn, where))
        return instead

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels what asked for it."""

    def pause(self, turn: int) -> None:
        """Nothing."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: an answer is not a motion."""

    async def aclose(self) -> None:
        """Nothing to give back."""


def _cut(exchange: Exchange) -> bool:
    return exchange.outcome is None or exchange.outcome.status in ("cut", "fenced")


def _failed(ask: Ask, detail: str) -> Outcome:
    result = msgspec.to_builtins(Answered(error="unknown"))
    return Outcome(ask.turn, ask.id, "Ask", Cassette.name, "failed", detail, result)


def difference(recorded: Any, now: Any, path: str = "request") -> str:
    """Where two JSON values first differ, in words; "" if they do not."""
    if recorded == now:
        return ""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted(recorded.keys() | now.keys()):
            if key not in now or key not in recorded:
                return f"{path}.{key} is {'missing' if key not in now else 'new'}"
            if recorded[key] != now[key]:
                return difference(recorded[key], now[key], f"{path}.{key}")
    if isinstance(recorded, list) and isinstance(now, list):
        for place, (old, new) in enumerate(zip(recorded, now, strict=False)):
            if old != new:
                return difference(old, new, f"{path}[{place}]")
        return f"{path} has {len(now)} items, not {len(recorded)}"
    if isinstance(recorded, str) and isinstance(now, str):
        at = next((i for i, (a, b) in enumerate(zip(recorded, now)) if a != b), min(len(recorded), len(now)))
        begin = max(0, at - 20)
        return f"{path}, at character {at}: was {_short(recorded[begin:])}, is {_short(now[begin:])}"
    return f"{path} was {_short(recorded)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
