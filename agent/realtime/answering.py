"""The agent's side: from actions and feedback to responses, their items, sound and words.

Every turn that the policy answers is one response, with at most one message (its sound is what the agent says in that
turn, one Say after the other) and a function_call for every call of a tool of the client. It begins with the
first action of the reply and is done when the reply has ended and all of it has been heard, or cut.
"""

import base64
from collections.abc import Collection
from typing import Any

import msgspec

from agent.realtime.items import Conversation, Event, Item, agent_message, copied, function_call
from agent.realtime.refusals import Refused
from agent.realtime.settings import Settings
from embodied.ledger import heard_text
from streams.audio.resample import Resampler
from streams.clock import MS
from streams.types import Audio, Call, Outcome, Played, Say


class Message:
    """What is said in one response: its sound as sent, its words as heard.

    sent: samples of sound (at the rate of the format);  words: (end of its text, end in ms) of each word heard
    """

    def __init__(self, item: Item, index: int, settings: Settings) -> None:
        self.item, self.index = item, index
        self.format = settings.speaks
        self.sent = 0
        self.transcript = ""
        self.words: list[tuple[int, float]] = []
        self.before = ""  # what the Says before the present one said
        self.truncated = False
        self._resampler: Resampler | None = None

    @property
    def milliseconds(self) -> float:
        """How much sound has been sent."""
        return self.sent * 1000 / self.format.rate

    def sound(self, audio: Audio | None) -> str:
        """The next block (None: the end) as base64 in the output format; "" while there is nothing."""
        if self._resampler is None:
            if audio is None:
                return ""
            self._resampler = Resampler(audio.rate, self.format.rate)
        same = self._resampler.source == self._resampler.target
        if audio is not None:
            samples = self._resampler.push(audio.samples)
        elif same:
            return ""
        else:
            samples = self._resampler.finish()
        self.sent += len(samples)
        return base64.b64encode(self.format.encode(samples)).decode() if len(samples) else ""


class Response:
    """One answer. turn: of the session;  says: those not over yet, with the words heard of each so far

    replied: the policy has no more to say;  cut: why it was cancelled, "" if it was not;  failed: what failed
    """

    def __init__(self, id: str, turn: int, settings: Settings, metadata: Any) -> None:
        self.id, self.turn, self.settings, self.metadata = id, turn, settings, metadata
        self.output: list[Item] = []
        self.message: Message | None = None
        self.says: dict[int, tuple[Say, list[str]]] = {}
        self.replied = False
        self.cut = ""
        self.failed = ""

    def described(self, status: str = "in_progress") -> dict[str, Any]:
        """The response object."""
        details: dict[str, Any] | None = None if status == "in_progress" else {"type": status}
        if details is not None and status == "cancelled":
            details["reason"] = self.cut
        if details is not None and status == "failed":
            details["error"] = {"type": "server_error", "code": "agent", "message": self.failed}
        settings = self.settings
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [copied(item) for item in self.output],
            "conversation_id": "conv_1",
            "output_modalities": [settings.modality],
            "audio": {"output": {"format": settings.speaks.described(), "voice": "visavis"}},
            "max_output_tokens": "inf",
            "metadata": self.metadata,
            "usage": None,
        }


