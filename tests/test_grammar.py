"""The grammar and the understanding come from the same sentences: what can be heard can be understood."""

import itertools
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from hassil.expression import Alternative, Expression, Group, ListReference, Permutation, RuleReference, TextChunk
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.backchannels import is_backchannel
from policies.errors import SentencesError
from policies.grammar import compile_grammar
from policies.numbers import spell
from policies.reflex import find_stop, stop_words
from policies.sentences import Sentences
from policies.tables import Range
from policies.templates import expression

SENTENCES = Sentences.load()
GRAMMAR = SENTENCES.grammar()
_TOKEN = re.compile(r"<\w+>|[\[\]()|;=]|[^\s\[\]()|;=<>]+")


class Jsgf:
    """Just enough of a JSGF reader to draw sentences from a grammar, written apart from the compiler."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, list[str]] = {}
        for line in text.splitlines()[2:]:
            if line:
                name, body = re.fullmatch(r"(?:public )?<(\w+)> = (.*);", line).groups()  # type: ignore[union-attr]
                self.rules[name] = _TOKEN.findall(body)

    def draw(self, rule: str, random: Random) -> str:
        tokens = iter(self.rules[rule])
        return " ".join(self._alternatives(tokens, random, None))

    def _alternatives(self, tokens: Iterator[str], random: Random, close: str | None) -> list[str]:
        options: list[list[str]] = [[]]
        for token in tokens:
            if token == close:
                break
            if token == "|":
                options.append([])
            elif token == "(":
                options[-1] += self._alternatives(tokens, random, ")")
            elif token == "[":
                inner = self._alternatives(tokens, random, "]")
                options[-1] += inner if random.random() < 0.5 else []
            elif token.startswith("<"):
                options[-1] += self.draw(token[1:-1], random).split()
            else:
                assert token not in ")]", "brackets do not match"
                options[-1].append(token)
        else:
            assert close is None, f"{close} is missing"
        return random.choice(options)


@settings(max_examples=400, deadline=None)
@given(random=st.randoms(use_true_random=True))
def test_whatever_the_grammar_can_hear_is_understood_as_the_intent_it_came_from(random: Random) -> None:
    jsgf = Jsgf(GRAMMAR)
    (top,) = random.choice([[token[1:-1]] for token in jsgf.rules["utterance"] if token != "|"])
    text = jsgf.draw(top, random)
    if top == "stop":
        assert find_stop(text, stop_words()) is not None
    elif top == "backchannel":
        assert is_backchannel(text), text
    else:
        understood = SENTENCES.understand(text)
        assert understood is not None, text
        assert SENTENCES.may_begin(text.split(maxsplit=1)[0])
        if top.startswith("twins_"):
            assert understood.intent.twin.split()[0] == top.removeprefix("twins_"), text
            return
        assert understood.intent.name == top.removeprefix("intent_"), text


def _draw(part: Expression, random: Random, slots: dict[str, object]) -> str:
    """A text of a template, and into `slots` what its slots should come to."""
    if isinstance(part, TextChunk):
        return part.original_text
    if isinstance(part, RuleReference):
        return _draw(expression(SENTENCES.rules[part.rule_name]), random, slots)
    if isinstance(part, ListReference):
        each = SENTENCES.lists[part.list_name]
        if isinstance(each, Range):
            number = random.randint(each.start, each.stop)
            slots[part.slot_name] = float(number)
            return random.choice([spell(number), str(number)])
        text = random.choice(list(each.values))
        slots[part.slot_name] = each.values[text]
        return _draw(expression(text), random, slots)
    assert isinstance(part, Group)
    assert not isinstance(part, Permutation)
    if isinstance(part, Alternative):
        return _draw(random.choice(part.items), random, slots)
    return "".join(_draw(item, random, slots) for item in part.items)


@settings(max_examples=400, deadline=None)
@given(random=st.randoms(use_true_random=True))
def test_the_slots_of_a_drawn_sentence_are_found_again(random: Random) -> None:
    intent = random.choice(list(SENTENCES.intents.values()))
    slots: dict[str, object] = dict(intent.slots)
    text = _draw(expression(random.choice(intent.sentences)), random, slots)
    understood = SENTENCES.understand(text)
    assert understood is not None, text
    assert (understood.intent.name, understood.slots) == (intent.name, slots), text


def test_the_grammar_stays_small() -> None:
    assert len(GRAMMAR) < 15_000
    assert GRAMMAR.count("public ") == 1
    assert compile_grammar(Sentences.load()) == GRAMMAR
    assert not re.search(r"\d", GRAMMAR.split("\n", 1)[1])


def test_no_sentence_holds_a_stop_word() -> None:
    """The reflex would take it away from the intent."""
    words = {word for name, body in Jsgf(GRAMMAR).rules.items() if not name.startswith("stop") for word in body}
    assert words.isdisjoint(stop_words())


def test_permutations_lists_and_one_word_per_sound(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[lists]\nn.range = { from = 19, to = 22 }\n'
        '[intents.a]\nsentences = ["(red;blue) {n} [now]"]\nreply = "ok"\n'
        '[intents.b]\nsentences = ["quiet"]\nreply = "ok"\nspoken = false\n'
    )  # fmt: skip
    own = Sentences.load([path], builtin=False)
    grammar = compile_grammar(own, stop_words=(), backchannels=())
    assert grammar.splitlines()[3:] == [
        "public <utterance> = <intent_a>;",
        "<intent_a> = (red blue | blue red) <list_n> [now];",
        "<list_n> = nineteen | twenty [one | two];",
    ]
    jsgf = Jsgf(grammar)
    heard = {jsgf.draw("utterance", Random(seed)) for seed in range(300)}
    numbers = ("nineteen", "twenty", "twenty one", "twenty two")
    assert heard == {
        f"{colours} {number}{now}"
        for colours, number, now in itertools.product(("red blue", "blue red"), numbers, ("", " now"))
    }


@pytest.fixture(scope="module")
def dictionary() -> set[str]:
    pytest.importorskip("pocketsphinx")
    spec = find_spec("pocketsphinx")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "model" / "en-us" / "cmudict-en-us.dict"
    return {line.split(maxsplit=1)[0] for line in path.read_text(encoding="utf-8").splitlines()}


def test_every_word_can_be_pronounced(dictionary: set[str]) -> None:
    words = {word for body in Jsgf(GRAMMAR).rules.values() for word in body if not re.match(r"[<\[\]()|]", word)}
    assert words - dictionary == set()


def test_pocketsphinx_takes_the_grammar() -> None:
    pocketsphinx = pytest.importorskip("pocketsphinx")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("grammar", GRAMMAR)
    decoder.activate_search("grammar")
    assert decoder.current_search() == "grammar"


def test_another_language(tmp_path: Path) -> None:
    path = tmp_path / "eigene.toml"
    path.write_text('[intents.licht]\nsentences = ["(mach|schalte) das licht {zustand}"]\nreply = "Licht {zustand}."\n'
                    '[lists]\nzustand.values = ["an", "aus"]\n')  # fmt: skip
    german = Sentences.load([path], "de", builtin=False)
    assert "anhalten" in german.grammar() and "alles klar" in german.grammar(backchannels=["alles klar"])
    assert german.understand("Mach das Licht aus!") is not None
    assert "<backchannel>" not in Sentences.load([path], "it", builtin=False).grammar()
    path.write_text(path.read_text() + "zahl.range = { from = 1, to = 3 }\n")
    with pytest.raises(SentencesError, match="ranges are spoken in English only, not in 'de'"):
        Sentences.load([path], "de", builtin=False)
