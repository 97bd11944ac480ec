"""Whether two things that somebody said are the same request: in the same words, in other words, or not at all."""

from typing import Literal, TypeAlias

from agent.tuning.wording import wording
from policies.templates import plain_words

BAR = 0.6
"""Dice coefficient of the telling words from which two requests are the same in other words."""

Likeness: TypeAlias = Literal["same", "rephrased", "changed", "other"]


def likeness(one: str, other: str, language: str) -> float:
    """In [0, 1]: Dice coefficient of the words that a request hangs on, or of all where there are none such."""
    plain = wording(language).plain
    first, second = plain_words(one), plain_words(other)
    a, b = set(first) - plain or set(first), set(second) - plain or set(second)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0


def same_request(one: str, other: str, language: str) -> Likeness:
    """How `other` repeats `one`.

    "changed": alike, but with another number or direction or the like: a new request, or a correction; nobody can tell
    """
    lists = wording(language)
    first, second = plain_words(one), plain_words(other)
    if not first or not second:
        return "other"
    if first == second:
        return "same"
    if likeness(one, other, language) < BAR:
        return "other"
    gone, come = {*first} - {*second}, {*second} - {*first}
    decisive = any(word in lists.numbers | lists.negating or word.isdigit() for word in gone | come)
    exchanged = gone & lists.contrasts and come & lists.contrasts
    return "changed" if decisive or exchanged else "rephrased"
