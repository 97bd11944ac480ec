"""The streams: what was asked last, until when it counts, and in which order it came."""

from bisect import bisect_right
from typing import Any, NamedTuple

from embodied.robot.factsheet import Capability, Timing
from embodied.robot.messages import Chunk
from embodied.robot.vocabulary import MS, SECOND

CHUNK_GRACE = 100 * MS
CHUNK_MAX = SECOND  # of motion, from its arrival on


class Live(NamedTuple):
    """A stream's newest setpoint. values: by column or quantity, of a setpoint;  track: of a chunk;  expires: ns"""

    capability: Capability
    owner: str
    expires: int
    values: dict[str, Any]
    track: "Track | None" = None


class Track(NamedTuple):
    """Rows of a chunk on the robot's own clock: row n belongs to `start` + n · `step` (ns)."""

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    start: int
    step: int

    @property
    def end(self) -> int:
        """When the last row is due, ns."""
        return self.start + (len(self.rows) - 1) * self.step

    def at(self, now: int) -> dict[str, float]:
        """The row for `now`, between two of them a mixture; before the first that one, after the last the last."""
        place = (now - self.start) / self.step
        n = min(max(int(place), 0), len(self.rows) - 1)
        row, part = self.rows[n], place - n
        if part > 0 and n + 1 < len(self.rows):
            row = tuple(a + (b - a) * part for a, b in zip(row, self.rows[n + 1]))
        return dict(zip(self.names, row))


class Setpoints:
    """The live streams by capability, and the highest `seq` of each under each lease."""

    def __init__(self, timing: Timing) -> None:
        self.live: dict[str, Live] = {}
        self._timing = timing
        self._seqs: dict[str, int] = {}
        self._lease = ""

    def in_order(self, owner: str, name: str, seq: int) -> bool:
        """Whether `seq` is higher than all before it under this lease, and if so it is the highest now."""
        if owner != self._lease:
            self._lease, self._seqs = owner, {}
        if seq <= self._seqs.get(name, -1):
            return False
        self._seqs[name] = seq
        return True

    def ttl(self, asked_ms: int | None, capability: Capability, *, fast: bool) -> int:
        """How long a setpoint counts from its arrival on, ns. fast: it asks for more than 0.5 m/s."""
        ms = asked_ms or capability.ttl_ms or self._timing.stream_ttl_ms
        ms = min(ms, self._timing.stream_ttl_max_ms)
        return (min(ms, self._timing.stream_ttl_fast_ms) if fast else ms) * MS

    def put(self, live: Live) -> None:
        """The newest wins; other streams that use the same resources end."""
        used = set(live.capability.resources)
        self.live = {
            name: each
            for name, each in self.live.items()
            if name == live.capability.name or not used & set(each.capability.resources)
        }
        self.live[live.capability.name] = live

    def expire(self, now: int) -> list[Live]:
        """Streams that have run out by `now`, taken away."""
        gone = [each for each in self.live.values() if now >= each.expires]
        for each in gone:
            del self.live[each.capability.name]
        return gone

    def drop(self, resources: set[str] | None = None) -> list[str]:
        """End all streams, or those that use `resources`; their names."""
        names = [n for n, each in self.live.items() if resources is None or resources & set(each.capability.resources)]
        for name in names:
            del self.live[name]
        return names


def track(chunk: Chunk, sent: int, now: int) -> tuple[Track | None, bool]:
    """(the rows still ahead, at most one second of them, or None; whether something was left off at the far end).

    sent: when the robot sent `t0_beat`, ns
    """
    step = round(chunk.dt_ms * MS)
    start = sent + chunk.step0 * step
    rows = chunk.actions[: chunk.horizon_valid or len(chunk.actions)]
    ahead = range(len(rows))
    last = bisect_right(ahead, now + CHUNK_MAX, key=lambda n: start + n * step)
    if last == 0 or start + (len(rows) - 1) * step + CHUNK_GRACE <= now:
        return None, False
    return Track(chunk.names, rows[:last], start, step), last < len(rows)
