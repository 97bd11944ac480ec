"""A smaller automaton says the same sentences at the same probabilities."""

import math
import random
from pathlib import Path

from policies.reflex import stop_words
from policies.sentences import Sentences
from streams.encoders.recognisers.automaton import Automaton
from streams.encoders.recognisers.grammar import GRAMMAR, GrammarModel


class File:
    """Stands for pocketsphinx's own: writes the text it was given."""

    def __init__(self, text: str) -> None:
        self.text = text

    def writefile(self, path: str) -> None:
        Path(path).write_text(self.text, encoding="utf-8")


def score(automaton: Automaton, words: list[str]) -> float:
    """Natural log of the probability of the best way to say `words`; -inf if they cannot be said."""
    here = {automaton.start: 0.0}
    for word in [*words, ""]:
        near: dict[int, float] = {}
        for state, value in here.items():
            for there, probability in automaton._near(state).items():
                near[there] = max(near.get(there, -math.inf), value + math.log(probability))
        if not word:
            return near.get(automaton.final, -math.inf)
        here = {}
        for begin, end, probability, text in automaton.words:
            if text == word and begin in near:
                here[end] = max(here.get(end, -math.inf), near[begin] + math.log(probability))
    raise AssertionError


def walk(automaton: Automaton, rng: random.Random) -> list[str]:
    """A random sentence."""
    state = automaton.start
    words: list[str] = []
    while len(words) < 40:
        near = list(automaton._near(state))
        steps = [(end, word) for begin, end, _, word in automaton.words if begin in near]
        if automaton.final in near and (not steps or rng.random() < 0.3):
            return words
        state, word = rng.choice(steps)
        words.append(word)
    return words


def test_the_agents_own_sentences_keep_their_probabilities(tmp_path: Path) -> None:
    model = GrammarModel(Sentences.load().grammar(stop_words=stop_words("en")))
    decoder = model._decoder(model.jsgf, model._lines, GRAMMAR)
    whole = Automaton.of(decoder.get_fsg("grammar"), tmp_path / "whole.fsg")
    small = whole.minimal()
    assert small.states < whole.states / 4
    again = Automaton.of(File(small.text()), tmp_path / "small.fsg")
    rng = random.Random(1)
    for _ in range(60):
        words = walk(whole, rng)
        assert math.isclose(score(small, words), score(whole, words), abs_tol=1e-4)
        assert math.isclose(score(again, words), score(whole, words), abs_tol=1e-4)
        broken = [*words, rng.choice(words)]
        assert math.isclose(score(small, broken), score(whole, broken), abs_tol=1e-4)
