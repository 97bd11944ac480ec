"""Which robots there are behind a broker, by what it has kept of them: presence and factsheet."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from embodied.link.address import Address
from embodied.link.link import Link
from embodied.link.mqtt import dial
from embodied.link.port import LinkBroken, LinkError, Message
from embodied.remote.settings import PASSWORD, RobotConfig
from embodied.robot.codec import decode
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Factsheet, compatible
from embodied.robot.reports import Connection
from embodied.robot.topics import ROOT, read_topic, robot_topic
from embodied.robot.vocabulary import PROTO
from streams.clock import MS, SECOND, Clock

QUIET = 400 * MS  # where nobody was named: when nothing more has come for so long, those are all


class RobotMissing(LinkError):
    """A robot is not there: which one, who is, and what to do."""


def address(settings: RobotConfig) -> Address:
    """Where the broker is, with the password of the environment. Raises `LinkError`."""
    return Address.parse(
        settings.url, password=os.environ.get(PASSWORD), protocol=settings.protocol, ca=settings.ca,
        cert=settings.cert, key=settings.key,
    )  # fmt: skip


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[None]:
    """`link` is kept while the block runs, and ends with it. Raises what `Link.run` raises, by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run(), name=link.name or "link")
            yield
            task.cancel()
    except* LinkError as failed:
        raise failed.exceptions[0] from None


class Lookout:
    """Listens for robots. found: factsheets by id;  here: ids of those that say that they are online"""

    def __init__(self, settings: RobotConfig) -> None:
        self.settings = settings
        self.found: dict[str, Factsheet] = {}
        self.here: dict[str, str] = {}
        self.unreadable: set[str] = set()
        self.newest = 0

    @property
    def topics(self) -> tuple[tuple[str, int], ...]:
        """What to listen to: that of the robots that are named, else that of the whole fleet."""
        fleet = self.settings.fleet
        channels = ("connection", "factsheet")
        if not self.settings.ids:
            return tuple((f"{ROOT}/{fleet}/+/{channel}", 1) for channel in channels)
        named = [(robot_topic(fleet, each, "connection"), 1) for each in self.settings.ids]
        return (*named, *((robot_topic(fleet, each, "factsheet"), 1) for each in self.settings.ids))

    def receive(self, message: Message) -> None:
        """Take note of a message."""
        topic = read_topic(message.topic)
        if topic is None:
            return
        try:
            if topic.channel == "connection":
                self.here[topic.who] = decode(message.payload, Connection).state
            elif topic.channel == "factsheet":
                self.found[topic.who] = decode(message.payload, Factsheet)
        except Malformed:
            self.unreadable.add(topic.who)

    def ready(self, now: int) -> bool:
        """Whether there is nothing more to wait for."""
        if self.settings.ids:
            return all(self.here.get(each) == "online" and each in self.found for each in self.settings.ids)
        return bool(self.online) and now - self.newest > QUIET

    @property
    def online(self) -> list[str]:
        """The robots that are there and can be understood."""
        return sorted(each for each, state in self.here.items() if state == "online" and each in self.found)


async def find(settings: RobotConfig) -> RobotConfig:
    """`settings` with the ids of the robots that are there. Raises `RobotMissing`, and `LinkError` for the broker."""
    found = await factsheets(settings)
    return replace(settings, ids=tuple(found))


async def factsheets(settings: RobotConfig) -> dict[str, Factsheet]:
    """The factsheets of the robots that are wanted, by id, in the order of the settings; without any, of the only one.

    Raises `RobotMissing`, and `LinkError` where the broker cannot be used.
    """
    where, clock, lookout = address(settings), Clock(), Lookout(settings)

    def receive(message: Message) -> None:
        lookout.newest = clock.now()
        lookout.receive(message)

    dialled = dial(where, client_id=settings.agent)
    link = Link(dialled, clock, receive=receive, subscriptions=(), recalled=lookout.topics)
    until = clock.now() + round(settings.find_s * SECOND)
    async with running(link):
        while clock.now() < until and not lookout.ready(clock.now()):
            await clock.sleep_until(clock.now() + 20 * MS)
    if not link.version:
        raise LinkBroken(f"no connection to {where}: {link.why}")
    return chosen(lookout, str(where))


def chosen(lookout: Lookout, where: str) -> dict[str, Factsheet]:
    """The robots that are meant. Raises `RobotMissing`."""
    wanted, online = lookout.settings.ids, lookout.online
    fleet = f"in the fleet {lookout.settings.fleet!r} at {where}"
    if not wanted:
        if not online:
            raise RobotMissing(f"no robot {fleet}: start one (visavis robot --broker {where} ...), or name its --fleet")
        if len(online) > 1:
            raise RobotMissing(f"several robots {fleet}: choose with --robot {' or --robot '.join(online)}")
        wanted = tuple(online)
    for each in wanted:
        if each not in online:
            raise RobotMissing(_missing(lookout, each, fleet))
        sheet = lookout.found[each]
        if not compatible(sheet):
            raise RobotMissing(f"the robot {each!r} speaks version {sheet.proto} of the contract, this agent {PROTO}")
    return {each: lookout.found[each] for each in wanted}


def _missing(lookout: Lookout, robot: str, fleet: str) -> str:
    state = lookout.here.get(robot)
    if robot in lookout.unreadable:
        return f"the robot {robot!r} {fleet} says of itself what cannot be understood"
    if state is None:
        return f"no robot {robot!r} {fleet}: is its program running, and is that its id and its fleet?"
    if state != "online":
        return f"the robot {robot!r} {fleet} is {state}: start its program"
    return f"the robot {robot!r} {fleet} has not told what it can do (no factsheet)"
