"""The options of `visavis stop`. Imports nothing heavy: every start parses them."""

import argparse
from typing import Any

from agent.robots import attach_options


def add(commands: Any) -> None:
    """Add the command."""
    stop = commands.add_parser(
        "stop", help="stop a robot now; with --latch until it is reset, which --reset does",
        description="Says it until the robot confirms it. Exit code 1: it has not, within 3 s: use the stop on the "
        "robot itself. This is software at the end of a network, and no emergency stop.",
    )  # fmt: skip
    stop.add_argument("url", metavar="mqtt://HOST:PORT")
    stop.add_argument("--robot", required=True, metavar="ID")
    which = stop.add_mutually_exclusive_group()
    which.add_argument("--latch", action="store_true", help="and it stays stopped until an operator resets it")
    which.add_argument("--reset", action="store_true", help="permit motion again: look at the robot first")
    stop.add_argument("--operator-key", metavar="FILE", help="the key that proves an operator, if the robot has one")
    attach_options.connection(stop)
    stop.set_defaults(command=_stop)


def _stop(arguments: argparse.Namespace) -> int:
    from agent.robots.stop_command import stop_command  # noqa: PLC0415 - loads what a connection needs

    return stop_command(arguments)
