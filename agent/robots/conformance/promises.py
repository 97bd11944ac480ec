"""What a promise is, and the list of them all: each file beside this one adds its own with `@promise(...)`."""

from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from agent.robots.conformance.stage import Stage

GROUPS = (
    "presence", "forms", "repetition", "freshness", "leases", "commands", "limits", "links", "floods", "estops",
    "restarts",
)  # fmt: skip
Verdict: TypeAlias = Literal["passed", "failed", "not run"]
Try: TypeAlias = Callable[["Stage"], Awaitable[str]]


class Broken(Exception):
    """The promise is not kept; what was seen, in words."""


class NotTried(Exception):
    """The promise cannot be tried with this robot or these options; why, and what would help."""


class Promise(NamedTuple):
    """name: "group.what";  done: what is done to the robot;  expected: what it has promised;  attempt: tries it,
    returns what was seen, raises `Broken` or `NotTried`;  moves: the robot moves by it, or would if it were broken
    """

    name: str
    done: str
    expected: str
    moves: bool
    attempt: Try


class Result(NamedTuple):
    """Of one promise. seen: in words;  seconds: that it took;  reached: False for what the end of the trial left out"""

    promise: Promise
    verdict: Verdict
    seen: str
    seconds: float
    reached: bool = True


def whole(chosen: Sequence[Promise], results: Sequence[Result], why: str) -> list[Result]:
    """`results`, and "not run" for what of `chosen` they do not have."""
    had = {each.promise.name for each in results}
    return [*results, *(Result(p, "not run", why, 0.0, reached=False) for p in chosen if p.name not in had)]


_all: list[Promise] = []


def promise(name: str, done: str, expected: str, *, moves: bool = True) -> Callable[[Try], Try]:
    """Adds a function to the list."""

    def add(attempt: Try) -> Try:
        _all.append(Promise(name, done, expected, moves, attempt))
        return attempt

    return add


def promises() -> list[Promise]:
    """All, in the order in which they are tried: gentle ones first, those that stop or restart the robot last."""
    for group in GROUPS:
        import_module(f"agent.robots.conformance.{group}")  # they register themselves
    return list(_all)


def check(kept: bool, seen: str) -> None:
    """Raises `Broken` with what was seen unless `kept`."""
    if not kept:
        raise Broken(seen)
