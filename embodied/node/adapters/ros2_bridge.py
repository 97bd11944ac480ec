"""A robot with ROS 2 behind ika's `mqtt_client` (github.com/ika-rwth-aachen/mqtt_client), behind our guards.

The bridge carries topics as JSON (`json: true` with a fixed `ros_type`); it has no time-to-live, QoS 0 and a keep-alive
of 60 s by default. So the velocity is repeated while it is wanted and not otherwise, and whoever drives the motors on
the robot must stop them by himself when it is not repeated: `safety.robot_timeout_ms` says that he does, and after how
long. (twist_mux does not: it only drops who is silent. diff_drive_controller's `cmd_vel_timeout` and the velocity
smoother of nav2 do.) Actions are not bridged: goals are driven from here, by odometry. See docs/adapters.md.
"""

from collections.abc import Mapping as Dict
from typing import Annotated, Any

from msgspec import Meta

from embodied.link.port import Dial
from embodied.node.adapters import mapping as m
from embodied.node.adapters.foreign import Foreign, NobodyThere, dial_to
from embodied.node.adapters.promises import kept
from embodied.node.adapters.readings import Readings
from embodied.node.driver import Driver, Task, TaskFailed
from embodied.node.goals import Base
from embodied.node.profile import Profile, options_of
from embodied.robot.admission import BASE
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import StopCategory
from streams.clock import MS, SECOND, Clock

VELOCITY = "base.velocity"
GOALS = ("move", "turn", "come_back", "nav.goto")
ZEROS = 5  # how often rest is said before silence says it
GIVEN: dict[str, Any] = {"vx": 0.0, "vy": 0.0, "wz": 0.0, "sec": 0, "nanosec": 0}


