"""Whose faces are to be seen, where, and which is which: reads IMAGE, writes PERCEPT.

`YuNet` finds them: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector" (Machine Intelligence
Research 20), weights Apache-2.0 from https://github.com/ShiqiYu/libfacedetection.train, on ONNX Runtime; decoded here
as OpenCV's `FaceDetectorYN` does. `Tracker` follows them. Who they are is not asked.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from streams import onnx
from streams.clock import MS, SECOND
from streams.encoders.tracking import Box, Followed, Tracker, TrackingConfig
from streams.packet import Packet
from streams.pictures import Pixels, decompress, opencv
from streams.ports import Emit
from streams.topics import IMAGE, PERCEPT, Topic
from streams.types import Face, Faces, Image

MODEL = "yunet"  # its name in the model store
STRIDES = (8, 16, 32)
_OVERLAP = 0.3  # two boxes of one picture that overlap more are one face (FaceDetectorYN's default)
_DIGITS = 4


class FacesConfig(TrackingConfig, frozen=True, forbid_unknown_fields=True):
    """How faces are looked for; see `TrackingConfig` for when one is believed.

    rate_hz: pictures looked at a second at most
    size: pixels of the longer side of what the detector sees (rounded up to a multiple of 32); a face is found when
        it is some 22 of them high (4 m away at 480 and 60 degrees of view); the time grows with the square
    cost_ms: declared time of one look, which a replay lets pass
    """

    rate_hz: Annotated[float, Meta(gt=0, le=60)] = 10.0
    size: Annotated[int, Meta(ge=96, le=1920)] = 480
    cost_ms: Annotated[float, Meta(gt=0, le=10_000)] = 8.0


class YuNet:
    """The detector on one graph, shared by all sessions of the process.

    The graph (`yunet_n_dynamic.onnx`): `input` float32[1, 3, H, W], blue green red from 0 to 255; for each stride s of
    8, 16 and 32 one row per cell of s x s pixels in `cls_s` and `obj_s` (two factors of the score), `bbox_s` (offset
    of the centre, logarithm of the size, in cells) and `kps_s` (five points). The input is square, so that pictures of
    any shape share one graph in memory. Raises what `onnx.Model.load` raises.
    """

    def __init__(self, path: Path, size: int = 480, providers: Sequence[str] = ("cpu",)) -> None:
        self.size = size = -(-size // 32) * 32
        outputs: dict[str, onnx.Tensor] = {}
        for stride in STRIDES:
            cells = (size // stride) ** 2
            outputs |= {f"{name}_{stride}": onnx.Tensor("float32", (1, cells, width)) for name, width in _HEADS.items()}
        kind = onnx.Tensor("float32", (1, 3, size, size))
        self.model = onnx.Model.load(path, inputs={"input": kind}, outputs=outputs, providers=providers, threads=1)
        self._cells = [_cells(size, stride) for stride in STRIDES]

    def find(self, picture: Pixels, score: float) -> list[Box]:
        """The faces in `picture` of at least this `score`, the surest first, in fractions of the picture."""
        cv2 = opencv("finding faces")
        height, width = picture.shape[:2]
        scale = self.size / max(height, width)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        if scale != 1:
            picture = cv2.resize(picture, (across, down), interpolation=cv2.INTER_LINEAR)
        feed = np.zeros((1, 3, self.size, self.size), np.float32)
        for plane, channel in zip(feed[0], cv2.split(picture)):
            plane[:down, :across] = channel
        heads = dict(zip(self.model.outputs, self.model.run({"input": feed})))
        rows = np.concatenate(
            [_decoded(heads, stride, cells, score) for stride, cells in zip(STRIDES, self._cells)]
        )  # fmt: skip
        rows[:, 1::2] /= across
        rows[:, 2::2] /= down
        return [_box(row) for row in _distinct(rows)]


class FaceDetector:
    """An `Encoder`: one `Faces` for every picture it looks at, at most `rate_hz` a second by the pictures' own times.

    A face counts from the second look at it, keeps its number while it is followed, and is gone when it has not been
    found for 0.7 s; until then it is told where it is expected, with confidence 0. So "how many" does not flicker, and
    whoever looks at a face's pixels passes those of confidence 0 over. Coordinates have four digits.

    fov_deg: horizontal field of view of the camera;  damaged: pictures so far that are none
    `push` raises `DependencyMissing` without OpenCV.
    """

    name = "faces"
    reads: tuple[Topic[Any], ...] = (IMAGE,)
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(
        self,
        path: Path,
        config: FacesConfig | None = None,
        *,
        fov_deg: float = 60.0,
        providers: Sequence[str] = ("cpu",),
    ) -> None:
        opencv("finding faces")
        self.config = config or FacesConfig()
        self.damaged = 0
        self._yunet = YuNet(path, self.config.size, providers)
        self.model = self._yunet.model
        self._tracker = Tracker(self.config)
        self._focal = 0.5 / math.tan(math.radians(fov_deg) / 2)  # in widths of the picture
        self._every = round(SECOND / self.config.rate_hz)
        self._next: int | None = None  # when the next look is due

    def cost(self, packet: Packet[Image]) -> int:
        """0 for a picture that is passed over."""
        return round(self.config.cost_ms * MS) if self._due(packet.t) else 0

    def push(self, packet: Packet[Image]) -> Sequence[Emit]:
        """The faces of one picture, or nothing if it is passed over or damaged."""
        if not self._due(packet.t):
            return []
        picture = decompress(packet.data, self._yunet.size)
        if picture is None:
            self.damaged += 1
            return []
        # On average the rate; after a gap it begins anew. It changes with looks only: a replay shows no other pictures.
        due = packet.t if self._next is None else self._next
        self._next = (due if packet.t < due + self._every // 2 else packet.t) + self._every
        boxes = self._yunet.find(picture, self.config.score_known)
        shape = packet.data.height / max(1, packet.data.width)
        faces = tuple(self._face(each, shape) for each in self._tracker.feed(packet.t, boxes))
        return [Emit(PERCEPT, packet.t, Faces(packet.seq, faces))]

    def flush(self) -> Sequence[Emit]:
        """Nothing is kept back."""
        return []

    def reset(self) -> None:
        """As new; faces count from 1 again."""
        self._tracker.reset()
        self._next = None

    def _due(self, t: int) -> bool:
        """Pictures that come at just this rate come a little early or late: they are all looked at."""
        return self._next is None or t >= self._next - self._every // 2

    def _face(self, followed: Followed, shape: float) -> Face:
        box = followed.box
        x, y = box.centre
        bearing, elevation = direction(x, y, self._focal, shape)
        return Face(
            followed.id,
            _short(box.score) if followed.found else 0.0,
            _short(box.left),
            _short(box.top),
            _short(box.width),
            _short(box.height),
            tuple((_short(right), _short(down)) for right, down in box.landmarks),
            _short(bearing),
            _short(elevation),
        )


def direction(x: float, y: float, focal: float, shape: float) -> tuple[float, float]:
    """Bearing and elevation in rad (positive to the left and upward, REP 103) of the point x, y, by the pinhole model.

    x, y: fractions of the picture's width and height;  focal: focal length in widths;  shape: height by width
    """
    right, down = x - 0.5, (y - 0.5) * shape
    return math.atan2(-right, focal), math.atan2(-down, math.hypot(focal, right))


_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_Rows = NDArray[np.float32]


def _cells(size: int, stride: int) -> _Rows:
    """float32[cells, 2]: column and row of each cell, row by row."""
    rows, columns = np.divmod(np.arange((size // stride) ** 2), size // stride)
    return np.stack([columns, rows], axis=1).astype(np.float32)


def _decoded(heads: dict[str, Any], stride: int, cells: _Rows, least: float) -> _Rows:
    """float32[n, 15]: score, left, top, width, height in pixels, and five points; of at least the score `least`."""
    classes, objects = heads[f"cls_{stride}"][0, :, 0], heads[f"obj_{stride}"][0, :, 0]
    score = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))
    place = np.nonzero(score >= least)[0]
    box, points, cell = heads[f"bbox_{stride}"][0, place], heads[f"kps_{stride}"][0, place], cells[place]
    size = np.exp(np.minimum(box[:, 2:], 8.0))
    corner = cell + box[:, :2] - size / 2
    landmarks = (points.reshape(-1, 5, 2) + cell[:, None]).reshape(-1, 10)
    return np.concatenate([score[place, None], stride * np.concatenate([corner, size, landmarks], axis=1)], axis=1)


def _distinct(rows: _Rows) -> _Rows:
    """Of rows that overlap (intersection over union) the one with the highest score: greedy suppression."""
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    kept: list[int] = []
    left, top = rows[:, 1], rows[:, 2]
    right, bottom = left + rows[:, 3], top + rows[:, 4]
    area = rows[:, 3] * rows[:, 4]
    alive = np.ones(len(rows), bool)
    for place in range(len(rows)):
        if not alive[place]:
            continue
        kept.append(place)
        width = np.minimum(right, right[place]) - np.maximum(left, left[place])
        height = np.minimum(bottom, bottom[place]) - np.maximum(top, top[place])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        alive &= shared <= _OVERLAP * (area + area[place] - shared)
    return rows[kept]


def _box(row: _Rows) -> Box:
    score, left, top, width, height, *points = (float(value) for value in row)
    return Box(left, top, width, height, score, tuple(zip(points[::2], points[1::2])))


def _short(value: float) -> float:
    return round(value, _DIGITS)
