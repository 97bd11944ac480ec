"""Robots that keep the contract, and robots that break it on purpose: each fault is one small change to the guards."""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from embodied.link.port import Connection, Dial, Message, Outgoing
from embodied.node.driver import Task
from embodied.node.node import RobotNode
from embodied.robot.decisions import Effect, Heard, Sensed, Velocity
from embodied.robot.factsheet import Capability, Factsheet, Limits, Tool
from embodied.robot.guarded import Guarded
from embodied.robot.setpoints import Live
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import SECOND, StopCategory
from streams.clock import Clock

FLEET, ROBOT = "lab", "r1"
STILL = Velocity()


def number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


CAPABILITIES = (
    Capability("move", "goal", obj("distance_m", distance_m=number(-5, 5)), resources=("base",), pausable=True,
               quantities={"distance_m": "distance"}, tool=Tool("Drive.", True)),
    Capability("turn", "goal", obj("angle_rad", angle_rad=number(-6.3, 6.3)), resources=("base",), pausable=True,
               quantities={"angle_rad": "angle"}, tool=Tool("Turn.", True)),
    Capability("base.velocity", "stream", obj(vx=number(-1, 1), wz=number(-3, 3)), resources=("base",),
               quantities={"vx": "vx", "wz": "wz"}),
    Capability("lamp", "instant", obj("on", on={"type": "boolean"}), risk=0, tool=Tool("Light.", True)),
)  # fmt: skip


def factsheet() -> Factsheet:
    return Factsheet("1.0", 1, "", limits=Limits(), resources=("base",), capabilities=CAPABILITIES)


class Base:
    """A driver: a base in an empty room. skew: what it makes of each speed (1.0: what it is told);  sudden: no ramps"""

    def __init__(self, skew: float = 1.0, *, sudden: bool = False) -> None:
        self.sudden = sudden
        self.x = self.y = self.yaw = 0.0
        self.velocity = Velocity()
        self.skew = skew
        self._told = 0.0
        self._then: int | None = None

    def sense(self, now: int) -> Sensed:
        dt = 0.0 if self._then is None else min((now - self._then) / SECOND, 0.2)  # motors stop by themselves
        self._then = now
        v = self.velocity
        self.x += v.vx * math.cos(self.yaw) * dt
        self.y += v.vx * math.sin(self.yaw) * dt
        self.yaw += v.wz * dt
        return Sensed(odom_t=now, pose=(self.x, self.y, self.yaw), velocity=v, battery=0.9)

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        vx = velocity.vx * self.skew
        if self.sudden and 0 < abs(vx) < 0.2 and abs(vx) > self._told:
            self._told, vx = abs(vx), math.copysign(0.2, vx)
        else:
            self._told = abs(vx)
        self.velocity = Velocity(vx, 0.0, velocity.wz * self.skew)

    async def perform(self, task: Task) -> Any:
        args = task.command.args
        if task.command.name == "lamp":
            return {"on": args["on"]}
        angle = task.command.name == "turn"
        left = args["angle_rad"] if angle else args["distance_m"]
        whole = max(abs(left), 1e-6)
        last: tuple[float, float, float] | None = None
        while abs(left) > 0.01:
            if task.sensed.pose is not None:
                x, y, yaw = task.sensed.pose
                if last is not None:
                    gone = abs(yaw - last[2]) if angle else math.hypot(x - last[0], y - last[1])
                    left = math.copysign(max(0.0, abs(left) - gone), left)
                last = (x, y, yaw)
            speed = math.copysign(min(1.0 if angle else 0.3, abs(left) * 3 + 0.02), left)
            task.drive(Velocity(wz=speed) if angle else Velocity(vx=speed))
            task.progress(1 - abs(left) / whole, {"left": round(abs(left), 3)})
            await task.step()
        return None

    def brake(self, category: StopCategory, why: str) -> None:
        pass

    async def close(self) -> None:
        self.velocity = Velocity()


# --- faults: each takes the guards of a robot that keeps the contract, and breaks one thing


def ignores_ttl(guarded: Guarded) -> None:
    guarded._post.streams.ttl = lambda asked_ms, capability, *, fast: 3600 * SECOND  # type: ignore[method-assign]


def executes_duplicates(guarded: Guarded) -> None:
    seen, book, meet = guarded._post.seen, guarded._post.book, guarded._post.seen.meet

    def forgetful(id: str, payload: bytes, now: int) -> Any:
        met = meet(id, payload, now)
        if met == "new" or id in book.goals:
            return met
        seen._met[id] = seen._done.pop(id, None) or seen._met[id]
        return "new"

    seen.meet = forgetful  # type: ignore[method-assign]


