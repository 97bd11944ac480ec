"""Replay: a recorded session through the real program on the virtual clock, and the comparison of what it decides.

A replay sits in three places of a session. As the *source* it publishes what was sensed, at its recorded instant and
place in the order. Between *senses* and bus it puts recomputed percepts at the instants of the recorded ones, and
reports those that differ. Between *mind* and bus it holds every decision and action against the recorded one. As long
as they are the same, the feedback of the body (what was played, what was done) is the recorded one, exact races
included. From the first different decision on, the recording cannot know what the body would have done: a simulated
body, which ran in its shadow until then, takes over, and percepts take their declared costs.
"""

import hashlib
from asyncio import Event, TaskGroup
from collections import deque
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agent.conductor import POLICY
from agent.errors import ReplayEnded
from agent.session import BodyPort, Desk
from policies.cassette import request_key
from streams.bus import Bus, Lane
from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.recording import Recording
from streams.topics import ACTION, AUDIO, CLEAN, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import (
    Adjusted,
    Ask,
    Attached,
    BodyState,
    Call,
    Command,
    Delta,
    Faces,
    Fault,
    Gauge,
    Offered,
    Outcome,
    Played,
    PlayStarted,
    Recovered,
    Say,
    SensesEnded,
    Steered,
    StopPressed,
    Tripped,
    TurnCommitted,
    Typed,
)

Mode = Literal["media", "percepts"]
GIVEN = (Typed, StopPressed, Steered, Adjusted)  # percepts that no encoder makes: they are as recorded
_TOLD_ALWAYS = (Gauge, Fault, Recovered, Offered, Attached, BodyState, Tripped)  # feedback that is about no action
TOLERANCE = 1e-3  # of recomputed probabilities: another processor rounds differently and must not decide differently


class Difference(Struct, frozen=True):
    """A place in which the replay is not the recording. recorded, replayed: (topic, t, payload), None if absent."""

    recorded: tuple[str, int, Any] | None
    replayed: tuple[str, int, Any] | None


