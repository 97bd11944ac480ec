"""The one way to the motors: what is wished, held back by everything that can hold it back."""

import math
from collections.abc import Mapping

from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.fences import fence_cap
from embodied.robot.motion import Arm, Mover, Reach, clamped
from embodied.robot.obstacles import obstacle_cap
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import MS, SECOND

_HELD = 0.01  # m/s: a cap below this is a stop
_STEP_MOST = 40 * MS  # of what is taken for the length of the next step: one late step must not end streams


class Motors:
    """Base and joints. held: which guards hold the base back now, and why;  clamped: a wish was beyond limits."""

    def __init__(self, factsheet: Factsheet, settings: GuardSettings, reach: Reach | None) -> None:
        self.held: dict[str, str] = {}
        self.clamped = False
        self.base = Mover(factsheet.limits)
        self.arm = Arm(factsheet.limits.joints, factsheet.limits.workspace, reach)
        self._limits, self._settings = factsheet.limits, settings
        self._drove: int | None = None
        self._moved: int | None = None
        self._ramp = (0.0, 0.0)

    @property
    def stands(self) -> bool:
        """Whether nothing was sent to the base but rest."""
        return self.base.now.still

    def next(self, now: int) -> int:
        """When the base will be driven next, about, ns: as long after `now` as it was driven last before."""
        return now + (0 if self._drove is None else min(now - self._drove, _STEP_MOST))

    def stopping(self) -> None:
        """From now on it slows down so hard that it rests within the ramp of the stop."""
        now, seconds = self.base.now, self._settings.estop_ramp_s
        self._ramp = (math.hypot(now.vx, now.vy) / seconds, abs(now.wz) / seconds)

    def drive(self, wish: Velocity, sensed: Sensed, now: int, *, stopped: bool) -> Velocity:
        """The speed for this instant. stopped: whatever is wished, come to rest."""
        dt = 0.0 if self._drove is None else max(0, now - self._drove) / SECOND
        self._drove = now
        if not (math.isfinite(wish.vx) and math.isfinite(wish.vy) and math.isfinite(wish.wz)):
            wish, self.clamped = Velocity(), True
        self.held = {}
        if stopped:
            return self.base.step(Velocity(), 0.0, dt, brake=self._ramp[0], alpha_brake=self._ramp[1])
        cap = self._cap(wish, sensed, now)
        if "odometry" in self.held:
            wish = Velocity()
        within = clamped(wish, self._limits, self._limits.v_max)
        self.clamped = self.clamped or not _close(within, wish)
        return self.base.step(within, cap, dt)

    def joints(self, wish: Mapping[str, float], sensed: Sensed, now: int, *, stopped: bool) -> dict[str, float]:
        """The positions for this instant; where they are, if nothing is wished or it is stopped."""
        dt = 0.0 if self._moved is None else max(0, now - self._moved) / SECOND
        self._moved = now
        self.arm.sync(sensed.joints)
        if stopped or not wish:
            return dict(self.arm.now)
        positions, held = self.arm.step(wish, dt)
        self.clamped = self.clamped or held
        return dict(positions)

    def _cap(self, wish: Velocity, sensed: Sensed, now: int) -> float:
        caps = {"": self._limits.v_max}
        if sensed.near_people:
            caps["people"] = self._limits.v_near
        if self._settings.odometry_needed and (
            sensed.odom_t is None or now - sensed.odom_t > self._settings.odometry_ms * MS
        ):
            caps["odometry"] = 0.0
            if not wish.still:
                self.held["odometry"] = "the robot does not know where it is"
        cap, why = obstacle_cap(sensed, wish, self._limits.radius_m, now, needed=self._settings.ranges_needed)
        caps["obstacle"] = cap
        if cap < _HELD:
            self.held["obstacle"] = why
        if self._limits.geofence is not None:
            caps["geofence"] = self._fence_cap(wish, sensed)
            if caps["geofence"] < _HELD:
                self.held["geofence"] = "the border is near"
        return min(caps.values())

    def _fence_cap(self, wish: Velocity, sensed: Sensed) -> float:
        fence = self._limits.geofence
        if fence is None:
            return math.inf
        if sensed.pose is None or not all(map(math.isfinite, sensed.pose)):
            return 0.0 if not wish.still else math.inf
        return fence_cap(sensed.pose, wish, self.base.now, fence, self._limits, self._settings.latency_s)


def _close(one: Velocity, other: Velocity) -> bool:
    return abs(one.vx - other.vx) + abs(one.vy - other.vy) + abs(one.wz - other.wz) < 1e-9