def accepts_stale(guarded: Guarded) -> None:
    judge = guarded._post.beats.judge
    guarded._post.beats.judge = lambda fresh, now: None if judge(fresh, now) == "stale" else judge(fresh, now)  # type: ignore[method-assign]


def accepts_any_boot(guarded: Guarded) -> None:
    judge = guarded._post.beats.judge
    guarded._post.beats.judge = lambda fresh, now: None if judge(fresh, now) == "wrong_boot" else judge(fresh, now)  # type: ignore[method-assign]


def reset_restarts(guarded: Guarded) -> None:
    """What drove before the stop drives on after the reset."""
    post, kept = guarded._post, dict[str, Live]()
    stop, reset = post.stop, post.latch.reset

    def stopping(source: str, now: int) -> None:
        kept.update(post.streams.live)
        stop(source, now)

    def resetting(wish: Any, *, stands: bool) -> str:
        why = reset(wish, stands=stands)
        if not why:
            for live in kept.values():
                post.streams.put(live._replace(expires=2**62))
            kept.clear()
        return why

    post.stop = stopping  # type: ignore[method-assign]
    post.latch.reset = resetting  # type: ignore[method-assign]


def any_token_resets(guarded: Guarded) -> None:
    latch, reset = guarded._post.latch, guarded._post.latch.reset

    def trusting(wish: Any, *, stands: bool) -> str:
        return reset(type(wish)(latch.token, wish.by, wish.proof), stands=stands)

    latch.reset = trusting  # type: ignore[method-assign]


def needs_no_lease(guarded: Guarded) -> None:
    guarded._post.desk.holds = lambda sender, lease, now: True  # type: ignore[method-assign]


def takes_any_order(guarded: Guarded) -> None:
    guarded._post.streams.in_order = lambda owner, name, seq: True  # type: ignore[method-assign]


def stops_gently(guarded: Guarded) -> None:
    """A stop that takes its time: the base rolls on for half a second."""
    drive, post = guarded.drive, guarded._post
    rolling: dict[str, Any] = {}

    def slow(now: int, goal: str = "", wanted: Velocity = STILL) -> Velocity:
        asked = drive(now, goal, wanted)
        if not post.latch.latched:
            rolling.update(v=asked, until=now + SECOND // 2)
            return asked
        return rolling["v"] if now < rolling.get("until", 0) else asked

    guarded.drive = slow  # type: ignore[method-assign]


def reads_before_it_stops(guarded: Guarded) -> None:
    """A malformed stop is taken for noise."""
    hear = guarded.hear

    def picky(heard: Heard, now: int) -> list[Effect]:
        if heard.topic.endswith(("estop/set", "command/stop")) and not heard.payload.startswith(b"{"):
            return []
        return hear(heard, now)

    guarded.hear = picky  # type: ignore[method-assign]


def no_rates(guarded: Guarded) -> None:
    for rate in (guarded._post.gate._goals, guarded._post.gate._streams):
        rate.count = 10**9


FAULTS: dict[str, Callable[[Guarded], None]] = {
    each.__name__: each
    for each in (
        ignores_ttl, executes_duplicates, accepts_stale, accepts_any_boot, reset_restarts, any_token_resets,
        needs_no_lease, takes_any_order, stops_gently, reads_before_it_stops, no_rates,
    )
}  # fmt: skip


@asynccontextmanager
async def _asks_for_the_old(dial: Dial, will: Outgoing | None) -> AsyncIterator[Connection]:
    """A connection that has what is retained sent, and takes it for new."""
    async with dial(will) as connection:
        yield _Trusting(connection)


class _Trusting:
    def __init__(self, connection: Connection) -> None:
        self._connection, self.version = connection, connection.version
        self.publish, self.subscribe, self.recall = connection.publish, connection.recall, connection.recall

    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._connection.messages():
            yield message._replace(retained=False)


DRIVERS: dict[str, Callable[[], Base]] = {"too_fast": lambda: Base(1.6), "too_sudden": lambda: Base(sudden=True)}


def robot(
    dial: Dial, clock: Clock, *, fault: str = "", secret: bytes = b"s" * 16, operator_key: bytes | None = None
) -> RobotNode:
    """A robot with the fault of that name: of its guards, its driver or its link; or with none."""
    settings = GuardSettings(operator_key=operator_key)
    through: Dial = (lambda will: _asks_for_the_old(dial, will)) if fault == "obeys_retained" else dial
    node = RobotNode(
        factsheet(), DRIVERS.get(fault, Base)(), through, clock, fleet=FLEET, robot=ROBOT, settings=settings,
        secret=secret,
    )  # fmt: skip
    if fault in FAULTS:
        FAULTS[fault](node.guarded)
    return node
