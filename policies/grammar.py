"""The sentences as one JSGF grammar for a recogniser: what can be understood is exactly what can be heard.

One public rule, `<utterance>`, over one rule per intent, list and template rule, and over the stop words and
backchannels. (pocketsphinx takes one public rule; of several it would take any.) JSGF: Java Speech Grammar Format 1.0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hassil.expression import Alternative, Expression, Group, ListReference, Permutation, RuleReference, TextChunk

from policies.backchannels import LANGUAGES, spoken_backchannels
from policies.numbers import SMALL, spell
from policies.reflex import stop_words as stop_words_of
from policies.tables import Range, Values
from policies.templates import expression

if TYPE_CHECKING:
    from policies.sentences import Sentences

Tree: TypeAlias = dict[str, "Tree"]
_END = ""  # key of a tree: a phrase may end here


def compile_grammar(
    sentences: Sentences, stop_words: Sequence[str] | None = None, backchannels: Sequence[str] | None = None
) -> str:
    """`sentences` as JSGF text; lower case, numbers as words, no weights.

    stop_words, backchannels: phrases to recognise besides; None = the built-in ones of the sentences' language
    Rules: `<utterance>` (public), `<intent_NAME>`, `<twins_not>`, `<twins_whether>`, `<list_NAME>`, `<rule_NAME>`,
    `<stop>`, `<backchannel>`.
    """
    language = sentences.language
    stop = stop_words_of(language) if stop_words is None else [word.lower() for word in stop_words]
    if backchannels is None:
        backchannels = spoken_backchannels(language) if language in LANGUAGES else ()
    rules: dict[str, str] = {}
    twins: dict[str, list[str]] = {}
    for name, intent in sentences.intents.items():
        if not intent.spoken:
            continue
        if intent.twin:  # one way in for all twins of a kind: what follows is the intents' own, shared
            prefix, _, original = intent.twin.partition(" ")
            twins.setdefault(prefix, []).append(f"<intent_{original}>")
            continue
        rules[f"intent_{name}"] = _either(_jsgf(expression(sentence)) for sentence in intent.sentences)
    for prefix, originals in twins.items():
        rules[f"twins_{prefix}"] = f"<rule_{prefix}> ({' | '.join(originals)})"
    for name, each in sentences.lists.items():
        rules[f"list_{name}"] = _list(each)
    for name, template in sentences.rules.items():
        rules[f"rule_{name}"] = _jsgf(expression(template))
    if stop:
        twice = "<stop_word> [<stop_word>]"
        rules["stop"] = f"[please] {twice} [now | please]" if language == "en" else twice
        rules["stop_word"] = _phrases(stop)
    if backchannels:
        rules["backchannel"] = _phrases(phrase.lower() for phrase in backchannels)
    tops = [name for name in rules if name.startswith(("intent_", "twins_")) or name in ("stop", "backchannel")]
    lines = ["#JSGF V1.0;", "grammar visavis;", "", f"public <utterance> = {' | '.join(f'<{name}>' for name in tops)};"]
    lines += [f"<{name}> = {body};" for name, body in _used(rules, tops).items()]
    return "\n".join(lines) + "\n"


def _jsgf(part: Expression) -> str:
    """One node of a template; "" where it stands for nothing."""
    if isinstance(part, TextChunk):
        return " ".join(part.original_text.lower().replace("’", "'").split())
    if isinstance(part, ListReference):
        return f"<list_{part.list_name}>"
    if isinstance(part, RuleReference):
        return f"<rule_{part.rule_name}>"
    assert isinstance(part, Group)
    if isinstance(part, Permutation):
        orders = itertools.permutations([text for text in map(_jsgf, part.items) if text])
        return f"({' | '.join(' '.join(order) for order in orders)})"
    if isinstance(part, Alternative):
        items = [_jsgf(item) for item in part.items]
        body = _either(item for item in items if item)
        return f"[{body}]" if "" in items else f"({body})"
    return " ".join(text for text in map(_jsgf, part.items) if text)


def _either(bodies: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(bodies))


def _list(each: Range | Values) -> str:
    if isinstance(each, Values):
        return _either(_jsgf(expression(text)) for text in each.values)
    whole = _phrases(_numbers(each.start, each.spoken_stop, each.spoken_step))
    if not each.decimals:
        return whole
    # The number before "point" stays small: nobody says "eighty seven point three metres" to a robot.
    digits = " | ".join(SMALL[1:10])
    return f"{whole} | ({_phrases(_numbers(each.start, min(each.spoken_stop - 1, 10)))}) point ({digits})"


def _numbers(start: int, stop: int, step: int = 1) -> list[str]:
    numbers = {start, *range(-(-start // step) * step, stop + 1, step)}
    phrases = [spell(number) for number in sorted(numbers)]
    # "one hundred and five" is also said "a hundred and five" and "one hundred five".
    shorter = [phrase.replace(" and ", " ") for phrase in phrases]
    return [*phrases, *shorter, *(f"a{phrase[3:]}" for phrase in phrases if phrase.startswith(("one h", "one t")))]


def _phrases(phrases: Iterable[str]) -> str:
    """Many phrases with their common beginnings and endings shared: `(twenty | thirty) [one | two]`."""
    tree: Tree = {}
    for phrase in phrases:
        node = tree
        for word in phrase.split():
            node = node.setdefault(word, {})
        node[_END] = {}
    return _alternatives(tree)


def _alternatives(tree: Tree) -> str:
    by_tail: dict[str, list[str]] = {}
    for word, rest in tree.items():
        if word != _END:
            by_tail.setdefault(_tail(rest), []).append(word)
    return _either(" | ".join(words) if not tail else f"{_group(words)} {tail}" for tail, words in by_tail.items())


def _tail(tree: Tree) -> str:
    body = _alternatives(tree)
    if not body:
        return ""
    if _END in tree:
        return f"[{body}]"
    return f"({body})" if "|" in body else body


def _used(rules: dict[str, str], tops: Sequence[str]) -> dict[str, str]:
    """The rules that can be reached, in their order: a rule nobody uses would only cost memory."""
    reached: set[str] = set()
    pending = list(tops)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += [other for other in rules if f"<{other}>" in rules[name]]
    return {name: body for name, body in rules.items() if name in reached}


def _group(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"({' | '.join(words)})"