class Replay:
    """One replay of one recording: the source, the desk and the body of a `Session`.

    mode: "media" runs the encoders again, "percepts" takes the recorded percepts
    shadow: simulated body for a what-if; None ends the replay (`ReplayEnded`) at the first different decision
    free: let percepts come when they come, because the encoders' settings are not the recorded ones
    embodied: the shadow is the body from the start, because its settings are not the recorded ones
    """

    name = "replay"

    def __init__(
        self,
        recording: Recording,
        *,
        mode: Mode = "media",
        shadow: BodyPort | None = None,
        free: bool = False,
        embodied: bool = False,
    ) -> None:
        self.mode: Mode = mode
        self.expected: list[Packet[Any]] = list(recording.packets((TURN, ACTION)))
        self.torn: bool = bool(recording.torn) or not _ended(self.expected, recording)
        self.replayed: list[Packet[Any]] = []
        self.percepts: list[Difference] = []
        self.first: Difference | None = None
        sensed = (AUDIO, IMAGE, VOICE, PERCEPT) if mode == "media" else (VOICE, PERCEPT)
        heard = (PLAYBACK,) if mode == "media" else ()  # what the echo canceller takes away
        held = {AUDIO, VOICE, PERCEPT} | ({IMAGE} if recording.counts.get(IMAGE.name) else set())
        self.writes: tuple[Topic[Any], ...] = tuple(topic for topic in sensed if topic in held)
        self.body = _Body(self, shadow)
        self._shadow = shadow
        self._free = free
        self._embodies = embodied and shadow is not None
        self._walk: Iterator[Packet[Any]] = recording.packets((*sensed, *heard, TURN, ACTION, FEEDBACK))
        self._left = {topic: recording.counts.get(topic.name, 0) for topic in (AUDIO, IMAGE, VOICE)}
        self._looked_at = _looked_at(recording) if mode == "media" else frozenset()
        self._passed = 0
        self._made: dict[type, deque[tuple[Topic[Any], int, Any]]] = {}
        self._held: dict[tuple[Any, ...], tuple[Topic[Any], int, Any]] = {}
        self._told: set[tuple[Any, ...]] = set()
        self._senses_ended = Event()

    @property
    def identical(self) -> bool:
        """Every decision and action so far was the recorded one."""
        return self.first is None

    @property
    def digest(self) -> str:
        """SHA-256 over all decisions and actions with their times: two runs with one digest decided the same."""
        return digest(self.replayed)

    def compare(self) -> list[str]:
        """What changed, as lines: `-` recorded only, `+` replayed only. Evidence and times alone are no change."""
        old, new = [_told(packet) for packet in self.expected], [_told(packet) for packet in self.replayed]
        changes: list[str] = []
        matcher = SequenceMatcher(None, [what for _, what in old], [what for _, what in new], autojunk=False)
        for kind, a, b, c, d in matcher.get_opcodes():
            if kind == "equal":
                pairs = zip(old[a:b], new[c:d])
                moved = [(x, y) for x, y in pairs if x[0] != y[0] and x[1].startswith(_TIMED)]
                changes += [f"~ {x[0] / 1e9:9.3f} s -> {y[0] / 1e9:.3f} s  {x[1]}" for x, y in moved]
            else:
                changes += [f"- {t / 1e9:9.3f} s  {what}" for t, what in old[a:b]]
                changes += [f"+ {t / 1e9:9.3f} s  {what}" for t, what in new[c:d]]
        return changes

    # --- the desk

    def desk(self, bus: Bus, clock: Clock) -> Desk:
        """Take place between the parts of a session and its bus."""
        self._bus, self._clock = bus, clock
        clock.charges = self._free
        return Desk(_Place(self._sensed), _Place(self._decided), _Place(self._embodied))

    def _sensed(self, topic: Topic[Any], t: int, data: Any) -> Any:
        if self._free or topic is CLEAN:  # that is nobody's percept: what is made of it has recorded instants
            return None if topic in self._bus.closed else self._bus.publish(topic, t, data)
        self._made.setdefault(type(data), deque()).append((topic, t, data))
        return None

    def _decided(self, topic: Topic[Any], t: int, data: Any) -> Any:
        if topic is FEEDBACK:  # a fault of the policy: the recording tells it, as long as the policy does the same
            return self._bus.publish(topic, t, data) if self._embodies else None
        packet = self._bus.publish(topic, t, data)
        place = len(self.replayed)
        self.replayed.append(packet)
        if self.first is None:
            if place < len(self.expected):
                if not _same(self.expected[place], packet):
                    self._diverge(Difference(_line(self.expected[place]), _line(packet)))
            elif not self.torn:  # past the end of a torn recording nobody knows what was decided
                self._diverge(Difference(None, _line(packet)))
        return packet

    def _embodied(self, topic: Topic[Any], t: int, data: Any) -> Any:
        if topic is PLAYBACK and self.mode == "media":
            return None  # the microphone heard what was played then: the canceller needs that, whatever is said now
        if isinstance(data, Offered):
            return None  # what could be done then is what the policy knew
        key = _key(data)
        if self._embodies:
            return None if key in self._told else self._bus.publish(topic, t, data)
        if key is not None:
            self._held[key] = (topic, t, data)
        return None

    def _diverge(self, difference: Difference) -> None:
        self.first = difference
        if self._shadow is None:
            raise ReplayEnded("the replay decides differently from the recording")
        self._loosen()
        self._embodies = True
        held, self._held = self._held, {}
        for topic, t, data in held.values():
            self._bus.publish(topic, t, data)

    def _loosen(self) -> None:
        """The recorded instants mean nothing any more: percepts come when they come, and take their declared cost."""
        self._free = True
        self._clock.charges = True
        waiting = sorted((item for made in self._made.values() for item in made), key=lambda item: item[1])
        self._made.clear()
        for topic, t, data in waiting:
            self._bus.publish(topic, t, data)

    # --- the source

    async def __aenter__(self) -> "Replay":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what was sensed and felt, packet by packet at its instant, until the senses ended."""
        for packet in self._walk:
            if isinstance(packet.data, SensesEnded):
                await clock.sleep_until(packet.t)
                await clock.settle()
                self._passed += 1
                self._report_extra_percepts()
                self._senses_ended.set()
                return
            await self._step(packet)
        await clock.settle()
        self._end_of_recording()
        self._senses_ended.set()

    async def rest(self) -> None:
        """What the recording has after the senses ended: mostly the body's feedback."""
        await self._senses_ended.wait()
        for packet in self._walk:
            await self._step(packet)
        await self._clock.settle()
        waits = ACTION not in self._bus.closed  # the mind waits for what the recording does not tell
        if self.torn or (waits and not self._embodies):
            self._end_of_recording()

    def _end_of_recording(self) -> None:
        """It ends without an end (torn, or interrupted): unless a simulated body goes on, so does the replay."""
        self.torn = True
        if not self._embodies:
            raise ReplayEnded("the recording ends here")

    async def _step(self, packet: Packet[Any]) -> None:
        if packet.at > self._clock.now():
            await self._clock.sleep_until(packet.at)
        await self._clock.settle()
        topic = packet.topic
        if topic is TURN or topic is ACTION:
            self._passed += 1
            if self.first is None and len(self.replayed) < self._passed:
                self._diverge(Difference(_line(packet), None))
        elif topic is FEEDBACK:
            if not self._embodies or (isinstance(packet.data, _TOLD_ALWAYS) and not _of_the_policy(packet.data)):
                self._tell(packet)
        elif topic is PLAYBACK:
            self._bus.publish(topic, packet.t, packet.data)
        elif topic is IMAGE:
            if self._free or not self._looked_at or packet.seq in self._looked_at:
                self._bus.skip(topic, packet.seq)
                self._bus.publish(topic, packet.t, packet.data)
        elif self.mode == "percepts" or topic is AUDIO or isinstance(packet.data, GIVEN):
            self._bus.publish(topic, packet.t, packet.data)
        elif not self._free:
            await self._perceive(packet)
        if topic in self._left:
            self._left[topic] -= 1

    def _tell(self, packet: Packet[Any]) -> None:
        key = _key(packet.data)
        if key is not None:
            self._held.pop(key, None)
            self._told.add(key)
        self._bus.publish(FEEDBACK, packet.t, packet.data)

    async def _perceive(self, recorded: Packet[Any]) -> None:
        """The recomputed percept in the place of the recorded one."""
        made = self._made.setdefault(type(recorded.data), deque())
        for topic, left in self._left.items():
            if not made and not left:
                # The source had ended, or was stopped in mid-word: what was open then was the encoders' last word.
                self._bus.close(topic)
                await self._clock.settle()
        if not made:
            self.percepts.append(Difference(_line(recorded), None))
            self._loosen()
            return
        topic, t, data = made.popleft()
        if t == recorded.t and _close(msgspec.to_builtins(data), msgspec.to_builtins(recorded.data)):
            data = recorded.data
        else:
            self.percepts.append(Difference(_line(recorded), (topic.name, t, data)))
        self._bus.publish(topic, t, data)

    def _report_extra_percepts(self) -> None:
        for made in self._made.values():
            self.percepts += [Difference(None, (topic.name, t, data)) for topic, t, data in made]


