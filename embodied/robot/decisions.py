"""What the guards decide: told to the network, ordered from the driver, and noted, in this order of happening."""

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from embodied.robot.messages import Command
from embodied.robot.vocabulary import Name, Reason, StopCategory


class Tell(Struct, frozen=True):
    """Publish `message` (encode it) on `topic`."""

    topic: str
    message: Any
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None


class Begin(Struct, frozen=True):
    """Driver: carry out `command`. It reports by `Guarded.progressed` and, exactly once, `Guarded.finished`.

    A goal that moves the base gives its wish to `Guarded.drive` in each step; what comes back is what may be driven.
    """

    command: Command
    resources: tuple[Name, ...]


class End(Struct, frozen=True):
    """Driver: command `id` is not wanted any more. Bring it to rest, and report `finished` within two seconds."""

    id: str
    why: str


class Hold(Struct, frozen=True):
    """Driver: pause command `id`, to go on later."""

    id: str


class GoOn(Struct, frozen=True):
    """Driver: go on with command `id`."""

    id: str


class Brake(Struct, frozen=True):
    """Driver: stop all motion by your own means, too, now. `drive` and `joints` go to zero and hold in any case."""

    category: StopCategory
    why: str


class Note(Struct, frozen=True):
    """For the audit log: every decision, with its reason. t: ns of the clock given;  guard: which one decided"""

    t: int
    guard: str
    verdict: Literal["accepted", "rejected", "repeated", "clamped", "stopped", "ignored", "changed"]
    id: str = ""
    name: str = ""
    sender: str = ""
    reason: Reason | None = None
    detail: str = ""


Effect: TypeAlias = Tell | Begin | End | Hold | GoOn | Brake | Note


class Heard(Struct, frozen=True):
    """A message as it came. retained: its flag as received, which means that it is no news"""

    topic: str
    payload: bytes
    retained: bool = False


class Velocity(Struct, frozen=True):
    """Of the base, in its own frame: m/s forward, m/s to the left, rad/s anticlockwise."""

    vx: float = 0.0
    vy: float = 0.0
    wz: float = 0.0

    @property
    def still(self) -> bool:
        """Whether it is exactly at rest."""
        return self.vx == 0 and self.vy == 0 and self.wz == 0


class Scan(Struct, frozen=True):
    """Distances (m) from the middle of the base, from `first_rad` on, each `step_rad` further to the left.

    Infinity is nothing seen. NaN, negative, or none at all is a broken sensor, and stops.
    """

    t: int
    first_rad: float
    step_rad: float
    ranges: tuple[float, ...]


class Sensed(Struct, frozen=True):
    """What the robot knows of itself. All times in ns of the same clock as `now`.

    odom_t: when pose and speed were true;  pose: x, y (m), yaw (rad) in the frame of the fence
    bumper: where it is pressed;  hardware_stop: the emergency stop of the hardware is pressed
    """

    odom_t: int | None = None
    pose: tuple[float, float, float] | None = None
    velocity: Velocity = Velocity()
    scan: Scan | None = None
    bumper: Literal["", "front", "rear", "any"] = ""
    near_people: bool = False
    joints: dict[str, float] = field(default_factory=dict)
    mode: Literal["automatic", "manual", "teach", "charging", "service"] = "automatic"
    hardware_stop: bool = False
    battery: float | None = None
    errors: tuple[str, ...] = ()
