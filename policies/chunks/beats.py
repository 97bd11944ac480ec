"""Steps and the robot's beats: a chunk as docs/robot-contract.md wants it, without a clock in common.

The robot says "step 0 was when I sent beat B". Agent and robot share no clock, but beats and telemetry take the same
way to the agent. So the agent takes the instant at which a beat *arrived* for that at which it was sent, as it takes an
observation to be of the instant at which that arrived: both are late by the same, and the two errors cancel out. What
remains is the time to the robot and back, within which nothing can be changed any more (`ChunkExecutor`: link).

Arrivals jitter; the heartbeat's own `mono_ms` does not. The quickest of the last arrivals tells how they go together.
"""

from collections import deque
from typing import Any

from policies.chunks.plan import between
from policies.chunks.told import ActionChunk
from streams.clock import MS

KEPT = 64  # beats: six seconds, in which two clocks do not drift apart
DIGITS = 5


class Beats:
    """What was heard of one robot's heartbeat."""

    def __init__(self) -> None:
        self._boot = ""
        self._beat, self._mono = -1, 0
        self._late: deque[int] = deque(maxlen=KEPT)

    def heard(self, boot: str, beat: int, mono_ms: int, now: int) -> None:
        """A heartbeat that arrived at session time `now` (ns). Those of an older count are passed over."""
        if boot != self._boot:
            self._boot, self._beat = boot, -1
            self._late.clear()
        if beat > self._beat:
            self._beat, self._mono = beat, mono_ms * MS
            self._late.append(now - self._mono)

    def wire(self, chunk: ActionChunk) -> dict[str, Any] | None:
        """The `args` of a setpoint for the robot; None before the first beat, or if nothing of it is to come.

        Rows are moved onto the grid of the newest beat, on straight lines between them.
        """
        if not self._late:
            return None
        sent = self._mono + min(self._late)
        step0 = max(0, -(-(chunk.at - sent) // chunk.dt))
        index, part = divmod(sent + step0 * chunk.dt - chunk.at, chunk.dt)
        if index >= len(chunk.actions):
            return None
        rows = between(chunk.actions[index:], part / chunk.dt)
        args = {
            "chunk_id": chunk.id,
            "t0_beat": self._beat,
            "step0": step0,
            "dt_ms": chunk.dt / MS,
            "names": list(chunk.names),
            "actions": [[round(float(value), DIGITS) for value in row] for row in rows],
            "horizon_valid": len(rows),
        }
        return {**args, "supersedes": chunk.supersedes} if chunk.supersedes else args
