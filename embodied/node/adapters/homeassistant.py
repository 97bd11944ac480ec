"""A device that announces itself by Home Assistant's MQTT discovery, behind our guards. See docs/adapters.md.

Only entities that the profile lists become capabilities. What is asked for has happened when the device says so; when
it does not within five seconds, it has failed, whatever may be happening. There are no streams. A stop is sent to
every cover and vacuum that may be moving. What a device announces after the start changes nothing until the next one.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from embodied.link.port import Dial
from embodied.node.adapters import mapping as m
from embodied.node.adapters.foreign import Foreign, NobodyThere, dial_to
from embodied.node.adapters.ha_discovery import Entity, discovered
from embodied.node.adapters.ha_entities import Ask, EntityRule, Wanted, asks, met, order
from embodied.node.driver import Driver, Task, TaskFailed
from embodied.node.profile import Profile, options_of
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import StopCategory
from streams.clock import Clock

AGAIN_S = 1.0  # for a device to repeat a state that it has already
_AT_REST = ("docked", "idle", "paused", "")


class HomeOptions(m.Mapping, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`options` of a profile for a Home Assistant device.

    prefix: of discovery topics;  entities: rules by unique_id, object_id or the component's key: nothing else is used
    answer_s: how long the device may take to tell the state that was wanted
    """

    prefix: str = "homeassistant"
    entities: Annotated[dict[str, EntityRule], Meta(min_length=1)] = field(default_factory=dict)
    answer_s: Annotated[float, Meta(gt=0, le=60)] = 5.0


async def connect(profile: Profile, robot: str, clock: Clock) -> tuple[Factsheet, Driver]:
    """Connect to the device's broker and wait until the listed entities have announced themselves.

    Those that have not within `wait_s` are left out, and told among the errors. To be closed by the task that connects.
    Raises `ProfileInvalid` or `MappingInvalid`, `LinkError`, and `NobodyThere` if none did.
    """
    options = options_of(profile, HomeOptions)
    return await attach(profile, robot, clock, dial_to(options, f"visavis-{robot}-home"))


async def attach(profile: Profile, robot: str, clock: Clock, dial: Dial) -> tuple[Factsheet, Driver]:
    """`connect`, over a connection of the caller's choice."""
    options = options_of(profile, HomeOptions)
    if not options.entities:
        raise m.MappingInvalid(f"{profile.name}: options.entities lists no entity. See docs/adapters.md.")
    names = [rule.name for rule in options.entities.values()]
    if len(set(names)) != len(names):
        raise m.MappingInvalid(f"{profile.name}: options.entities gives the same name to two entities.")
    m.check_topic(options.prefix, profile.name)
    m.lint(options, profile.factsheet.capabilities, profile.name)
    found: dict[str, Entity] = {}

    def hear(topic: str, body: Any, retained: bool) -> None:
        for entity in discovered(topic, body, options.prefix) or ():
            for id in entity.ids:
                if id in options.entities:
                    found.setdefault(id, entity)

    topics = [(f"{options.prefix}/+/+/config", 1), (f"{options.prefix}/+/+/+/config", 1)]
    looking = Foreign(dial, clock, hear, recalled=topics, name=f"{robot} discovery")
    await looking.open()
    try:
        await looking.until(lambda: len(found) == len(options.entities), options.wait_s)
        why = looking.why(f"{options.prefix}/#")
    finally:
        await looking.close()
    usable = {id: each for id, each in found.items() if not each.left}
    troubles = [f"{id}: {each.left}" for id, each in found.items() if each.left]
    troubles += [f"{id}: did not announce itself" for id in options.entities if id not in found]
    if not usable:
        raise NobodyThere(f"robot {robot}: no entity can be used: {'; '.join(troubles)[:600]}. ({why})")
    driver = HomeDriver(options, usable, tuple(troubles), clock)
    foreign = Foreign(dial, clock, driver.hear, recalled=driver.topics, name=f"{robot} home")
    await driver.begin(foreign)
    own = tuple(each.capability for each in driver.asks.values())
    resources = dict.fromkeys((*profile.factsheet.resources, *(name for each in own for name in each.resources)))
    sheet = msgspec.structs.replace(profile.factsheet, resources=tuple(resources), capabilities=own)
    return sheet, driver


