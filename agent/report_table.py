"""The report of a session as tables for the terminal: what was not measured is "-", few events are counts."""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.events import printable
from agent.figures import Share, Spread
from agent.model_figures import ModelFigures
from agent.report import Report

_STAGES = {
    "speech_ended": "end heard",
    "words": "words",
    "turn_end": "model",
    "commit": "commit",
    "say": "say",
    "sound": "sound",
}


def render(report: Report) -> RenderableType:
    """`report` as something a `rich.console.Console` prints; plain text in a pipe, readable in 80 columns."""
    parts: list[RenderableType] = [_heading("Session"), _summary(report)]
    if report.turns:
        parts += [_heading("Turns: ms from the end of speech until each stage"), _turns(report)]
    if report.barge_ins:
        parts += [_heading("Speech over the agent: ms from its onset"), _barge_ins(report)]
    if report.stops:
        parts += [_heading("Stop words: ms from the end of the word in the audio"), _stops(report)]
    if report.model is not None:
        parts += [_heading("Language model"), _model(report.model)]
    if report.lanes:
        parts += [_heading("Queues: the longest each has been, and what was dropped"), _lanes(report)]
    if report.faults:
        parts += [_heading("Faults")]
        parts += [Text(printable(f"  {fault.where}: {fault.error}: {fault.message}")) for fault in report.faults]
    return Group(*parts)


def _model(model: ModelFigures) -> Table:
    failed = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in model.failed.items())
    cached = f", {model.cached_tokens} of these cached" if model.cached_tokens else ""
    uncounted = f" ({model.uncounted} answers not counted by the server)" if model.uncounted else ""
    rows = [
        ("asked", f"{model.asked} times; {model.cut} cut, {sum(model.failed.values())} failed"),
        ("  failed", failed or "-"),
        ("first token", spread(model.first_ms)),
        ("drafts", f"{model.drafts} asked before the turn was over, {model.drafts_taken} became the answer"),
        ("tokens", f"{model.input_tokens} in{cached}, {model.output_tokens} out{uncounted}"),
        ("  for nothing", f"{model.wasted_tokens} in drafts that were thrown away"),
        ("cost", "-" if model.cost is None else f"{model.cost:.4f}"),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _summary(report: Report) -> Table:
    dropped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in report.dropped.items())
    outcomes = ", ".join(f"{count} {status}" for status, count in report.outcomes.items())
    churn = report.churn
    unsteady = f"{churn.taken_back} taken back in {churn.partials} partials, {churn.final_words} final words"
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    rows = [
        ("length", f"{report.duration_s:.2f} s"),
        ("turns", f"{report.opened} opened, {len(report.turns)} committed, {sum(report.dropped.values())} dropped"),
        ("  dropped", dropped or "-"),
        ("  answered", _share(report.answered)),
        ("  acted only", _share(report.acted)),
        ("  no response", _share(report.no_response)),
        ("  premature", _share(report.premature)),
        ("  unasked", str(report.unasked)),
        ("floor transfer", spread(report.fto_ms)),
        ("onset to pause", spread(report.pause_ms)),
        ("onset to cut", spread(report.hush_ms)),
        ("tools, motions", outcomes or "-"),
        ("partial words", unsteady + (f" ({churn.ratio:.2f} per word)" if churn.ratio is not None else "")),
        ("pictures dropped", _text(report.frames_dropped)),
        ("CPU", "-" if report.cpu_s_per_s is None else f"{report.cpu_s_per_s:.3f} s per second"),
        ("real-time factor", "-" if report.rtf is None else f"{report.rtf:.3f}"),
    ]
    if report.gauges:
        rows.append(("devices", ", ".join(f"{name} {value:g}" for name, value in sorted(report.gauges.items()))))
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    return grid


def _turns(report: Report) -> Table:
    table = _table(["turn", *_STAGES.values(), "ended by", "words"], right=7)
    for turn in report.turns:
        stages = [_ms(getattr(turn.stages, name)) for name in _STAGES]
        if turn.premature:
            stages[-1] += "!"
        table.add_row(*_cells([str(turn.turn), *stages, turn.reason.replace("_", " "), turn.text or "-"]))
    if len(report.turns) > 1:
        table.add_section()
        for name in ("min", "median", "p95"):
            cells = [_ms(getattr(each, name) if each else None) for each in map(report.stages.get, _STAGES)]
            table.add_row(*_cells([name, *cells, "", ""]))
    return table


def _barge_ins(report: Report) -> Table:
    table = _table(["at s", "pause", "cut", "goes on", "because of"], right=4)
    for each in report.barge_ins:
        times = [f"{each.onset_s:.2f}", _ms(each.pause_ms), _ms(each.hush_ms), _ms(each.resume_ms)]
        table.add_row(*_cells([*times, each.reason or "-"]))
    return table


def _stops(report: Report) -> Table:
    table = _table(["at s", "halt", "hush", "word"], right=3)
    for each in report.stops:
        at = "-" if each.word_end_s is None else f"{each.word_end_s:.2f}"
        table.add_row(*_cells([at, _ms(each.halt_ms), _ms(each.hush_ms), each.word]))
    return table


def _lanes(report: Report) -> Table:
    table = _table(["longest", "dropped", "reader"], right=2)
    for lane in report.lanes:
        dropped = ", ".join(f"{count} {topic}" for topic, count in lane.dropped.items())
        table.add_row(*_cells([str(lane.high), dropped or "0", lane.reader or "-"]))
    return table


def spread(figures: Spread | None) -> str:
    """Such as "min 210, median 380, p95 450 ms (n = 12)"; "-" if nothing was measured."""
    if figures is None:
        return "-"
    least, middle, most = (f"{value:.0f}" for value in (figures.min, figures.median, figures.p95))
    return f"{least} ms (n = 1)" if figures.n == 1 else f"min {least}, median {middle}, p95 {most} ms (n = {figures.n})"


def _share(share: Share) -> str:
    counted = f"{share.count} of {share.of}"
    if share.rate is None or share.low is None or share.high is None:
        return counted
    return f"{counted}: {share.rate:.0%} (95 %: {share.low:.0%} to {share.high:.0%})"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _cells(texts: Iterable[str]) -> list[Text]:
    """As `Text`, for words that somebody spoke are neither markup nor escape sequences."""
    return [Text(printable(text)) for text in texts]


def _table(names: list[str], right: int) -> Table:
    """A table whose first `right` columns are numbers, without ornament."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="", show_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place < right else "left", overflow="fold", no_wrap=place < right)
    return table
