"""One `Say` on its way from text to what was heard of it, and how it ended."""

import asyncio
from typing import Any

from embodied.ledger import Account, heard_text
from streams.types import Outcome, Samples, Say


class Utterance:
    """A `Say` in the queue of the speech actuator.

    over: set once it has ended;  account: its words, and which of them were heard
    pieces, samples: what has been written of it to the speaker, kept until it is over, and how many samples that is
    complete: the voice has given all of it, or never will;  failure: why the voice failed, "" if it did not
    started: its first sample has left the speaker, and that has been told
    cut: nothing more of it is to be heard; how much was, the speaker may yet have to tell (`known`)
    unheard: why it was cut, if the speaker could not play it; "" otherwise
    """

    def __init__(self, say: Say, over: "asyncio.Future[Outcome]") -> None:
        self.say = say
        self.over = over
        self.account = Account(say.turn, say.id)
        self.pieces: list[Samples] = []
        self.samples = 0
        self.complete = False
        self.failure = ""
        self.started = False
        self.cut = False
        self.unheard = ""

    @property
    def end(self) -> int:
        """Count of the speaker after the last sample that has been written, or that will be heard after a cut."""
        if self.account.limit is not None:
            return self.account.limit
        return (self.account.base or 0) + self.samples

    def was_cut(self) -> bool:
        """Asked anew after every wait, for it may have happened meanwhile."""
        return self.cut

    @property
    def held_back(self) -> bool:
        """Its sound has not been given to the speaker, which has yet to tell how far a flush let it come."""
        return self.account.base is None and self.samples > 0 and not self.cut

    @property
    def known(self) -> bool:
        """It is settled how much of it will have been heard at most."""
        return not self.cut or self.account.limit is not None

    def ended(self, played: int) -> Outcome:
        """How it ended, or will have ended once the speaker has played up to `end`.

        played: what the speaker has played by now, in case it has not told yet where it was cut
        """
        account, say = self.account, self.say
        words = account.words(self.end if self.known else min(self.end, played))
        heard = heard_text(say.text, words)
        if self.failure:
            return say_outcome(say, "failed", heard, self.failure)
        if not self.cut or (self.complete and words and len(words) == len(account.marks)):
            return say_outcome(say, "done", say.text or heard)
        if self.unheard:
            return say_outcome(say, "failed", heard, self.unheard)
        if account.base is None or account.base >= self.end:
            return say_outcome(say, "fenced", "", "nothing of it was heard before the cut")
        return say_outcome(say, "cut", heard)


def say_outcome(say: Say, status: Any, heard: str, detail: str = "") -> Outcome:
    """The `Outcome` of a `Say`; its result is the text that was heard."""
    return Outcome(turn=say.turn, id=say.id, action="Say", name="", status=status, detail=detail, result=heard)
