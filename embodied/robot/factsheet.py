"""The factsheet: what a robot is, what it can do, and within which limits. Checked whole before anything moves."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from embodied.robot.errors import FactsheetInvalid
from embodied.robot.params import Params
from embodied.robot.vocabulary import (
    PROTO,
    RESERVED,
    Args,
    Confirm,
    Id,
    Kind,
    Name,
    Natural,
    NotNegative,
    OnLinkLoss,
    Positive,
    Preempt,
    Quantity,
)

Point = tuple[float, float]
Polygon = Annotated[tuple[Point, ...], Meta(min_length=3, max_length=200)]
MOTION: tuple[Kind, ...] = ("goal", "stream", "chunk")


class Robot(Struct, frozen=True, omit_defaults=True):
    """Who made it, and what it is."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    kind: str = ""
    sw: str = ""


class JointLimits(Struct, frozen=True):
    """Of one joint. min, max: rad (or m);  v_max: rad/s"""

    min: float
    max: float
    v_max: Positive = 2.5


class Workspace(Struct, frozen=True, omit_defaults=True):
    """A box for the tool, in the robot's frame (m), and its highest speed (m/s)."""

    min: tuple[float, float, float]
    max: tuple[float, float, float]
    v_max: Positive = 0.25


class Fence(Struct, frozen=True, omit_defaults=True):
    """Where the robot may be: inside `polygon`, outside of every `keep_out` (m, in `frame`)."""

    polygon: Polygon | None = None
    keep_out: tuple[Polygon, ...] = ()
    frame: Name = "odom"
    margin_m: NotNegative = 0.05


class Limits(Struct, frozen=True, omit_defaults=True):
    """What no message can exceed. m/s, rad/s, and per second; `jerk_max` 0 = not limited.

    brake: deceleration that the base can keep;  alpha_max, alpha_brake: the same for turning
    v_near: speed near people;  holonomic: can go sideways;  radius_m: of the smallest circle round the base
    """

    v_max: NotNegative = 0.5
    w_max: NotNegative = 1.5
    a_max: Positive = 1.0
    brake: Positive = 3.0
    alpha_max: Positive = 3.0
    alpha_brake: Positive = 6.0
    jerk_max: NotNegative = 0.0
    v_near: NotNegative = 0.25
    holonomic: bool = False
    radius_m: NotNegative = 0.2
    distance_max_m: Positive = 10.0
    joints: dict[str, JointLimits] = field(default_factory=dict)
    workspace: Workspace | None = None
    geofence: Fence | None = None


class Timing(Struct, frozen=True, omit_defaults=True):
    """beat_hz: of the heartbeat;  fresh_ms: oldest echo;  link_ms: silence of the agent;  lease_ms: life of a lease"""

    beat_hz: Annotated[float, Meta(ge=1, le=50)] = 10.0
    fresh_ms: Annotated[int, Meta(ge=50, le=5000)] = 600
    stream_ttl_ms: Annotated[int, Meta(ge=50, le=1000)] = 500
    stream_ttl_max_ms: Annotated[int, Meta(ge=50, le=1000)] = 1000
    stream_ttl_fast_ms: Annotated[int, Meta(ge=50, le=1000)] = 250
    link_ms: Annotated[int, Meta(ge=200, le=10_000)] = 1500
    lease_ms: Annotated[int, Meta(ge=500, le=30_000)] = 2000


class Tool(Struct, frozen=True, omit_defaults=True):
    """description: shown to people only: a model is given the words of a file that the operator trusts"""

    description: str = ""
    expose: bool = False


