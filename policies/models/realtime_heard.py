"""What was really heard of a speech-to-speech model's answers, told to the server that still believes all of it was.

A server sends sound faster than it is played, and takes for said what it has sent. When a person cuts the agent off,
the item is truncated after the last word that left the loudspeaker whole: so the model remembers what the ledger holds.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from streams.packet import Packet
from streams.types import Hush, Outcome, Played, Say

MOST = 32


class Sink(Protocol):
    """Takes the sound of one answer (`embodied.voices.streamed.StreamedSound` is one)."""

    def write(self, samples: Any) -> None:
        """More sound, int16[samples]."""

    def say(self, text: str) -> None:
        """More of what is said in it."""

    def end(self, whole: bool = True) -> None:
        """Nothing more will come. whole: it is complete. Idempotent."""


class Sounds(Protocol):
    """Takes the sound of answers, and knows where their words lie (`embodied.voices.streamed.StreamedSounds`)."""

    def begin(self, name: str, rate: int) -> Sink:
        """A new sound, at `rate` Hertz."""

    def cancel(self, name: str) -> None:
        """Nobody wants it any more."""

    def place_ms(self, name: str, words: int) -> int:
        """Where in it the first `words` words have ended, ms."""


class _Spoken:
    """A message of the model's. turn: of the agent;  generation: of the connection it came over;  sent_ms: its sound"""

    def __init__(self, turn: int, generation: int, item: str, content: int) -> None:
        self.turn, self.generation, self.item, self.content = turn, generation, item, content
        self.sent_ms = 0
        self.say: int | None = None
        self.words = 0


class Heard:
    """Follows ACTION and FEEDBACK. truncate: item, content index, ms; called for what is of this connection"""

    def __init__(self, truncate: Callable[[str, int, int], None]) -> None:
        self._truncate = truncate
        self.sounds: Sounds | None = None
        self.generation = 0
        self._spoken: OrderedDict[str, _Spoken] = OrderedDict()

    def began(self, name: str, turn: int, item: str, content: int) -> None:
        """The sound `name` of item `item` has begun to come."""
        self._spoken[name] = _Spoken(turn, self.generation, item, content)
        while len(self._spoken) > MOST:
            self._spoken.popitem(last=False)

    def sent(self, name: str, ms: int) -> None:
        """`ms` of the sound `name` have come."""
        if name in self._spoken:
            self._spoken[name].sent_ms = ms

    def observe(self, packet: Packet[Any]) -> None:
        """A packet of ACTION or FEEDBACK."""
        match packet.data:
            case Say(source=name, id=number) if name in self._spoken:
                self._spoken[name].say = number
            case Played(id=number, index=index):
                for spoken in self._spoken.values():
                    if spoken.say == number:
                        spoken.words = max(spoken.words, index + 1)
            case Outcome(action="Say", id=number, status=status):
                for name, spoken in list(self._spoken.items()):
                    if spoken.say == number:
                        self._end(name, whole=status == "done")
            case Hush(turn=turn):
                for name, spoken in list(self._spoken.items()):
                    if spoken.turn <= turn and spoken.say is None:  # it never came to be said
                        self._end(name, whole=False)

    def _end(self, name: str, *, whole: bool) -> None:
        spoken = self._spoken.pop(name)
        if not whole and spoken.generation == self.generation and self.sounds is not None:
            ms = self.sounds.place_ms(name, spoken.words)
            self._truncate(spoken.item, spoken.content, min(ms, spoken.sent_ms))
