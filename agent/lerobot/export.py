"""Several recordings to one LeRobotDataset: all of it or nothing.

What differs between episodes is refused with a sentence; what cannot be an episode is left out and told.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.errors import OutputError
from agent.lerobot import episodes as gridded
from agent.lerobot.errors import ExportError
from agent.lerobot.takes import Of, Take, takes
from streams.clock import SECOND
from streams.errors import DependencyMissing
from streams.recording import Recording

if TYPE_CHECKING:
    from agent.lerobot.film import Codec, Pictures

OLD = SECOND  # a picture older than this shows nothing of the episode
LEAST = 2  # frames


class Choice(NamedTuple):
    """What is exported. of: None = skills if there are any, else steering;  robot: only of this one, "" = of all

    fps: 0 = as recorded;  task: in place of what was recorded, "" = that;  done: only commands that ended as "done"
    camera: name of the pictures, "" = without pictures
    """

    of: Of | None = None
    robot: str = ""
    fps: int = 0
    task: str = ""
    done: bool = False
    camera: str = "front"
    codec: "Codec" = "h264"


class Exported(NamedTuple):
    """What was written. lacks: what was not, in sentences"""

    folder: Path
    of: Of
    fps: int
    episodes: int
    frames: int
    tasks: int
    lacks: tuple[str, ...]


def export(paths: Sequence[Path], out: Path, choice: Choice | None = None) -> Exported:
    """Write what the recordings at `paths` hold into the new folder `out`. Takes its time: not for the event loop.

    Raises `ExportError` if there is nothing to export, or episodes differ in their columns or pictures; `OutputError`
    if `out` exists or cannot be written; `RecordingError`; `DependencyMissing`. `out` is there whole or not at all.
    """
    choice = choice or Choice()
    _needed()
    from agent.lerobot.dataset import Dataset, Form  # noqa: PLC0415 - PyArrow and PyAV are an extra
    from agent.lerobot.film import Pictures  # noqa: PLC0415

    _free(out)
    recordings = {path: Recording.open(path) for path in dict.fromkeys(paths)}
    lacks = [recording.torn for recording in recordings.values() if recording.torn]
    of, found = _found(list(recordings.values()), choice, lacks)
    found = gridded.alike(found, of)
    fps, told = (choice.fps, "") if choice.fps else gridded.pace(found, of)
    lacks += [told] if told else []
    made = [each for take in found if len((each := gridded.episode(take, fps, of)).times) >= LEAST]
    pictures = {path: Pictures(recordings[path]) for path in {each.take.source for each in made} if choice.camera}
    _pictured(found, pictures, choice)
    camera = f"observation.images.{choice.camera}" if any(len(each.times) for each in pictures.values()) else ""
    shot, shape = _shot(made, pictures, lacks) if camera else ([(each, None) for each in made], (0, 0))
    if not shot:
        raise ExportError(f"nothing to export: {' '.join(lacks) or 'every stretch is shorter than two frames.'}")
    kinds = {each.take.kind for each, _ in shot}
    robot = kinds.pop() if len(kinds) == 1 else ""
    form = Form(fps, robot, found[0].states, found[0].actions, camera, shape, choice.codec)
    part = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
    dataset = Dataset(part, form)
    try:
        part.mkdir()
        try:
            for each, numbers in shot:
                seen = None if numbers is None else _Frames(pictures[each.take.source], numbers, shape, each.take)
                dataset.add(choice.task or each.take.task, each.state, each.action, seen)
            dataset.finish()
        finally:
            dataset.abandon()
        _free(out)
        os.rename(part, out)  # noqa: PTH104 - Path.rename is the same; this one says that it is the system's
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    damaged = sum(each.damaged for each in pictures.values())
    if damaged:
        lacks.append(f"{damaged} damaged pictures were replaced by those before them.")
    return Exported(out, of, fps, dataset.episodes, dataset.frames, dataset.tasks, tuple(lacks))


def _needed() -> None:
    for package, module in (("pyarrow", "pyarrow.parquet"), ("av", "av")):
        try:
            __import__(module)
        except ImportError as error:
            raise DependencyMissing(package, "lerobot", "a LeRobotDataset") from error


def _free(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise OutputError(f"{out} exists: name a folder that does not, it will be made.")
    if not out.parent.is_dir():
        raise OutputError(f"cannot write {out}: there is no folder {out.parent}; make it first.")


def _found(recordings: Sequence[Recording], choice: Choice, lacks: list[str]) -> tuple[Of, list[Take]]:
    """All takes in the order of `recordings`, and what they are of."""
    kinds: tuple[Of, ...] = (choice.of,) if choice.of else ("skills", "steering")
    for of in kinds:
        found: list[Take] = []
        for recording in recordings:
            here = takes(recording, of, choice.robot)
            lacks += here.lacks
            for take in here.takes:
                status = here.statuses.get(take.command, "not ended")
                if choice.done and of == "skills" and status != "done":
                    lacks.append(f"{take.place}: left out, it is {status}.")
                else:
                    found.append(take)
        if found:
            return of, found
    names = ", ".join(str(recording.path) for recording in recordings)
    whose = f" of {choice.robot}" if choice.robot else ""
    said = "no skill was carried out, and nobody steered" if len(kinds) > 1 else f"there is nothing of {kinds[0]}"
    raise ExportError(f"nothing to export in {names}: {said}{whose}. {' '.join(lacks)}".rstrip())


def _pictured(found: Sequence[Take], pictures: "dict[Path, Pictures]", choice: Choice) -> None:
    """Either every recording has pictures, or none has."""
    without = [take.source for take in found if take.source in pictures and not len(pictures[take.source].times)]
    if without and any(len(each.times) for each in pictures.values()):
        raise ExportError(
            f"{without[0]} has no pictures, and others have (observation.images.{choice.camera}). "
            "A dataset has the same in every episode: export them apart, or --no-pictures."
        )


def _shot(
    made: Sequence[gridded.Episode], pictures: "dict[Path, Pictures]", lacks: list[str]
) -> tuple[list[tuple[gridded.Episode, NDArray[np.int64] | None]], tuple[int, int]]:
    """Those episodes of which there are pictures, with the number of each frame's picture; (height, width)."""
    shot: list[tuple[gridded.Episode, NDArray[np.int64] | None]] = []
    shape = (0, 0)
    for each in made:
        seen = pictures[each.take.source]
        numbers = seen.newest(each.times, OLD)
        if numbers is None:
            lacks.append(f"{each.take.place}: left out, there is no picture of a part of it.")
            continue
        if not shot:
            height, width = seen.pixels(int(numbers[0])).shape[:2]
            shape = height, width
        shot.append((each, numbers))
    return shot, shape


class _Frames:
    """The pictures of one episode, by frame."""

    def __init__(self, pictures: "Pictures", numbers: Any, shape: tuple[int, int], take: Take) -> None:
        self._pictures, self._numbers, self._shape, self._take = pictures, numbers, shape, take

    def __call__(self, frame: int) -> Any:
        pixels = self._pictures.pixels(int(self._numbers[frame]))
        if pixels.shape[:2] != self._shape:
            height, width = pixels.shape[:2]
            raise ExportError(
                f"{self._take.place}: its pictures are {width} x {height}, those of the first episode "
                f"{self._shape[1]} x {self._shape[0]}. A dataset has one size: export them apart, or --no-pictures."
            )
        return pixels
