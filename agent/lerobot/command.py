"""`visavis export-lerobot`. Imports nothing heavy: every start parses its options."""

import argparse
from pathlib import Path
from typing import Any

MOST_FPS = 240


def add(commands: Any) -> None:
    """Add the command."""
    export = commands.add_parser(
        "export-lerobot", help="recordings of a robot as a LeRobotDataset, to train from",
        description="Writes a folder that LeRobot 0.4 and later read (LeRobotDataset v3.0). One episode is what a "
        "skill did for one command, or a stretch of steering by hand. Needs visavis[lerobot].",
    )  # fmt: skip
    export.add_argument("recordings", nargs="+", metavar="RECORDING", help="one or more, torn ones too")
    export.add_argument("--out", required=True, metavar="FOLDER", help="made, and must not exist")
    export.add_argument("--of", choices=("skills", "steering"), help="default: skills if there are any, else steering")
    export.add_argument("--robot", default="", metavar="ID", help="only what this robot did")
    export.add_argument("--fps", type=_fps, default=0, metavar="N", help="default: a skill's own, 10 of steering")
    export.add_argument("--task", default="", metavar="TEXT", help="what was done, in place of what was recorded")
    export.add_argument("--only-done", action="store_true", help="only commands that came to their end")
    export.add_argument("--camera", type=_name, default="front", metavar="NAME", help="observation.images.NAME")
    export.add_argument("--no-pictures", action="store_true", help="without the camera")
    export.add_argument("--codec", choices=("h264", "av1"), default="h264", help="default: h264")
    export.set_defaults(command=lerobot)


def lerobot(arguments: argparse.Namespace) -> int:
    """Run it. Raises `ExportError`, `OutputError`, `RecordingError` and `DependencyMissing`."""
    from agent.lerobot.export import Choice, export  # noqa: PLC0415 - NumPy and all that
    from agent.outputs import Terminal  # noqa: PLC0415

    choice = Choice(
        arguments.of, arguments.robot, arguments.fps, arguments.task, arguments.only_done,
        "" if arguments.no_pictures else arguments.camera, arguments.codec,
    )  # fmt: skip
    done = export([Path(name) for name in arguments.recordings], Path(arguments.out), choice)
    console = Terminal()
    for lack in done.lacks:
        console.print(lack, markup=False, soft_wrap=True)
    what = f"{done.episodes} episodes of {done.of}, {done.frames} frames at {done.fps} a second, {done.tasks} tasks"
    console.print(f"{what}: {done.folder}", markup=False, soft_wrap=True)
    return 0


def _fps(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_FPS:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MOST_FPS}")
    return int(text)


def _name(text: str) -> str:
    if not text.isascii() or not text.replace("_", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of letters, digits and _")
    return text
