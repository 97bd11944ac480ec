"""The content of a file of sentences: read from TOML, checked, every fault named by file, intent and sentence."""

import difflib
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from hassil.expression import ListReference
from msgspec import Struct, field

from policies.errors import SentencesError
from policies.templates import certain_slots, expression, fault, references

_BEHAVIOURS = """
add_timer anybody arithmetic cancel_timer come_back date forbid greeting heard help move no other_way parting people
repeat said see_me tell_about thanks time time_left turn volume yes year
"""
BEHAVIOURS = frozenset(_BEHAVIOURS.split())


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """A `Call` or `Command` to make. An argument "{slot}" becomes the slot's value, a number as a number."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Intent(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that can be wished, in all the ways of saying it.

    does: a built-in behaviour, or else a reply (variations, taken in turn), and a command or a call
    slots: values of slots that a sentence leaves open
    spoken: False keeps the sentences out of the recogniser's grammar: for typed text only
    confirm: question before the command when it was not heard clearly ("" = repeat what was understood)
    negatable: whether the sentences may also be forbidden and asked about (None: if they do something; `twins.py`)
    """

    sentences: tuple[str, ...]
    does: str = ""
    reply: str | tuple[str, ...] = ()
    command: Ask | None = None
    call: Ask | None = None
    confirm: str = ""
    spoken: bool = True
    negatable: bool | None = None
    slots: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    file: str = ""
    twin: str = ""  # "RULE NAME": made of the intent NAME by putting <RULE> before it

    @property
    def replies(self) -> tuple[str, ...]:
        """The variations of the reply."""
        return (self.reply,) if isinstance(self.reply, str) else self.reply


class Range(Struct, frozen=True):
    """A list of numbers, `start` to `stop`, both included.

    spoken_stop: the recogniser's grammar ends here (typed text may go on to `stop`)
    spoken_step: and goes in such steps
    decimals: the grammar also has one decimal: "two point five"
    """

    start: int
    stop: int
    spoken_stop: int
    spoken_step: int = 1
    decimals: bool = False


class Values(Struct, frozen=True):
    """A list of texts (templates without slots) and the value of each."""

    values: dict[str, Any]


class Tables(Struct, frozen=True):
    """One file."""

    file: str
    source: str
    intents: dict[str, Intent]
    lists: dict[str, Range | Values]
    rules: dict[str, str]


def read(content: Mapping[str, Any], file: str, source: str) -> Tables:
    """The content of `file`, its form checked. Raises `SentencesError`."""
    _known(content, ("intents", "lists", "rules"), file, "")
    rules = _table(content.get("rules", {}), dict[str, str], file, "[rules]")
    for name, template in rules.items():
        if problem := fault(template):
            raise SentencesError(f"rule {name!r}: {problem}", file, "", template)
    intents = _table(content.get("intents", {}), dict[str, dict[str, Any]], file, "[intents]")
    lists = _table(content.get("lists", {}), dict[str, dict[str, Any]], file, "[lists]")
    return Tables(
        file,
        source,
        {name: _intent(name, table, file) for name, table in intents.items()},
        {name: _list(name, table, file) for name, table in lists.items()},
        rules,
    )


def check(
    tables: Sequence[Tables],
    intents: Mapping[str, Intent],
    lists: Mapping[str, Range | Values],
    rules: dict[str, str],
) -> None:
    """Whether everything that is named exists. Raises `SentencesError`."""
    for table in tables:
        for name, template in table.rules.items():
            _resolve(template, lists, rules, table.file, f"rule {name}", (name,))
    for intent in intents.values():
        placeholders = _placeholders([*intent.replies, intent.confirm, intent.command, intent.call])
        for sentence in intent.sentences:
            _resolve(sentence, lists, rules, intent.file, intent.name)
            have = certain_slots(expression(sentence), rules) | set(intent.slots)
            for slot in sorted(placeholders - have):
                raise SentencesError(
                    f"{{{slot}}} is used, but is not always given (give it a value under 'slots' of the intent)",
                    intent.file,
                    intent.name,
                    sentence,
                )


