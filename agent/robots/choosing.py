"""The robots that a configuration means: found behind its broker, or told why not."""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from embodied.link.address import PASSWORD, Address
from embodied.link.mqtt import Silent, dial
from embodied.link.port import Connection, LinkError, LinkRefused, Outgoing
from embodied.remote.finding import Found, find
from embodied.remote.settings import RobotConfig
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import PROTO
from streams.clock import SECOND, Clock

TOLD_AFTER = 2 * SECOND
"""So long nobody wonders what it is waiting for."""


class RobotMissing(LinkError):
    """A robot is not there: which one, who is, and what to do."""


def address(settings: RobotConfig) -> Address:
    """Where the broker is, with the password of the environment. Raises `LinkError`."""
    return Address.parse(
        settings.url, password=os.environ.get(PASSWORD), protocol=settings.protocol, ca=settings.ca,
        cert=settings.cert, key=settings.key,
    )  # fmt: skip


async def factsheets(settings: RobotConfig) -> dict[str, Factsheet]:
    """The factsheets of the robots that are wanted, by id, in the order of the settings; without any, of the only one.

    Raises `RobotMissing`, and `LinkError` where the broker cannot be used.
    """
    where = address(settings)
    clock, waiting = Clock(), f"connecting to {where} ..."

    @asynccontextmanager
    async def once(will: Outgoing | None) -> AsyncIterator[Connection]:
        """Who took a connection and said nothing, in either version of MQTT, is no broker: that took 8 s already."""
        nonlocal waiting
        try:
            async with dialled(will) as connection:
                waiting = f"looking for {', '.join(settings.ids) or 'robots'} at {where} ..."
                yield connection
        except Silent as silent:
            raise LinkRefused(str(silent)) from None

    dialled = dial(where, client_id=settings.agent)
    telling = clock.call_at(
        clock.now() + TOLD_AFTER, lambda: print(waiting, file=sys.stderr, flush=True)  # noqa: T201
    )  # fmt: skip
    try:
        return chosen(await find(settings, once, clock), settings, str(where))
    finally:
        telling.cancel()


def chosen(found: Sequence[Found], settings: RobotConfig, where: str) -> dict[str, Factsheet]:
    """The robots that are meant, out of those that were found. Raises `RobotMissing`."""
    fleet = f"in the fleet {settings.fleet!r} at {where}"
    here = [each.robot for each in found if each.online]
    wanted = settings.ids
    if not wanted:
        if not here:
            raise RobotMissing(f"no robot {fleet}: start one (visavis robot --broker {where} ...), or name its --fleet")
        if len(here) > 1:
            raise RobotMissing(f"several robots {fleet}: choose with --robot {' or --robot '.join(here)}")
        wanted = tuple(here)
    known = {each.robot: each for each in found}
    for robot in wanted:
        if robot not in known:
            raise RobotMissing(f"no robot {robot!r} {fleet}: is its program running, and is that its id and its fleet?")
        if not known[robot].fits:
            proto = known[robot].factsheet.proto
            raise RobotMissing(f"the robot {robot!r} speaks version {proto} of the contract, this agent {PROTO}")
        if not known[robot].online:
            raise RobotMissing(f"the robot {robot!r} {fleet} has gone: start its program")
    return {robot: known[robot].factsheet for robot in wanted}
