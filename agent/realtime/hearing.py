"""The person's side: from turns to the events of the input buffer, the items of what was said, their transcripts."""

from collections.abc import Callable

from agent.realtime.items import Conversation, Event, user_speech
from agent.realtime.settings import Settings
from streams.clock import SECOND
from streams.types import TurnCommitted, TurnDropped, TurnOpened


class Hearing:
    """Follows the person's turns. Every method returns the events that follow.

    position: session time (ns) → ms of the sound that the client has sent
    open: turn that a person has begun and that is not decided;  committing: item of a turn that the client has
    committed itself and that has not been understood yet
    """

    def __init__(self, conversation: Conversation, position: Callable[[int], int]) -> None:
        self.open: int | None = None
        self.committing: str | None = None
        self._conversation = conversation
        self._position = position
        self._ids: dict[int, str] = {}
        self._ended = 0  # when the newest stretch of speech ended, ns

    def speech_ended(self, t: int) -> None:
        """A stretch of speech ended at `t` (ns)."""
        self._ended = t

    def opened(self, turn: TurnOpened, settings: Settings) -> list[Event]:
        """A person began to speak."""
        self.open = turn.turn
        if settings.detection is None:
            return []
        id = self._ids[turn.turn] = self._conversation.new_id()
        at = self._position(turn.start_ns)
        return [{"type": "input_audio_buffer.speech_started", "audio_start_ms": at, "item_id": id}]

    def committed(self, turn: TurnCommitted, settings: Settings) -> list[Event]:
        """A person's turn is over."""
        seconds = max(0.0, (turn.end_ns - turn.start_ns) / SECOND)
        return self._over(turn.turn, turn.end_ns, turn.text, seconds, settings, keep=True)

    def dropped(self, turn: TurnDropped, settings: Settings) -> list[Event]:
        """A person's turn gets no answer. What was understood of it was said all the same; an echo was not."""
        keep = bool(turn.text) and turn.reason not in ("echo", "no_words")
        return self._over(turn.turn, self._ended, turn.text if keep else "", 0.0, settings, keep=keep)

    def commit(self) -> list[Event]:
        """The client says that the turn is over: its item, of which the words are to come."""
        id = self.committing = self._conversation.new_id()
        return self._item(id, None)

    def given_up(self, settings: Settings) -> list[Event]:
        """Nothing was heard in what the client committed."""
        id, self.committing = self.committing, None
        return self._transcript(id, "", 0.0) if id is not None and settings.transcribe else []

    def _over(self, turn: int, end: int, text: str, seconds: float, settings: Settings, *, keep: bool) -> list[Event]:
        self.open = None
        id = self._ids.pop(turn, None)
        events: list[Event] = []
        if self.committing is not None:
            id, self.committing = self.committing, None
            self._conversation.get(id)["content"][0]["transcript"] = text
        elif id is not None:
            at = self._position(end)
            events.append({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at, "item_id": id})
            if not keep:
                return events
            events += self._item(id, text)
        if id is not None and settings.transcribe:
            events += self._transcript(id, text, seconds)
        return events

    def _item(self, id: str, text: str | None) -> list[Event]:
        previous = self._conversation.last
        item = user_speech(text, id)
        committed = {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": id}
        return [committed, self._conversation.add(item), self._conversation.done(item)]

    def _transcript(self, id: str, text: str, seconds: float) -> list[Event]:
        kind, place = "conversation.item.input_audio_transcription", {"item_id": id, "content_index": 0}
        delta = [{"type": f"{kind}.delta", **place, "delta": text}] if text else []
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        return [*delta, {"type": f"{kind}.completed", **place, "transcript": text, "usage": usage}]
