"""Who may publish what, as lines for mosquitto: the contract's "who is who" for a fleet. Pure.

    python -m embodied.link.acl --fleet home --robot robot7 --agent agent1 --operator console

prints an access list and the lines of mosquitto.conf that belong to it. The user's name must be the client's id: the
configuration says so (`use_username_as_clientid`), so that nobody takes over another's connection. A robot is the user
of its own id, an agent of its own. An operator is an agent that may also reset a stop.

With mosquitto's access lists a subscription that is not allowed is answered with yes, and nothing comes.
"""

import argparse
import sys
from collections.abc import Sequence

from embodied.robot.errors import ContractError
from embodied.robot.topics import agent_topic, robot_topic

_ROBOT_SAYS = "connection", "factsheet", "state", "heartbeat", "diag", "safety", "status", "lease"
_ROBOT_SAYS_BELOW = "telemetry", "event"


def access(fleet: str, robots: Sequence[str], agents: Sequence[str], operators: Sequence[str] = ()) -> list[str]:
    """The lines of an access list (`acl_file`). Raises `ContractError` for an id that is none, or that comes twice."""
    users = [*robots, *agents, *operators]
    if twice := {user for user in users if users.count(user) > 1}:
        raise ContractError(f"{sorted(twice)} are named twice: each robot, agent and operator is a user of its own")
    lines = [f"# fleet {fleet}: who is not named here may do nothing"]
    for robot in robots:
        lines += ["", f"user {robot}", *_robot(fleet, robot)]
    for agent in (*agents, *operators):
        lines += ["", f"user {agent}", *_agent(fleet, agent, robots, operator=agent in operators)]
    return lines


def settings(passwords: str, acl: str, *, ca: str = "", cert: str = "", key: str = "") -> list[str]:
    """The lines of a mosquitto.conf that belong to it. All are names of files; with `ca`, clients need certificates.

    cert, key: of the broker, for TLS. With `ca` the user is the certificate's common name, and `passwords` is not used.
    """
    lines = ["allow_anonymous false", f"acl_file {acl}"]
    if cert:
        lines += [f"certfile {cert}", f"keyfile {key}"]
    if ca:
        lines += [f"cafile {ca}", "require_certificate true", "use_identity_as_username true"]
    else:
        lines += [f"password_file {passwords}"]
    return [*lines, "use_username_as_clientid true"]


def _robot(fleet: str, robot: str) -> list[str]:
    root = robot_topic(fleet, robot, "connection").rsplit("/", 1)[0]
    reply = agent_topic(fleet, "any", "reply").replace("/any/", "/+/")
    return [
        *(f"topic write {root}/{channel}" for channel in _ROBOT_SAYS),
        *(f"topic write {root}/{channel}/+" for channel in _ROBOT_SAYS_BELOW),
        f"topic readwrite {root}/ping",
        f"topic write {reply}",
        *(f"topic read {root}/{heard}" for heard in ("command/+", "stream/+", "lease/set", "estop/set", "estop/reset")),
        f"topic read {reply.replace('/reply', '/connection')}",
        f"topic read {reply.replace('/reply', '/heartbeat')}",
    ]


def _agent(fleet: str, agent: str, robots: Sequence[str], *, operator: bool) -> list[str]:
    own = agent_topic(fleet, agent, "reply").rsplit("/", 1)[0]
    lines = [f"topic write {own}/connection", f"topic write {own}/heartbeat", f"topic readwrite {own}/ping"]
    lines.append(f"topic read {own}/reply")
    for robot in robots:
        root = robot_topic(fleet, robot, "connection").rsplit("/", 1)[0]
        says = ("command/+", "stream/+", "lease/set", "estop/set", *(("estop/reset",) if operator else ()))
        lines += [f"topic write {root}/{channel}" for channel in says]
        lines += [f"topic read {root}/{channel}" for channel in _ROBOT_SAYS]
        lines += [f"topic read {root}/{channel}/+" for channel in _ROBOT_SAYS_BELOW]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both files. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m embodied.link.acl", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--fleet", default="home")
    for what in ("robot", "agent", "operator"):
        parser.add_argument(f"--{what}", action="append", default=[], metavar="ID")
    given = parser.parse_args(arguments)
    try:
        lines = access(given.fleet, given.robot, given.agent, given.operator)
    except ContractError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    conf = settings("/etc/mosquitto/passwords", "/etc/mosquitto/access")
    sys.stdout.write("\n".join(["# --- /etc/mosquitto/access", *lines, "", "# --- /etc/mosquitto/conf.d/robots.conf"]))
    sys.stdout.write("\n".join(["", "set_tcp_nodelay true", "listener 1883", *conf, ""]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
