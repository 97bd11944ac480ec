"""What a speech-to-speech model may ask for, what becomes of what it asks for, and what it is told of that."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from policies.llm.answer import ToolCall
from streams.types import Action, Call, Command, Offer, TurnCommitted

LONGEST_RESULT = 8000


class Verdict(Protocol):
    """What becomes of a wish of the model."""

    @property
    def does(self) -> str:
        """ "do", "ask" or "refuse"."""

    @property
    def say(self) -> str:
        """The question, or why not."""


class Consent(Protocol):
    """Whether what a model wants done is done (`policies.llm.consent.Consent`)."""

    def weigh(self, offer: Offer, action: Call | Command, turn: TurnCommitted, /) -> Verdict:
        """May `action` be done in answer to `turn`?"""

    def hear(self, turn: TurnCommitted, /) -> Sequence[Action] | None:
        """What follows from the answer to an open question; None if `turn` is no answer to one."""


def told(offers: Iterable[Offer]) -> list[dict[str, Any]]:
    """`offers` as the functions of a session."""
    return [
        {"type": "function", "name": _name(each), "description": each.description, "parameters": each.parameters}
        for each in offers
    ]


def wished(
    call: ToolCall, offers: Iterable[Offer], turn: TurnCommitted, consent: Consent | None
) -> tuple[Call | Command | None, str, str]:
    """What `call` wants done, as an action; or None, why it is not done, and what the person is asked about it."""
    offer = next((each for each in offers if _name(each) == call.name), None)
    if offer is None:
        return None, refused("there is no function of that name"), ""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        return None, refused(f"the arguments are not a JSON object: {error}"), ""
    wish: Call | Command
    if offer.kind == "command":
        origin: Any = "text" if turn.reason == "typed" else "speech"
        wish = Command(offer.name, arguments, origin, turn.confidence, offer.on_cut)
    else:
        wish = Call(offer.name, arguments, offer.on_cut)
    if consent is None:
        return (None, refused("it is risky, and nobody can be asked"), "") if offer.risky else (wish, "", "")
    verdict = consent.weigh(offer, wish, turn)
    if verdict.does == "do":
        return wish, "", ""
    if verdict.does == "ask":
        return None, output_of("waiting", f"the person is being asked: {verdict.say}"), verdict.say
    return None, refused(verdict.say), ""


def refused(why: str) -> str:
    """The output of a call that is not done."""
    return output_of("refused", why)


def output_of(status: str, detail: str, result: Any = None) -> str:
    """The output of a call, JSON text, not longer than `LONGEST_RESULT` and a mark."""
    output: dict[str, Any] = {"status": status}
    if detail:
        output["detail"] = detail
    if result is not None:
        output["result"] = result
    text = msgspec.json.encode(output).decode()
    return text if len(text) <= LONGEST_RESULT else text[:LONGEST_RESULT] + " … (cut short)"


def _name(offer: Offer) -> str:
    """As servers allow it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", offer.name)[:64]
