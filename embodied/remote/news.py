"""What the session is told of a robot: on FEEDBACK, when it changes, and never as often as the network might wish."""

from collections.abc import Callable, Sequence
from typing import Any

from embodied.remote.capabilities import attached
from embodied.remote.client import RobotClient
from embodied.remote.saying import said
from embodied.robot.factsheet import Factsheet
from embodied.robot.rates import Rate
from embodied.robot.reports import Happening
from embodied.robot.vocabulary import MS, SECOND
from streams.clock import Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Attached, BodyState, Fault, Offer, Offered, Progress, Recovered, Tripped

STATES = 200 * MS
CLAMPED = 2 * SECOND
ALWAYS = frozenset({"StopUnconfirmed", "StopGivenUp", "StopLatched"})
"""Faults that are told however many others there were."""


class News:
    """`embodied.remote.client.Listener` that publishes. offers: what to offer, asked for when it may have changed"""

    def __init__(
        self, client: RobotClient, publisher: Publisher, clock: Clock, offers: Callable[[], Sequence[Offer]]
    ) -> None:  # fmt: skip
        self.dropped = 0
        self._client, self._publisher, self._clock, self._offers = client, publisher, clock, offers
        self._where = client.robot
        self._state: BodyState | None = None
        self._state_at = 0
        self._attached: Attached | None = None
        self._offered: tuple[Offer, ...] | None = None
        self._events, self._faults, self._steps = Rate(5, 1.0), Rate(10, 10.0), Rate(20, 1.0)
        self._clamped_at: int | None = None
        self._counts: dict[str, int] = {}

    # --- Listener

    def attached(self, factsheet: Factsheet) -> None:
        """See `Listener`."""
        found = attached(self._where, factsheet)
        if found != self._attached:
            self._attached = found
            self._publish(found)
        self.offer()

    def happened(self, event: Happening) -> None:
        """See `Listener`. What is not told now is counted, and told with the next of its guard."""
        now = self._clock.now()
        guard = said(event.guard)[:40] or event.kind
        count = min(self._counts.pop(guard, 0) + max(1, event.count), 10**6)
        clamped = event.kind == "limit_clamped"
        early = clamped and self._clamped_at is not None and now - self._clamped_at < CLAMPED
        if early or not self._events.take("", now):
            self.dropped += 1
            if len(self._counts) < 64:
                self._counts[guard] = count
            return
        if clamped:
            self._clamped_at = now
        self._publish(Tripped(self._where, guard, event.level, event.reason or "", said(event.detail), count))

    def fault(self, error: str, message: str) -> None:
        """See `Listener`."""
        if error in ALWAYS or self._faults.take("", self._clock.now()):
            self._publish(Fault(self._where, error, message))
        else:
            self.dropped += 1

    def recovered(self, message: str) -> None:
        """See `Listener`."""
        if self._faults.take("well", self._clock.now()):
            self._publish(Recovered(self._where, message))
        else:
            self.dropped += 1

    def ticked(self, now: int) -> None:
        """See `Listener`."""
        if self._state is not None and now - self._state_at < STATES:
            return
        state = self._stands()
        if state is not None and state != self._state:
            self._state, self._state_at = state, now
            self._publish(state)

    # --- of its own accord

    def offer(self) -> None:
        """Tell what can be asked for, if that has changed."""
        offers = tuple(self._offers())
        if offers != self._offered:
            self._offered = offers
            self._publish(Offered(self._where, offers))

    def progress(self, progress: Progress) -> None:
        """Tell how far a command has come."""
        if self._steps.take("", self._clock.now()):
            self._publish(progress)
        else:
            self.dropped += 1

    def _stands(self) -> BodyState | None:
        """None before anything was heard."""
        client = self._client
        state, odometry, watch, lease = client.state, client.odometry, client.watch, client.lease.holder
        if watch.fresh is None and state is None:
            return None
        safety = client.safety or (state.safety if state is not None else None)
        pose = client.pose
        moving = pose is not None and odometry is not None
        return BodyState(
            self._where, client.health, state.mode if state is not None else "",
            "latched" if watch.latched else "none",
            tuple(said(each)[:40] for each in safety.guards[:8]) if safety is not None else (),
            lease.holder or "", lease.rank or "",
            None if pose is None else (round(pose[0], 2), round(pose[1], 2), round(pose[2], 2)),
            (round(odometry.vx, 2), round(odometry.wz, 2)) if moving and odometry is not None else (0.0, 0.0),
            None if state is None or state.battery is None else round(state.battery, 2),
            tuple(said(each) for each in state.errors[:8]) if state is not None else (),
        )  # fmt: skip

    def _publish(self, data: Any) -> None:
        self._publisher.publish(FEEDBACK, self._clock.now(), data)
