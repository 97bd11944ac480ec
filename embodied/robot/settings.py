"""What the owner of a robot sets, as against what its maker says in the factsheet."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from embodied.robot.vocabulary import Id, NotNegative, Rank, StopCategory


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How strict the guards are, and who may do what.

    ranks: the highest rank that an agent may act as;  default_rank: that of all others
    keys: the secret of each agent; if there is one, every command, setpoint and wish for a lease must bear its seal
    operator_key: a reset of the stop has to prove that it knows it
    consent: "off", or "bound": a command that needs a person's yes must bear a token for its id, name and arguments
    consent_key: then the token must be made with this key
    stream_hz, goals_per_s, model_goals_per_min: highest rates of each sender; the last of all wishes by speech, text or
        sight together
    stuck_s: a goal without progress for so long has failed, 0 = never
    odometry_ms, odometry_needed: older than this, or missing, the base stands
    ranges_needed: without a young scan the base does not drive
    latency_s: from a decision to its effect, for stopping distances
    estop_ramp_s: from full speed to rest;  stop_category: what the stop does (IEC 60204-1)
    dock: the capability that "dock" of `on_link_loss` means, "" = it stops instead
    """

    ranks: dict[str, Rank] = field(default_factory=dict)
    default_rank: Rank = "policy"
    keys: dict[Id, bytes] = field(default_factory=dict)
    operator_key: bytes | None = None
    consent: Literal["off", "bound"] = "bound"
    consent_key: bytes = b""
    stream_hz: Annotated[float, Meta(ge=1, le=1000)] = 50.0
    goals_per_s: Annotated[int, Meta(ge=1, le=100)] = 2
    model_goals_per_min: Annotated[int, Meta(ge=1, le=1000)] = 10
    stuck_s: NotNegative = 10.0
    odometry_ms: Annotated[int, Meta(ge=20, le=5000)] = 300
    odometry_needed: bool = True
    ranges_needed: bool = False
    latency_s: Annotated[float, Meta(ge=0, le=2)] = 0.1
    estop_ramp_s: Annotated[float, Meta(gt=0, le=0.25)] = 0.25
    stop_category: StopCategory = 2
    dock: str = ""
