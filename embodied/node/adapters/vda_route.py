"""A way for an AGV, as orders of VDA 5050 2.x: released a few metres at a time, never more. Pure.

Section 6.6 of VDA 5050 2.1 (order and order update): nodes and edges share one count of sequenceIds, what is released
is the base and cannot be taken back, an update begins with the last node of the base (the stitching node).
An AGV whose link is gone drives on to the end of its base: that is why the base is short.
"""

import math
from typing import Any


class Route:
    """A straight way from `start` to `target` (x, y in m, on map `map_id`), cut into edges of half a base.

    base_m: the most that is released ahead of the last node that was reached;  yaw: wanted at the end, if any
    speed: m/s, on each edge;  arrive_m: how near the last node it must be;  order: id, unique for ever
    """

    def __init__(
        self, order: str, start: tuple[float, float], target: tuple[float, float], *, map_id: str, base_m: float = 2.0,
        yaw: float | None = None, speed: float = 0.5, turn: float = 1.0, arrive_m: float = 0.1,
    ) -> None:  # fmt: skip
        self.order, self.update = order, 0
        self.length = math.dist(start, target)
        self.target = target
        edges = math.ceil(self.length / (base_m / 2) - 1e-9) if self.length > arrive_m / 2 else 0
        parts = [n / edges for n in range(edges + 1)] if edges else [0.0]
        self._points = [(start[0] + (target[0] - start[0]) * p, start[1] + (target[1] - start[1]) * p) for p in parts]
        if not edges:
            self._points = [target]
        self._map, self._yaw, self._speed, self._turn, self._arrive = map_id, yaw, speed, turn, arrive_m
        self._reached = 0
        self._stitch = 0
        self.released = min(2, edges)

    @property
    def last(self) -> int:
        """The sequenceId of the last node."""
        return 2 * (len(self._points) - 1)

    @property
    def whole(self) -> bool:
        """Whether everything is released."""
        return self.released == len(self._points) - 1

    def reach(self, sequence: int) -> bool:
        """The AGV has come to the node with this sequenceId. True if more is released now: send `body()` again."""
        reached = sequence // 2
        if not self._reached < reached <= self.released:
            return False
        self._reached = reached
        more = min(reached + 2, len(self._points) - 1)
        if more == self.released:
            return False
        self._stitch, self.released = self.released, more
        self.update += 1
        return True

    def left(self, x: float, y: float) -> float:
        """How far it still is (m), as the crow flies."""
        return math.dist((x, y), self.target)

    def body(self) -> dict[str, Any]:
        """The order, or its newest update, without a header: from the stitching node on, the rest as horizon."""
        indices = range(self._stitch, len(self._points))
        return {
            "orderId": self.order, "orderUpdateId": self.update, "nodes": [self._node(n) for n in indices],
            "edges": [self._edge(n) for n in indices[1:]],
        }  # fmt: skip

    def _node(self, n: int) -> dict[str, Any]:
        x, y = self._points[n]
        final = n == len(self._points) - 1
        position: dict[str, Any] = {"x": round(x, 4), "y": round(y, 4), "mapId": self._map}
        position["allowedDeviationXY"] = self._arrive if final else max(0.5, self._arrive) if n == 0 else 0.3
        if final and self._yaw is not None:
            position["theta"] = round(math.remainder(self._yaw, math.tau), 5)
            position["allowedDeviationTheta"] = 0.1
        return {
            "nodeId": f"{self.order}.{n}", "sequenceId": 2 * n, "released": n <= self.released,
            "nodePosition": position, "actions": [],
        }  # fmt: skip

    def _edge(self, n: int) -> dict[str, Any]:
        return {
            "edgeId": f"{self.order}.{n - 1}-{n}", "sequenceId": 2 * n - 1, "released": n <= self.released,
            "startNodeId": f"{self.order}.{n - 1}", "endNodeId": f"{self.order}.{n}", "maxSpeed": self._speed,
            "maxRotationSpeed": self._turn, "actions": [],
        }  # fmt: skip
