"""The robots that a configuration means: found behind its broker, or told why not."""

import os
from collections.abc import Sequence

from embodied.link.address import PASSWORD, Address
from embodied.link.mqtt import dial
from embodied.link.port import LinkError
from embodied.remote.finding import Found, find
from embodied.remote.settings import RobotConfig
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import PROTO
from streams.clock import Clock


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
    return chosen(await find(settings, dial(where, client_id=settings.agent), Clock()), settings, str(where))


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
