"""`visavis robot`: be a robot on a broker. What the options lead to is imported when it is asked for."""

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.robots import node_options
from agent.signals import counts, ending, over
from streams.errors import VisavisError

if TYPE_CHECKING:
    from embodied.node.node import RobotNode
    from embodied.node.profile import Profile
    from streams.clock import Clock

SHOW_S, END_WITHIN_S, CLOSE_S = 0.25, 8, 2.0


class OptionsInvalid(VisavisError):
    """Options of `visavis robot` that mean nothing."""


def robot(arguments: argparse.Namespace) -> int:
    """Be the robot until Ctrl-C, SIGTERM or SIGHUP. Returns 0, 130, 143, 129, or 1 if its driver could not be closed.

    Raises `VisavisError` in one sentence.
    """
    from embodied.link.address import Address  # noqa: PLC0415 - it waits until it is needed
    from embodied.node.profile import Profile  # noqa: PLC0415
    from embodied.node.running import with_keys  # noqa: PLC0415
    from embodied.robot.topics import robot_topic  # noqa: PLC0415
    from streams import clock  # noqa: PLC0415

    robot_topic(arguments.fleet, arguments.robot, "state")  # raises for ids that are none
    if arguments.watchdog and not 0.5 <= arguments.watchdog <= 3600:
        raise OptionsInvalid("--watchdog: from 0.5 to 3600 seconds")
    address = Address.parse(
        _with_user(arguments.broker, arguments.user), protocol=arguments.protocol, ca=arguments.ca,
        cert=arguments.cert, key=arguments.key,
    )  # fmt: skip
    profile = Profile.load(arguments.profile, changes(arguments.set))
    settings = with_keys(profile.settings, Path(arguments.keys) if arguments.keys else None)
    return clock.run(_serve(arguments, profile, address, settings))


def changes(given: list[str]) -> dict[str, Any]:
    """KEY=VALUE, values as in YAML. Raises `OptionsInvalid`."""
    from embodied.node.profile import read_yaml  # noqa: PLC0415

    found = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise OptionsInvalid(f"--set {each}: write KEY=VALUE, such as limits.v_max=0.3")
        found[key] = read_yaml(value, f"--set {key}")
    return found


def _with_user(url: str, user: str) -> str:
    scheme, sign, rest = url.partition("://")
    return f"{scheme}://{user}@{rest}" if user and sign and "@" not in rest else url


async def _serve(arguments: argparse.Namespace, profile: "Profile", address: Any, settings: Any) -> int:
    from embodied.link.mqtt import dial  # noqa: PLC0415
    from embodied.node.audit import AuditLog  # noqa: PLC0415
    from embodied.node.node import RobotNode  # noqa: PLC0415
    from embodied.node.running import Watchdog, connect  # noqa: PLC0415
    from embodied.node.senses import senses  # noqa: PLC0415
    from streams.clock import Clock  # noqa: PLC0415

    clock = Clock()
    boot = secrets.token_hex(6)
    factsheet, driver = await connect(profile, arguments.robot, clock, arguments.driver)
    watchdog = Watchdog(arguments.watchdog, clock) if arguments.watchdog else None
    try:
        audit = AuditLog(Path(arguments.audit), clock, boot=boot) if arguments.audit else None
        node = RobotNode(
            _booted(factsheet, boot), driver, dial(address, client_id=f"robot-{arguments.robot}"), clock,
            fleet=arguments.fleet, robot=arguments.robot, settings=settings, secret=secrets.token_bytes(32),
            audit=audit, reach=getattr(driver, "reach", None), stepped=watchdog.feed if watchdog else lambda: None,
            senses=senses(profile.senses, Path(profile.name).parent),
        )  # fmt: skip
    except VisavisError:
        await _close(driver)
        raise
    print(f"robot {arguments.fleet}/{arguments.robot} at {address} ({profile.name})", flush=True)  # noqa: T201
    try:
        with _terminated() as signalled:
            others: list[Callable[[], Coroutine[Any, Any, None]]] = [audit.run] if audit else []
            others.append(lambda: _show(node, clock, line=arguments.show))
            await _together(node, others)
    except asyncio.CancelledError:
        if not signalled:
            raise
    finally:
        if watchdog:
            watchdog.close()
        if audit:
            audit.close()
        if arguments.show:
            print()  # noqa: T201
    if node.unclosed:
        return 1  # the node has said why
    return 128 + signalled[0] if signalled else 0


