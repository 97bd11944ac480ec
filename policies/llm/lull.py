"""A lull: a person falls silent for a moment, and may have finished.

Silence is only certain some 200 ms later, when the voice detector closes the stretch of speech; a draft that is asked
in the lull has that much of a start. A lull decides nothing: should the person go on, all that is lost is a draft.
"""

from typing import Any

from policies.endpointing import EndpointingConfig, judge
from policies.transcript import HOP_NS, Stretch, UserTurn
from streams.packet import Packet
from streams.types import (
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    TurnWaiting,
    Voice,
    Words,
)

QUIET = 0.35  # probability of voice below which a hop is silent
QUIET_HOPS = 3  # so many silent hops, one after the other, are a lull; within words there are one or two


class Lull:
    """Takes packets in; `feed` gives a `TurnWaiting` as it would be if the speech had ended with this lull.

    config: of the session's own endpointing
    """

    def __init__(self, language: str = "en", config: EndpointingConfig | None = None) -> None:
        self._language = language
        self._config = config or EndpointingConfig()
        self._turn: UserTurn | None = None
        self._newest: Stretch | None = None  # of speech; a turn may be opened for it a step later
        self._quiet = 0

    def feed(self, packet: Packet[Any]) -> TurnWaiting | None:
        """Take `packet` in; what it tells of a lull: that it begins, or other words in it."""
        match packet.data:
            case TurnOpened(turn=turn):
                self._turn = UserTurn(turn, [] if self._newest is None else [self._newest])
            case SpeechStarted(segment=segment):
                self._quiet = 0
                self._newest = Stretch(segment, packet.t)
                if self._turn is not None:
                    self._turn.stretches.append(self._newest)
            case SpeechEnded(segment=segment):
                if (stretch := self._stretch(segment)) is not None:
                    stretch.end_ns = packet.t
            case Words(segment=segment) as words:
                if (stretch := self._stretch(segment)) is not None:
                    stretch.words = words
                    return self._waiting(packet.t) if self._quiet >= QUIET_HOPS else None  # they come a little later
            case TurnCommitted(turn=turn) | TurnDropped(turn=turn):
                if self._turn is not None and turn >= self._turn.number:
                    self._turn = None
            case Voice(probability=probability):
                self._quiet = self._quiet + 1 if probability < QUIET else 0
                if self._quiet == QUIET_HOPS:
                    return self._waiting(packet.t)
        return None

    def _stretch(self, segment: int) -> Stretch | None:
        if self._newest is not None and self._newest.number == segment:
            return self._newest
        return None if self._turn is None else self._turn.stretch(segment)

    def _waiting(self, t: int) -> TurnWaiting | None:
        turn = self._turn
        if turn is None or not turn.stretches or not turn.speaking:
            return None
        heard = turn.transcript()
        if not heard.text:
            return None
        judgement = judge(
            self._config, text=heard.text, complete=heard.complete, final=False, model=None, asked=False,
            language=self._language,
        )  # fmt: skip
        ended = t - QUIET_HOPS * HOP_NS
        until = ended + judgement.wait_ns
        return TurnWaiting(turn.number, judgement.probability, judgement.wait_ns, until, judgement.evidence)