class Answering:
    """Follows the agent's turns. Every method returns the events that follow.

    tools: names of the client's functions
    """

    def __init__(self, conversation: Conversation) -> None:
        self.tools: Collection[str] = ()
        self.metadata: Any = None  # of the next response
        self._conversation = conversation
        self._responses: dict[int, Response] = {}  # by turn, those not done
        self._count = 0
        self._cut = -1  # newest turn that was cut
        self._messages: dict[str, Message] = {}

    @property
    def active(self) -> Response | None:
        """The response in progress."""
        return next(iter(self._responses.values()), None)

    # --- packets

    def say(self, say: Say, settings: Settings) -> list[Event]:
        """The agent is going to speak."""
        response, events = self._response(say.turn, settings)
        response.says[say.id] = (say, [])
        if response.message is None:
            part = "output_audio" if response.settings.modality == "audio" else "output_text"
            item = agent_message(self._conversation.new_id(), part)
            message = response.message = Message(item, len(response.output), response.settings)
            response.output.append(item)
            self._messages[item["id"]] = message
            if len(self._messages) > 100:
                del self._messages[next(iter(self._messages))]
            events += self._item_added(response, item, message.index)
            item["content"].append(_part(part, ""))
            place = self._place(response, message)
            events.append({"type": "response.content_part.added", **place, "part": _told(item["content"][0])})
        return events

    def call(self, call: Call, settings: Settings) -> list[Event]:
        """The policy calls a function: told if it is one of the client's."""
        if call.name not in self.tools:
            return []
        response, events = self._response(call.turn, settings)
        item = function_call(self._conversation.new_id(), call.name, call_id(call.id))
        index = len(response.output)
        response.output.append(item)
        events += self._item_added(response, item, index)
        item["arguments"] = msgspec.json.encode(call.arguments).decode()
        place = {"response_id": response.id, "item_id": item["id"], "output_index": index, "call_id": item["call_id"]}
        events.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
        told = {"name": call.name, "arguments": item["arguments"]}
        events.append({"type": "response.function_call_arguments.done", **place, **told})
        return events + self._item_done(response, item, index, "completed")

    def playback(self, audio: Audio) -> list[Event]:
        """A block of speech has left the speaker: it is sent."""
        owner = next((each for each in self._responses.values() if each.says and each.message), None)
        if owner is None or owner.message is None or owner.settings.modality == "text":
            return []
        return self._delta(owner, owner.message, owner.message.sound(audio))

    def played(self, word: Played, newest: int) -> list[Event]:
        """A word has been heard. newest: end (ns) of the newest block that was sent."""
        response = self._responses.get(word.turn)
        if response is None or response.message is None or word.id not in response.says:
            return []
        say, words = response.says[word.id]
        words.append(word.text)
        message = response.message
        events = self._grow(response, message, message.before + heard_text(say.text, words))
        message.words.append((len(message.transcript), message.milliseconds - (newest - word.end_ns) / MS))
        return events

    def outcome(self, outcome: Outcome) -> list[Event]:
        """A Say is over."""
        response = self._responses.get(outcome.turn)
        if response is None or response.message is None or outcome.id not in response.says:
            return []
        del response.says[outcome.id]
        message = response.message
        heard = outcome.result if isinstance(outcome.result, str) else ""
        events = self._grow(response, message, message.before + heard) if heard else []
        message.before = f"{message.transcript} " if message.transcript else ""
        if outcome.status in ("failed", "refused"):
            response.failed = outcome.detail
        return events + self._finish(response)

    def hush(self, turn: int, reason: str) -> list[Event]:
        """Turns up to `turn` are cut. reason: "turn_detected" or "client_cancelled"."""
        self._cut = max(self._cut, turn)
        events: list[Event] = []
        for response in [each for each in self._responses.values() if each.turn <= turn]:
            response.cut = response.cut or reason
            response.replied = True
            events += self._finish(response)
        return events

    def replied(self, turn: int, failed: str, settings: Settings) -> list[Event]:
        """The policy has no more to say in `turn`. failed: why it broke off, "" if it did not"""
        if turn <= self._cut:
            return []
        response, events = self._response(turn, settings)
        response.replied = True
        response.failed = response.failed or failed
        return events + self._finish(response)

    def nothing(self, why: str, settings: Settings) -> list[Event]:
        """A response was asked for, and there is nothing to answer."""
        response, events = self._response(-1, settings)
        response.replied, response.failed = True, why
        return events + self._finish(response)

    def truncate(self, id: str, milliseconds: int) -> bool:
        """The client heard only so much of item `id`: its words after that are taken back.

        Returns whether it is of the response in progress. Raises `Refused`.
        """
        item = self._conversation.get(id)
        message = self._messages.get(id)
        if message is None or item.get("_part") != "output_audio":
            raise Refused("invalid_item", f"item {id!r} is no speech of the agent: it cannot be truncated", "item_id")
        if not 0 <= milliseconds <= message.milliseconds + 1:
            most = round(message.milliseconds)
            raise Refused("invalid_value", f"{milliseconds} ms is not within the {most} ms that were sent",
                          "audio_end_ms")  # fmt: skip
        kept = max((end for end, heard in message.words if heard <= milliseconds), default=0)
        message.transcript, message.truncated = message.transcript[:kept], True
        item["content"] = [_part("output_audio", message.transcript)]
        return any(response.message is message for response in self._responses.values())

    # --- building

    def _response(self, turn: int, settings: Settings) -> tuple[Response, list[Event]]:
        known = self._responses.get(turn)
        if known is not None:
            return known, []
        self._count += 1
        response = self._responses[turn] = Response(f"resp_{self._count}", turn, settings, self.metadata)
        self.metadata = None
        return response, [{"type": "response.created", "response": response.described()}]

    def _item_added(self, response: Response, item: Item, index: int) -> list[Event]:
        added = self._conversation.add(item)
        place = {"response_id": response.id, "output_index": index}
        return [{"type": "response.output_item.added", **place, "item": copied(item)}, added]

    def _item_done(self, response: Response, item: Item, index: int, status: str) -> list[Event]:
        item["status"] = status
        place = {"response_id": response.id, "output_index": index}
        done = self._conversation.done(item)
        return [done, {"type": "response.output_item.done", **place, "item": copied(item)}]

    def _place(self, response: Response, message: Message) -> dict[str, Any]:
        ids = {"response_id": response.id, "item_id": message.item["id"]}
        return ids | {"output_index": message.index, "content_index": 0}

    def _delta(self, response: Response, message: Message, sound: str) -> list[Event]:
        if not sound:
            return []
        return [{"type": "response.output_audio.delta", **self._place(response, message), "delta": sound}]

    def _grow(self, response: Response, message: Message, text: str) -> list[Event]:
        """More of the text has been heard: up to `text`."""
        if len(text) <= len(message.transcript) or message.truncated:
            return []
        delta, message.transcript = text[len(message.transcript) :], text
        kind = "output_audio_transcript" if response.settings.modality == "audio" else "output_text"
        return [{"type": f"response.{kind}.delta", **self._place(response, message), "delta": delta}]

    def _finish(self, response: Response) -> list[Event]:
        if response.says or not response.replied:
            return []
        del self._responses[response.turn]
        heard = response.message is not None and bool(response.message.transcript)
        status = "cancelled" if response.cut else "failed" if response.failed and not heard else "completed"
        events: list[Event] = []
        if response.message is not None:
            events = self._message_done(response, response.message, status)
        return [*events, {"type": "response.done", "response": response.described(status)}]

    def _message_done(self, response: Response, message: Message, status: str) -> list[Event]:
        place, item = self._place(response, message), message.item
        part = item["content"][0] = _part(item["_part"], message.transcript)
        if part["type"] == "output_audio":
            events = self._delta(response, message, message.sound(None))
            events.append({"type": "response.output_audio.done", **place})
            told = {"transcript": message.transcript}
            events.append({"type": "response.output_audio_transcript.done", **place, **told})
        else:
            events = [{"type": "response.output_text.done", **place, "text": message.transcript}]
        events.append({"type": "response.content_part.done", **place, "part": _told(part)})
        done = "completed" if status == "completed" else "incomplete"
        return events + self._item_done(response, item, message.index, done)


def call_id(id: int) -> str:
    """The name of call `id` on the wire."""
    return f"call_{id}"


def _part(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "transcript" if kind == "output_audio" else "text": text}


def _told(part: dict[str, Any]) -> dict[str, Any]:
    """A part as `response.content_part.*` writes it: there it is "audio" or "text"."""
    return {**part, "type": part["type"].removeprefix("output_")}