async def _close(driver: Any) -> None:
    """Of a robot that never was: what goes wrong here must not hide why it is none."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await driver.close()
    except Exception as error:  # noqa: BLE001 - whatever a driver raises
        print(f"the driver could not be closed: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201


async def _together(node: "RobotNode", others: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """The node, and what accompanies it; the latter ends with it. Raises what the node raises."""
    async with asyncio.TaskGroup() as group:
        accompanying = [group.create_task(each()) for each in others]
        failed: VisavisError | None = None
        try:
            await node.run()
        except VisavisError as error:
            failed = error
        finally:
            for each in accompanying:
                each.cancel()
    if failed is not None:
        raise failed


@contextlib.contextmanager
def _terminated() -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP cancel this task; which it was is in the list. A second one ends the process at once.

    Python's own handlers, not the loop's: those run between bytecodes, also while a driver keeps the loop to itself.
    """
    signalled: list[int] = []
    loop, own = asyncio.get_running_loop(), asyncio.current_task()

    def end(number: int, frame: object) -> None:
        if not counts(number, before=bool(signalled)):
            return
        if signalled:
            os._exit(128 + number)
        signalled.append(number)
        signal.alarm(END_WITHIN_S)  # a driver that swallows its cancellation must not keep the process
        if own is not None:
            loop.call_soon_threadsafe(own.cancel)  # it also wakes the loop

    before = {number: signal.signal(number, end) for number in ending()}
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        over(signalled)
        signal.alarm(0)


async def _show(node: "RobotNode", clock: "Clock", *, line: bool) -> None:
    """Tell of the connection as it changes, and, if `line`, how the robot is."""
    was: bool | None = None
    while True:
        tried = was is not None or node.link.connected or node.link.counts.failures > 0
        if tried and node.link.connected != was:
            was = node.link.connected
            said = f"connected, MQTT {node.link.version}" if was else _apart(node.link.why)
            print(f"\r\x1b[K{said}" if line else said, flush=True)  # noqa: T201
        if line:
            sys.stdout.write(f"\r\x1b[K{described(node)}")
            sys.stdout.flush()
        await clock.sleep_until(clock.now() + round(SHOW_S * 1e9))


def _apart(why: str) -> str:
    return f"not connected: {why}" if why else "not connected"


def described(node: "RobotNode") -> str:
    """How a robot is, in one line."""
    sensed, lease, safety = node.sensed, node.told.get("lease"), node.told.get("safety")
    parts = []
    if sensed.pose is not None:
        x, y, yaw = sensed.pose
        parts.append(f"x {x:+.2f} y {y:+.2f} m {yaw * 57.2958:+4.0f}°  {sensed.velocity.vx:+.2f} m/s")
    if sensed.joints:
        parts.append(" ".join(f"{name} {at:+.2f}" for name, at in list(sensed.joints.items())[:8]))
    parts.append(f"{lease.holder} as {lease.rank}" if lease is not None and lease.holder else "nobody holds it")
    if safety is not None and safety.guards:
        parts.append("held by " + ", ".join(safety.guards))
    if safety is not None and safety.estop == "latched":
        parts.append(f"STOPPED by {safety.source}")
    return "  ".join(parts)


def _booted(factsheet: Any, boot: str) -> Any:
    from msgspec import structs  # noqa: PLC0415

    return structs.replace(factsheet, boot=boot)


def main() -> int:
    """`python -m agent.robots.node_command robot ...`"""
    parser = argparse.ArgumentParser(prog="visavis")
    node_options.add(parser.add_subparsers(required=True))
    arguments = parser.parse_args()
    try:
        return int(arguments.command(arguments))
    except VisavisError as error:
        print(f"visavis: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
