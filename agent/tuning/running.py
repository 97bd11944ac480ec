"""The work of `visavis preferences` and `visavis tune turns`: what recordings tell, as files.

Nothing is written before everything has been read and computed; remarks go to stderr.
"""

import argparse
import os
from pathlib import Path

import msgspec
from rich.console import Console

from agent import config as configuration
from agent import outputs
from agent.errors import OutputError
from agent.outputs import Terminal
from agent.tuning import learning
from agent.tuning.conversation import Conversation, read
from agent.tuning.errors import TuningError
from agent.tuning.examples import examples
from agent.tuning.onnx_graph import onnx_bytes
from agent.tuning.preferences import preferences as told_by
from agent.tuning.table import render, report, toml
from agent.tuning.tuning import Tuning
from agent.tuning.tuning import tune as tuned
from policies import turn_model

OK, NOTHING = 0, 1


def preferences(arguments: argparse.Namespace) -> int:
    """`visavis preferences REC... [--out FILE] [--unpaired] [--redact] [--within S]`. Returns the exit code.

    Raises `RecordingError`, `OutputError`, and `TuningError` where no recording has an answer of the agent.
    """
    outputs.check({"--out": arguments.out}, {f"recording {name}": name for name in arguments.recording})
    found = told_by(_read(arguments.recording), within_s=arguments.within, redacting=arguments.redact)
    if not found.turns:
        raise TuningError(f"{_named(arguments.recording)}: the agent never spoke there, so nobody took it well or ill.")
    records = found.unpaired if arguments.unpaired else found.pairs
    text = "".join(f"{msgspec.json.encode(record).decode()}\n" for record in records)
    if not arguments.out:
        print(text, end="")  # noqa: T201 - the output itself
    else:
        try:
            Path(arguments.out).write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise OutputError(f"cannot write {arguments.out}: {error.strerror or error}") from error
    lines = [found.told()]
    if arguments.out:
        lines.append(f"wrote {arguments.out}: {len(records)} {'single answers' if arguments.unpaired else 'pairs'}")
    Terminal(stderr=not arguments.out).print("\n".join(lines), markup=False, soft_wrap=True)
    return OK


def tune(arguments: argparse.Namespace) -> int:
    """`visavis tune turns REC... [--out FOLDER] ...`. Returns 0 if something is recommended, 1 if not.

    Raises `RecordingError`, `ConfigError`, `OutputError`, `DependencyMissing`, `FusionError`, and `TuningError` where
    nobody spoke.
    """
    folder = _folder(arguments.out)
    if not arguments.no_model:
        learning.torch()  # missing: said before anything else takes its time
    conversations = _read(arguments.recording)
    if arguments.config:
        settings = configuration.load(Path(arguments.config))
    else:
        settings = max(conversations, key=lambda each: each.started).settings
        if any(each.settings.turns != settings.turns for each in conversations):
            note = "the recordings were held with different settings of [turns]: those of the newest are to be improved"
            Terminal(stderr=True).print(note, markup=False, soft_wrap=True)
    found = examples(conversations)
    if not found.silences:
        left = ", ".join(f"{count} {why}" for why, count in found.untold.items())
        raise TuningError(
            f"{_named(arguments.recording)}: there is no turn that somebody spoke to the agent and that can be told "
            f"the end of{f' ({left})' if left else ''}."
        )
    turns = settings.turns
    if turns.fusion and not turns.fusion_text:
        turns = msgspec.structs.replace(turns, fusion_text=turn_model.read(Path(turns.fusion)))
    tuning = tuned(
        found,
        turns,
        held_out=arguments.held_out,
        seed=arguments.seed,
        most=arguments.most,
        model=not arguments.no_model,
    )
    console = Terminal()
    console.print(render(tuning))
    if folder is not None:
        _write(folder, tuning, console)
    return NOTHING if tuning.best is None else OK


def _read(names: list[str]) -> list[Conversation]:
    """The recordings, each once; what is torn is told and read as far as it goes."""
    stderr = Terminal(stderr=True)
    found: dict[str, Conversation] = {}
    for name in names:
        conversation = read(Path(name))
        if conversation.torn:
            note = f"{name} is torn: {conversation.torn.removeprefix(f'{name} ').rstrip('.')}; it is read up to there"
            stderr.print(note, markup=False, soft_wrap=True)
        if conversation.digest in found:
            note = f"{name} is the same recording as {found[conversation.digest].path}: it counts once"
            stderr.print(note, markup=False, soft_wrap=True)
        found.setdefault(conversation.digest, conversation)
    return list(found.values())


def _folder(name: str | None) -> Path | None:
    """The folder to write to, seen to be one or that it can be made. Raises `OutputError`."""
    if not name:
        return None
    folder = Path(name)
    place = folder if folder.exists() else folder.parent
    if not place.exists():
        raise OutputError(f"cannot write --out {name}: there is no folder {place}; make it first.")
    if not place.is_dir():
        raise OutputError(f"cannot write --out {name}: {place} is not a folder.")
    if not os.access(place, os.W_OK):
        raise OutputError(f"cannot write --out {name}: {place} may not be written to.")
    return folder


def _write(folder: Path, tuning: Tuning, console: Console) -> None:
    """turns.toml and report.json; of a model that was trained, recommended or not, turns.json and turns.onnx."""
    files = {"turns.toml": toml(tuning).encode(), "report.json": report(tuning)}
    for proposal in tuning.proposals:
        if proposal.fusion is not None:
            files["turns.json"] = proposal.fusion.text().encode()
            files["turns.onnx"] = onnx_bytes(proposal.fusion)
    try:
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    console.print(f"wrote {', '.join(sorted(files))} to {folder}", markup=False, soft_wrap=True)


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} recordings"
