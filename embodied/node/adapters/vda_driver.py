"""The driver of an AGV of VDA 5050: one order at a time, and the watch over what it lacks. See `vda5050.py`."""

import asyncio
import secrets
from collections.abc import Callable
from collections.abc import Mapping as Dict
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from embodied.node.adapters import mapping as m
from embodied.node.adapters.promises import kept
from embodied.node.adapters.vda_actions import ActionRule, AgvAction, actions_of, parameters
from embodied.node.adapters.vda_agv import Agv, speed_limit
from embodied.node.adapters.vda_route import Route
from embodied.node.driver import Task, TaskFailed
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.factsheet import Factsheet, Robot
from embodied.robot.vocabulary import StopCategory
from streams.clock import MS, SECOND, Clock

GOTO = "nav.goto"
ASK_S = 1.5  # for the answer to a stateRequest
IDLE_NS = 35 * SECOND  # an AGV with nothing to do tells its state every 30 s
ACCEPT_S = 3.0  # for an order or an action to show up in the state
HELD_NS = SECOND  # the guards may hold the base back for so long before the order is cancelled
OVER = 0.1  # m/s: faster than this above what the guards allow is too fast


class VdaOptions(m.Mapping, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`options` of a profile for an AGV.

    base_m: longest way (m) that is released ahead;  map_id: "" = the map that the AGV says it is on
    actions: rules for the actions of its factsheet, by actionType;  actions_key: "instantActions" for AGVs that want it
    """

    interface: str = "uagv"
    major: str = "v2"
    version: str = "2.1.0"
    manufacturer: str
    serial: str
    map_id: str = ""
    base_m: Annotated[float, Meta(ge=0.2, le=2.0)] = 2.0
    arrive_m: Annotated[float, Meta(ge=0.01, le=1.0)] = 0.1
    actions_key: str = "actions"
    actions: dict[str, ActionRule] = field(default_factory=dict)


class AgvDriver:
    """The driver. One order at a time; actions besides it where the profile lets them."""

    def __init__(self, agv: Agv, options: VdaOptions, factsheet: Factsheet, clock: Clock) -> None:
        self._agv, self._options, self._factsheet, self._clock = agv, options, factsheet, clock
        self._route: Route | None = None
        self._task: Task | None = None
        self._actions: dict[str, AgvAction] = {}
        self._warnings: tuple[str, ...] = ()
        self._held: int | None = None
        self._asked = self._urged = 0
        self._ours = False  # the pause is of our making
        self._paused = False  # what the task's own pause was told last
        self._boot = secrets.token_hex(4)
        self._orders = self._acting = 0

    def announce(self) -> Factsheet:
        """The profile's factsheet with what the AGV tells of itself: its actions, its name, its own highest speed."""
        sheet, told = self._factsheet, self._agv.factsheet
        self._actions = actions_of(told, self._options.actions)
        own = tuple(each.capability for each in self._actions.values() if each.capability.name not in
                    {known.name for known in sheet.capabilities})  # fmt: skip
        used = dict.fromkeys((*sheet.resources, *(name for each in own for name in each.resources)))
        fastest = speed_limit(told)
        limits = sheet.limits
        if fastest is not None and fastest < limits.v_max:
            limits = msgspec.structs.replace(limits, v_max=fastest)
        series = m.walk(told, "typeSpecification.seriesName")
        named = Robot(self._options.manufacturer, series[:100] if isinstance(series, str) else sheet.robot.model,
                      self._options.serial, sheet.robot.kind or "agv", sheet.robot.sw)  # fmt: skip
        whole = msgspec.structs.replace(
            sheet, robot=named, limits=limits, resources=tuple(used), capabilities=(*sheet.capabilities, *own)
        )
        bounded = frozenset({GOTO, *self._actions})
        self._factsheet, self._warnings = kept(whole, self._options.safety, bounded=bounded)
        return self._factsheet

    # --- the driver's five methods

    def sense(self, now: int) -> Sensed:
        """What the AGV says of itself; and the watch over it."""
        busy = self._route is not None or self._acting > 0
        gone = self._gone(now, busy=busy)
        if gone:
            self._agv.readings.placed = None
        elif (
            self._route is not None
            and self._agv.silence(now) > self._silent / 3
            and now - self._asked > self._silent / 3
        ):
            self._asked = now
            self._agv.ask("stateRequest")
        self._insist(now)
        own = (*((gone,) if gone else ()), *self._agv.troubles(), *self._warnings)
        return self._agv.readings.sensed(errors=own)

    def actuate(self, velocity: Velocity, joints: Dict[str, float], now: int) -> None:
        """What the guards allow: an AGV steers itself, so it is a permit. Too fast for it for a second, and it ends."""
        task = self._task
        if task is None or self._route is None:
            self._held = None
            return
        if task.paused != self._paused and self._agv.ask("startPause" if task.paused else "stopPause"):
            self._paused = task.paused
        speed = abs(self._agv.readings.sensed().velocity.vx)
        allowed = abs(velocity.vx)
        if task.paused or speed <= allowed + OVER:
            self._held = None
        elif self._held is None:
            self._held = now

    async def perform(self, task: Task) -> Any:
        """Drive there, or have an action done."""
        if self._agv.silence(self._clock.now()) > self._silent / 3:  # it may just have had nothing to tell
            self._agv.ask("stateRequest")
            await self._until(lambda: self._agv.silence(self._clock.now()) < self._silent / 3, ASK_S)
            await task.step()
        if gone := self._gone(self._clock.now(), busy=True):
            raise TaskFailed("link_lost", gone)
        if self._ours:
            await self._wake()
        if task.command.name == GOTO:
            return await self._go(task)
        action = self._actions.get(task.command.name)
        if action is None:
            raise TaskFailed("unknown_capability", f"this AGV has no {task.command.name}")
        return await self._act(task, action)

    def brake(self, category: StopCategory, why: str) -> None:
        """Pause it and cancel what it has: both, for an AGV that cannot cancel between nodes can still pause."""
        self._ours = True
        self._agv.ask("startPause", first=True)
        if self._route is not None or not self._agv.idle:
            self._agv.ask("cancelOrder", first=True)

    async def close(self) -> None:
        """End what is under way, as far as there is a link."""
        if self._route is not None:
            self.brake(1, "the adapter ends")
            self._route = None
        if self._agv.foreign is not None:
            await self._agv.foreign.close()

    # --- the watch

    @property
    def _silent(self) -> int:
        return self._options.presence.silent_ms * MS

    def _gone(self, now: int, *, busy: bool) -> str:
        """Why the AGV cannot be used now, or nothing. busy: it has something to tell"""
        foreign = self._agv.foreign
        if foreign is None or foreign.failure:
            return foreign.failure if foreign is not None else "not connected"
        if self._agv.online is False:
            return "the AGV says that it is not online"
        limit = self._silent if busy else max(self._silent, IDLE_NS)
        if self._agv.silence(now) > limit:
            there = "" if foreign.connected else ", and there is no link to its broker"
            return f"the AGV has said nothing for {limit / SECOND:g} s{there}"
        return ""

    def _insist(self, now: int) -> None:
        """What was to rest and does not: say it again, twice a second. So a stop that was lost comes through.

        That is an AGV that drives though we paused it, or that still has an order of ours which nobody wants: after a
        cancellation that was lost, with the link or without.
        """
        if now - self._urged < SECOND // 2 or self._agv.by_hand:
            return
        order = self._agv.state.get("orderId")
        ours = isinstance(order, str) and order.startswith(f"{self._boot}-")
        stray = self._route is None and not self._acting and ours and not self._agv.idle
        if stray or (self._ours and self._agv.driving):
            self._urged = now
            self.brake(1, "it was to rest")
        elif self._task is not None and self._task.paused and self._agv.driving:
            self._urged = now
            self._agv.ask("startPause", first=True)

    def changed(self, connected: bool) -> None:
        """The link to its broker came or went: what the AGV does has to be asked."""
        if connected:
            self._agv.ask("stateRequest")

    async def _wake(self) -> None:
        """Take back our own pause; a person's pause is not ours to end."""
        self._agv.ask("stopPause")
        if not await self._until(lambda: not self._agv.paused, 1.0):
            raise TaskFailed("hardware", "the AGV stays paused; somebody at the AGV may have to release it", None)
        self._ours = self._paused = False

    # --- an order

    async def _go(self, task: Task) -> Any:
        route = self._plan(task)
        self._task, self._route, self._paused, self._held = task, route, False, None
        done = False
        try:
            await self._drive(task, route)
            done = True
            pose = task.sensed.pose
            return {"x": round(pose[0], 3), "y": round(pose[1], 3), "yaw": round(pose[2], 3)} if pose else None
        finally:
            try:
                if not done:
                    await self._abandon(route)
            finally:
                self._task = self._route = None

    def _plan(self, task: Task) -> Route:
        pose, args = task.sensed.pose, task.command.args
        if pose is None:
            raise TaskFailed("hardware", "the AGV does not know where it is (agvPosition is not initialised)")
        where = self._options.map_id or m.walk(self._agv.state, "agvPosition.mapId")
        if not isinstance(where, str):
            raise TaskFailed("hardware", "the AGV does not say on which map it is; set options.map_id")
        self._orders += 1
        limits, yaw = self._factsheet.limits, args.get("yaw")
        return Route(
            f"{self._boot}-{self._orders}", pose[:2], (float(args["x"]), float(args["y"])), map_id=where,
            base_m=self._options.base_m, yaw=None if yaw is None else float(yaw), speed=limits.v_max, turn=limits.w_max,
            arrive_m=self._options.arrive_m,
        )  # fmt: skip

    async def _drive(self, task: Task, route: Route) -> None:
        if not self._agv.send("order", route.body()):
            raise TaskFailed("link_lost", "there is no link to the AGV's broker")
        begun, sent = self._clock.now(), self._clock.now()
        while not self._arrived(route):
            now = self._clock.now()
            if gone := self._gone(now, busy=True):
                raise TaskFailed("link_lost", gone)
            if why := self._agv.refused(route.order):
                raise TaskFailed("hardware", f"the AGV refuses or gives up the order: {why}")
            if self._held is not None and now - self._held > HELD_NS:
                raise TaskFailed("obstacle", "the AGV is faster than its guards allow; see `guards` of its safety")
            has = self._agv.has(route.order, route.update)
            if not has and now - sent > ACCEPT_S * SECOND:
                raise TaskFailed("timeout", f"the AGV did not take the order within {ACCEPT_S:g} s")
            dropped = has and self._agv.idle and self._agv.reached < route.last and not self._agv.paused
            if dropped and now - begun > SECOND:
                raise TaskFailed("hardware", "the AGV has dropped the order; somebody else may have cancelled it")
            if self._agv.has(route.order) and route.reach(self._agv.reached):
                if not self._agv.send("order", route.body()):
                    raise TaskFailed("link_lost", "there is no link to the AGV's broker")
                sent = now
            self._tell(task, route)
            await task.step()
            if task.paused or self._agv.paused:
                begun = sent = self._clock.now()

    def _arrived(self, route: Route) -> bool:
        agv = self._agv
        return route.whole and agv.has(route.order, route.update) and agv.reached == route.last and agv.idle

    def _tell(self, task: Task, route: Route) -> None:
        pose = task.sensed.pose
        task.drive(Velocity(vx=task.sensed.velocity.vx, wz=task.sensed.velocity.wz))
        if pose is not None:
            left = route.left(pose[0], pose[1])
            feedback = {"left_m": round(left, 2), "paused": self._agv.paused}
            task.progress(max(0.0, 1 - left / route.length) if route.length > 0.05 else None, feedback)

    async def _abandon(self, route: Route) -> None:
        """Cancel the order, and see that it rests; else pause it, so that it does."""
        self._agv.ask("cancelOrder", first=True)

        def rests() -> bool:
            return self._agv.idle or not self._agv.has(route.order)

        if not await self._until(rests, 1.2):
            self._ours = True
            self._agv.ask("startPause", first=True)
            await self._until(lambda: not self._agv.driving, 0.4)

    # --- an action

    async def _act(self, task: Task, action: AgvAction) -> Any:
        self._acting += 1
        try:
            if action.instant:
                id = self._agv.ask(action.kind, parameters(task.command.args))
                if not id:
                    raise TaskFailed("link_lost", "there is no link to the AGV's broker")
            else:
                id = self._ask_here(task, action)
            return await self._watch(task, action, id)
        except asyncio.CancelledError:
            if action.capability.resources == ("base",) or not action.instant:
                self.brake(2, f"{action.kind} is not wanted any more")  # VDA 5050 cannot end a single action
            raise
        finally:
            self._acting -= 1

    def _ask_here(self, task: Task, action: AgvAction) -> str:
        """An action that only nodes may have: an order of one node, where the AGV stands."""
        pose = task.sensed.pose
        where = self._options.map_id or m.walk(self._agv.state, "agvPosition.mapId")
        if pose is None or not isinstance(where, str):
            raise TaskFailed("hardware", "the AGV does not know where it is")
        self._orders += 1
        route = Route(f"{self._boot}-{self._orders}", pose[:2], pose[:2], map_id=where, arrive_m=0.5)
        body, id = route.body(), f"{route.order}.{action.kind}"
        body["nodes"][0]["actions"] = [{
            "actionType": action.kind, "actionId": id, "blockingType": "HARD",
            "actionParameters": parameters(task.command.args),
        }]  # fmt: skip
        if not self._agv.send("order", body):
            raise TaskFailed("link_lost", "there is no link to the AGV's broker")
        return id

    async def _watch(self, task: Task, action: AgvAction, id: str) -> Any:
        begun = self._clock.now()
        while True:
            status, said = self._agv.action(id)
            if status == "FINISHED":
                return {"result": said} if said else None
            if status == "FAILED":
                raise TaskFailed("hardware", f"{action.kind} failed: {said or 'the AGV does not say why'}")
            if gone := self._gone(self._clock.now(), busy=True):
                raise TaskFailed("link_lost", gone)
            if not status and self._clock.now() - begun > ACCEPT_S * SECOND:
                raise TaskFailed("timeout", f"the AGV did not take {action.kind} within {ACCEPT_S:g} s")
            await task.step()

    async def _until(self, met: Callable[[], bool], seconds: float) -> bool:
        return self._agv.foreign is not None and await self._agv.foreign.until(met, seconds)
