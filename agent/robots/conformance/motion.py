"""How far a robot went and when it came to rest, from what it says of itself: odometry, or the positions of joints."""

import math
from itertools import pairwise
from typing import NamedTuple

from agent.robots.conformance.diary import Diary
from embodied.robot.reports import Odometry, Telemetry
from embodied.robot.vocabulary import MS, SECOND

STILL = 0.02  # m/s, and rad/s at the rim
NOISE = 0.005  # m: what odometry may wander at rest

ANEW_MS = 1000  # a robot's clock that goes back by more has begun anew; by less, a message was overtaken


class Place(NamedTuple):
    """t: when it was true, ns of our clock;  x, y: m;  yaw: rad;  speed: m/s, of the rim: turning counts."""

    t: int
    x: float
    y: float
    yaw: float
    speed: float


class Motion:
    """Of one robot, as a diary has it. radius: of the base, m: turning moves its rim."""

    def __init__(self, diary: Diary, radius: float) -> None:
        self._diary, self._radius = diary, max(radius, 0.1)

    def places(self, since: int) -> list[Place]:
        """All that were told since `since` (ns), and the last before it, where the way begins."""
        heard = _of_this_life(list(self._diary.since(since - SECOND, Odometry)))
        # When it was true, as the robot's clock has it: what comes late says nothing later. Its clock against ours is
        # that of the quickest message; after a restart it begins anew, and the arrival has to do.
        offset = min((t - o.mono_ms * MS for t, o in heard), default=0)
        told = []
        for t, o in heard:
            true = o.mono_ms * MS + offset
            speed = math.hypot(o.vx, o.vy) + abs(o.wz) * self._radius
            told.append(Place(true if t - true < SECOND // 2 else t, o.x, o.y, o.yaw, speed))
        return _from(told, since)

    def joints(self, since: int) -> list[tuple[int, dict[str, float]]]:
        """Positions of joints, told since `since`, and the last before it."""
        told = []
        for entry in self._diary.entries:
            if entry.topic.name == "joints" and entry.t >= since - SECOND and isinstance(entry.message, Telemetry):
                values = {n: float(v) for n, v in entry.message.values.items() if isinstance(v, int | float)}
                told.append((entry.t, values))
        first = next((n for n, (t, _) in enumerate(told) if t >= since), len(told))
        return told[max(0, first - 1) :]

    @property
    def told(self) -> bool:
        """Whether the robot says where it is."""
        return self._diary.newest(Odometry) is not None or bool(self.joints(self._diary.entries[-1].t - SECOND))

    def way(self, since: int, until: int | None = None) -> float:
        """How far it went, m (of joints: rad, of the one that went furthest)."""
        places = [p for p in self.places(since) if until is None or p.t <= until]
        way = sum(
            math.hypot(b.x - a.x, b.y - a.y) + abs(math.remainder(b.yaw - a.yaw, math.tau)) * self._radius
            for a, b in pairwise(places)
        )
        joints = [values for t, values in self.joints(since) if until is None or t <= until]
        ways = (sum(abs(b[n] - a[n]) for a, b in pairwise(joints) if n in a and n in b)
                for n in (joints[0] if joints else ()))  # fmt: skip
        return max([way, *ways])

    def speed(self, since: int, until: int | None = None) -> float:
        """The highest that was told, m/s, or that follows from the places told, whichever is more."""
        places = [p for p in self.places(since) if until is None or p.t <= until]
        return max((p.speed for p in places), default=0.0)

    def straight(self, since: int) -> float:
        """The highest speed of the base's middle, m/s, as it says, and as its places do over 0.1 s."""
        told = [(o.mono_ms / 1000, o) for _, o in self._diary.since(since, Odometry)]
        said = max((math.hypot(o.vx, o.vy) for _, o in told), default=0.0)
        gone = 0.0
        for n, (t, o) in enumerate(told):
            later = next(((u, p) for u, p in told[n + 1 :] if u - t >= 0.1), None)
            if later is not None:
                gone = max(gone, math.hypot(later[1].x - o.x, later[1].y - o.y) / (later[0] - t))
        return max(said, gone)

    def rest(self, since: int) -> int | None:
        """When it was first told to stand, and stood from then on (ns); None if it has not come to rest."""
        found: int | None = None
        for place in self.places(since):
            if place.speed >= STILL:
                found = None
            elif found is None:
                found = max(place.t, since)
        return found

    def period(self) -> float:
        """Seconds between two places, as they come."""
        times = [t for t, _ in self._diary.since(0, Odometry)][-50:]
        gaps = sorted(b - a for a, b in pairwise(times))
        return gaps[len(gaps) // 2] / SECOND if gaps else 0.1


def _of_this_life(heard: list[tuple[int, Odometry]]) -> list[tuple[int, Odometry]]:
    """Without what was told before the robot's program was started anew: it counts its places from another one then."""
    begins = 0
    for n, ((_, one), (_, next)) in enumerate(pairwise(heard), 1):
        if next.mono_ms < one.mono_ms - ANEW_MS:
            begins = n
    return heard[begins:]


def _from(told: list[Place], since: int) -> list[Place]:
    first = next((n for n, place in enumerate(told) if place.t >= since), len(told))
    return told[max(0, first - 1) :]


def bound(speed: float, ttl_s: float, brake: float, loose: float = 0.05) -> float:
    """How far a base may go, m, after the last setpoint: v·(ttl + 0.1 s) + v²/2a + 5 cm."""
    return speed * (ttl_s + 0.1) + speed * speed / (2 * brake) + loose
