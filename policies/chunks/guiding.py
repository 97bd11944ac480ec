"""Real-time chunking for flow policies, with forward passes only.

K. Black, M. Galliker, S. Levine, "Real-Time Execution of Action Chunking Flow Policies" (arXiv 2506.07339): while a
chunk is inferred the one before is executed, so the first `delay` rows of the new one are already decided. The flow is
guided, as in inpainting, towards the rows that remain of the old chunk: fully where they are decided, then less.

The paper's guidance is a vector-Jacobian product through the network, which an ONNX graph does not have. Here the
Jacobian is dropped (taken as the identity): each step pulls the predicted end of the flow straight to the old rows.

That pull reaches the rows after the overlap only through the network, and a sample that began on the other side of an
obstacle may stay there: then the guided rows lead from one side to the other, through it. So several samples are guided
at once, and the one is taken that in the end had to be pulled least (`nearest` of their free ends; this is our own).
"""

from collections.abc import Callable

import numpy as np

from policies.chunks.scaling import Floats

MOST = 10.0
"""Highest weight of the guidance (beta of the paper, which uses 5; with 10 steps of Euler, 10 reaches the target)."""


def weights(horizon: int, delay: int, overlap: int) -> Floats:
    """float32[horizon]: how much row i is to be as it was: 1 below `delay`, falling to 0 at `overlap` (paper, eq. 5).

    delay: rows that will have been executed;  overlap: rows that the old chunk still has
    """
    overlap = min(overlap, horizon)
    delay = min(delay, overlap)
    row = np.arange(horizon)
    part = np.clip((overlap - row) / (overlap - delay + 1), 0.0, 1.0)
    falling = part * np.expm1(part) / np.expm1(1.0)
    return np.where(row < delay, 1.0, np.where(row < overlap, falling, 0.0)).astype(np.float32)


def flow(
    velocity: Callable[[Floats, float], Floats], noise: Floats, steps: int,
    target: Floats | None = None, weight: Floats | None = None, most: float = MOST,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Where the flow that begins at `noise` ends, by `steps` of Euler; and where its last step would have led unpulled.

    Both are actions, float32[n, horizon, columns].
    velocity: of (where it is, time in 0..1)
    target: float32[horizon, columns] to be guided to, weight: float32[horizon] of its rows (`weights`); None: freely
    """
    at = end = noise
    for n in range(steps):
        time = n / steps
        speed = velocity(at, time)
        end = at + (1 - time) * speed
        if target is not None and weight is not None:
            # (1 - t) / (t r²) with r² = (1 - t)² / (t² + (1 - t)²), at most `most` (paper, eq. 2 to 4)
            gain = most if n == 0 else min(most, (time**2 + (1 - time) ** 2) / (time * (1 - time)))
            speed = speed + gain * weight[:, None] * (target - end)
        at = (at + speed / steps).astype(np.float32)
    return at, end


def nearest(samples: Floats, target: Floats, weight: Floats) -> int:
    """Which of float32[n, horizon, columns] is the nearest to `target` where they overlap, by `weight` of the rows."""
    far = ((samples - target) ** 2).sum(axis=2) @ weight
    return int(np.argmin(far))
