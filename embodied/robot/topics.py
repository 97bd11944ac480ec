"""The topics of the contract: built from checked ids, and read again. Reading never raises; a stranger's topic is None.

{R} = robot/v1/{fleet}/{robot}          {A} = robot/v1/{fleet}/agents/{agent}
"""

import re
from typing import Literal, NamedTuple, TypeAlias

from embodied.robot.errors import ContractError
from embodied.robot.vocabulary import ID_PATTERN, MAJOR, NAME_PATTERN

ROOT = f"robot/v{MAJOR}"
_ID = re.compile(ID_PATTERN)
_NAME = re.compile(NAME_PATTERN)

Channel: TypeAlias = Literal[
    "connection", "factsheet", "state", "heartbeat", "telemetry", "event", "diag", "safety", "status", "command",
    "stream", "lease/set", "lease", "estop/set", "estop/reset",
    "agent/connection", "agent/heartbeat", "agent/reply",
]  # fmt: skip
NAMED: frozenset[Channel] = frozenset({"telemetry", "event", "command", "stream"})


class Delivery(NamedTuple):
    """How a channel is published. qos: 0 or 1;  retain;  by: who may;  expiry_s: MQTT 5 expiry where it is fixed."""

    qos: Literal[0, 1]
    retain: bool
    by: Literal["robot", "agent", "operator", "anyone"]
    expiry_s: int | None = None


DELIVERY: dict[Channel, Delivery] = {
    "connection": Delivery(1, True, "robot"),
    "factsheet": Delivery(1, True, "robot"),
    "state": Delivery(1, True, "robot", 60),
    "heartbeat": Delivery(0, False, "robot", 1),
    "telemetry": Delivery(0, False, "robot"),
    "event": Delivery(1, False, "robot"),
    "diag": Delivery(0, False, "robot"),
    "safety": Delivery(1, True, "robot"),
    "status": Delivery(1, False, "robot"),
    "command": Delivery(1, False, "agent"),
    "stream": Delivery(0, False, "agent"),
    "lease/set": Delivery(1, False, "agent"),
    "lease": Delivery(1, True, "robot"),
    "estop/set": Delivery(1, False, "anyone"),
    "estop/reset": Delivery(1, False, "operator"),
    "agent/connection": Delivery(1, True, "agent"),
    "agent/heartbeat": Delivery(0, False, "agent", 1),
    "agent/reply": Delivery(1, False, "robot"),
}

_TWO = {"lease/set", "estop/set", "estop/reset"}
_PLAIN = {channel for channel in DELIVERY if channel not in NAMED and "/" not in channel}


class Topic(NamedTuple):
    """A topic, taken apart.

    who: the robot's id, or the agent's for the channels "agent/...";  name: of the command, stream, telemetry or event
    """

    channel: Channel
    fleet: str
    who: str
    name: str = ""


def robot_topic(fleet: str, robot: str, channel: Channel, name: str = "") -> str:
    """`{R}/channel` or `{R}/channel/name`. Raises `ContractError` for an id or name that is none."""
    if channel.startswith("agent/"):
        raise ContractError(f"{channel!r} is a topic of agents, not of robots: use agent_topic")
    if (channel in NAMED) != bool(name) or (name and (len(name) > 64 or not _NAME.match(name))):
        raise ContractError(f"{name!r} is no name for a topic under {channel!r}: lower case, digits, _ and dots")
    root = f"{ROOT}/{_checked(fleet, 'fleet')}/{_robot(robot)}/{channel}"
    return f"{root}/{name}" if name else root


def agent_topic(fleet: str, agent: str, channel: Literal["connection", "heartbeat", "reply"]) -> str:
    """`{A}/channel`. Raises `ContractError` for an id that is none."""
    return f"{ROOT}/{_checked(fleet, 'fleet')}/agents/{_checked(agent, 'agent')}/{channel}"


def robot_subscriptions(fleet: str, robot: str) -> tuple[tuple[str, int], ...]:
    """What a robot subscribes to, with QoS. MQTT 5: retainHandling = 2, and a session that ends with the connection."""
    root = f"{ROOT}/{_checked(fleet, 'fleet')}/{_robot(robot)}"
    agents = f"{ROOT}/{fleet}/agents/+"
    return (
        (f"{root}/estop/set", 1), (f"{root}/estop/reset", 1), (f"{root}/lease/set", 1), (f"{root}/command/+", 1),
        (f"{root}/stream/+", 0), (f"{agents}/heartbeat", 0), (f"{agents}/connection", 1),
    )  # fmt: skip


def agent_subscriptions(fleet: str, robot: str, agent: str) -> tuple[tuple[str, int], ...]:
    """What an agent subscribes to for one robot, with QoS."""
    root = f"{ROOT}/{_checked(fleet, 'fleet')}/{_robot(robot)}"
    plain = ("connection", "factsheet", "state", "safety", "status", "lease")
    return (
        *((f"{root}/{channel}", 1) for channel in plain), (f"{root}/event/+", 1), (f"{root}/heartbeat", 0),
        (f"{root}/telemetry/+", 0), (f"{root}/diag", 0), (agent_topic(fleet, agent, "reply"), 1),
    )  # fmt: skip


def read_topic(topic: object) -> Topic | None:
    """`topic` taken apart, or None if it is no topic of this contract. Never raises."""
    if not isinstance(topic, str) or len(topic) > 400:
        return None
    parts = topic.split("/")
    if len(parts) < 5 or parts[0] != "robot" or parts[1] != f"v{MAJOR}" or not _ID.match(parts[2]):
        return None
    fleet, rest = parts[2], parts[3:]
    if rest[0] == "agents":
        return _agents(fleet, rest)
    if not _ID.match(rest[0]):
        return None
    channel = "/".join(rest[1:])
    if channel in _PLAIN or channel in _TWO:
        return Topic(channel, fleet, rest[0])  # type: ignore[arg-type]
    if len(rest) == 3 and rest[1] in NAMED and len(rest[2]) <= 64 and _NAME.match(rest[2]):
        return Topic(rest[1], fleet, rest[0], rest[2])
    return None


def _agents(fleet: str, rest: list[str]) -> Topic | None:
    if len(rest) != 3 or not _ID.match(rest[1]) or rest[2] not in ("connection", "heartbeat", "reply"):
        return None
    return Topic(f"agent/{rest[2]}", fleet, rest[1])  # type: ignore[arg-type]


def _robot(robot: str) -> str:
    if robot == "agents":
        raise ContractError("a robot cannot be called 'agents': that place in the topics is taken")
    return _checked(robot, "robot")


def _checked(value: str, what: str) -> str:
    if not _ID.match(value):
        raise ContractError(f"{value!r} is no {what} id: 1 to 64 of A-Z a-z 0-9 _ . : -")
    return value
