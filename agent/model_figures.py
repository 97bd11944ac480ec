"""Figures of the language model in one session: how it answered, what was thrown away, what it cost."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from agent.figures import Spread
from policies.llm.settings import PriceConfig
from streams.packet import Packet
from streams.types import Answered, Ask, Delta, Outcome, TurnCommitted, Withdraw


class ModelFigures(Struct, frozen=True):
    """What the model was asked and what came of it. Tokens are those the server counted.

    asked: questions, drafts included;  failed: by kind of error;  cut: ended by an interruption
    drafts, drafts_taken: asked before the turn was over, and those of them that became the answer
    wasted_tokens: output of drafts that were thrown away (pieces that came, where the server did not count)
    uncounted: answers whose tokens no server counted;  first_ms: from the question to its first piece
    cost: by `llm.price`, None without prices
    """

    asked: int
    failed: dict[str, int]
    cut: int
    drafts: int
    drafts_taken: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    wasted_tokens: int
    uncounted: int
    first_ms: Spread | None
    cost: float | None


def model_figures(packets: Iterable[Packet[Any]], price: PriceConfig | None = None) -> ModelFigures | None:
    """The figures of a session's packets; None if nobody was asked."""
    asks: dict[int, Ask] = {}
    ends: dict[int, Outcome] = {}
    pieces: dict[int, int] = {}
    withdrawn: set[int] = set()
    committed: set[int] = set()
    for packet in packets:
        match packet.data:
            case Ask() as ask:
                asks[ask.id] = ask
            case Delta(id=number):
                pieces[number] = pieces.get(number, 0) + 1
            case Withdraw(id=number):
                withdrawn.add(number)
            case TurnCommitted(turn=turn):
                committed.add(turn)
            case Outcome(action="Ask") as outcome:
                ends[outcome.id] = outcome
    if not asks:
        return None
    answered = {number: _answered(ends.get(number)) for number in asks}
    drafts = {number for number, ask in asks.items() if ask.purpose == "draft"}
    useless = withdrawn | {number for number, end in ends.items() if end.status in ("failed", "timeout", "refused")}
    thrown = {number for number in drafts if number in useless or asks[number].turn not in committed}
    failed: dict[str, int] = {}
    for number, outcome in ends.items():
        if outcome.status in ("failed", "timeout", "refused"):
            kind = answered.get(number, Answered()).error or outcome.status
            failed[kind] = failed.get(kind, 0) + 1
    total_in = sum(each.input_tokens or 0 for each in answered.values())
    cached = sum(each.cached_tokens or 0 for each in answered.values())
    total_out = sum(each.output_tokens or 0 for each in answered.values())
    priced = price is not None and any((price.input, price.cached, price.output))
    cost = None
    if price is not None and priced:
        cost = ((total_in - cached) * price.input + cached * price.cached + total_out * price.output) / 1e6
    return ModelFigures(
        asked=len(asks),
        failed=dict(sorted(failed.items())),
        cut=sum(outcome.status == "cut" and number not in withdrawn for number, outcome in ends.items()),
        drafts=len(drafts),
        drafts_taken=len(drafts - thrown),
        input_tokens=total_in,
        cached_tokens=cached,
        output_tokens=total_out,
        wasted_tokens=sum(answered[number].output_tokens or pieces.get(number, 0) for number in thrown),
        uncounted=sum(each.output_tokens is None for each in answered.values()),
        first_ms=Spread.of(each.first_ms for number, each in answered.items() if number not in thrown),
        cost=cost,
    )


def _answered(outcome: Outcome | None) -> Answered:
    if outcome is None or outcome.result is None:
        return Answered()
    return msgspec.convert(outcome.result, Answered)
