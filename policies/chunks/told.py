"""What the executor gives and tells: ticks, chunks for the wire, events, and counts."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from policies.chunks.scaling import Floats

State: TypeAlias = Literal["idle", "waiting", "moving", "starved"]


class Tick(NamedTuple):
    """One step of the control loop.

    step: absolute count;  due, t: session time (ns) for which it was meant and at which it came
    state: "idle": no task;  "waiting": for the first chunk of all;  "starved": what is done is held or ramped down
    action: float32[columns], None while idle or waiting (then the robot is left to itself)
    chunk, task: that made the action ("" if none)
    """

    step: int
    due: int
    t: int
    state: State
    action: Floats | None
    chunk: str = ""
    task: str = ""


class ActionChunk(NamedTuple):
    """What is planned from now on, for the wire (`beats.Beats.wire`).

    at: session time (ns) of row 0;  dt: ns between rows;  step0: absolute step of row 0
    actions: float32[n, columns];  supersedes: id of the chunk before, "" if none;  task: of its newest rows
    """

    id: str
    at: int
    step0: int
    dt: int
    names: tuple[str, ...]
    actions: Floats
    supersedes: str
    task: str


class Event(NamedTuple):
    """Something that somebody should know of. t: session time, ns

    "starving": nothing to do for longer than a moment;  "fed": again something;  "refused": a chunk, and why
    "late": a chunk came when all of its rows were past;  "stuck": an inference does not end
    "blind": for half a second no observation, or none that is young enough
    """

    kind: Literal["starving", "fed", "refused", "late", "stuck", "blind"]
    t: int
    detail: str


@dataclass
class Counts:
    """Since the start. moved, starved: ticks;  skipped: steps left out because the loop came too late

    inferred: chunks that took over;  refused, late: chunks that did not;  dropped: answers to what was cancelled
    blind: times that there was no observation, or one too old, when one was needed
    """

    moved: int = 0
    starved: int = 0
    skipped: int = 0
    inferred: int = 0
    refused: int = 0
    late: int = 0
    dropped: int = 0
    blind: int = 0
    sent: int = 0