class Capability(Struct, frozen=True, omit_defaults=True):
    """One thing the robot can do.

    params: JSON Schema of `args` (the subset of `params.py`);  quantities: what an argument means to the guards
    risk: 0 cannot harm, 1 moves gently, 2 moves through the room, 3 can hurt;  action_features: columns, with what
    they are as suffix: "j1.pos" (rad), "x.vel", "y.vel", "theta.vel" (m/s, m/s, rad/s)
    on_cut: what agents do with it when a person interrupts: "cancel", or "finish"
    """

    name: Name
    kind: Kind
    params: Args = field(default_factory=dict)
    feedback: Args = field(default_factory=dict)
    result: Args = field(default_factory=dict)
    resources: tuple[Name, ...] = ()
    quantities: dict[str, Quantity] = field(default_factory=dict)
    preempt: Preempt = "replace"
    cancellable: bool = True
    pausable: bool = False
    idempotent: bool = False
    risk: Annotated[int, Meta(ge=0, le=3)] = 1
    confirm: Confirm = "never"
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    on_link_loss: OnLinkLoss = "stop"
    on_cut: Literal["cancel", "finish"] = "cancel"
    ttl_ms: Annotated[int, Meta(ge=50, le=1000)] | None = None
    rate_hz: tuple[Positive, Positive] = (5.0, 50.0)
    dt_ms: Positive = 20.0
    horizon_max: Annotated[int, Meta(ge=1, le=512)] = 64
    action_features: tuple[str, ...] = ()
    tool: Tool = Tool()

    @property
    def moves(self) -> bool:
        """Whether it needs a lease, a fresh echo, and a robot that is allowed to move.

        A goal of risk 0 that means nothing to the guards and does not use the base is no motion: to say something.
        """
        if self.kind == "goal":
            return self.risk > 0 or bool(self.quantities) or "base" in self.resources
        return self.kind in MOTION or self.risk > 0


class Factsheet(Struct, frozen=True, omit_defaults=True):
    """On `factsheet`, retained. rev: changes whenever it does;  boot: changes at each start of the robot's program"""

    proto: str
    rev: Natural
    boot: Id
    robot: Robot = Robot()
    limits: Limits = Limits()
    timing: Timing = Timing()
    resources: tuple[Name, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    observation_features: Args = field(default_factory=dict)
    signature: str | None = None


def compatible(factsheet: Factsheet) -> bool:
    """Whether this program understands that robot: the same major number of `proto`."""
    return factsheet.proto.split(".")[0] == PROTO.split(".")[0]


def compile_params(factsheet: Factsheet, *, strict: bool = True) -> dict[str, Params]:
    """The check of each capability's arguments. strict: on the robot, where a schema must be enforced or not promised.

    Raises `FactsheetInvalid` for a factsheet that contradicts itself.
    """
    checks: dict[str, Params] = {}
    for each in factsheet.capabilities:
        if each.name in checks:
            _wrong(each.name, "is there twice")
        if each.name in RESERVED and (each.kind != "instant" or each.risk):
            _wrong(each.name, "is a command that every robot has: it can only be an instant one of risk 0")
        if missing := set(each.resources) - set(factsheet.resources):
            _wrong(each.name, f"uses {', '.join(sorted(missing))}, which `resources` of the robot does not name")
        if each.kind in MOTION and not each.resources:
            _wrong(each.name, "moves something, but names no resource that it uses")
        checks[each.name] = Params(each.params or _EMPTY, each.name, strict=strict)
        _check_streams(each, factsheet)
    return checks


_EMPTY: Args = {"type": "object", "properties": {}}
_BASE_FEATURES = {"x.vel": "vx", "y.vel": "vy", "theta.vel": "wz"}


def base_quantity(feature: str) -> Literal["vx", "vy", "wz"] | None:
    """What a column of a chunk means to the base, or None if it is a joint's."""
    return _BASE_FEATURES.get(feature)  # type: ignore[return-value]


def joint_of(feature: str) -> str:
    """The joint whose position a column is: "j1" of "j1.pos"."""
    return feature.removesuffix(".pos")


def _check_streams(each: Capability, factsheet: Factsheet) -> None:
    if each.kind == "chunk" and not each.action_features:
        _wrong(each.name, "is a chunk: it needs action_features")
    for feature in each.action_features:
        if base_quantity(feature) is None and joint_of(feature) not in factsheet.limits.joints:
            _wrong(each.name, f"moves {feature!r}, for which limits.joints has no limits")
    if each.kind == "stream" and not each.action_features:
        meant = {"vx", "vy", "wz"} & set(each.quantities.values())
        if not meant:
            _wrong(each.name, "is a stream: it needs quantities (vx, vy, wz) or action_features, or nothing limits it")
        if missing := set(each.quantities) - set(each.params.get("properties", {})):
            _wrong(each.name, f"has quantities of {', '.join(sorted(missing))}, which params does not have")


def _wrong(name: str, what: str) -> None:
    raise FactsheetInvalid(f"factsheet: the capability {name!r} {what}.")
