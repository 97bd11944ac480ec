"""What can be said to the agent: templates with slots from TOML files, and what a text means by them.

The templates are Home Assistant's (library `hassil`): `(a|b)` either, `[a]` perhaps, `{list:slot}` a value of a list,
`<rule>` a template by name. The same files give the recogniser its grammar (`policies/grammar.py`). How to write
one is in docs/intents.md. Knows nothing of what an intent does.
"""

import hashlib
import itertools
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import hassil
from hassil.sample import sample_expression
from msgspec import Struct

from policies.errors import SentencesError
from policies.tables import Intent, Range, Tables, Values, check, read
from policies.templates import expression, first_word, first_words, literal, normalise, references
from policies.twins import rules, twins

SAMPLES = 1000
"""Of one template: more variations than these are not looked at."""


class Understood(Struct, frozen=True):
    """What a text means: the intent and the values of its slots (numbers as float)."""

    intent: Intent
    slots: dict[str, Any]


class Sentences:
    """All sentences of one language, ready to understand text. Made by `load`; never changes afterwards.

    intents: by name, in the order in which they are tried (later files first, twins last);  lists, rules: by name
    texts: (file, content) of all it was made of, the built-in file first
    digest: SHA-256 of the files, for the header of a recording
    """

    def __init__(self, tables: Sequence[Tables], language: str) -> None:
        """Raises `SentencesError` where the tables contradict themselves or each other."""
        self.language = language
        self.texts = tuple((table.file, table.source) for table in tables)
        self.rules: dict[str, str] = rules(language)
        self.lists: dict[str, Range | Values] = {}
        intents: dict[str, Intent] = {}
        for table in tables:
            self.rules |= table.rules
            self.lists |= table.lists
        for table in reversed(tables):
            intents = intents | {name: intent for name, intent in table.intents.items() if name not in intents}
        intents |= {name: twin for name, twin in twins(intents, self.rules).items() if name not in intents}
        self.intents = {name: intent for name, intent in intents.items() if intent.sentences}
        self.digest = hashlib.sha256("\n".join(table.source for table in tables).encode()).hexdigest()
        check(tables, self.intents, self.lists, self.rules)
        for table in tables:
            for name, each in table.lists.items():
                if isinstance(each, Range) and language != "en":
                    problem = f"ranges are spoken in English only, not in {language!r}: write the numbers as 'values'"
                    raise SentencesError(problem, table.file, f"list {name}")
        self._hassil = hassil.Intents(
            language=language,
            intents={name: _compiled(intent) for name, intent in self.intents.items()},
            slot_lists={name: _slot_list(name, each) for name, each in self.lists.items()},
            expansion_rules={name: hassil.parse_sentence(literal(text)) for name, text in self.rules.items()},
        )
        texts = {name: each.values if isinstance(each, Values) else () for name, each in self.lists.items()}
        self._firsts = frozenset().union(
            *(
                first_words(expression(sentence), self.rules, texts)
                for intent in self.intents.values()
                for sentence in intent.sentences
            )
        )
        self.understand("warm up")  # hassil parses every template at its first use

    @staticmethod
    def load(paths: Sequence[Path | str] = (), language: str = "en", *, builtin: bool = True) -> "Sentences":
        """The built-in sentences of `language` and, over them, those of the files in `paths`, later ones first.

        An intent, list or rule of the same name takes the earlier one's place; `sentences = []` takes an intent away.
        Raises `SentencesError` with file, intent and sentence.
        """
        tables = []
        if builtin:
            path: Traversable = files("policies") / "phrases" / f"{language}.toml"
            if not path.is_file():
                raise SentencesError(
                    f"there are no built-in sentences for the language {language!r}; use 'en', or give files of your "
                    "own and turn the built-in ones off",
                    f"{language}.toml",
                )
            tables.append(_table(path, path.name))
        tables += [_table(Path(each), str(each)) for each in paths]
        return Sentences(tables, language)

    @staticmethod
    def of(texts: Sequence[tuple[str, str]], language: str = "en") -> "Sentences":
        """From (file, content) instead of from files, as `texts` of another gives them. Raises `SentencesError`."""
        return Sentences([_tables(source, name) for name, source in texts], language)

    def understand(self, text: str) -> Understood | None:
        """The first intent with a sentence that is the whole of `text`; None if there is none.

        Case, punctuation and figures or words for numbers make no difference.
        """
        plain = normalise(text)
        if not plain:
            return None
        found = hassil.recognize(plain, self._hassil, language=self.language)
        if found is None:
            return None
        intent = self.intents[found.intent.name]
        slots = intent.slots | {name: _value(entity.value) for name, entity in found.entities.items()}
        return Understood(intent, slots)

    def may_begin(self, word: str) -> bool:
        """Whether any sentence begins with `word`: much quicker to know than what a text means."""
        first = first_word(word)
        return first in self._firsts or ("#" in self._firsts and first == "a")

    def begun(self, does: str) -> dict[str, bool]:
        """What a person has said so far who says a sentence with the behaviour `does`, and whether that is all of it.

        Two words or more, of which the last is beyond what may be left out before ("no the" of "[no] the other way",
        not "wait no"), as `normalise` writes them. Of templates without lists and rules.
        """
        found: dict[str, bool] = {}
        for intent in self.intents.values():
            for template in intent.sentences if intent.does == does and not intent.twin else ():
                if next(references(template), None) is None:
                    part = expression(literal(template))
                    cores = [normalise(text).split() for text in sample_expression(part, skip_optionals=True)]
                    for text in itertools.islice(sample_expression(part), SAMPLES):
                        words = normalise(text).split()
                        begins = min(_place(core, words) for core in cores)
                        for count in range(max(2, begins + 1), len(words)):
                            found.setdefault(" ".join(words[:count]), False)
                        found[" ".join(words)] = True
        return found

    def grammar(self, stop_words: Sequence[str] | None = None, backchannels: Sequence[str] | None = None) -> str:
        """The same sentences as one JSGF text: see `policies.grammar.compile_grammar`."""
        from policies.grammar import compile_grammar  # noqa: PLC0415 - it needs this class

        return compile_grammar(self, stop_words, backchannels)


def _place(core: Sequence[str], words: Sequence[str]) -> int:
    """Where in `words` `core` begins; behind them if it does not."""
    places = (at for at in range(len(words)) if list(words[at : at + len(core)]) == list(core))
    return next(places, len(words))


def _table(path: Traversable, name: str) -> Tables:
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SentencesError(f"cannot be read ({error.strerror})", name) from error
    except UnicodeDecodeError as error:
        raise SentencesError(f"is not valid TOML: {error}", name) from error
    return _tables(source, name)


def _tables(source: str, name: str) -> Tables:
    try:
        return read(tomllib.loads(source), name, source)
    except tomllib.TOMLDecodeError as error:
        raise SentencesError(f"is not valid TOML: {error}", name) from error


def _compiled(intent: Intent) -> hassil.intents.Intent:
    texts = [literal(sentence) for sentence in intent.sentences]
    return hassil.intents.Intent(intent.name, [hassil.IntentData(sentence_texts=texts)])


def _slot_list(name: str, each: Range | Values) -> hassil.SlotList:
    if isinstance(each, Range):
        # Numbers are matched as whole thousandths: see `templates.normalise`.
        return hassil.RangeSlotList(name, each.start * 1000, each.stop * 1000, multiplier=0.001, words=False)
    return hassil.TextSlotList.from_tuples(((literal(text), value) for text, value in each.values.items()), name=name)


def _value(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
