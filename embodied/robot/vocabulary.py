"""The closed lists of the contract, and the bounds of its small values. Nothing else may stand in their places."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

PROTO = "1.0"
MAJOR = 1
MS = 1_000_000  # ns
SECOND = 1_000_000_000  # ns

# `$` alone would let a newline through at the end in Python; the look-ahead means the same to JSON Schema.
ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)"
NAME_PATTERN = r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$(?!\n)"

Id: TypeAlias = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=64)]
Text: TypeAlias = Annotated[str, Meta(max_length=400)]
Token: TypeAlias = Annotated[str, Meta(max_length=128)]
Natural: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # what every JSON library keeps exactly
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Args: TypeAlias = dict[str, Any]

Kind: TypeAlias = Literal["goal", "instant", "stream", "chunk"]
Source: TypeAlias = Literal["speech", "text", "policy", "operator", "vision"]
Rank: TypeAlias = Literal["model", "policy", "teleop", "operator"]
RANKS: tuple[Rank, ...] = ("model", "policy", "teleop", "operator")  # the later goes before the earlier

State: TypeAlias = Literal[
    "received", "rejected", "accepted", "running", "paused", "cancelling",
    "succeeded", "failed", "cancelled", "preempted", "expired",
]  # fmt: skip
TERMINAL: frozenset[State] = frozenset({"rejected", "succeeded", "failed", "cancelled", "preempted", "expired"})

Reason: TypeAlias = Literal[
    "schema", "unknown_capability", "limit", "geofence", "duplicate", "stale", "wrong_boot", "retained", "out_of_order",
    "no_lease", "busy", "mode", "estop_latched", "needs_confirm", "not_exposed", "rate", "timeout", "link_lost",
    "obstacle", "hardware", "internal",
]  # fmt: skip

Mode: TypeAlias = Literal["automatic", "manual", "teach", "charging", "service"]
EstopState: TypeAlias = Literal["none", "latched"]
Event: TypeAlias = Literal["bump", "guard_trip", "limit_clamped", "fault", "human_override"]
Level: TypeAlias = Literal["info", "warning", "urgent", "critical", "fatal"]
StopCategory: TypeAlias = Literal[0, 1, 2]  # as in IEC 60204-1: power removed; stopped, then removed; stopped, kept
Preempt: TypeAlias = Literal["replace", "reject", "queue"]
OnLinkLoss: TypeAlias = Literal["stop", "hold", "dock", "continue"]
Confirm: TypeAlias = Literal["never", "first", "always"]
Presence: TypeAlias = Literal["online", "offline", "sleeping", "lost"]
LeaseOp: TypeAlias = Literal["acquire", "renew", "release"]

# What an argument means to a guard. SI units and radians; frames as in REP 103 (x forward, y left, z up).
Quantity: TypeAlias = Literal[
    "vx", "vy", "wz", "speed", "turn_rate", "distance", "angle", "x", "y", "yaw", "duration", "joints",
]  # fmt: skip

RESERVED = (
    "stop",
    "cancel",
    "query",
    "pause",
    "resume",
)  # every robot knows these commands, whatever its factsheet says
