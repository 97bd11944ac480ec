"""The core of a connection: client events and packets in; server events and orders out. No I/O, no clock, no task.

What is out comes in order: dicts are server events for the client (without `event_id`), the rest are orders.

A person's turn is answered at once, unless the client wants to ask for each answer itself (`turn_detection` null, or
`create_response` false). Then `response.create` lets the policy answer the turn that waits. What is written
and what functions returned waits for `response.create` in any case, as with the service this protocol is of.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from agent.realtime import items, orders, wire
from agent.realtime import settings as settings_
from agent.realtime.answering import Answering, call_id
from agent.realtime.hearing import Hearing
from agent.realtime.items import Conversation, Event
from agent.realtime.orders import Order
from agent.realtime.refusals import Refused
from agent.realtime.settings import Settings
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Audio,
    Call,
    Fault,
    Hush,
    Outcome,
    Played,
    Say,
    SpeechEnded,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
)

ASKED_NS = 10 * SECOND
"""How long a `response.create` waits for something to answer."""
LEAST_MS = 100
"""What the client commits is at least so long."""
_NOTHING = "there was nothing to answer: no text, no speech that was understood, and no result of a function"


class Dialogue:
    """One client and one session of the agent.

    position: session time (ns) → ms of the sound that the client has sent
    settings: what is in effect;  running: the session has begun
    """

    def __init__(self, session: str, settings: Settings, position: Callable[[int], int] = lambda t: t // MS) -> None:
        self.settings = settings
        self.running = False
        self.event_id: str | None = None  # of the client event that was taken last
        self.conversation = Conversation()
        self.hearing = Hearing(self.conversation, position)
        self.answering = Answering(self.conversation)
        self._session = session
        self._texts: list[str] = []  # written, not answered yet
        self._results: list[tuple[int, Any]] = []  # of functions, not delivered yet
        self._calls: dict[str, int] = {}  # of the client's functions, those that wait for a result
        self._over: set[str] = set()
        self._asked: int | None = None  # since when (ns) a response is asked for
        self._waiting: int | None = None  # turn that waits for being asked for
        self._cancelled = False
        self._held_ms = 0.0
        self._newest = 0  # end of the newest block of playback, ns

    def begin(self) -> list[Event]:
        """The first event."""
        return [{"type": "session.created", "session": self._described()}]

    # --- the client

    def client(self, text: str | bytes, now: int) -> list[Event | Order]:
        """One message of the client, at time `now` (ns, of the clock of `tick`)."""
        event_id, event = wire.parse(text)
        self.event_id = event_id
        if isinstance(event, Refused):
            return [refusal(event, event_id)]
        try:
            return self._client(event, now)
        except Refused as refused:
            return [refusal(refused, event_id)]

    def _client(self, event: wire.ClientEvent, now: int) -> list[Event | Order]:
        match event:
            case wire.SessionUpdate():
                return self._update(event.session)
            case wire.Append():
                return self._append(event)
            case wire.Commit():
                return self._commit()
            case wire.Clear():
                self._held_ms = 0
                return [orders.Forget(), {"type": "input_audio_buffer.cleared"}]
            case wire.ItemCreate():
                return self._create(event.item)
            case wire.ItemTruncate():
                return self._truncate(event)
            case wire.ItemDelete():
                self.conversation.delete(event.item_id)
                return [{"type": "conversation.item.deleted", "item_id": event.item_id}]
            case wire.ItemRetrieve():
                item = items.copied(self.conversation.get(event.item_id))
                return [{"type": "conversation.item.retrieved", "item": item}]
            case wire.ResponseCreate():
                return self._respond(event.response, now)
            case wire.ResponseCancel():
                return self._cancel(event.response_id)
            case wire.OutputClear():
                return self._clear_output()
        raise Refused("unknown_event", f"{type(event).__name__} is not taken here", "type")

    def _update(self, wanted: dict[str, Any]) -> list[Event | Order]:
        self.settings = settings_.changed(self.settings, wanted, running=self.running)
        self.answering.tools = {each["name"] for each in self.settings.tools}
        told = {"type": "session.updated", "session": self._described()}
        return [orders.Configure(self.settings), orders.Begin(), told]

    def _append(self, event: wire.Append) -> list[Event | Order]:
        data, sound = event.sound(), self.settings.hears
        if len(data) % sound.width:
            raise Refused("invalid_value", f"{len(data)} bytes are no whole samples of 16 bits", "audio")
        if not data:
            return []
        self._held_ms += len(data) * 1000 / sound.width / sound.rate
        return [orders.Begin(), orders.Hear(data)]

    def _commit(self) -> list[Event | Order]:
        if self.settings.detection is not None:
            raise Refused("turn_detection_on", "turns end by turn_detection: set it to null to commit them yourself")
        if self._held_ms < LEAST_MS:
            raise Refused(
                "input_audio_buffer_commit_empty",
                f"the buffer has {self._held_ms:.0f} ms of sound: a turn has at least {LEAST_MS}",
            )
        if self.hearing.committing is not None:
            raise Refused("commit_in_progress", "the turn committed before is still being understood")
        self._held_ms = 0
        return [*self.hearing.commit(), orders.Judge()]

    def _create(self, raw: dict[str, Any]) -> list[Event | Order]:
        item = items.created(raw, self.conversation.new_id())
        if item["type"] == "function_call_output":
            self._result(item)
        elif item["role"] == "user" and (text := items.text_of(item)):
            self._keep([text], "item.content")
        return [orders.Begin(), self.conversation.add(item), self.conversation.done(item)]

    def _keep(self, texts: list[str], param: str) -> None:
        """`texts` wait for `response.create`, which makes one text of all that wait. Raises `Refused`."""
        waiting = len(" ".join(self._texts + texts))
        if waiting > items.LONGEST_TEXT:
            why = (
                f"{waiting} characters would wait for response.create, and {items.LONGEST_TEXT} may: ask for it before"
            )
            raise Refused("text_too_long", why, param)
        self._texts += texts

    def _result(self, item: dict[str, Any]) -> None:
        name = item["call_id"]
        if name not in self._calls:
            why = "it is over" if name in self._over else "there is none of that name"
            raise Refused("call_not_found", f"call {name!r} does not wait for a result: {why}", "item.call_id")
        try:
            result = msgspec.json.decode(item["output"])
        except (msgspec.DecodeError, RecursionError):
            result = item["output"]
        self._results.append((self._calls.pop(name), result))
        self._over.add(name)

    def _truncate(self, event: wire.ItemTruncate) -> list[Event | Order]:
        now_playing = self.answering.truncate(event.item_id, event.audio_end_ms)
        told = {"item_id": event.item_id, "content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
        out: list[Event | Order] = [orders.Heard(event.audio_end_ms)]
        if now_playing:
            self._cancelled = self.hearing.open is None
            out.append(orders.StopTalking())
        return [*out, {"type": "conversation.item.truncated", **told}]

    def _respond(self, wanted: dict[str, Any], now: int) -> list[Event | Order]:
        if self.answering.active is not None or self._asked is not None:
            raise Refused("conversation_already_has_active_response", "a response is in progress: wait or cancel it")
        modalities = wanted.get("output_modalities", wanted.get("modalities"))
        if modalities is not None and settings_.modality(modalities, "response") != self.settings.modality:
            raise Refused("unsupported_value", "modalities are chosen by session.update", "response.output_modalities")
        given = wanted.get("input")
        if isinstance(given, list):
            made = [items.created(each, "") for each in given if isinstance(each, dict)]
            self._keep(
                [text for each in made if each.get("role") == "user" and (text := items.text_of(each))],
                "response.input",
            )
        self.answering.metadata = wanted.get("metadata")
        out: list[Event | Order] = [orders.Begin()]
        if self._results:
            out += [orders.Deliver(id, result) for id, result in self._results]
            self._results.clear()
        elif self._texts:
            out.append(orders.Write(" ".join(self._texts)))
            self._texts.clear()
        elif self._waiting is not None:
            out.append(orders.Release(self._waiting))
            self._waiting = None
        elif self.hearing.committing is None and self.hearing.open is None:
            return [*out, *self.answering.nothing(_NOTHING, self.settings)]
        self._asked = now
        return out

    def _cancel(self, response: str | None) -> list[Event | Order]:
        active = self.answering.active
        if active is None or response not in (None, active.id):
            raise Refused("response_cancel_not_active", "there is no such response in progress", "response_id")
        self._cancelled = True
        return [orders.StopTalking()]

    def _clear_output(self) -> list[Event | Order]:
        active = self.answering.active
        if active is None:
            raise Refused("output_audio_buffer_empty", "nothing is being said")
        self._cancelled = True
        return [orders.StopTalking(), {"type": "output_audio_buffer.cleared", "response_id": active.id}]

    # --- the session

    def packet(self, packet: Packet[Any]) -> list[Event | Order]:
        """One packet of PERCEPT, TURN, ACTION, FEEDBACK or PLAYBACK."""
        match packet.data:
            case SpeechEnded():
                self.hearing.speech_ended(packet.t)
            case TurnOpened() as opened:
                if opened.start_ns != packet.t:  # what is typed begins in the instant in which it is decided
                    return [*self.hearing.opened(opened, self.settings)]
            case TurnCommitted() as turn:
                return self._committed(turn)
            case TurnDropped() as dropped:
                return [
                    *self.hearing.dropped(dropped, self.settings),
                    *self._no_answer("it had no words for the agent"),
                ]
            case Say() as say:
                return self._answered([*self.answering.say(say, self.settings)])
            case Call(name=name, id=id) as call:
                if name in self.answering.tools:
                    self._calls[call_id(id)] = id
                return self._answered([*self.answering.call(call, self.settings)])
            case Hush(turn=turn, reason=why):
                reason = "client_cancelled" if self._cancelled or why == "interrupted" else "turn_detected"
                self._cancelled = False
                return [*self.answering.hush(turn, reason)]
            case Audio() as audio:
                self._newest = packet.t
                return [*self.answering.playback(audio)]
            case Played() as played:
                return [*self.answering.played(played, self._newest)]
            case Outcome(action="Say") as outcome:
                return [*self.answering.outcome(outcome)]
            case Outcome(action="Call", id=id):
                if self._calls.pop(call_id(id), None) is not None:
                    self._over.add(call_id(id))
                self._results = [each for each in self._results if each[0] != id]
            case Fault(error=error, message=message):
                told = {"type": "server_error", "code": error, "message": message, "param": None, "event_id": None}
                return [{"type": "error", "error": told}]
        return []

    def _committed(self, turn: TurnCommitted) -> list[Event | Order]:
        if turn.reason in ("typed", "unasked"):
            return []
        out: list[Event | Order] = [*self.hearing.committed(turn, self.settings)]
        self._held_ms = 0
        if self._results:  # asked for or not: the next turn has begun
            out += [orders.Deliver(id, result) for id, result in self._results]
            self._results.clear()
        if not self.settings.answers_by_itself:
            if self._asked is None:
                self._waiting = turn.turn
            else:
                out.append(orders.Release(turn.turn))
        return out

    def replied(self, turn: int, failed: str = "") -> list[Event | Order]:
        """The policy has no more to say in `turn`. All packets before have been given to `packet`."""
        return self._answered([*self.answering.replied(turn, failed, self.settings)])

    def no_speech(self) -> list[Event | Order]:
        """Nobody spoke in what the client committed."""
        return [*self.hearing.given_up(self.settings), *self._no_answer("nobody spoke in what was committed")]

    def tick(self, now: int) -> list[Event | Order]:
        """Some time has passed: it is `now` (ns)."""
        if self._asked is None or now < self._asked + ASKED_NS:
            return []
        return self._no_answer(_NOTHING)

    def _answered(self, out: list[Event | Order]) -> list[Event | Order]:
        if any(isinstance(each, dict) and each["type"] == "response.created" for each in out):
            self._asked, self._cancelled = None, False
        return out

    def _no_answer(self, why: str) -> list[Event | Order]:
        if self._asked is None or self.answering.active is not None:
            return []
        self._asked = None
        return [*self.answering.nothing(why, self.settings)]

    def _described(self) -> dict[str, Any]:
        return settings_.described(self.settings, self._session)


def refusal(refused: Refused, event_id: str | None) -> Event:
    """The `error` event."""
    error = {"type": "invalid_request_error", "code": refused.code, "message": str(refused)}
    return {"type": "error", "error": error | {"param": refused.param or None, "event_id": event_id}}