class HomeDriver:
    """The driver. asks: by capability name;  topics: of states and availability"""

    def __init__(
        self, options: HomeOptions, entities: dict[str, Entity], troubles: tuple[str, ...], clock: Clock
    ) -> None:
        self._options, self._entities, self._troubles, self._clock = options, entities, troubles, clock
        self.asks: dict[str, Ask] = {}
        for id, entity in entities.items():
            for each in asks(entity, options.entities[id]):
                self.asks[each.capability.name] = each
        self._states: dict[str, Any] = {}
        self._said: dict[str, int] = {}
        self._there: dict[str, str] = {}
        self._latest: dict[str, bool] = {}
        self._moving: set[str] = set()
        wanted = [each.text("state_topic") for each in entities.values()]
        wanted += [one.topic for each in entities.values() for one in each.available]
        self.topics = [(topic, 1) for topic in dict.fromkeys(wanted) if topic]
        self._foreign: Foreign | None = None

    async def begin(self, foreign: Foreign) -> None:
        """Listen to states, and wait a moment for those that the broker has kept."""
        self._foreign = foreign
        await foreign.open()
        await foreign.until(lambda: foreign.connected, self._options.wait_s)

    def hear(self, topic: str, body: Any, retained: bool) -> None:
        """A state, or whether it is there."""
        for entity in self._entities.values():
            for one in entity.available:
                if one.topic == topic:
                    said = m.walk(body, one.path)
                    word = said if isinstance(said, str) else ""
                    if word in (one.yes, one.no):
                        self._there[topic] = word
                        self._latest[entity.ids[0]] = word == one.yes
        self._states[topic] = body
        self._said[topic] = self._said.get(topic, 0) + (0 if retained else 1)

    # --- the driver's five methods

    def sense(self, now: int) -> Sensed:
        """It stands where it stands; what cannot be used now is among the errors."""
        gone = [f"{id}: {why}" for id, each in self._entities.items() if (why := self._gone(each))]
        return Sensed(errors=(*gone, *self._troubles)[:20])

    def actuate(self, velocity: Velocity, joints: Any, now: int) -> None:
        """Nothing of it is driven."""

    async def perform(self, task: Task) -> Any:
        """Ask, and wait for the state that says that it was done."""
        ask = self.asks.get(task.command.name)
        if ask is None or self._foreign is None:
            raise TaskFailed("unknown_capability", f"this device has no {task.command.name}")
        if gone := self._gone(ask.entity):
            raise TaskFailed("link_lost", gone)
        try:
            sent, wanted = order(ask, task.command.args)
        except ValueError as error:
            raise TaskFailed("limit", str(error)) from None
        topic = ask.entity.text("state_topic")
        before, already = self._said.get(topic, 0), met(self._state(ask.entity), wanted)
        for where, payload in sent:
            if not self._foreign.send(where, payload):
                raise TaskFailed("link_lost", "there is no link to the device's broker")
        if ask.entity.platform in ("cover", "vacuum"):
            self._moving.add(ask.entity.ids[0])
        if not topic or not (wanted or isinstance(wanted, float)):
            return {"confirmed": False}  # a button, or a device that never tells its state
        return await self._confirmed(ask, wanted, topic, before, already=already)

    async def _confirmed(self, ask: Ask, wanted: Wanted | float, topic: str, before: int, *, already: bool) -> Any:
        foreign = self._foreign
        if foreign is None:
            raise TaskFailed("link_lost", "there is no link to the device's broker")

        def told() -> bool:
            return self._said.get(topic, 0) > before and met(self._state(ask.entity), wanted)

        done = await foreign.until(
            lambda: told() or bool(self._gone(ask.entity)), AGAIN_S if already else self._options.answer_s
        )
        if told():
            return {"confirmed": True}
        if gone := self._gone(ask.entity):
            raise TaskFailed("link_lost", gone)
        if already and not done and met(self._state(ask.entity), wanted):
            return {"confirmed": True, "already": True}
        raise TaskFailed("timeout", f"the device did not tell the wanted state within {self._options.answer_s:g} s; "
                         f"it says {str(self._state(ask.entity))[:80]!r}")  # fmt: skip

    def brake(self, category: StopCategory, why: str) -> None:
        """Stop every cover and vacuum that is not known to be at rest."""
        for entity in self._entities.values():
            if entity.platform not in ("cover", "vacuum") or self._foreign is None:
                continue
            if entity.ids[0] in self._moving or not self._rests(entity):
                word = "STOP" if entity.platform == "cover" else "stop"
                self._foreign.send(entity.text("command_topic"), entity.text("payload_stop", word), first=True)
        self._moving.clear()

    async def close(self) -> None:
        """Stop what moves, and give back the link."""
        if self._foreign is not None:
            self.brake(1, "the adapter ends")
            await self._foreign.close()

    # --- inside

    def _state(self, entity: Entity) -> Any:
        body = self._states.get(entity.text("state_topic"))
        default = "state" if entity.platform == "vacuum" or entity.config.get("schema") == "json" else ""
        found = m.walk(body, entity.path or default)
        return None if found is m.MISSING else found

    def _rests(self, entity: Entity) -> bool:
        state = self._state(entity)
        if entity.platform == "vacuum":
            return state is None or state in _AT_REST
        moving = (entity.text("state_opening", "opening"), entity.text("state_closing", "closing"))
        return state not in moving

    def _gone(self, entity: Entity) -> str:
        """Why it cannot be asked now. `availability_mode`: all, any, or the latest word (the default)."""
        if self._foreign is None or self._foreign.failure or not self._foreign.connected:
            return (self._foreign.failure if self._foreign else "") or "there is no link to its broker"
        if not entity.available:
            return ""
        yes = [self._there.get(one.topic) == one.yes for one in entity.available]
        mode = entity.text("availability_mode", "latest")
        there = all(yes) if mode == "all" else any(yes) if mode == "any" else self._latest.get(entity.ids[0], False)
        return "" if there else "it says that it is not available"
