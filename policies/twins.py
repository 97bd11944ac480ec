"""The twins of what moves or changes something: "do not turn left" and "should I turn left" beside "turn left".

A recogniser forces what it hears into the nearest sentence it knows, and a matcher would find nothing: without the
twins "do not turn left" is heard as "turn left". They are made from the intents themselves, so that none can be
forgotten, and share their states in the recogniser's automaton, so that they cost next to nothing.
"""

from collections.abc import Mapping

from policies.tables import Intent

# What the built-in behaviours do that must not be done by mistake.
DOING = frozenset({"move", "turn", "come_back", "other_way", "add_timer", "cancel_timer", "volume"})

# The rules that stand before a sentence: <not> forbids it, <whether> asks or tells about it. A file's own win.
RULES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "not": "[no] ([please] (don't|do not|don't you|never|you (must|should) not) | (please|can you|could you) not)",
        # No "do you": it is heard where a "turn around" is not quite clear.
        "whether": "((did|should|shall) (you|i|we)|(why|when) did you|(if|when|what if) (you|i|we))",
    }
}
TWINS = {"not": "forbid", "whether": "tell_about"}
_ASKED = frozenset({"", "move", "turn", "come_back"})  # the others' questions are not worth their place in the grammar


def rules(language: str) -> dict[str, str]:
    """The built-in <not> and <whether> of a language; {} where it has none: its files may have them."""
    return dict(RULES.get(language, {}))


def acts(intent: Intent) -> bool:
    """Whether it does something, and does not only answer."""
    if intent.negatable is not None:
        return intent.negatable
    return intent.command is not None or intent.does in DOING


def twins(intents: Mapping[str, Intent], known: Mapping[str, str]) -> dict[str, Intent]:
    """`not_NAME` for every intent that does something and `whether_NAME` for every motion, by name.

    known: the rules there are; a twin whose rule is not among them is not made
    """
    made = {}
    for prefix, does in TWINS.items():
        for name, intent in intents.items():
            if prefix in known and acts(intent) and (prefix == "not" or intent.does in _ASKED):
                made[f"{prefix}_{name}"] = Intent(
                    sentences=tuple(f"<{prefix}> ({sentence})" for sentence in intent.sentences),
                    does=does,
                    slots=intent.slots,
                    spoken=intent.spoken,
                    name=f"{prefix}_{name}",
                    file=intent.file,
                    twin=f"{prefix} {name}",
                )
    return made
