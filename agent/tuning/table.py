"""What tuning came to, as text: for the terminal, as TOML to copy from, and as JSON for tools."""

from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.tuning.comparison import Row
from agent.tuning.tuning import NOW, Proposal, Tuning
from agent.tuning.waits import settings


def render(tuning: Tuning) -> RenderableType:
    """The before/after table with its verdicts, for a `rich.console.Console`."""
    parts: list[RenderableType] = [Text(counts(tuning))]
    if tuning.now is not None:
        parts += [Text(f"\nOn the newest {tuning.held_out} things said, which nothing was fitted to:", style="bold")]
        parts.append(_table([tuning.now, *(each.row for each in tuning.proposals)]))
        parts += [Text(f"{each.name}: {each.verdict.why}") for each in tuning.proposals if not tuning.missing]
    parts.append(Text(f"\n{conclusion(tuning)}", style="bold"))
    return Group(*parts)


def counts(tuning: Tuning) -> str:
    """What there was to learn from, and what was left out."""
    left = ", ".join(f"{count} {why}" for why, count in tuning.untold.items())
    plural = "" if len(tuning.recordings) == 1 else "s"
    return (
        f"{tuning.said} things said in {len(tuning.recordings)} recording{plural}: {tuning.ends} ends, "
        f"{tuning.holds} pauses within" + (f"; left out: {left}" if left else "")
    )


def conclusion(tuning: Tuning) -> str:
    """What to do, in one or two sentences."""
    if tuning.missing:
        return f"Nothing is recommended. {tuning.missing}"
    if tuning.best is None:
        return "Nothing is recommended: keep the settings as they are."
    return f"Recommended: the {tuning.best.name}. {tuning.best.verdict.why}"


def toml(tuning: Tuning, fusion_file: str = "turns.json") -> str:
    """The recommended settings as a section of a configuration; only comments if nothing is recommended."""
    lines = [f"# {conclusion(tuning)}", f"# {counts(tuning)}"]
    if tuning.best is None:
        return "\n".join(lines) + "\n"
    for row in (tuning.now, tuning.best.row):
        if row is not None:
            cut, median, mean, p90 = _cells(row)[1:]
            lines.append(f"# held out, {row.name}: cut off {cut}; wait: median {median}, mean {mean}, p90 {p90}")
    lines.append("[turns]")
    lines += [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in changed(tuning.best).items()]
    if tuning.best.fusion is not None:
        lines.append(f"fusion = {msgspec.json.encode(fusion_file).decode()}")
    return "\n".join(lines) + "\n"


def changed(proposal: Proposal) -> dict[str, float]:
    """The settings of a proposal that count: with a fusion, the rules for the acoustic model do not."""
    found = settings(proposal.config)
    return {key: value for key, value in found.items() if proposal.fusion is None or not key.startswith("model_")}


def report(tuning: Tuning) -> bytes:
    """All of it as JSON. Without the weights, which have a file of their own."""
    plain: dict[str, Any] = msgspec.to_builtins(tuning)
    plain["config"] = settings(tuning.config)
    plain["best"] = None if tuning.best is None else tuning.best.name
    for each, proposal in zip(plain["proposals"], tuning.proposals):
        each["config"] = changed(proposal)
        each["fusion"] = None if proposal.fusion is None else proposal.fusion.hash
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="", show_edge=False)
    for place, name in enumerate(("", "cut off", "median wait", "mean", "p90")):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    return table


def _cells(row: Row) -> list[str]:
    cut = f"{row.cut.count} of {row.said}"
    if row.cut.count == 0 and row.said:
        cut += f" (at most {min(1.0, 3 / row.said):.1%})"  # the rule of three: no bootstrap knows what never happened
    elif row.cut.rate is not None and row.cut.low is not None and row.cut.high is not None:
        cut += f": {row.cut.rate:.1%} ({100 * row.cut.low:.1f} to {100 * row.cut.high:.1f})"
    median = "-" if row.median_ms is None else f"{row.median_ms:.0f} ms"
    if row.interval is not None:
        median += f" ({row.interval[0]:.0f} to {row.interval[1]:.0f})"
    return [row.name, cut, median, *("-" if each is None else f"{each:.0f}" for each in (row.mean_ms, row.p90_ms))]


__all__ = ["NOW", "changed", "conclusion", "counts", "render", "report", "toml"]
