"""Turns that the client ends itself: when all of one has been heard, the turn-taker is told that it is over.

Until then its waits are without end, so that a pause within the turn does not part it. The waits are set from a tap,
not by a packet: why such a session cannot be replayed is told in `agent.realtime`.
"""

from typing import Any

from msgspec.structs import replace

from agent.realtime.microphone import ClientMicrophone
from policies.turns import TurnConfig, TurnTaker
from streams.clock import MS
from streams.packet import Packet
from streams.types import SpeechEnded, SpeechStarted, TurnCommitted, TurnDropped, Voice

HOP_NS = 40 * MS
"""No hop of voice activity is longer."""
WORDS_MS = 8000
"""How long the recogniser may take for a turn that it was given at once."""


class Judging:
    """Follows VOICE, PERCEPT and TURN, and sets the waits of `turns`."""

    def __init__(self, microphone: ClientMicrophone) -> None:
        self.spoken = False  # in what is being judged; its turn may be opened a step later
        self._microphone = microphone
        self._turns: TurnTaker | None = None
        self._usual: TurnConfig | None = None
        self._until: int | None = None  # session time by which all has been heard, ns
        self._quick = False
        self._segment = 0
        self._speaking = False

    def configure(self, turns: TurnTaker, usual: TurnConfig) -> None:
        """The turn-taker, and its waits as they are to be from now on."""
        self._turns, self._usual = turns, usual
        if not self._quick:
            turns.config = usual

    def begin(self) -> None:
        """The client says that its turn is over."""
        self.spoken = False
        self._until = self._microphone.judge()

    def feed(self, packet: Packet[Any]) -> bool:
        """Take one packet in. Returns whether this was the end of what the client had committed."""
        match packet.data:
            case SpeechStarted(segment=segment):
                self._segment, self._speaking, self.spoken = segment, True, True
            case SpeechEnded():
                self._speaking = False
            case Voice():
                return self._until is not None and packet.t >= self._until - HOP_NS and self._heard()
            case TurnCommitted() | TurnDropped() if self._quick and self._turns is not None and self._usual is not None:
                self._quick, self._turns.config = False, self._usual
        return False

    def _heard(self) -> bool:
        self._until = None
        if self._turns is not None and self._usual is not None:
            self._quick = True
            self._turns.config = replace(self._usual, min_wait_ms=0, max_wait_ms=0, final_grace_ms=WORDS_MS)
        if self._segment and not self._speaking:
            self._microphone.over(self._segment)
        return True