class _Body:
    """The body of a replay: the recorded feedback, and in its shadow a simulated one."""

    def __init__(self, replay: Replay, shadow: BodyPort | None) -> None:
        self._replay, self._shadow = replay, shadow
        self.taps = getattr(shadow, "taps", ())

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        """Let the recording tell what the body did; what the shadow says goes through the desk."""
        async with TaskGroup() as group:
            group.create_task(self._replay.rest(), name="recorded feedback")
            if self._shadow is not None:
                group.create_task(self._shadow.run(lane, publisher, clock), name="simulated body")
            else:
                async for _ in lane:
                    pass


class _Place:
    """A publisher that hands everything to one function."""

    def __init__(self, publish: Callable[[Topic[Any], int, Any], Any]) -> None:
        self.publish = publish


def _looked_at(recording: Recording) -> frozenset[int]:
    """`seq` of the pictures that percepts were made from: an encoder that was busy has missed the others."""
    return frozenset(packet.data.image for packet in recording.packets((PERCEPT,)) if isinstance(packet.data, Faces))


def _ended(decided: list[Packet[Any]], recording: Recording) -> bool:
    """Whether the recorded session came to its end, and was not cancelled, killed, or mended after it was killed.

    Past the end of one that did not, nobody knows what would have been decided.
    """
    if not any(isinstance(packet.data, SensesEnded) for packet in decided):
        return False
    if isinstance(decided[-1].data, TurnCommitted):
        return False
    begun = {packet.data.id for packet in decided if isinstance(packet.data, Say | Call | Command | Ask)}
    told = {packet.data.id for packet in recording.packets((FEEDBACK,)) if isinstance(packet.data, Outcome)}
    return begun <= told


def digest(packets: list[Packet[Any]]) -> str:
    """SHA-256 over the topics, times and payloads of decisions and actions."""
    sha = hashlib.sha256()
    for packet in packets:
        sha.update(msgspec.json.encode(_line(packet)))
    return sha.hexdigest()


_TIMED = ("TurnCommitted", "OverlapCut", "OverlapResumed", "Halt", "Command")


def _told(packet: Packet[Any]) -> tuple[int, str]:
    """Time and content of a decision or action, without the evidence that led to it."""
    if isinstance(packet.data, Ask):  # a request may fill pages: the cassette tells where it differs
        return packet.t, f"Ask {packet.data.purpose} turn={packet.data.turn} request={request_key(packet.data)[:12]}"
    data = msgspec.to_builtins(packet.data)
    fields = {
        name: value
        for name, value in data.items()
        if name not in ("type", "evidence", "words", "id") and not name.endswith("_ns") and name != "probability"
    }
    return packet.t, f"{type(packet.data).__name__} " + " ".join(f"{name}={value}" for name, value in fields.items())


def _same(recorded: Packet[Any], replayed: Packet[Any]) -> bool:
    """The same decision at the same time. Compared as JSON: what was recorded has been through it."""
    return msgspec.json.encode(_line(recorded)) == msgspec.json.encode(_line(replayed))


def _line(packet: Packet[Any]) -> tuple[str, int, Any]:
    return (packet.topic.name, packet.t, packet.data)


def _key(data: Any) -> tuple[Any, ...] | None:
    """What a piece of feedback is about; None for what is not about an action."""
    match data:
        case Played(id=number, index=index):
            return ("Played", number, index)
        case Delta(id=number, index=index):
            return ("Delta", number, index)
        case PlayStarted(id=number) | Outcome(id=number):
            return (type(data).__name__, number)
        case Fault():
            return None
    return None


def _of_the_policy(data: Any) -> bool:
    return isinstance(data, Fault) and data.where == POLICY


def _close(a: Any, b: Any) -> bool:
    """Equal, but for the last digits of probabilities."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= TOLERANCE
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_close, a, b))
    return bool(a == b)
