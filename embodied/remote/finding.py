"""Which robots there are behind a broker: asked once, before anything is attached."""

import asyncio

from msgspec import Struct

from embodied.link.port import Dial, LinkBroken, Message
from embodied.remote.capabilities import fit
from embodied.remote.settings import RobotConfig
from embodied.robot.codec import decode
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Factsheet, compatible
from embodied.robot.reports import Connection
from embodied.robot.topics import ROOT, Channel, read_topic, robot_topic
from embodied.robot.vocabulary import MS, SECOND
from streams.clock import Clock

SETTLE = 500 * MS
"""What a broker has kept comes at once; with nothing new for so long, it was all."""
MOST = 256


class Found(Struct, frozen=True):
    """A robot that has told of itself.

    online: it says that it is there;  fits: it speaks our version of the contract
    factsheet: what of it can be used (`embodied.remote.capabilities.fit`)
    """

    robot: str
    factsheet: Factsheet
    online: bool = False
    fits: bool = True


class _Seen:
    def __init__(self, fleet: str) -> None:
        self._fleet = fleet
        self.sheets: dict[str, Factsheet] = {}
        self.online: dict[str, bool] = {}

    def take(self, message: Message) -> bool:
        """Whether it was news."""
        topic = read_topic(message.topic)
        if topic is None or topic.fleet != self._fleet or len(self.sheets) >= MOST:
            return False
        try:
            if topic.channel == "factsheet":
                self.sheets[topic.who] = fit(decode(message.payload, Factsheet))[0]
            elif topic.channel == "connection":
                self.online[topic.who] = decode(message.payload, Connection).state == "online"
            else:
                return False
        except Malformed:
            return False
        return True

    def found(self) -> tuple[Found, ...]:
        return tuple(
            Found(robot, sheet, self.online.get(robot, False), compatible(sheet))
            for robot, sheet in sorted(self.sheets.items())
        )


async def find(config: RobotConfig, dial: Dial, clock: Clock) -> tuple[Found, ...]:
    """The robots of the fleet, by id; those named in `config.ids` are waited for, up to `config.find_s`.

    With no ids, everything that the broker knows. dial: with a client id that nobody else uses
    Raises `LinkRefused`, and `LinkBroken` if there was no connection in the time.
    """
    until = clock.now() + round(config.find_s * SECOND)
    filters = _filters(config)
    while True:
        try:
            return await _ask(config, dial, clock, filters, until)
        except LinkBroken:
            if clock.now() + SECOND >= until:
                raise
        await clock.sleep_until(clock.now() + SECOND)


async def _ask(
    config: RobotConfig, dial: Dial, clock: Clock, filters: list[tuple[str, int]], until: int
) -> tuple[Found, ...]:  # fmt: skip
    seen = _Seen(config.fleet)
    async with dial(None) as connection:
        limit = asyncio.timeout_at(clock.deadline(until))
        try:
            async with limit:
                await connection.recall(filters)
                quiet = asyncio.timeout_at(None if config.ids else clock.deadline(clock.now() + SETTLE))
                async with quiet:
                    async for message in connection.messages():
                        if not seen.take(message):
                            continue
                        if config.ids and all(seen.online.get(id) and id in seen.sheets for id in config.ids):
                            break
                        if not config.ids:
                            quiet.reschedule(clock.deadline(clock.now() + SETTLE))
        except TimeoutError:
            pass
    return seen.found()


def _filters(config: RobotConfig) -> list[tuple[str, int]]:
    if not config.ids:
        return [(f"{ROOT}/{config.fleet}/+/{channel}", 1) for channel in ("factsheet", "connection")]
    channels: tuple[Channel, ...] = ("factsheet", "connection")
    return [(robot_topic(config.fleet, id, channel), 1) for id in config.ids for channel in channels]
