"""A robot on a small map of characters, for terminals and pipes: printed after each motion."""

import math
from collections.abc import Sequence
from itertools import pairwise

from streams.types import BodyState

Point = tuple[float, float]

ROBOT = "▲◤◀◣▼◢▶◥"
"""By heading, in eighths of a turn to the left: x is up, y to the left."""
WAY, EDGE, OUT, ORIGIN = "·", "#", "x", "+"
TALL = 2.0
"""A cell of a terminal is about so many times as high as wide."""
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
NARROWEST, LOWEST = 12, 5
FARTHEST = 1e6


def draw(
    state: BodyState | None,
    way: Sequence[Point] = (),
    fence: Sequence[Point] = (),
    width: int = 48,
    height: int = 16,
    *,
    keep_out: Sequence[Sequence[Point]] = (),
) -> str:
    """`height` lines of at most `width` characters: x is up and y to the left, as seen from above.

    The robot is an arrow with its heading ("■" while its stop is latched), "·" where it was, "#" the fence, "x" what it
    must not enter, "+" the origin. All of the way is in the picture; the fence as far as there is room. The last two
    lines have the scale and where it is. What is no number, or a
    thousand kilometres away, is left out.

    way, fence, keep_out: (x, y) in m;  width, height: of the picture, at least 12 and 5 are drawn
    """
    width, height = max(NARROWEST, width), max(LOWEST, height)
    rows = height - 2
    pose = _pose(state)
    seen = [point for point in way if _known(point)]
    paper = _Paper([*seen, *([pose[:2]] if pose is not None else [])], fence, width, rows)
    for area in keep_out:
        paper.outline(area, OUT)
    paper.outline(fence, EDGE)
    paper.put((0.0, 0.0), ORIGIN)
    paper.line(seen, WAY)
    if pose is not None:
        latched = state is not None and state.estop == "latched"
        paper.put(pose[:2], "■" if latched else ROBOT[round(pose[2] / (math.pi / 4)) % 8])
    return "\n".join([*paper.lines(), paper.scale(width), _words(state, pose)[:width]])


class _Paper:
    """Cells over a piece of the plane, with `cell` metres to one character's width."""

    def __init__(self, points: Sequence[Point], fence: Sequence[Point], width: int, rows: int) -> None:
        self._cells = [[" "] * width for _ in range(rows)]
        around = [point for point in fence if _known(point)]
        points = list(points) or [(0.0, 0.0)]
        wanted = _needed([*points, *around], width, rows) if around else math.inf
        least = max(_needed(points, width, rows), STEPS[0] / 4)
        whole = wanted <= 4 * max(least, 0.1)  # the fence is shown whole while the way can still be seen
        self.cell = _round(max(least, wanted if whole else 0.05))
        shown = [*points, *around] if whole else points
        self._middle = _centre([x for x, _ in shown]), _centre([y for _, y in shown])

    def put(self, point: Point, sign: str) -> None:
        """A sign at (x, y), if that is on the paper."""
        column, row = self._place(point)
        if 0 <= row < len(self._cells) and 0 <= column < len(self._cells[0]):
            self._cells[row][column] = sign

    def line(self, points: Sequence[Point], sign: str) -> None:
        """Signs from point to point."""
        for (ax, ay), (bx, by) in pairwise(points):
            count = min(1000, max(1, math.ceil(2 * math.hypot(bx - ax, by - ay) / self.cell)))
            for step in range(count + 1):
                share = step / count
                self.put((ax + share * (bx - ax), ay + share * (by - ay)), sign)
        if len(points) == 1:
            self.put(points[0], sign)

    def outline(self, points: Sequence[Point], sign: str) -> None:
        """The sides of a polygon."""
        known = [point for point in points if _known(point)]
        if len(known) > 2:
            self.line([*known, known[0]], sign)

    def lines(self) -> list[str]:
        """From the top."""
        return ["".join(row).rstrip() for row in self._cells]

    def scale(self, width: int) -> str:
        """Such as "|----| 1 m, x up, y left"."""
        length = max(step for step in STEPS if step <= max(STEPS[0], self.cell * width / 3))
        bar = "|" + "-" * max(1, round(length / self.cell) - 1) + "|"
        return f"{bar} {length:g} m  x up, y left"[:width]

    def _place(self, point: Point) -> tuple[int, int]:
        x, y = self._middle
        rows, columns = len(self._cells), len(self._cells[0])
        column = (columns - 1) / 2 - (point[1] - y) / self.cell
        row = (rows - 1) / 2 - (point[0] - x) / (self.cell * TALL)
        return round(max(-1.0, min(float(columns), column))), round(max(-1.0, min(float(rows), row)))


def _needed(points: Sequence[Point], width: int, rows: int) -> float:
    """Metres of one character's width with which all `points` are on the paper, and a margin."""
    high = max(x for x, _ in points) - min(x for x, _ in points)
    wide = max(y for _, y in points) - min(y for _, y in points)
    return max(wide / (width - 5), high / TALL / (rows - 2))


def _round(cell: float) -> float:
    """The next larger that is even: a picture does not change its scale with every centimetre."""
    even = [step / 10 for step in STEPS if step / 10 >= cell - 1e-9]
    return even[0] if even else cell


def _centre(values: Sequence[float]) -> float:
    return (min(values) + max(values)) / 2


def _known(point: Sequence[float]) -> bool:
    return all(abs(value) <= FARTHEST for value in point)


def _pose(state: BodyState | None) -> tuple[float, float, float] | None:
    return state.pose if state is not None and state.pose is not None and _known(state.pose) else None


def _words(state: BodyState | None, pose: tuple[float, float, float] | None) -> str:
    if state is None:
        return "nothing was heard of a robot yet"
    parts = [state.where]
    parts.append(
        "it does not say where it is" if pose is None else f"x {pose[0]:.2f} m, y {pose[1]:.2f} m, {_degrees(pose[2])}"
    )
    if state.estop == "latched":
        parts.append("STOP LATCHED")
    if state.link != "heard":
        parts.append(f"link {state.link}")
    if state.guards:
        parts.append(f"held by {', '.join(state.guards)}")
    return "  ".join(parts)


def _degrees(heading: float) -> str:
    return f"{math.degrees(math.remainder(heading, math.tau)):.0f}°"
