"""The files of a LeRobotDataset v3.0: Parquet, JSON, MP4. Knows nothing of recordings.

Format: https://github.com/huggingface/lerobot, src/lerobot/datasets (0.4): meta/info.json, meta/stats.json,
meta/tasks.parquet, meta/episodes/, data/ and videos/KEY/, each with chunk-000/file-000.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agent.lerobot import statistics
from agent.lerobot.film import Codec, Film, Pixels
from agent.lerobot.statistics import Figures

VERSION = "v3.0"
CHUNK = 1000  # files in a folder
LONGEST_S = 1000
"""A film is no longer than this, unless one episode is: readers compare times in float32, to 0.1 ms."""
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


class Form(NamedTuple):
    """What all episodes have in common.

    states, actions: names of the columns;  camera: key of the pictures, "" = none;  shape: (height, width)
    """

    fps: int
    robot: str
    states: tuple[str, ...]
    actions: tuple[str, ...]
    camera: str = ""
    shape: tuple[int, int] = (0, 0)
    codec: Codec = "h264"


class Dataset:
    """Written into `folder`, which exists and is empty. `add` each episode, then `finish`; `abandon` if it fails."""

    def __init__(self, folder: Path, form: Form) -> None:
        self._folder, self._form = folder, form
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._thinned: list[Pixels] = []
        self._film: Film | None = None
        self._films = 0
        self.frames = 0

    @property
    def episodes(self) -> int:
        """Number of episodes so far."""
        return len(self._episodes)

    @property
    def tasks(self) -> int:
        """Number of tasks so far."""
        return len(self._tasks)

    def add(
        self,
        task: str,
        state: NDArray[np.float32],
        action: NDArray[np.float32],
        picture: Callable[[int], Pixels] | None = None,
    ) -> None:
        """One episode. state, action: float32[frames, columns];  picture: of a frame, by its number in the episode."""
        count = len(state)
        number = self._tasks.setdefault(task, len(self._tasks))
        begin, episode = self.frames, len(self._episodes)
        frames = np.arange(count)
        columns: dict[str, NDArray[Any]] = {
            "observation.state": state,
            "action": action,
            "timestamp": (frames / self._form.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(count, episode),
            "index": begin + frames,
            "task_index": np.full(count, number),
        }
        row: dict[str, Any] = {
            "episode_index": episode, "tasks": [task], "length": count,
            "data/chunk_index": 0, "data/file_index": 0, "dataset_from_index": begin, "dataset_to_index": begin + count,
        }  # fmt: skip
        figures = {name: statistics.of_columns(_flat(each)) for name, each in columns.items()}
        if self._form.camera and picture is not None:
            row |= self._shoot(count, picture, figures)
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for name, each in figures.items():
            row |= {f"stats/{name}/{figure}": value for figure, value in each.items()}
        self._parts.append(columns)
        self._episodes.append(row)
        self.frames += count

    def _shoot(self, count: int, picture: Callable[[int], Pixels], figures: dict[str, Figures]) -> dict[str, Any]:
        """Film the episode; where it is."""
        film = self._film
        if film is None or (film.frames and film.frames + count > LONGEST_S * self._form.fps):
            film = self._next_film()
        begin, sampled, thinned = film.frames, statistics.sampled(count), []
        for frame in range(count):
            pixels = picture(frame)
            film.add(pixels)
            if frame in sampled:
                thinned.append(statistics.thinned(pixels))
        key = self._form.camera
        figures[key] = statistics.of_pictures(thinned)
        self._thinned += thinned[:: max(1, len(thinned) // 20)]
        return {
            f"videos/{key}/chunk_index": (self._films - 1) // CHUNK,
            f"videos/{key}/file_index": (self._films - 1) % CHUNK,
            f"videos/{key}/from_timestamp": begin / self._form.fps,
            f"videos/{key}/to_timestamp": (begin + count) / self._form.fps,
        }

    def _next_film(self) -> Film:
        self.abandon()
        at = _FILE.format(chunk_index=self._films // CHUNK, file_index=self._films % CHUNK)
        path = self._folder / "videos" / self._form.camera / f"{at}.mp4"
        self._film = film = Film(path, self._form.fps, self._form.shape, self._form.codec)
        self._films += 1
        return film

    def abandon(self) -> None:
        """Close what is open."""
        film, self._film = self._film, None
        if film is not None:
            film.close()

    def finish(self) -> None:
        """Write everything else. Raises `OSError`."""
        self.abandon()
        whole = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        figures = {name: statistics.of_columns(_flat(each)) for name, each in whole.items()}
        if self._form.camera:
            figures[self._form.camera] = statistics.of_pictures(self._thinned)
        at = _FILE.format(chunk_index=0, file_index=0)
        _parquet(self._folder / f"data/{at}.parquet", pa.table({name: _column(each) for name, each in whole.items()}))
        _parquet(self._folder / f"meta/episodes/{at}.parquet", pa.Table.from_pylist(self._episodes))
        _parquet(self._folder / "meta/tasks.parquet", _tasks(list(self._tasks)))
        _json(self._folder / "meta/stats.json", figures)
        _json(self._folder / "meta/info.json", self._info())

    def _info(self) -> dict[str, Any]:
        form = self._form
        return {
            "codebase_version": VERSION,
            "robot_type": form.robot or None,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": self.tasks,
            "chunks_size": CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": form.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": f"data/{_FILE}.parquet",
            "video_path": f"videos/{{video_key}}/{_FILE}.mp4" if form.camera else None,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        form = self._form
        features: dict[str, Any] = {
            "observation.state": {"dtype": "float32", "shape": [len(form.states)], "names": list(form.states)},
            "action": {"dtype": "float32", "shape": [len(form.actions)], "names": list(form.actions)},
        }
        if form.camera:
            facts = {
                "height": form.shape[0], "width": form.shape[1], "codec": form.codec, "pix_fmt": "yuv420p",
                "is_depth_map": False, "fps": form.fps, "channels": 3,
            }  # fmt: skip
            features[form.camera] = {
                "dtype": "video",
                "shape": [*form.shape, 3],
                "names": ["height", "width", "channels"],
                "info": {**{f"video.{name}": fact for name, fact in facts.items()}, "has_audio": False},
            }
        for name in _COUNTERS:
            features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
        return features


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _column(values: NDArray[Any]) -> Any:
    """A feature of one column is a number and no list."""
    values = np.ascontiguousarray(values)
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _tasks(tasks: Sequence[str]) -> Any:
    """The table of tasks. LeRobot reads it by pandas, whose index the texts are: the schema has to say so."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [{**column, "metadata": None}, {**index, "metadata": None}],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": msgspec.json.encode(pandas)})


def _parquet(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy")


def _json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=4) + b"\n")
