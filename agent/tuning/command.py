"""`visavis preferences` and `visavis tune turns`: what recordings tell, as files.

Only the options are here; the work, and all that it imports, waits in `agent/tuning/running.py`.
"""

import argparse
from collections.abc import Callable
from typing import TypeAlias

WITHIN_S, HELD_OUT, MOST = 30.0, 0.3, 0.05
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add both commands with their options."""
    told = commands.add_parser("preferences", help="preference data from recordings: how people took the answers")
    told.add_argument("recording", nargs="+", metavar="REC.mcap")
    told.add_argument("--out", metavar="FILE.jsonl", help="default: on standard output")
    told.add_argument("--unpaired", action="store_true", help="single answers with a label, in place of pairs")
    told.add_argument("--redact", action="store_true", help="replace numbers, and names written with a capital")
    told.add_argument(
        "--within", type=_number(0.1, 3600), default=WITHIN_S, metavar="S",
        help="what comes later after an answer is no reaction to it (default: %(default)g s)",
    )  # fmt: skip
    told.set_defaults(command=preferences)

    tuned = commands.add_parser("tune", help="fit the agent to a household's own recordings")
    what = tuned.add_subparsers(metavar="WHAT", required=True)
    turns = what.add_parser("turns", help="how long it waits before it takes a turn")
    turns.add_argument("recording", nargs="+", metavar="REC.mcap")
    turns.add_argument("--out", metavar="FOLDER", help="where turns.toml, turns.json, turns.onnx and report.json go")
    turns.add_argument(
        "--config", metavar="AGENT.toml", help="what is to be better (default: that of the newest recording)"
    )
    turns.add_argument(
        "--held-out", type=_number(0.1, 0.8), default=HELD_OUT, metavar="SHARE",
        help="of the newest, by which it is judged (default: %(default)g)",
    )  # fmt: skip
    turns.add_argument(
        "--most", type=_number(0, 1), default=MOST, metavar="SHARE",
        help="of what people say may be cut off, but never more than now (default: %(default)g)",
    )  # fmt: skip
    turns.add_argument("--no-model", action="store_true", help="only the settings: does without torch")
    turns.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same gives the same (default: %(default)s)"
    )
    turns.set_defaults(command=tune)


def preferences(arguments: argparse.Namespace) -> int:
    """As `agent.tuning.running.preferences`."""
    from agent.tuning import running  # noqa: PLC0415 - it waits until it is needed

    return running.preferences(arguments)


def tune(arguments: argparse.Namespace) -> int:
    """As `agent.tuning.running.tune`."""
    from agent.tuning import running  # noqa: PLC0415

    return running.tune(arguments)


def _number(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {least:g} and {most:g}")
        return value

    return number
