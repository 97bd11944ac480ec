"""What can have happened in a conversation: the events of which a `policies.scene.Snapshot` is made, and how they read.

Facts only. What a policy merely wished (`meant`) is kept apart from what the body reported.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct


class Heard(Struct, frozen=True):
    """What a person said in one turn ("" = speech nobody could make out).

    typed: it was written, not said
    speaker: who it was, "" = unknown;  bearing_rad: from where, positive to the agent's left, None = unknown; both as
        the turn-taker told in its evidence, under these names
    """

    turn: int
    text: str
    confidence: float
    start_ns: int
    end_ns: int
    typed: bool = False
    speaker: str = ""
    bearing_rad: float | None = None


class Said(Struct, frozen=True):
    """One `Say` of a turn of the agent.

    start_ns: when it was given to the voice;  heard: the words that left the speaker, whole
    status: as in `Outcome`, "" while it is being said
    """

    id: int
    meant: str
    start_ns: int = 0
    heard: tuple[str, ...] = ()
    status: str = ""

    @property
    def text(self) -> str:
        """What was heard of it, as it was written: up to the last word heard, all of it if it was said to its end."""
        return self.meant if self.status == "done" and self.meant else heard_text(self.meant, self.heard)


class Spoken(Struct, frozen=True):
    """One turn of the agent.

    meant: the texts given to the voice;  heard: the words that really left the speaker
    cut: it was ended early by the person;  ended: the voice has done with it;  whole: every text was spoken to its end
    exact: every word time came from the voice
    start_ns: when the first text was given to the voice;  end_ns: end of the last word heard (start_ns if none)
    says: its `Say`s, each with what was heard of it;  unasked: nobody had spoken, the agent took the floor by itself
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
    says: tuple[Said, ...] = ()
    unasked: bool = False

    @property
    def unheard(self) -> bool:
        """Nobody heard a word of it, and nobody will; it was not cut either: the loudspeaker or the voice is gone."""
        return self.ended and not self.cut and not self.whole and not self.heard

    @property
    def text(self) -> str:
        """What was heard, as it was written."""
        return " ".join(text for said in self.says if (text := said.text))


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
    """A fault of a component.  over: it has told since that it is well again"""

    where: str
    error: str
    message: str
    start_ns: int
    over: bool = False


class Halted(Struct, frozen=True):
    """Everything that moved was stopped, at once, by a stop word, a button or the policy."""

    reason: str
    start_ns: int


class Overheard(Struct, frozen=True):
    """What somebody said to somebody else."""

    turn: int
    text: str
    start_ns: int


class Timer(Struct, frozen=True):
    """A timer that is running: a `Call` of "set_timer" without an outcome."""

    id: int
    label: str
    due_ns: int


class Forgotten(Struct, frozen=True):
    """How often something ended so, of what is too long ago to be remembered one by one."""

    name: str
    status: str
    count: int


Event: TypeAlias = Heard | Spoken | Done | Trouble | Halted | Overheard


def heard_text(text: str, words: Sequence[str]) -> str:
    """The part of `text` that ends with the last of `words`, as it was written.

    `words` are slices of `text` in order; if a voice gave others, they are joined by blanks.
    """
    place = 0
    for word in words:
        found = text.find(word, place)
        if found < 0:
            return " ".join(words)
        place = found + len(word)
    return text[:place]


def line(event: Event) -> str:
    """The event as a line of a dialogue, for people and tests."""
    match event:
        case Heard():
            return f"user{' (typed)' if event.typed else ''}: {event.text or '(unclear)'}"
        case Spoken():
            return f"agent: {_said(event)}"
        case Done():
            arguments = ", ".join(f"{name}={value!r}" for name, value in event.arguments.items())
            what = {"Command": "motion", "Call": "tool"}[event.kind]
            became = event.status or "under way"
            return f"({what} {event.name}({arguments}): {became}{': ' + event.detail if event.detail else ''})"
        case Halted():
            return f"(everything stopped: {event.reason})"
        case Overheard():
            return f"(said to somebody else: {event.text})"
        case Trouble():
            return f"(fault of the {event.where}: {event.message}){' (over)' if event.over else ''}"


def _said(spoken: Spoken) -> str:
    words = " ".join(spoken.heard)
    if spoken.cut:
        return f"{words} — (cut off by the user)" if words else "— (cut off before it was heard)"
    if spoken.whole:
        return words
    if spoken.unheard:
        return "(not heard)"
    return f"{words} — (broke off)" if spoken.ended else f"{words} … (still speaking)"