class BridgeOptions(m.Mapping, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`options` of a profile for a bridge. repeat_hz: how often a velocity is said again while it is wanted

    The template of `base.velocity` may use $vx, $vy, $wz, and $sec and $nanosec of the wall clock for stamped messages.
    """

    repeat_hz: Annotated[float, Meta(ge=2, le=50)] = 10.0


async def connect(profile: Profile, robot: str, clock: Clock) -> tuple[Factsheet, Driver]:
    """Connect to the bridge's broker and wait for odometry. To be closed by the task that connects.

    Raises `ProfileInvalid` or `MappingInvalid`, `LinkError`, and `NobodyThere` if nothing came within `wait_s`.
    """
    options = options_of(profile, BridgeOptions)
    return await attach(profile, robot, clock, dial_to(options, f"visavis-{robot}-ros"))


async def attach(profile: Profile, robot: str, clock: Clock, dial: Dial) -> tuple[Factsheet, Driver]:
    """`connect`, over a connection of the caller's choice."""
    options = options_of(profile, BridgeOptions)
    sheet, warnings = kept(profile.factsheet, options.safety)
    m.lint(options, profile.factsheet.capabilities, profile.name, GIVEN)
    for each in sheet.capabilities:
        if BASE in each.resources and VELOCITY not in options.capabilities:
            raise m.MappingInvalid(
                f"{profile.name}: {each.name} needs options.capabilities.{VELOCITY} (topic, template)."
            )
        if BASE in each.resources and each.name not in (*GOALS, VELOCITY):
            raise m.MappingInvalid(
                f"{profile.name}: this adapter cannot drive {each.name}; it knows {', '.join(GOALS)}."
            )
        if BASE not in each.resources and each.name not in options.capabilities:
            raise m.MappingInvalid(f"{profile.name}: options.capabilities does not say how {each.name} is asked for.")
    driver = BridgeDriver(options, sheet, warnings, clock)
    topics = [(each.topic, each.qos) for each in options.inlets if not each.recalled]
    recalled = [(each.topic, each.qos) for each in options.inlets if each.recalled]
    recalled += [(options.presence.topic, 1)] if options.presence.topic else []
    known = {topic for topic, _ in (*topics, *recalled)}
    topics += [
        (topic, 0) for topic in dict.fromkeys(each.topic for each in options.status.values()) if topic not in known
    ]
    driver.foreign = foreign = Foreign(dial, clock, driver.hear, topics=topics, recalled=recalled, name=f"{robot} ros")
    await foreign.open()
    try:
        if options.inlets and not await foreign.until(lambda: driver.readings.heard is not None, options.wait_s):
            raise NobodyThere(
                f"robot {robot}: the ROS bridge cannot be used: {foreign.why(options.inlets[0].topic)}. Check broker "
                "and topics of the profile, and that the bridge sends JSON (`json: true`)."
            )
    except BaseException:
        await driver.close()
        raise
    return sheet, driver


class BridgeDriver:
    """The driver: velocity out, odometry in, goals by odometry, and what else the profile maps."""

    def __init__(self, options: BridgeOptions, sheet: Factsheet, warnings: tuple[str, ...], clock: Clock) -> None:
        self._options, self._warnings, self._clock = options, warnings, clock
        self._base = Base(sheet.limits)
        self._period = round(SECOND / options.repeat_hz)
        self._missing = {each.name: dict.fromkeys(m.example(each.params)) for each in sheet.capabilities}
        self._sent = -self._period
        self._zeros = ZEROS
        self._offline = False
        self._news: dict[str, list[Any]] = {}
        self.readings = Readings(options.inlets)
        self.foreign: Foreign | None = None

    def hear(self, topic: str, body: Any, retained: bool) -> None:
        """Something the bridge carried, or its last will."""
        presence = self._options.presence
        if presence.topic and topic == presence.topic:
            said = m.walk(body, presence.path)
            self._offline = isinstance(said, str) and said in presence.offline
        if self.readings.take(topic, body, self._clock.now()) and not retained:
            self._offline = False
        for waiting in self._news.get(topic, ()):
            waiting.append(body)

    # --- the driver's five methods

    def sense(self, now: int) -> Sensed:
        """The newest odometry. Old is left to the guards; lost counts as none."""
        gone = self._gone(now)
        if gone:
            self.readings.placed = None
        return self.readings.sensed(errors=(*((gone,) if gone else ()), *self._warnings))

    def actuate(self, velocity: Velocity, joints: Dict[str, float], now: int) -> None:
        """Say the velocity while it is wanted; rest, some times; then nothing, and the robot's own time-out has it."""
        if velocity.still and self._zeros >= ZEROS:
            return
        at_once = velocity.still and self._zeros == 0
        if now - self._sent < self._period and not at_once:
            return
        self._zeros = self._zeros + 1 if velocity.still else 0
        self._sent = now
        self._say(velocity)

    async def perform(self, task: Task) -> Any:
        """A goal of the base, or something that the profile maps."""
        if gone := self._gone(self._clock.now()):
            raise TaskFailed("link_lost", gone)
        name = task.command.name
        if name in GOALS:
            return await self._base.perform(task)
        outlet, ending = self._options.capabilities.get(name), self._options.status.get(name)
        if outlet is None or self.foreign is None:
            raise TaskFailed("unknown_capability", f"the profile does not say how {name} is asked for")
        args = {**self._missing.get(name, {}), **self._stamp(), **task.command.args}
        came: list[Any] = []
        if ending is not None:
            self._news.setdefault(ending.topic, []).append(came)
        try:
            if not self.foreign.send(outlet.topic, m.render(outlet.template, args, name), outlet.qos):
                raise TaskFailed("link_lost", "there is no link to the bridge's broker")
            if ending is None:
                return {"confirmed": False}
            wanted = m.render(ending.equals, args, name)

            def met() -> bool:
                return any(m.walk(each, ending.path) == wanted for each in came)

            if not await self.foreign.until(met, ending.timeout_ms / 1000):
                raise TaskFailed(
                    "timeout", f"{ending.topic} did not tell that {name} is done in {ending.timeout_ms} ms"
                )
            return {"confirmed": True}
        finally:
            if ending is not None:
                self._news[ending.topic].remove(came)

    def brake(self, category: StopCategory, why: str) -> None:
        """Rest, said at once."""
        if self._zeros < ZEROS:
            self._say(Velocity())

    async def close(self) -> None:
        """Rest, and give back the link."""
        self.brake(1, "the adapter ends")
        if self.foreign is not None:
            await self.foreign.close()

    # --- inside

    def _say(self, velocity: Velocity) -> None:
        outlet = self._options.capabilities.get(VELOCITY)
        if outlet is None or self.foreign is None:
            return
        args = {**self._stamp(), "vx": velocity.vx, "vy": velocity.vy, "wz": velocity.wz}
        self.foreign.send(outlet.topic, m.render(outlet.template, args, VELOCITY), 0)

    def _stamp(self) -> dict[str, int]:
        when = self._clock.wall(self._clock.now())
        return {"sec": int(when.timestamp()), "nanosec": when.microsecond * 1000}

    def _gone(self, now: int) -> str:
        if self.foreign is None or self.foreign.failure or not self.foreign.connected:
            return (
                self.foreign.failure if self.foreign is not None else ""
            ) or "there is no link to the bridge's broker"
        if self._offline:
            return "the bridge says that it has gone (its last will)"
        silent = self._options.presence.silent_ms
        if self._options.inlets and (self.readings.heard is None or now - self.readings.heard > silent * MS):
            return f"the bridge has said nothing for {silent} ms"
        return ""
