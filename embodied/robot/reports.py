"""What a robot says. Unknown fields are passed over: a newer robot may tell more than this program understands."""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from embodied.robot.vocabulary import (
    EstopState,
    Event,
    Fraction,
    Id,
    Level,
    Mode,
    Name,
    Natural,
    Presence,
    Rank,
    Reason,
    State,
    StopCategory,
)


class Connection(Struct, frozen=True, omit_defaults=True):
    """On `connection`, retained, and as the will with "lost". boot: a late will of an older one means nothing."""

    state: Presence
    boot: Id
    proto: str
    ts: str | None = None


class Heartbeat(Struct, frozen=True):
    """On `heartbeat`, ten a second: a sign of life, and what a command has to echo."""

    boot: Id
    beat: Natural
    mono_ms: Natural
    mode: Mode
    estop: EstopState


class Status(Struct, frozen=True, omit_defaults=True):
    """On `status`, and on the sender's reply topic: what became of command `id`.

    seq: running number of what this robot told;  detail: in words, for people and for a model to correct itself
    retriable: the same wish, asked anew, may succeed
    """

    id: Id
    name: str
    state: State
    seq: Natural
    mono_ms: Natural
    reason: Reason | None = None
    detail: str = ""
    progress: Fraction | None = None
    feedback: Any = None
    result: Any = None
    retriable: bool = False


class LeaseState(Struct, frozen=True, omit_defaults=True):
    """On `lease`, retained: who may move the robot. The lease's own id is told to its holder only."""

    holder: Id | None = None
    rank: Rank | None = None
    expires_mono_ms: Natural | None = None


class Safety(Struct, frozen=True, omit_defaults=True):
    """On `safety`, retained. since_mono_ms: of the latch;  reset_token: to be given back on `estop/reset`

    guards: what holds the robot now, such as "obstacle" or "odometry"
    """

    estop: EstopState
    stop_category: StopCategory = 2
    source: str = ""
    since_mono_ms: Natural | None = None
    reset_allowed: bool = False
    reset_token: str | None = None
    guards: tuple[str, ...] = ()


class RobotState(Struct, frozen=True, omit_defaults=True):
    """On `state`, retained, on change and every five seconds: enough for an agent that was away to know everything.

    commands: the last 32, oldest first;  battery: 0 to 1;  errors: of the hardware, in words
    """

    boot: Id
    rev: Natural
    mode: Mode
    safety: Safety
    lease: LeaseState
    commands: tuple[Status, ...] = ()
    resources: dict[str, Id | None] = field(default_factory=dict)
    battery: Fraction | None = None
    errors: tuple[str, ...] = ()


class Happening(Struct, frozen=True, omit_defaults=True):
    """On `event/{kind}`. count: how many of the same this one tells of, twice a second at most."""

    kind: Event
    level: Level
    mono_ms: Natural
    guard: str = ""
    reason: Reason | None = None
    detail: str = ""
    id: str = ""
    count: Natural = 1


class Diagnostic(Struct, frozen=True, omit_defaults=True):
    """One of the array on `diag`. level: 0 fine, 1 warning, 2 error, 3 stale (ROS `DiagnosticStatus`)"""

    name: str
    level: Annotated[int, Meta(ge=0, le=3)]
    msg: str = ""
    kv: dict[str, str | float] = field(default_factory=dict)


class Odometry(Struct, frozen=True, omit_defaults=True):
    """On `telemetry/odom`: pose in `frame` (m, rad) and speeds in the robot's own frame (m/s, rad/s)."""

    seq: Natural
    mono_ms: Natural
    x: float
    y: float
    yaw: float
    vx: float = 0.0
    vy: float = 0.0
    wz: float = 0.0
    frame: Name = "odom"


class Telemetry(Struct, frozen=True, omit_defaults=True):
    """On any other `telemetry/{channel}`. values: of the channel, by name"""

    seq: Natural
    mono_ms: Natural
    values: dict[str, Any] = field(default_factory=dict)
