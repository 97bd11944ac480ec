"""The options of `visavis robot`. Imports nothing heavy: every start parses them."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add the command with its options."""
    options = commands.add_parser(
        "robot", help="be a robot on an MQTT broker: the guards in front of a driver, or a simulated robot",
        epilog="The stop over MQTT is software: it is no safety-rated emergency stop. The broker's password is in the "
        "environment, VISAVIS_MQTT_PASSWORD. Ctrl-C brings the robot to rest and says goodbye.",
    )  # fmt: skip
    options.add_argument("--broker", required=True, metavar="mqtt://HOST:PORT", help="mqtts:// for TLS")
    options.add_argument("--robot", required=True, metavar="ID", help="what it is called in its topics")
    options.add_argument("--fleet", default="home", metavar="ID", help="the fleet it belongs to (default: %(default)s)")
    options.add_argument(
        "--profile", default="diff-drive", metavar="NAME|FILE",
        help="diff-drive, arm, vda5050, homeassistant, ros2-bridge, or a YAML file (default: %(default)s)",
    )  # fmt: skip
    options.add_argument("--driver", default="", metavar="MODULE:CLASS", help="your own, in place of the profile's")
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the profile, such as limits.v_max=0.3"
    )
    options.add_argument("--audit", metavar="FILE", help="write every decision of the guards to it, with its reason")
    options.add_argument("--keys", metavar="FILE", help="TOML: keys of the operator, for consent, and of each agent")
    options.add_argument("--user", default="", metavar="NAME", help="at the broker")
    options.add_argument(
        "--ca", default="", metavar="CA.pem", help="who is believed to have signed the broker's certificate"
    )
    options.add_argument("--cert", default="", metavar="CERT.pem", help="the robot's own certificate")
    options.add_argument("--key", default="", metavar="KEY.pem", help="the key of it")
    options.add_argument(
        "--protocol", default="auto", choices=("auto", "5", "3.1.1"), help="of MQTT (default: 5, else 3.1.1)"
    )
    options.add_argument("--show", action="store_true", help="one line that tells how it is, four times a second")
    options.add_argument(
        "--watchdog", type=float, default=0.0, metavar="S",
        help="end the process when its control loop hangs for so long (the motors must stop by themselves)",
    )  # fmt: skip
    options.set_defaults(command=_robot)


def _robot(arguments: argparse.Namespace) -> int:
    from agent.robots.node_command import robot  # noqa: PLC0415 - loads what a robot's program needs

    return robot(arguments)
