"""A robot behind its guards: messages, the driver's reports and the time go in, decisions come out.

    hear      a message came                    → what to tell and what to order from the driver
    sense     what the robot knows of itself    → the same
    tick      time went on                      → the same; some 50 times a second
    drive     what the base may be driven with now, whoever wishes what: the one way to its motors
    joints    the same for joints

No clock is read and nothing is sent: `docs/robot-contract.md` says what the program around it has to do.
"""

from collections.abc import Mapping
from typing import Any

from embodied.robot.admission import BASE, mode_allows
from embodied.robot.decisions import Effect, Heard, Note, Sensed, Tell, Velocity
from embodied.robot.factsheet import Factsheet, joint_of
from embodied.robot.hearing import Hearing
from embodied.robot.lifecycle import Ended
from embodied.robot.motion import Reach
from embodied.robot.post import Post, running_on
from embodied.robot.reports import Connection, Heartbeat, Safety
from embodied.robot.settings import GuardSettings
from embodied.robot.topics import DELIVERY, robot_topic
from embodied.robot.vocabulary import MS, PROTO, SECOND, EstopState, Presence, Reason

STATE_EVERY = 5 * SECOND
STATE_AT_MOST = 100 * MS
_STILL = Velocity()


class Guarded:
    """The guards of one robot, as the program around it sees them. Times are ns of one monotonic clock, and never fall.

    factsheet: what it announces, and what it enforces;  fleet, robot: the ids in its topics
    secret: some random bytes, new at each start, from which lease ids and tokens are made
    reach: where the tool is at given joint positions, if the factsheet has a workspace
    Raises `FactsheetInvalid`, here and nowhere later. A message never raises anything.
    """

    def __init__(
        self, factsheet: Factsheet, *, fleet: str, robot: str, secret: bytes, settings: GuardSettings | None = None,
        reach: Reach | None = None,
    ) -> None:  # fmt: skip
        self._post = Post(factsheet, settings or GuardSettings(), fleet, robot, secret, reach)
        self._hearing = Hearing(self._post)
        self._stated: int | None = None
        self._held: frozenset[str] = frozenset()
        self._rested = True
        self._safety: Safety | None = None

    # --- coming and going

    def hello(self, now: int) -> list[Effect]:
        """What to publish once connected, and again after each reconnection."""
        post = self._post
        post.telling.on("connection", self._connection("online"))
        post.telling.on("factsheet", post.factsheet)
        post.tell_safety()
        post.tell_lease()
        return self._after(now)

    def goodbye(self, now: int) -> list[Effect]:
        """Everything ends; what to publish before a clean disconnection."""
        self._post.end_all("cancelled", None, "the robot goes offline", now)
        self._post.telling.on("connection", self._connection("offline"))
        return self._after(now)

    def will(self) -> Tell:
        """The last will for the broker."""
        way = DELIVERY["connection"]
        topic = robot_topic(self._post.telling.fleet, self._post.telling.robot, "connection")
        return Tell(topic, self._connection("lost"), way.qos, way.retain)

    # --- what happens

    def hear(self, heard: Heard, now: int) -> list[Effect]:
        """A message came."""
        self._expire(now)
        self._hearing.hear(heard, now)
        return self._after(now)

    def sense(self, sensed: Sensed, now: int) -> list[Effect]:
        """What the robot knows of itself now."""
        self._post.sense(sensed, now)
        return self._after(now)

    def tick(self, now: int) -> list[Effect]:
        """Time went on: what has run out, the heartbeat, and the state if it is due."""
        self._expire(now)
        beat = self._post.beats.beat(now)
        if beat is not None:
            post = self._post
            estop: EstopState = "latched" if post.latch.latched else "none"
            post.telling.on(
                "heartbeat", Heartbeat(post.factsheet.boot, beat, max(0, now // MS), post.sensed.mode, estop)
            )
        return self._after(now)

    def progressed(self, id: str, now: int, progress: float | None = None, feedback: Any = None) -> list[Effect]:
        """The driver has come further with command `id`. progress: 0 to 1;  feedback: JSON"""
        self._post.book.progressed(id, progress, feedback, now)
        return self._after(now)

    def finished(
        self, id: str, how: Ended, now: int, *, reason: Reason | None = None, detail: str = "", result: Any = None
    ) -> list[Effect]:
        """The driver is at rest with command `id`: exactly once for each `Begin`, also after an `End`."""
        if not self._post.book.finished(id, how, now, reason, detail, result):
            self._post.telling.note(
                Note(now, "lifecycle", "ignored", id, detail="the driver finished what was not begun")
            )
        self._post.changed = True
        return self._after(now)

    def stop(self, source: str, now: int) -> list[Effect]:
        """The latched stop, from the robot's own side: a button, a watchdog of the program around."""
        self._post.stop(source, now)
        return self._after(now)

    @property
    def stop_token(self) -> str:
        """Of the stop that is latched now, for a button on the robot itself; empty if none is."""
        return self._post.latch.token

    # --- motion

    def drive(self, now: int, goal: str = "", wanted: Velocity = _STILL) -> Velocity:
        """What the base may be driven with now.

        goal, wanted: the id of the goal that drives, and what it wishes; taken only while that goal runs. A live
        stream goes before. Call it in every control step, also when nothing is wished: that is how it comes to rest.
        """
        self._expire(now)
        post = self._post
        wish = self._wish(now, goal, wanted)
        velocity = post.motors.drive(wish, post.sensed, now, stopped=post.latch.latched)
        self._report(now)
        return velocity

    def joints(self, now: int, goal: str = "", wanted: Mapping[str, float] | None = None) -> dict[str, float]:
        """Where the joints may go now (rad): like `drive`. Empty until it is known where they are."""
        self._expire(now)
        post = self._post
        wish: dict[str, float] = {}
        if wanted and (found := post.book.goals.get(goal)) is not None and found.state == "running":
            wish.update(wanted)
        for live in post.streams.live.values():
            values = live.track.at(now) if live.track is not None else live.values
            wish.update({joint_of(n): v for n, v in values.items() if joint_of(n) in post.factsheet.limits.joints})
        positions = post.motors.joints(wish, post.sensed, now, stopped=post.latch.latched or not self._mode_allows())
        self._report(now)
        return positions

    def _wish(self, now: int, goal: str, wanted: Velocity) -> Velocity:
        post = self._post
        if not self._mode_allows():
            return _STILL
        for live in post.streams.live.values():
            if BASE in live.capability.resources:
                if live.track is None and live.expires < post.motors.next(now):
                    return _STILL  # what goes to the motors now stays there until the next step: too long for this wish
                values = live.values
                if live.track is not None:
                    row = live.track.at(now) if now < live.track.end else {}
                    values = {q: row.get(f, 0.0) for q, f in (("vx", "x.vel"), ("vy", "y.vel"), ("wz", "theta.vel"))}
                return Velocity(values.get("vx", 0.0), values.get("vy", 0.0), values.get("wz", 0.0))
        return wanted if running_on(post, goal, BASE) is not None else _STILL

    def _mode_allows(self) -> bool:
        lease = self._post.desk.current
        return mode_allows(self._post.sensed.mode, lease.rank if lease is not None else "model")

    # --- inside

    def _report(self, now: int) -> None:
        """Events of what was just held back; they are in the effects of the next call."""
        post = self._post
        if post.motors.clamped:
            post.motors.clamped = False
            post.telling.event("limit_clamped", "info", "limits", now, reason="limit")
            post.telling.note(Note(now, "limits", "clamped", reason="limit"))
        held = frozenset(post.motors.held)
        for guard in sorted(held - self._held):
            reason: Reason = "geofence" if guard == "geofence" else "hardware" if guard == "odometry" else "obstacle"
            why = post.motors.held[guard]
            post.telling.event("guard_trip", "warning", guard, now, reason=reason, detail=why)
            post.telling.note(Note(now, guard, "stopped", reason=reason, detail=why))
        post.changed = post.changed or held != self._held
        self._held = held

    def _expire(self, now: int) -> None:
        post = self._post
        for live in post.streams.expire(now):
            name = live.capability.name
            post.telling.note(Note(now, "ttl", "stopped", name=name, reason="timeout", detail="no newer setpoint came"))
            post.telling.event("guard_trip", "info", f"{name} ttl", now, reason="timeout", detail="starved")
            post.changed = True
        if post.link is not None and post.link.silent(now, post.factsheet.timing.link_ms * MS):
            post.unlink(f"nothing of {post.link.agent} was heard", now)
        post.lapse(now)
        post.book.expire(now)

    def _after(self, now: int) -> list[Effect]:
        post = self._post
        post.changed = post.changed or post.rests != self._rested
        self._rested = post.rests
        old = self._stated is None or now - self._stated >= STATE_EVERY
        if old or (post.changed and self._stated is not None and now - self._stated >= STATE_AT_MOST):
            post.changed = False
            self._stated = now
            post.telling.on("state", post.state())
            if post.safety() != self._safety:
                self._safety = post.safety()
                post.telling.on("safety", self._safety)
        return post.telling.take()

    def _connection(self, state: Presence) -> Connection:
        return Connection(state, self._post.factsheet.boot, PROTO)
