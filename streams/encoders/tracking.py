"""Who is who from picture to picture: boxes with scores in, the same boxes with lasting numbers out. Pure; no pixels.

A face moves little between two looks, so each is expected where its own speed takes it (constant velocity) and given
the box that lies nearest: overlap (intersection over union) and distance of the centres, best pair first, as in SORT
(Bewley et al. 2016, "Simple Online and Realtime Tracking") without its Kalman filter. Boxes of low score only go on
with a face that is known (Zhang et al. 2022, "ByteTrack"): so a face that turns away is kept, and a shadow is none.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from streams.clock import MS, SECOND
from streams.types import Probability

Landmarks = tuple[tuple[float, float], ...]

NEAR = 0.9  # of a box's size: further than this from where it was expected, it is another
ALIKE = 2.0  # a face does not double or halve its size between two looks
LONGEST_NS = 3 * SECOND  # after that long without a look, nobody is known any more
SMOOTH = 0.5  # of a new speed in the mean


class TrackingConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When a face is believed.

    score: of a face that is new;  score_known: of one that is being followed
    looks: times it must be found before it counts
    gone_ms: not found for this long (and in at least two looks), it is gone
    """

    score: Probability = 0.7
    score_known: Probability = 0.5
    looks: Annotated[int, Meta(ge=1, le=20)] = 2
    gone_ms: Annotated[int, Meta(ge=0, le=10_000)] = 700

    def __post_init__(self) -> None:
        if self.score_known > self.score:
            raise ValueError(f"score_known = {self.score_known} is above score = {self.score}")


class Box(Struct, frozen=True):
    """A box as a detector found it, in fractions of the picture's width and height. score: of the detector."""

    left: float
    top: float
    width: float
    height: float
    score: float
    landmarks: Landmarks = ()

    @property
    def centre(self) -> tuple[float, float]:
        """x, y."""
        return self.left + self.width / 2, self.top + self.height / 2

    def moved(self, right: float, down: float) -> "Box":
        """The same box elsewhere."""
        return replace(
            self,
            left=self.left + right,
            top=self.top + down,
            landmarks=tuple((x + right, y + down) for x, y in self.landmarks),
        )


class Followed(Struct, frozen=True):
    """A box with the number of its track.

    box: as found, or (`found` is False) where it is expected
    """

    id: int
    box: Box
    found: bool


class _Track:
    """A face that is followed. speed: fractions of the picture a second, right and down."""

    def __init__(self, box: Box, t: int) -> None:
        self.box, self.t = box, t
        self.looks, self.missed = 1, 0
        self.id = 0
        self.speed = (0.0, 0.0)

    def expected(self, t: int) -> Box:
        seconds = (t - self.t) / SECOND
        return self.box.moved(self.speed[0] * seconds, self.speed[1] * seconds)

    def found(self, box: Box, t: int) -> None:
        (x, y), (was_x, was_y) = box.centre, self.box.centre
        seconds = max(t - self.t, MS) / SECOND
        now = ((x - was_x) / seconds, (y - was_y) / seconds)
        share = 1.0 if self.looks == 1 else SMOOTH
        self.speed = (_mix(self.speed[0], now[0], share), _mix(self.speed[1], now[1], share))
        self.box, self.t = box, t
        self.looks, self.missed = self.looks + 1, 0


class Tracker:
    """Follows boxes by the times of their pictures. Numbers count from 1 and are never used again."""

    def __init__(self, config: TrackingConfig | None = None) -> None:
        self.config = config or TrackingConfig()
        self._tracks: list[_Track] = []
        self._count = 0

    def feed(self, t: int, boxes: Sequence[Box]) -> list[Followed]:
        """All boxes of the picture of time `t` (ns; it must grow); returns those that count, from left to right."""
        config = self.config
        self._tracks = [track for track in self._tracks if t - track.t <= LONGEST_NS]
        boxes = [box for box in boxes if box.score >= config.score_known]
        known, free = self._matched(t, boxes)
        for track, box in known:
            track.found(box, t)
        for track in self._tracks:
            if track.t < t:
                track.missed += 1
        self._tracks = [track for track in self._tracks if not self._gone(track, t)]
        self._tracks += [_Track(box, t) for box in free if box.score >= config.score]
        counted = [track for track in self._tracks if track.id or track.looks >= config.looks]
        counted.sort(key=lambda track: (track.expected(t).centre, track.box.score))
        for track in counted:
            if not track.id:
                self._count += 1
                track.id = self._count
        return [Followed(track.id, track.expected(t), track.t == t) for track in counted]

    def reset(self) -> None:
        """As new; numbers count from 1 again."""
        self._tracks, self._count = [], 0

    def _gone(self, track: _Track, t: int) -> bool:
        """A face that never counted has half the time."""
        patience = self.config.gone_ms * MS // (1 if track.id else 2)
        return track.missed > 0 and t - track.t > patience and (track.missed >= 2 or not track.id)

    def _matched(self, t: int, boxes: Sequence[Box]) -> tuple[list[tuple[_Track, Box]], list[Box]]:
        """Each track with its box, the best pairs first (known faces before new ones); and the boxes left over."""
        pairs = [
            (track.id == 0, -likeness, box.centre, number, place)
            for number, track in enumerate(self._tracks)
            for place, box in enumerate(boxes)
            if (likeness := _likeness(track.expected(t), box)) is not None
        ]
        taken: dict[int, int] = {}  # track: box
        used: set[int] = set()
        for _, _, _, number, place in sorted(pairs):
            if number not in taken and place not in used:
                taken[number] = place
                used.add(place)
        matched = [(self._tracks[number], boxes[place]) for number, place in taken.items()]
        free = [box for place, box in enumerate(boxes) if place not in used]
        return matched, sorted(free, key=lambda box: (box.centre, box.score))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)


def _likeness(expected: Box, box: Box) -> float | None:
    """How well `box` is what was expected, in [0, 2]; None if it cannot be."""
    width, height = (expected.width + box.width) / 2, (expected.height + box.height) / 2
    if width <= 0 or height <= 0 or not 1 / ALIKE <= box.height / max(expected.height, 1e-9) <= ALIKE:
        return None
    (x, y), (was_x, was_y) = box.centre, expected.centre
    far = ((x - was_x) ** 2 / width**2 + (y - was_y) ** 2 / height**2) ** 0.5
    return overlap(expected, box) + 1 - far / NEAR if far <= NEAR else None


def _mix(old: float, new: float, share: float) -> float:
    return old + share * (new - old)
