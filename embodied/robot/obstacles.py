"""The obstacle stop: needs no message, and no message can switch it off.

The rule is that of the contract, 0.30 m + v · 0.4 s, read as the highest v for the free way; a sensor that is old or
broken counts as an obstacle at once (the `source_timeout` of nav2's collision monitor).
"""

import math

from embodied.robot.decisions import Scan, Sensed, Velocity
from embodied.robot.vocabulary import MS

STOP_M = 0.30
STOP_S = 0.4
OLD = 500 * MS
_BESIDE = 0.05  # m beside the base that count as in the way


def free_way(scan: Scan, heading: float, radius: float) -> float | None:
    """Metres free towards `heading` (rad, of the base) before a circle of `radius`; None: the scan is broken."""
    best = math.inf
    sound = 0
    for n, far in enumerate(scan.ranges):
        if math.isnan(far) or far < 0:
            continue
        sound += 1
        off = scan.first_rad + n * scan.step_rad - heading
        ahead = far * math.cos(off) if math.isfinite(far) else math.inf
        if ahead <= 0 or math.isinf(far) or abs(far * math.sin(off)) > radius + _BESIDE:
            continue
        best = min(best, ahead - radius)
    return best if sound * 2 > len(scan.ranges) else None


def obstacle_cap(sensed: Sensed, wanted: Velocity, radius: float, now: int, *, needed: bool) -> tuple[float, str]:
    """(m/s allowed in the direction of `wanted`, what holds it back). needed: without a young scan it must stand."""
    if math.hypot(wanted.vx, wanted.vy) == 0:
        return math.inf, ""
    if sensed.bumper == "any" or (sensed.bumper == "front" and wanted.vx >= 0):
        return 0.0, "bumper"
    if sensed.bumper == "rear" and wanted.vx <= 0:
        return 0.0, "bumper"
    if sensed.scan is None or now - sensed.scan.t > OLD:
        return (0.0, "the range sensor is silent") if needed else (math.inf, "")
    free = free_way(sensed.scan, math.atan2(wanted.vy, wanted.vx), radius)
    if free is None:
        return (0.0, "the range sensor is broken") if needed else (math.inf, "")
    return max(0.0, (free - STOP_M) / STOP_S), f"{free:.2f} m free"
