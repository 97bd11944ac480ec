"""`visavis conformance`: does a robot keep the contract? The options; what they lead to waits in `trying.py`."""

import argparse
import signal
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add the command with its options."""
    options = commands.add_parser(
        "conformance", help="try the promises of the robot contract on a robot: it moves, and is interfered with",
        description="Misbehaves towards a robot on purpose, and reports what it did (docs/conformance.md).",
        epilog="Exit codes: 0 what was tried is kept; 1 a promise is broken; 2 an error, no robot was found, "
        "somebody else moves it, or the broker or the robot went away before the end. "
        "Passwords are in the environment: VISAVIS_MQTT_PASSWORD, VISAVIS_MQTT_OPERATOR_PASSWORD.",
    )  # fmt: skip
    options.add_argument("url", metavar="mqtt://HOST:PORT", help="mqtt:// or mqtts://, perhaps USER@HOST")
    options.add_argument("--robot", required=True, metavar="ID", help="which")
    options.add_argument("--fleet", default="home", metavar="ID", help="its fleet (default: %(default)s)")
    options.add_argument("--yes", action="store_true", help="the room is clear: do not ask before the robot moves")
    options.add_argument("--only", action="append", default=[], metavar="NAME",
                         help="only promises whose name begins so, as estop.reset (repeatable)")  # fmt: skip
    options.add_argument("--list", action="store_true", help="name all promises, and try none")
    options.add_argument("--json", metavar="FILE", help="write the report for programs, too")
    options.add_argument("--speed", type=float, default=0.2, metavar="M/S", help="of the base (default: %(default)s)")
    who = options.add_argument_group("who asks")
    who.add_argument("--agent", metavar="ID",
                     help="the agent that misbehaves (default: a new id; agent1 with a user or key)")  # fmt: skip
    who.add_argument("--user", default="", metavar="NAME", help="its name at the broker")
    who.add_argument("--rank", default="policy", choices=("model", "policy", "teleop", "operator"),
                     help="as which it asks for the lease (default: %(default)s)")  # fmt: skip
    who.add_argument("--agent-key", metavar="FILE", help="with which its messages are sealed")
    who.add_argument("--operator", metavar="ID",
                     help="a second agent: watches, stops, resets, takes over (default: likewise)")  # fmt: skip
    who.add_argument("--operator-user", default="", metavar="NAME", help="its name at the broker (default: as --user)")
    who.add_argument("--operator-seal", metavar="FILE", help="with which its messages are sealed")
    who.add_argument("--operator-key", metavar="FILE", help="proves a reset of the stop")
    who.add_argument(
        "--protocol", default="auto", choices=("auto", "5", "3.1.1"), help="of MQTT (default: %(default)s)"
    )
    who.add_argument("--ca", default="", metavar="CA.pem", help="who says who the broker is, with mqtts://")
    who.add_argument("--cert", default="", metavar="CERT.pem", help="this client's own certificate")
    who.add_argument("--key", default="", metavar="KEY.pem", help="and its key")
    program = options.add_argument_group("the robot's program, if it may be frozen and restarted")
    program.add_argument("--pid", metavar="PID|FILE", help="of it, on this machine: a number, or a file that has it")
    program.add_argument("--freeze-command", metavar="COMMAND", help="freezes it, where --pid does not reach")
    program.add_argument("--thaw-command", metavar="COMMAND", help="lets it go on")
    program.add_argument("--restart-command", metavar="COMMAND", help="ends it roughly, and starts it again")
    options.set_defaults(command=conformance)


def conformance(arguments: argparse.Namespace) -> int:
    """Try, and report. Returns 0, 1 or 2; raises `VisavisError` in one sentence."""
    # Python loses a Ctrl-C that comes in certain callbacks of an import ("Exception ignored in ..."), and a robot would
    # be moved that nobody wants to move any more: it is kept until the import is done.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        from agent.robots.conformance import trying  # noqa: PLC0415 - it waits until it is needed
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return trying.conformance(arguments)