def _intent(name: str, table: dict[str, Any], file: str) -> Intent:
    _known(table, [f for f in Intent.__struct_fields__ if f not in ("name", "file", "twin")], file, name)
    intent: Intent = _table({**table, "name": name, "file": file}, Intent, file, name)
    if intent.sentences:
        said = [key for key in ("reply", "command", "call") if key in table]
        if bool(intent.does) == bool(said):
            raise SentencesError("needs 'does', or else 'reply', 'command' or 'call'", file, name)
        if intent.command is not None and intent.call is not None:
            raise SentencesError("may have a 'command' or a 'call', not both", file, name)
        if intent.does and intent.does not in BEHAVIOURS:
            raise SentencesError(
                f"does = {intent.does!r} is unknown{_nearest(intent.does, BEHAVIOURS)}; "
                f"there are: {', '.join(sorted(BEHAVIOURS))}",
                file,
                name,
            )
    for sentence in intent.sentences:
        if problem := fault(sentence):
            raise SentencesError(problem, file, name, sentence)
    for text in (*intent.replies, intent.confirm):
        try:
            _placeholders([text])
        except ValueError as error:
            raise SentencesError(f"the reply {text!r} cannot be read ({error})", file, name) from error
    return intent


def _list(name: str, table: dict[str, Any], file: str) -> Range | Values:
    where = f"list {name}"
    _known(table, ("values", "range"), file, where)
    if len(table) != 1:
        raise SentencesError("needs either 'values' or 'range'", file, where)
    if "range" in table:
        limits = table["range"]
        if not isinstance(limits, dict):
            raise SentencesError("the range must be a table such as { from = 1, to = 10 }", file, where)
        _known(limits, ("from", "to", "spoken_to", "spoken_step", "decimals"), file, where)
        names = {"from": "start", "to": "stop", "spoken_to": "spoken_stop"}
        content = {"to": 0, "spoken_to": limits.get("to", 0), **limits}
        each: Range = _table({names.get(key, key): value for key, value in content.items()}, Range, file, where)
        if each.spoken_stop > 1000 * each.spoken_step:
            raise SentencesError(
                "more than 1000 numbers in the grammar: lower spoken_to or raise spoken_step", file, where
            )
        if not 0 <= each.start <= each.spoken_stop <= each.stop < 1_000_000 or not each.spoken_step > 0:
            raise SentencesError(
                "the range must be 0 <= from <= spoken_to <= to < 1000000 and spoken_step > 0", file, where
            )
        return each
    values = table["values"]
    if isinstance(values, list):
        values = dict(zip(values, values, strict=True))
    texts: dict[str, Any] = _table(values, dict[str, Any], file, where)
    for text in texts:
        if problem := fault(text):
            raise SentencesError(f"the value {text!r}: {problem}", file, where)
        if any(True for _ in references(text)):
            raise SentencesError(f"the value {text!r} may not name lists or rules", file, where)
    if not texts:
        raise SentencesError("has no values", file, where)
    return Values(texts)


def _resolve(
    template: str,
    lists: Mapping[str, object],
    rules: Mapping[str, str],
    file: str,
    where: str,
    inside: tuple[str, ...] = (),
) -> None:
    for reference in references(template):
        if isinstance(reference, ListReference):
            name = reference.list_name
            if name not in lists:
                raise SentencesError(f"there is no list {name!r}{_nearest(name, lists)}", file, where, template)
            continue
        rule = reference.rule_name
        if rule in inside:
            raise SentencesError(f"rule {rule!r} contains itself", file, where, template)
        if rule not in rules:
            raise SentencesError(f"there is no rule {rule!r}{_nearest(rule, rules)}", file, where, template)
        _resolve(rules[rule], lists, rules, file, where, (*inside, rule))


def _placeholders(parts: Iterable[object]) -> set[str]:
    names: set[str] = set()
    for part in parts:
        if isinstance(part, str):
            names |= {name for _, name, _, _ in string.Formatter().parse(part) if name is not None}
        elif isinstance(part, Ask):
            names |= _placeholders(part.arguments.values())
        elif isinstance(part, dict):
            names |= _placeholders(part.values())
        elif isinstance(part, list):
            names |= _placeholders(part)
    return names


def _known(table: Mapping[str, Any], keys: Sequence[str], file: str, where: str) -> None:
    for key in table:
        if key not in keys:
            raise SentencesError(f"unknown key {key!r}{_nearest(key, keys)}", file, where)


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _table(content: Any, kind: Any, file: str, where: str) -> Any:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise SentencesError(f"{error}", file, where.strip("[]")) from error
