"""What a robot tells of itself all the time: where it is, its joints, its scan, its battery, what its driver adds."""

import math
from collections.abc import Mapping
from typing import Any

from embodied.node.driver import Driver, Telling
from embodied.robot.decisions import Sensed, Tell
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Odometry, Telemetry
from embodied.robot.topics import robot_topic
from embodied.robot.vocabulary import MS, SECOND

EVERY = {"joints": 20 * MS, "odom": 40 * MS, "scan": 200 * MS, "own": 200 * MS, "battery": 5 * SECOND}

STANDS = 0.02
"""m/s and rad/s, of a sensor: less is rest."""


class Channels:
    """The channels of telemetry of one robot; each at its own pace.

    odom: pose and speed; when it has come to rest, at once;  joints: {"j1.pos": rad}
    scan: {"first_rad", "step_rad", "ranges": m, null is nothing seen}
    battery: {"level": 0 to 1};  and those of a driver that is `Telling`
    """

    def __init__(self, factsheet: Factsheet, fleet: str, robot: str, driver: Driver) -> None:
        self._fleet, self._robot, self._driver = fleet, robot, driver
        fence = factsheet.limits.geofence
        self._frame = fence.frame if fence is not None else "odom"
        self._due = dict.fromkeys(EVERY, 0)
        self._seq: dict[str, int] = {}
        self._scan_t = -1
        self._stood = True
        self._own: dict[str, Mapping[str, Any]] = {}

    def told(self, sensed: Sensed, now: int) -> list[Tell]:
        """What is due at `now`."""
        out: list[Tell] = []
        if sensed.pose is not None and (self._is_due("odom", now) or self._has_come_to_rest(sensed)):
            (x, y, yaw), v = sensed.pose, sensed.velocity
            self._stood = _stands(sensed)
            t = sensed.odom_t if sensed.odom_t is not None else now
            where = (round(x, 4), round(y, 4), round(yaw, 4))
            odometry = Odometry(self._next("odom"), max(0, t // MS), *where, v.vx, v.vy, v.wz, self._frame)
            out.append(self._tell("odom", odometry))
        if sensed.joints and self._is_due("joints", now):
            positions = {f"{name}.pos": round(at, 5) for name, at in sensed.joints.items()}
            out.append(self._values("joints", positions, now))
        scan = sensed.scan
        if scan is not None and scan.t != self._scan_t and self._is_due("scan", now):
            self._scan_t = scan.t
            ranges = [round(far, 3) if math.isfinite(far) else None for far in scan.ranges]
            seen: dict[str, Any] = {"first_rad": scan.first_rad, "step_rad": scan.step_rad, "ranges": ranges}
            out.append(self._values("scan", seen, scan.t))
        if sensed.battery is not None and self._is_due("battery", now):
            out.append(self._values("battery", {"level": round(sensed.battery, 3)}, now))
        if isinstance(self._driver, Telling) and self._is_due("own", now):
            for name, values in self._driver.channels(now).items():
                if self._own.get(name) is not values:
                    self._own[name] = values
                    out.append(self._values(name, values, now))
        return out

    def values(self, channel: str, values: Mapping[str, Any], now: int) -> Tell:
        """What a sense has to tell now, on a channel of its own."""
        return self._values(channel, values, now)

    def _is_due(self, channel: str, now: int) -> bool:
        if now < self._due[channel]:
            return False
        # On a grid, so that 40 ms on a loop of 20 ms does not become 60 by a jitter of one.
        self._due[channel] = now + EVERY[channel] - min(10 * MS, EVERY[channel] // 2)
        return True

    def _has_come_to_rest(self, sensed: Sensed) -> bool:
        """Since it was told last: who has said "stop" is told that it stands at once, not at the next turn."""
        return not self._stood and _stands(sensed)

    def _values(self, channel: str, values: Mapping[str, Any], t: int) -> Tell:
        return self._tell(channel, Telemetry(self._next(channel), max(0, t // MS), dict(values)))

    def _tell(self, channel: str, message: Odometry | Telemetry) -> Tell:
        return Tell(robot_topic(self._fleet, self._robot, "telemetry", channel), message, 0)

    def _next(self, channel: str) -> int:
        self._seq[channel] = self._seq.get(channel, 0) + 1
        return self._seq[channel]


def _stands(sensed: Sensed) -> bool:
    v = sensed.velocity
    return math.hypot(v.vx, v.vy) < STANDS and abs(v.wz) < STANDS
