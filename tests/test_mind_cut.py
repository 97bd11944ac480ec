"""Whenever somebody speaks up in an answer: the next question holds the words that were heard, and the mark."""

import re
from typing import Any

import pytest

from policies.llm.wording import CUT
from policies.models.scripted import Tokens, asked
from streams.clock import MS
from streams.types import Ask, Delta, Hush, OverlapCut, Played, Say
from tests.minds import Held, hold, typed
from tests.scenes import spoken

ANSWER = "Well, the moon goes round. It takes 27.3 days! It is far away, yes; it is, it is. So much for that."
BEGIN_MS, STEP_MS = 700, 100
WORD_MS = 250  # of the voice of tones
MOMENTS = range(BEGIN_MS, BEGIN_MS + (len(ANSWER.split()) + 4) * WORD_MS, STEP_MS)


def answers(ask: Ask) -> Tokens:
    if "moon" in asked(ask).split("\n")[-1]:
        return Tokens(ANSWER, first_ms=150, each_ms=60)
    return Tokens("All right.", first_ms=100)


def letters(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def check(held: Held, cut: Any) -> bool:
    """Returns whether something was cut off."""
    (ask,) = [ask for ask in held.asks() if ask.turn == 1 and ask.purpose == "reply"]
    late = [p for p in held.packets if isinstance(p.data, Delta) and p.data.id == ask.id and p.order > cut.order]
    assert not late, "tokens after the cut"
    before = {say.id for say in held.of(Say) if say.turn == 1}
    heard = [word.text for word in held.of(Played) if word.turn == 1]
    (next_,) = {str(ask.request["messages"][1:]): ask for ask in held.asks() if ask.turn == 2}.values()
    told = [str(each["content"]) for each in next_.request["messages"] if each["role"] == "assistant"]
    whole = " ".join(say.text for say in held.of(Say) if say.id in before)
    if not heard:
        assert all(text == CUT or not letters(text.replace(CUT, "")) for text in told), told
        return True
    (text,) = told
    assert letters(text.replace(CUT, "")) == letters(" ".join(heard))
    assert letters(whole)[: len(letters(text.replace(CUT, "")))] == letters(text.replace(CUT, ""))
    everything = letters(text.replace(CUT, "")) == letters(ANSWER)
    assert text.endswith(CUT) or everything
    return not everything


@pytest.mark.parametrize("how", ["speech", "typed"])
def test_the_next_question_holds_what_was_heard(how: str) -> None:
    cut_off = 0
    lengths = set()
    for moment in MOMENTS:
        new = (
            spoken(1, moment, moment + 900, "no what about mars then")
            if how == "speech"
            else [typed(moment, "and mars")]
        )
        held = hold([typed(100, "what of the moon"), *new], answers, "llm.drafts.enabled=false")
        cuts = [packet for packet in held.packets if isinstance(packet.data, OverlapCut) and packet.data.turn == 1]
        hushes = [packet for packet in held.packets if isinstance(packet.data, Hush) and packet.data.turn == 1]
        if not cuts:  # all had been said
            assert " ".join(word.text for word in held.of(Played) if word.turn == 1).endswith("that")
            continue
        assert hushes[0].at - cuts[0].at <= MS
        cut_off += check(held, cuts[0])
        lengths.add(len([word for word in held.of(Played) if word.turn == 1]))
    assert cut_off > 20 and len(lengths) > 15, "cuts fell on many places of the answer"
