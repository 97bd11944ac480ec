"""Setpoints and chunks: which of them count, and until when."""

import math
from typing import Any

import msgspec

from embodied.robot.admission import uses_base
from embodied.robot.arguments import Refusal
from embodied.robot.factsheet import Capability, base_quantity, joint_of
from embodied.robot.messages import Chunk, Setpoint
from embodied.robot.post import Post
from embodied.robot.setpoints import CHUNK_GRACE, Live, track
from embodied.robot.vocabulary import MS

FAST_MPS = 0.5
_NEAR = 1e-9


class Streaming:
    """Takes the streams of one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def take(self, setpoint: Setpoint, now: int) -> Refusal | None:
        """None if `setpoint` counts from now on."""
        post = self._post
        capability = post.capabilities.get(setpoint.name)
        if capability is None or capability.kind not in ("stream", "chunk"):
            return Refusal("capability", "unknown_capability", "this robot has no such stream")
        if refusal := post.gate.refusal(setpoint, capability, post.sensed, now):
            return refusal
        if not post.streams.in_order(setpoint.lease, setpoint.name, setpoint.seq):
            return Refusal("order", "out_of_order", "`seq` must rise")
        if why := post.book.refusal(capability.resources, can_wait=False):
            return Refusal("busy", "busy", why)
        live = (
            self._chunk(setpoint, capability, now)
            if capability.kind == "chunk"
            else self._values(setpoint, capability, now)
        )
        if isinstance(live, Refusal):
            return live
        if post.sensed.bumper == "any" and uses_base(capability):
            return Refusal("obstacle", "obstacle", "the bumper is pressed")
        if post.book.users(capability.resources):
            post.book.clear(capability.resources, f"{capability.name} took over", now)
        if capability.name not in post.streams.live:
            post.changed = True
        post.streams.put(live)
        return None

    def _values(self, setpoint: Setpoint, capability: Capability, now: int) -> Live | Refusal:
        values: dict[str, Any] = {}
        if capability.action_features:
            if set(setpoint.args) != set(capability.action_features):
                return Refusal("schema", "schema", f"args must be just {', '.join(capability.action_features)}")
            named = setpoint.args
        else:
            named = {quantity: setpoint.args.get(name, 0.0) for name, quantity in capability.quantities.items()}
        for name, value in named.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9
            if not number:
                return Refusal("schema", "schema", f"{name} is no number, or an absurd one")
            values[base_quantity(name) or name] = float(value)
        speed = min(math.hypot(values.get("vx", 0.0), values.get("vy", 0.0)), self._post.factsheet.limits.v_max)
        fast = speed > FAST_MPS + _NEAR
        ttl = self._post.streams.ttl(setpoint.ttl_ms, capability, fast=fast)
        return Live(capability, setpoint.lease, now + ttl, values)

    def _chunk(self, setpoint: Setpoint, capability: Capability, now: int) -> Live | Refusal:
        try:
            chunk = msgspec.convert(setpoint.args, Chunk)
        except msgspec.ValidationError as error:
            return Refusal("schema", "schema", str(error))
        if chunk.names != capability.action_features:
            return Refusal("schema", "schema", f"names must be {', '.join(capability.action_features)}, in this order")
        if len(chunk.actions) > capability.horizon_max:
            return Refusal("limits", "limit", f"{len(chunk.actions)} steps; {capability.horizon_max} at most")
        if wrong := self._rows(chunk):
            return wrong
        sent = self._post.beats.sent(chunk.t0_beat)
        if sent is None:
            return Refusal("freshness", "stale", f"beat {chunk.t0_beat} is none that is remembered")
        rows, _ = track(chunk, sent, now)
        if rows is None:
            return Refusal("freshness", "stale", "none of its steps is for the next second")
        expires = rows.end + CHUNK_GRACE
        if setpoint.ttl_ms is not None:
            expires = min(expires, now + setpoint.ttl_ms * MS)
        return Live(capability, setpoint.lease, expires, {}, rows)

    def _rows(self, chunk: Chunk) -> Refusal | None:
        """A policy that leaves the limits is broken: its chunk is refused whole, for clamping would bend the way."""
        limits = self._post.factsheet.limits
        bounds = [
            (-1e9, 1e9)
            if base_quantity(name)
            else (limits.joints[joint_of(name)].min, limits.joints[joint_of(name)].max)
            for name in chunk.names
        ]
        for n, row in enumerate(chunk.actions):
            if len(row) != len(chunk.names):
                return Refusal("schema", "schema", f"row {n} has {len(row)} numbers for {len(chunk.names)} names")
            for (low, high), value in zip(bounds, row):
                if not low <= value <= high:
                    return Refusal("limits", "limit", f"row {n}: {value} is outside {low} to {high}")
        return None
