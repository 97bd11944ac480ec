"""Text and templates made comparable: one spelling for every way to write or say the same words."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

import hassil
from hassil.expression import Alternative, Expression, Group, ListReference, Permutation, RuleReference, TextChunk

from policies.numbers import take

_SYMBOLS = (("’", "'"), ("%", " percent "), ("+", " plus "), ("×", " times "), ("*", " times "), ("÷", " divided by "))
_MINUS = re.compile(r"(?<=\d) [-−–] ?(?=\d)")
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*'?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_LITERAL = re.compile(r"(?P<keep>\{[^}]*\}|<[^>]*>)|[^\W\d_][\w'-]*(?: +[^\W\d_][\w'-]*)*")
# One spelling per word, the one a pronouncing dictionary of American English has.
_SPELLING = {
    "metre": "meter", "metres": "meters", "centimetre": "centimeter", "centimetres": "centimeters", "ok": "okay",
    "alright": "all right", "nevermind": "never mind", "goodnight": "good night", "anticlockwise": "counterclockwise",
}  # fmt: skip
_GLUED = re.compile(r"[\w'\])}>][\[({<]|[\])}>][\w'\[({<]")


def normalise(text: str) -> str:
    """`text` in lower case without punctuation, numbers as whole thousandths: "Go 2.5 m!" is "go 2500 m".

    Thousandths, because the matcher checks the range of whole numbers without listing them.
    """
    text = text.lower()
    for symbol, word in _SYMBOLS:
        text = text.replace(symbol, word)
    words = _WORD.findall(_THOUSANDS.sub("", _MINUS.sub(" minus ", text)))
    out: list[str] = []
    at = 0
    while at < len(words):
        number = take(words, at)
        if number is None:
            out.append(_SPELLING.get(words[at], words[at]))
            at += 1
        else:
            out.append(str(round(number[0] * 1000)))
            at = number[1]
    return " ".join(out)


def plain_words(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case; punctuation and hyphens part words."""
    return tuple(_WORD.findall(text.lower().replace("’", "'")))


def literal(template: str) -> str:
    """`template` with its literal words normalised as a text would be; slots and rules as they are."""
    return _LITERAL.sub(lambda found: found[0] if found["keep"] else normalise(found[0]), template)


def fault(template: str) -> str | None:
    """What is wrong with the form of `template`, or None."""
    if not template.strip():
        return "the template is empty"
    if glued := _GLUED.search(template):
        return (
            f"there must be a space at {glued[0]!r} between a group and what stands beside it (a word is recognised "
            "whole: write '(meter|meters)', not 'meter[s]')"
        )
    if re.search(r"\d", re.sub(r"\{[^}]*\}|<[^>]*>", "", template)):
        return "numbers must be written as words"
    if odd := re.search(r"[^\w\s'\-()\[\]{}<>|;:]", template):
        return f"the character {odd[0]!r} cannot be spoken"
    try:
        hassil.parse_sentence(template)
    except (hassil.parser.ParseError, AssertionError, ValueError) as error:
        return f"the template cannot be read ({error or 'brackets?'})"
    return None


@lru_cache(maxsize=4096)
def expression(template: str) -> Expression:
    """`template` as hassil's tree, to be read only: parsed once (most of the time of loading goes into parsing)."""
    return hassil.parse_sentence(template).expression


def references(template: str) -> Iterator[ListReference | RuleReference]:
    """The lists and rules that `template` names itself."""
    pending = [expression(template)]
    while pending:
        part = pending.pop()
        if isinstance(part, ListReference | RuleReference):
            yield part
        elif isinstance(part, Group):
            pending += part.items


def certain_slots(part: Expression, rules: dict[str, str]) -> frozenset[str]:
    """The slots that have a value whenever `part` was said."""
    if isinstance(part, ListReference):
        return frozenset([part.slot_name])
    if isinstance(part, RuleReference):
        return certain_slots(expression(rules[part.rule_name]), rules)
    if isinstance(part, Alternative):
        return frozenset.intersection(*(certain_slots(item, rules) for item in part.items))
    if isinstance(part, Group):
        return frozenset().union(*(certain_slots(item, rules) for item in part.items))
    assert isinstance(part, TextChunk)
    return frozenset()


def first_words(part: Expression, rules: Mapping[str, str], lists: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The words, as `normalise` writes them, with which `part` can begin; "" among them if it can be nothing at all.

    lists: the texts of each;  a number is "#"
    """
    if isinstance(part, ListReference):
        found = (first_words(expression(text), rules, lists) for text in lists[part.list_name])
        return frozenset().union(*found) or frozenset("#")
    if isinstance(part, RuleReference):
        return first_words(expression(rules[part.rule_name]), rules, lists)
    if isinstance(part, Alternative | Permutation):
        return frozenset().union(*(first_words(item, rules, lists) for item in part.items))
    if isinstance(part, Group):
        begins: frozenset[str] = frozenset([""])
        for item in part.items:
            if "" not in begins:
                break
            begins = (begins - {""}) | first_words(item, rules, lists)
        return begins
    assert isinstance(part, TextChunk)
    return frozenset([first_word(part.original_text)])


def first_word(text: str) -> str:
    """The first word of `text` as `first_words` has it; "" for none."""
    word = normalise(text).partition(" ")[0]
    return "#" if word[:1].isdigit() else word
