"""The commands that look at things: recordings, models, the installation, the configuration."""

import argparse
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from agent import config as configuration
from agent import events as timeline
from agent.errors import ConfigError
from agent.outputs import Terminal
from agent.parts import models_of
from streams import models as store
from streams.recording import Loss, Recording
from streams.recording import recover as mend
from streams.topics import BY_NAME

OK, UNHEALTHY = 0, 1


def events(arguments: argparse.Namespace) -> int:
    """`visavis events`: the timeline of a recording, for tools (--json) or people."""
    for name in arguments.topic or ():
        if name not in BY_NAME:
            raise ConfigError(f"--topic {name}: there is no such topic: {', '.join(BY_NAME)}")
    recording = Recording.open(arguments.recording)
    if recording.torn:
        note = f"{arguments.recording} is torn: {recording.torn}; these are the whole packets"
        Terminal(stderr=True).print(note, markup=False, soft_wrap=True)
    topics = [BY_NAME[name] for name in arguments.topic] if arguments.topic else None
    packets = recording.packets(topics)
    for line in timeline.lines(packets) if arguments.json else timeline.table(packets):
        print(line)  # noqa: T201 - the output itself
    return OK


def recover(arguments: argparse.Namespace) -> int:
    """`visavis recover`: a whole file that other tools read, from a torn or damaged one."""
    recovery = mend(arguments.recording, arguments.out)
    told = f"wrote {recovery.path}: {recovery.packets} packets, {recovery.duration / 1e9:.3f} s"
    lines = [*filter(None, [recovery.torn]), *map(_lost, recovery.losses), told]
    Terminal().print("\n".join(lines), markup=False, soft_wrap=True)
    return OK


def _lost(loss: Loss) -> str:
    until = "the end" if loss.until_ns is None else f"{loss.until_ns / 1e9:.3f} s"
    packets = "" if loss.packets is None else f", {loss.packets} packets"
    return f"damaged: {loss.size} bytes at byte {loss.begin}{packets}, between {loss.after_ns / 1e9:.3f} s and {until}"


def models(arguments: argparse.Namespace) -> int:
    """`visavis models list|pull|path`."""
    console = Terminal()
    if arguments.action == "list":
        for each in store.listing():
            entry, where = each.entry, f"{each.state}: {each.path}" if each.path else each.state
            console.print(f"{entry.name:28} {entry.licence:12} {entry.purpose}", markup=False, soft_wrap=True)
            console.print(f"{'':28} {where} {each.note}", markup=False, soft_wrap=True)
    elif arguments.action == "path":
        for name in arguments.name or models_of(configuration.Config()):
            for part in store.Store.here().names(name):
                print(store.find(part))  # noqa: T201 - for scripts
    else:
        for name in arguments.name or models_of(configuration.Config()):
            for part in store.Store.here().names(name):
                console.print(f"{part}: {pull(part, console)}", markup=False, soft_wrap=True)
    return OK


def pull(name: str, console: Console) -> Path:
    """Fetch a model with a progress bar where somebody watches, a line where not. Raises `ModelError`."""
    if not console.is_terminal:
        console.print(f"fetching the model {name} ...", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def progress(stage: str, done: int, total: int) -> None:
            bar.update(task, description=f"{name}: {stage}", completed=done, total=total or None)

        return store.pull(name, progress)


def doctor(arguments: argparse.Namespace) -> int:
    """`visavis doctor`: exit 0 if healthy, 1 if something needs mending."""
    from agent import doctor as health
    from agent import doctor_models as minds

    settings = configuration.load(Path(arguments.config) if arguments.config else None, arguments.set)
    checks = health.checks()
    if told := minds.asked(settings):
        Terminal(stderr=True).print(told, markup=False, soft_wrap=True)
    checks += minds.models(settings)
    if arguments.json:
        print(msgspec.json.encode(checks).decode())  # noqa: T201
    else:
        Terminal().print(health.render(checks))
    return OK if all(check.ok for check in checks) else UNHEALTHY


def graph(arguments: argparse.Namespace) -> int:
    """`visavis graph`: who reads and writes what, in the session of a configuration."""
    from agent import graph as drawing

    settings = configuration.load(Path(arguments.config) if arguments.config else None, arguments.set)
    where: Literal["file", "live", "web"] = "web" if arguments.web else "live" if arguments.live else "file"
    print(drawing.graph(drawing.configured(settings, where), arguments.format))  # noqa: T201
    return OK


def config(arguments: argparse.Namespace) -> int:
    """`visavis config`: every key with its value, as TOML."""
    settings = configuration.load(Path(arguments.config) if arguments.config else None, arguments.set)
    for line in _toml(msgspec.to_builtins(settings)):
        print(line)  # noqa: T201
    return OK


def _toml(table: dict[str, Any], path: str = "") -> list[str]:
    """A table of plain values and tables as TOML lines (keys without a value, None, are comments)."""
    lines = [f"\n[{path}]"] if path else []
    for key, value in table.items():
        if not isinstance(value, dict):
            lines.append(f"# {key} =" if value is None else f"{key} = {msgspec.json.encode(value).decode()}")
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml(value, f"{path}.{key}" if path else key)
    return lines
