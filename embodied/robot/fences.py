"""Where the robot may be: how far it may still go, and how fast it may be so that it can stop in time."""

import math

from embodied.robot.decisions import Velocity
from embodied.robot.factsheet import Fence, Limits, Point, Polygon

_RAYS = 5  # directions looked into while it turns


def inside(point: Point, polygon: Polygon) -> bool:
    """Whether `point` lies in `polygon` (even-odd rule; W. R. Franklin's pnpoly)."""
    x, y = point
    found = False
    for (ax, ay), (bx, by) in _edges(polygon):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            found = not found
    return found


def allowed(point: Point, fence: Fence, margin: float = 0.0) -> bool:
    """Whether the robot's middle may be at `point`, `margin` m from every border."""
    if fence.polygon is not None and not inside(point, fence.polygon):
        return False
    if any(inside(point, each) for each in fence.keep_out):
        return False
    return not margin or all(_away(point, edge) >= margin for border in _borders(fence) for edge in _edges(border))


def way_left(point: Point, heading: float, fence: Fence) -> float:
    """Metres from `point` along `heading` to the first border, infinite if there is none."""
    dx, dy = math.cos(heading), math.sin(heading)
    best = math.inf
    for border in _borders(fence):
        for (ax, ay), (bx, by) in _edges(border):
            ex, ey = bx - ax, by - ay
            across = dx * ey - dy * ex
            if abs(across) < 1e-12:
                continue
            along = ((ax - point[0]) * ey - (ay - point[1]) * ex) / across
            place = ((ax - point[0]) * dy - (ay - point[1]) * dx) / across
            if along >= 0 and -1e-9 <= place <= 1 + 1e-9:
                best = min(best, along)
    return best


def speed_for(way: float, brake: float, latency: float) -> float:
    """Highest v with v²/(2 brake) + v latency <= way: what still stops within `way` metres."""
    if way <= 0:
        return 0.0
    if math.isinf(way):
        return math.inf
    return brake * (math.sqrt(latency * latency + 2 * way / brake) - latency)


def fence_cap(
    pose: tuple[float, float, float], wanted: Velocity, moving: Velocity, fence: Fence, limits: Limits, latency: float
) -> float:
    """m/s that the base may have now, going the way of `wanted` (or, if that is none, on as it moves).

    Looks along the present heading and along those that it turns to until it stands. Outside of the fence it is 0.
    """
    along = wanted if math.hypot(wanted.vx, wanted.vy) > 0 else moving
    speed = math.hypot(along.vx, along.vy)
    if speed == 0:
        return math.inf
    point = (pose[0], pose[1])
    if not allowed(point, fence):
        return 0.0
    heading = pose[2] + math.atan2(along.vy, along.vx)
    fast = max(speed, math.hypot(moving.vx, moving.vy))
    turn = max((wanted.wz, moving.wz), key=abs) * (min(fast, limits.v_max) / limits.brake + latency)
    margin = fence.margin_m + limits.radius_m
    way = min(way_left(point, heading + turn * n / (_RAYS - 1), fence) for n in range(_RAYS))
    return speed_for(way - margin, limits.brake, latency)


def _borders(fence: Fence) -> tuple[Polygon, ...]:
    return (*((fence.polygon,) if fence.polygon is not None else ()), *fence.keep_out)


def _edges(polygon: Polygon) -> list[tuple[Point, Point]]:
    return list(zip(polygon, (*polygon[1:], polygon[0])))


def _away(point: Point, edge: tuple[Point, Point]) -> float:
    (ax, ay), (bx, by) = edge
    ex, ey = bx - ax, by - ay
    long = ex * ex + ey * ey
    part = 0.0 if long == 0 else max(0.0, min(1.0, ((point[0] - ax) * ex + (point[1] - ay) * ey) / long))
    return math.hypot(point[0] - ax - part * ex, point[1] - ay - part * ey)
