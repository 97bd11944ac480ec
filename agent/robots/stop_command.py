"""`visavis stop`: stop a robot from a terminal or a script, for now or for good; and let it go again."""

import argparse
import secrets
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from agent.outputs import Terminal
from agent.robots.choosing import address
from embodied.link.keys import read_key
from embodied.link.link import Link
from embodied.link.mqtt import dial
from embodied.link.port import LinkBroken, Message, Outgoing
from embodied.link.running import running
from embodied.remote.settings import RobotConfig
from embodied.robot.codec import decode, encode
from embodied.robot.errors import Malformed
from embodied.robot.estop import proof
from embodied.robot.messages import Command, EstopReset, EstopSet
from embodied.robot.reports import Heartbeat, Safety, Status
from embodied.robot.topics import read_topic, robot_topic
from embodied.robot.vocabulary import MS, SECOND
from streams import clock

OK, UNCONFIRMED = 0, 1
EVERY, PATIENCE, WORTH = 50 * MS, 3 * SECOND, SECOND


class _Seen(Struct):
    """What the robot has told so far."""

    beat: Heartbeat | None = None
    safety: Safety | None = None
    status: Status | None = None


def stop_command(arguments: argparse.Namespace) -> int:
    """Run it. Raises `LinkError` where the broker is not to be had."""
    names = ("fleet", "protocol", "ca", "cert", "key")
    chosen = {name: value for name in names if (value := getattr(arguments, name))}
    settings = RobotConfig(url=arguments.url, ids=(arguments.robot,), agent=arguments.agent or "operator1", **chosen)
    key = read_key(arguments.operator_key, "--operator-key") if arguments.operator_key else None
    console = Terminal()
    told, done = clock.run(
        _reset(settings, key) if arguments.reset else _stop(settings, arguments.latch), virtual=False
    )
    console.print(told, markup=False, soft_wrap=True)
    return OK if done else UNCONFIRMED


async def _stop(settings: RobotConfig, latch: bool) -> tuple[str, bool]:
    """Say it until it is confirmed. Returns what to tell, and whether it was."""
    robot = settings.ids[0]
    command = Command(v=1, id=f"stop-{secrets.token_hex(6)}", name="stop", sender=settings.agent)
    soft = Outgoing(robot_topic(settings.fleet, robot, "command", "stop"), encode(command), qos=1)
    hard = Outgoing(robot_topic(settings.fleet, robot, "estop/set"), encode(EstopSet(settings.agent, "stop")), qos=1)

    def confirmed(seen: _Seen) -> bool:
        if latch:
            return seen.beat is not None and seen.beat.estop == "latched"
        return seen.status is not None and seen.status.id == command.id

    if await _said(settings, lambda seen: hard if latch else soft, confirmed):
        return f"{robot} is stopped" + (" until it is reset" if latch else ""), True
    return f"NOT CONFIRMED: {robot} does not answer. Use the stop on the robot itself.", False


async def _reset(settings: RobotConfig, key: bytes | None) -> tuple[str, bool]:
    """Give the token of the stop back until the robot says that it is not latched any more."""
    robot, free = settings.ids[0], False
    topic = robot_topic(settings.fleet, robot, "estop/reset")

    def message(seen: _Seen) -> Outgoing | None:
        token = seen.safety.reset_token if seen.safety is not None else None
        if token is None:
            return None
        wish = EstopReset(token, settings.agent, None if key is None else proof(token, key))
        return Outgoing(topic, encode(wish), qos=1)

    def confirmed(seen: _Seen) -> bool:
        nonlocal free
        free = seen.beat is not None and seen.beat.estop == "none" and seen.safety is not None
        return free and seen.safety is not None and seen.safety.estop == "none"

    if await _said(settings, message, confirmed):
        return f"{robot} may move again, when it is told to", True
    return f"{robot} is not reset: does it stand, is its own stop released, and is the key that of its operator?", False


async def _said(
    settings: RobotConfig, message: Callable[[_Seen], Outgoing | None], confirmed: Callable[[_Seen], bool]
) -> bool:
    """Publish what `message` gives every 50 ms until it is `confirmed`; False after 3 s of connection."""
    seen, now = _Seen(), clock.Clock()
    kinds: dict[str, tuple[str, Any]] = {
        "heartbeat": ("beat", Heartbeat), "safety": ("safety", Safety), "status": ("status", Status),
    }  # fmt: skip

    def receive(came: Message) -> None:
        topic = read_topic(came.topic)
        if topic is None or topic.channel not in kinds:
            return
        name, kind = kinds[topic.channel]
        try:
            setattr(seen, name, decode(came.payload, kind))
        except Malformed:
            return

    topics = [robot_topic(settings.fleet, settings.ids[0], each) for each in ("heartbeat", "safety", "status")]
    dialled = dial(address(settings), client_id=settings.agent)
    link = Link(
        dialled, now, receive=receive, subscriptions=[(topics[0], 0), (topics[2], 1)], recalled=[(topics[1], 1)]
    )  # fmt: skip
    done, until = False, now.now() + PATIENCE
    async with running(link):
        while now.now() < until and not (done := confirmed(seen)):
            out = message(seen)
            if link.connected and out is not None:
                link.send(out, first=True, valid_ns=WORTH)
            await now.sleep_until(now.now() + EVERY)
    if not link.version:
        where = str(address(settings))
        raise LinkBroken(f"not sent: {link.why if where in link.why else f'{where}: {link.why}'}")
    return done
