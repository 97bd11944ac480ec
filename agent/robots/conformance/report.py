"""What was tried, as a table for people and as JSON for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.events import printable
from agent.robots.conformance.promises import Result
from streams.errors import VisavisError

WIDE = 120
_STYLE = {"passed": "green", "failed": "bold red", "not run": "yellow"}


def render(results: Sequence[Result], width: int) -> RenderableType:
    """What was reached, and a sentence below: a table, or in less than 120 columns a paragraph for each."""
    reached = [each for each in results if each.reached]
    parts = [_table(reached)] if width >= WIDE else list(map(_paragraph, reached))
    return Group(*parts, Text(f"\n{summary(results)}", "bold"))


def _table(results: Sequence[Result]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("promise", "what was done", "expected", "seen", "verdict"):
        table.add_column(name, overflow="fold", no_wrap=name in ("promise", "verdict"))
    for each in results:
        cells = (each.promise.name, each.promise.done, each.promise.expected, each.seen)
        verdict = Text(each.verdict, _STYLE[each.verdict])
        table.add_row(*(Text(printable(cell)) for cell in cells), verdict)
    return table


def _paragraph(result: Result) -> RenderableType:
    promise = result.promise
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(promise.name, "bold"), Text(result.verdict, _STYLE[result.verdict]))
    for name, text in (("done", promise.done), ("expected", promise.expected), ("seen", result.seen)):
        grid.add_row(Text(f"  {name}", "dim"), Text(printable(text)))
    return grid


def line(result: Result) -> RenderableType:
    """One result while the others are yet to come."""
    text = Text(f"{result.verdict:8}", _STYLE[result.verdict])
    return text.append(printable(f"{result.promise.name:22} {result.seen} [{result.seconds:.1f} s]"), "default")


def summary(results: Sequence[Result]) -> str:
    """How many of each, and what they mean."""
    count = Counter(each.verdict for each in results)
    counts = f"{count['passed']} passed, {count['failed']} failed, {count['not run']} not run"
    if count["failed"]:
        return f"{counts}: the robot does not keep the contract"
    return f"{counts}: what was tried is kept" if count["passed"] else f"{counts}: nothing was tried"


def write_json(results: Sequence[Result], file: str, robot: str, fleet: str, ended: str = "") -> None:
    """ended: why it came to no end, if it did not. Raises `VisavisError` if it cannot be written."""
    document = {
        "contract": "robot v1", "robot": robot, "fleet": fleet, "summary": summary(results), "ended": ended,
        "promises": [
            {"name": r.promise.name, "done": r.promise.done, "expected": r.promise.expected, "seen": r.seen,
             "verdict": r.verdict, "seconds": round(r.seconds, 2)}
            for r in results
        ],
    }  # fmt: skip
    try:
        Path(file).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise VisavisError(f"the report cannot be written to {file}: {error}") from error
