"""Why a robot does not do something, in words that can be said aloud and that a model can use."""

import re

from embodied.robot.vocabulary import Reason

LONGEST = 160
REASONS: dict[Reason, str] = {
    "schema": "it was asked for in a way it does not understand",
    "unknown_capability": "it cannot do that",
    "limit": "that is beyond what is allowed",
    "geofence": "that is outside of where it may be",
    "duplicate": "it was asked for that already",
    "stale": "the request came too late",
    "wrong_boot": "it has started anew",
    "retained": "the request was an old one",
    "out_of_order": "the request was overtaken by a newer one",
    "no_lease": "we may not move it now",
    "busy": "it is busy",
    "mode": "it is in a mode in which we may not move it",
    "estop_latched": "it is stopped, and an operator has to reset it",
    "needs_confirm": "a person has to say yes to this first",
    "not_exposed": "that is not for wishes of people or models",
    "rate": "that is too often, wait a little",
    "timeout": "it took too long",
    "link_lost": "it cannot be reached",
    "obstacle": "something is in the way",
    "hardware": "something is wrong with it",
    "internal": "its program made a mistake",
}
_SIGNS = ((" >= ", " at least "), (" <= ", " at most "), ("=", " is "), ("%", " percent "), ("args.", ""), ("_", " "))
_REPLACED = re.compile(r"replaced by [\w.:-]*\d[\w.:-]*")
"""How a robot tells that command, by its id, took the place of another: an id means nothing to people."""
_OTHER = re.compile(r"[^\w .,:;'’-]+")


def why(reason: Reason | None, detail: str = "") -> str:
    """`reason` in words, and what the robot says about it."""
    words = REASONS.get(reason, "") if reason is not None else ""
    told = said(detail)
    return f"{words}: {told}" if words and told and told != words else words or told


def said(text: str) -> str:
    """A robot's own text as one line of words and numbers: what is neither can only be misread."""
    if _REPLACED.fullmatch(text):
        return "a newer motion has taken its place"
    for sign, word in _SIGNS:
        text = text.replace(sign, word)
    text = " ".join(_OTHER.sub(" ", text).split())[:LONGEST]
    return re.sub(r"\s+([.,:;])", r"\1", text).strip(" .,:;'’-")
