"""Small sounds between turns: "mm-hm" while somebody pauses and will go on, "one moment" while the model thinks.

Both are off by default (`Manner`). They are never a turn, never come twice in a row, and never begin while somebody
speaks; a murmur ends when the person goes on.
"""

from collections.abc import Sequence
from typing import Any

from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Action,
    Outcome,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    TurnWaiting,
    Withdraw,
)

FILLERS = {
    "en": ("One moment.", "Let me see."),
    "de": ("Einen Moment.", "Mal sehen."),
    "fr": ("Un instant.", "Voyons voir."),
    "es": ("Un momento.", "A ver."),
}
MURMURS = {"en": "mm-hm", "de": "mhm", "fr": "mm-hm", "es": "ajá"}
AGAIN_NS = 20 * SECOND
SPOKEN_NS = 3 * SECOND  # of speech in a turn, before a listener says anything
SILENCE_NS = 350 * MS  # so long the person is silent by then
UNLIKELY = 0.35  # probability of the turn's end below which the person is taken to go on


class Backchannels:
    """When to murmur: once in a turn at most, in a pause of somebody who has spoken for a while and will go on."""

    def __init__(self, language: str = "en") -> None:
        self._text = MURMURS.get(language, MURMURS["en"])
        self._due: tuple[int, int] | None = None  # when, and in which turn
        self._turn = self._began = self._murmured = 0
        self._speaking = False
        self._agent: set[int] = set()  # texts of the agent's that are being spoken
        self._under_way: int | None = None
        self._ready: list[Action] = []

    @property
    def deadline(self) -> int | None:
        """When it will murmur, ns."""
        return self._due[0] if self._due is not None else None

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of a packet."""
        match packet.data:
            case TurnOpened(turn=turn, start_ns=start):
                self._turn, self._began = turn, start
            case SpeechStarted():
                self._speaking, self._due = True, None
                if self._under_way is not None:
                    self._ready.append(Withdraw(self._under_way, "the person goes on", self._turn))
            case SpeechEnded():
                self._speaking = False
            case TurnWaiting(turn=turn, probability=probability, until_ns=until, wait_ns=wait):
                end = until - wait
                due = max(packet.at, end + SILENCE_NS)
                fits = turn == self._turn != self._murmured and end - self._began >= SPOKEN_NS
                unlikely = probability < UNLIKELY and due < until and not self._agent
                self._due = (due, turn) if fits and unlikely else None
            case TurnCommitted() | TurnDropped():
                self._due = None
            case Say(backchannel=True, id=number):
                self._under_way = number
            case Say(id=number):
                self._agent.add(number)
            case Outcome(action="Say", id=number):
                self._agent.discard(number)
                self._under_way = None if self._under_way == number else self._under_way

    def expire(self, now: int) -> None:
        """Session time has reached `deadline`."""
        if self._due is not None and now >= self._due[0]:
            _, turn = self._due
            self._due = None
            if not self._speaking:
                self._murmured = turn
                self._ready.append(Say(self._text, turn, backchannel=True))

    def take(self) -> Sequence[Action]:
        """What is to be done now; each is handed out once."""
        ready, self._ready = self._ready, []
        return ready


class Fillers:
    """Which "one moment" is said, and not too often."""

    def __init__(self, language: str = "en") -> None:
        self._texts = FILLERS.get(language, FILLERS["en"])
        self._count = 0
        self._last: int | None = None

    def next(self, now: int) -> str:
        """The words; "" if some were said a short while ago."""
        if self._last is not None and now - self._last < AGAIN_NS:
            return ""
        self._last = now
        self._count += 1
        return self._texts[(self._count - 1) % len(self._texts)]
