"""A plane with walls and posts, for simulated robots: what a lidar sees, and where a round base touches. Metres."""

import math
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

Point = tuple[float, float]
RAYS = 90
RANGE_M = 8.0


class World(Struct, frozen=True, forbid_unknown_fields=True):
    """walls: from point to point;  posts: x, y, radius"""

    walls: Annotated[tuple[tuple[Point, Point], ...], Meta(max_length=500)] = ()
    posts: Annotated[tuple[tuple[float, float, float], ...], Meta(max_length=500)] = ()

    def ranges(self, pose: tuple[float, float, float], rays: int = RAYS, reach: float = RANGE_M) -> tuple[float, ...]:
        """How far it is to what is seen from the middle of the base, `rays` times round from straight ahead leftwards.

        Infinity is nothing within `reach`.
        """
        x, y, yaw = pose
        return tuple(self._seen(x, y, yaw + n * 2 * math.pi / rays, reach) for n in range(rays))

    def free(self, point: Point, radius: float) -> "Touch | None":
        """What a round base with its middle at `point` touches first, if anything."""
        touches = [touch for touch in self._near(point) if touch.gap < radius]
        return min(touches, default=None)

    def _near(self, point: Point) -> "list[Touch]":
        x, y = point
        found = []
        for (ax, ay), (bx, by) in self.walls:
            ex, ey = bx - ax, by - ay
            long = ex * ex + ey * ey
            part = 0.0 if long == 0 else max(0.0, min(1.0, ((x - ax) * ex + (y - ay) * ey) / long))
            dx, dy = ax + part * ex - x, ay + part * ey - y
            found.append(Touch(math.hypot(dx, dy), math.atan2(dy, dx)))
        for cx, cy, r in self.posts:
            found.append(Touch(max(0.0, math.hypot(cx - x, cy - y) - r), math.atan2(cy - y, cx - x)))
        return found

    def _seen(self, x: float, y: float, heading: float, reach: float) -> float:
        dx, dy = math.cos(heading), math.sin(heading)
        best = math.inf
        for (ax, ay), (bx, by) in self.walls:
            ex, ey = bx - ax, by - ay
            across = dx * ey - dy * ex
            if abs(across) < 1e-12:
                continue
            along = ((ax - x) * ey - (ay - y) * ex) / across
            place = ((ax - x) * dy - (ay - y) * dx) / across
            if 0 <= along < best and -1e-9 <= place <= 1 + 1e-9:
                best = along
        for cx, cy, r in self.posts:
            px, py = cx - x, cy - y
            along = px * dx + py * dy
            beside = px * px + py * py - along * along
            if along > 0 and beside <= r * r:
                best = min(best, max(0.0, along - math.sqrt(r * r - beside)))
        return best if best <= reach else math.inf


class Touch(NamedTuple):
    """gap: from the middle of the base to the nearest point of a thing (m);  bearing: to it, in the world (rad)"""

    gap: float
    bearing: float


def side(bearing: float, yaw: float) -> Literal["front", "rear"]:
    """Which bumper of a base with heading `yaw` a thing at `bearing` presses."""
    return "front" if math.cos(bearing - yaw) >= 0 else "rear"
