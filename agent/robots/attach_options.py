"""The options of `visavis attach`, and what they mean as settings. Imports nothing heavy: every start parses them."""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

Options = Callable[[argparse.ArgumentParser], None]

BROKER = ("fleet", "agent", "protocol", "ca", "cert", "key")
"""Options that are settings of section `robot` under the same names."""


def add(commands: Any, live: Options, mind: Options) -> None:
    """Add the command. live, mind: add the options of a live conversation, and of what answers"""
    attach = commands.add_parser(
        "attach", help="a conversation whose body is a robot behind an MQTT broker",
        description="Finds robots by their factsheets, offers what they can do to the policy and to the grammar, and "
        "holds a live conversation (options as of `visavis live`), or one on a file (--audio). The password for the "
        "broker is read from VISAVIS_MQTT_PASSWORD.",
    )  # fmt: skip
    attach.add_argument("url", metavar="mqtt://HOST:PORT", help="mqtt:// or mqtts://, perhaps USER@HOST")
    robots = attach.add_argument_group("robots (docs/robots.md)")
    robots.add_argument(
        "--robot", action="append", default=[], metavar="ID",
        help="which (repeatable: what the second one can do is called ID.name); without it, the one that is there",
    )  # fmt: skip
    connection(robots)
    robots.add_argument("--words", metavar="FILE", help="in which words a model is told what the robot can do")
    robots.add_argument(
        "--skill", action="append", default=[], metavar="FOLDER|URL|FILE.toml",
        help="a policy of action chunks (docs/control.md), or a server that has one (docs/lerobot.md)",
    )  # fmt: skip
    robots.add_argument(
        "--allow-remote-policy", action="store_true",
        help="let the server of a --skill see what the robot sees, and move it; its token is in VISAVIS_POLICY_TOKEN",
    )  # fmt: skip
    robots.add_argument("--robot-camera", action="store_true", help="see through the robot's camera")
    robots.add_argument("--robot-microphone", action="store_true", help="hear through the robot's microphone")
    robots.add_argument("--robot-speaker", action="store_true", help="speak through the robot's loudspeaker")
    live(attach)
    attach.add_argument("--audio", metavar="FILE", help="instead of a microphone: what is said is in this file")
    mind(attach)
    attach.set_defaults(command=_attach)


def connection(options: Any) -> None:
    """The options that say which broker, and as whom."""
    options.add_argument("--fleet", metavar="ID", help="the fleet of the robots (default: home)")
    options.add_argument("--agent", metavar="ID", help="this agent's own id (default: agent1)")
    options.add_argument("--protocol", choices=("auto", "5", "3.1.1"), help="of MQTT (default: auto)")
    options.add_argument("--ca", metavar="CA.pem", help="who says who the broker is, with mqtts://")
    options.add_argument("--cert", metavar="CERT.pem", help="this client's own certificate")
    options.add_argument("--key", metavar="KEY.pem", help="and its key")


def assignments(arguments: argparse.Namespace) -> list[str]:
    """The options as settings; `--set` goes before them."""
    made = ['body.motion="mqtt"', f"robot.url={json.dumps(arguments.url)}"]
    if arguments.robot:
        made.append(f"robot.ids={json.dumps(arguments.robot)}")
    names: Sequence[str] = (*BROKER, "words")
    made += [f"robot.{name}={json.dumps(value)}" for name in names if (value := getattr(arguments, name, None))]
    if arguments.skill:
        made.append(f"robot.skills={json.dumps(arguments.skill)}")
    if arguments.allow_remote_policy:
        made.append("robot.allow_remote_policy=true")
    for sense in ("camera", "microphone", "speaker"):
        if getattr(arguments, f"robot_{sense}"):
            made.append(f"robot.{sense}=true")
    return made


def _attach(arguments: argparse.Namespace) -> int:
    from agent.robots.attach import attach  # noqa: PLC0415 - loads what a session needs

    return attach(arguments)
