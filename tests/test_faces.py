"""Faces on real pictures: the same as OpenCV's own decoder finds, where they are, and one look after the other."""

import math
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streams.clock import run
from streams.devices.camera import Camera, CameraConfig
from streams.devices.video import VideoFile
from streams.encoders.faces import MODEL, FaceDetector, FacesConfig, YuNet, direction
from streams.errors import DependencyMissing, ModelMismatch, ModelMissing
from streams.packet import Packet
from streams.pictures import Pixels, compress, decompress
from streams.ports import Encoder, Source
from streams.topics import IMAGE, PERCEPT
from streams.types import Faces, Image
from tests.model_files import model_file

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")

MS = 1_000_000
STEP = 100 * MS
EMPTY = np.full((240, 320, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def yunet() -> Path:
    return model_file(MODEL)


@pytest.fixture(scope="module")
def two(shared_data: Path) -> Pixels:
    picture = cv2.imread(str(shared_data / "faces" / "two_people.jpg"))
    assert picture is not None
    return picture


def talking(folder: Path, count: int = 8) -> list[Pixels]:
    """Pictures out of clips of talking faces."""
    pictures: list[Pixels] = []
    for path in sorted((folder / "av").glob("*.mpg")):
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        pictures += frames[:: len(frames) // count]
    return pictures


def look(detector: FaceDetector, *pictures: Pixels, begin: int = 0) -> list[Faces]:
    """The pictures, 100 ms apart."""
    return [
        emit.data
        for number, picture in enumerate(pictures, begin)
        for emit in detector.push(packet(number, compress(picture, 640, 90)))
    ]


def packet(number: int, image: Image, t: int | None = None) -> Packet[Any]:
    t = number * STEP if t is None else t
    return Packet(IMAGE, t, t, number, number, image)


@pytest.mark.parametrize("size", [320, 480, 640])
def test_it_finds_what_opencv_finds(size: int, yunet: Path, two: Pixels, shared_data: Path) -> None:
    ours = YuNet(yunet, size)
    obama = cv2.imread(str(shared_data / "faces" / "obama.jpg"))
    theirs = cv2.FaceDetectorYN.create(str(yunet), "", (size, size), 0.3, 0.3)
    for picture in (two, obama, np.fliplr(two).copy(), *talking(shared_data, 2)):
        scale = size / max(picture.shape[:2])
        width, height = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        square = np.zeros((size, size, 3), np.uint8)
        square[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        _, expected = theirs.detect(square)
        found = ours.find(picture, 0.3)
        assert len(found) == len(expected) > 0
        for box, row in zip(found, expected, strict=True):
            points = [value for x, y in box.landmarks for value in (x * width, y * height)]
            mine = [box.left * width, box.top * height, box.width * width, box.height * height, *points, box.score]
            np.testing.assert_allclose(mine, row, atol=0.01)


def test_two_people_are_told_from_the_second_look_on(yunet: Path, two: Pixels) -> None:
    detector = FaceDetector(yunet)
    assert isinstance(detector, Encoder)
    first, second, third = look(detector, two, two, two)
    assert (first.image, first.faces) == (0, ())
    assert [face.id for face in second.faces] == [1, 2] and second.image == 1
    assert second == Faces(1, third.faces)  # the same picture: the same faces
    left, right = second.faces
    assert left.left < right.left and left.bearing_rad > 0.05 and right.bearing_rad < -0.05
    for face in second.faces:
        assert face.confidence > 0.8 and face.elevation_rad > 0
        for x, y in face.landmarks:
            assert face.left <= x <= face.left + face.width and face.top <= y <= face.top + face.height
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
        assert right_eye[0] < nose[0] < left_eye[0] and right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
        numbers = [face.left, face.top, face.width, face.height, face.bearing_rad, face.confidence]
        assert all(round(number, 4) == number for number in numbers)


def test_a_talking_face_is_one_person_all_along(yunet: Path, shared_data: Path) -> None:
    for path in sorted((shared_data / "av").glob("*.mpg")):
        detector = FaceDetector(yunet)
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        seen = look(detector, *frames[::2])
        assert {len(each.faces) for each in seen[1:]} == {1}
        assert {each.faces[0].id for each in seen[1:]} == {1}
        assert min(each.faces[0].confidence for each in seen[1:]) > 0.5


def test_a_face_that_is_missed_stays_a_while(yunet: Path, two: Pixels) -> None:
    seen = look(FaceDetector(yunet), two, two, *[EMPTY] * 10, two, two)
    assert [len(each.faces) for each in seen] == [0, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 2]
    assert [[face.confidence > 0 for face in each.faces] for each in seen[1:4]] == [
        [True] * 2,
        [False] * 2,
        [False] * 2,
    ]
    assert [face.id for face in seen[-1].faces] == [3, 4]


def test_pictures_that_come_too_often_are_passed_over_at_no_cost(yunet: Path, two: Pixels) -> None:
    detector = FaceDetector(yunet, FacesConfig(rate_hz=5, cost_ms=7))
    image = compress(two, 640, 85)
    looked = []
    for number in range(30):  # 30 a second
        each = packet(number, image, number * 33 * MS)
        cost = detector.cost(each)
        emits = detector.push(each)
        assert bool(emits) is bool(cost) and cost in (0, 7 * MS)
        looked += [emit.data.image for emit in emits]
        assert all((emit.topic, emit.t) == (PERCEPT, each.t) for emit in emits)
    assert 5 <= len(looked) <= 7
    detector.reset()
    again = [number for number in range(30) if detector.push(packet(number, image, number * 33 * MS))]
    assert again == looked
    # A replay that shows it those pictures alone gives the same.
    alone = FaceDetector(yunet, FacesConfig(rate_hz=5))
    assert [bool(alone.push(packet(number, image, number * 33 * MS))) for number in looked] == [True] * len(looked)


def test_what_is_no_picture_is_counted_and_no_more(yunet: Path, two: Pixels) -> None:
    detector = FaceDetector(yunet)
    good = compress(two, 640, 85)
    broken = [Image(b"", "jpeg", 640, 480), Image(b"\xff\xd8nothing", "jpeg", 640, 480), Image(b"x", "png", 0, 0)]
    for number, image in enumerate(broken):
        assert detector.push(packet(number, image)) == []
    assert detector.damaged == 3
    cut = Image(good.data[: len(good.data) // 2], "jpeg", good.width, good.height)
    detector.push(packet(8, cut))
    assert [len(emit.data.faces) for number in (9, 10) for emit in detector.push(packet(number, good))][-1] == 2


def test_the_shape_of_the_picture_makes_no_difference(yunet: Path, two: Pixels) -> None:
    height, width = two.shape[:2]
    tall = np.zeros((width, width, 3), np.uint8)
    tall[:height] = two
    wide, square = (look(FaceDetector(yunet), picture, picture)[1].faces for picture in (two, tall))
    for one, other in zip(wide, square, strict=True):
        assert one.bearing_rad == pytest.approx(other.bearing_rad, abs=0.01)
        assert one.height * height == pytest.approx(other.height * width, rel=0.1)


def test_directions_are_those_of_a_pinhole() -> None:
    focal = 0.5 / math.tan(math.radians(30))
    assert direction(0.5, 0.5, focal, 0.75) == (0, 0)
    assert direction(0.0, 0.5, focal, 0.75)[0] == pytest.approx(math.radians(30))
    assert direction(1.0, 0.5, focal, 0.75)[0] == pytest.approx(-math.radians(30))
    # A point given by bearing and elevation comes back, wherever it is.
    for bearing, elevation in ((0.3, 0.2), (-0.4, -0.1), (0.1, 0.35)):
        ahead, left = math.cos(elevation) * math.cos(bearing), math.cos(elevation) * math.sin(bearing)
        x, y = 0.5 - focal * left / ahead, 0.5 - focal * math.sin(elevation) / ahead / 0.75
        assert direction(x, y, focal, 0.75) == pytest.approx((bearing, elevation))


def test_jpegs_are_read_no_larger_than_needed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (960, 1280, 3), np.uint8)
    image = compress(picture, 1280, 85)
    for longest, width in ((1280, 1280), (700, 1280), (640, 640), (320, 320), (100, 160)):
        pixels = decompress(image, longest)
        assert pixels is not None and pixels.shape == (width * 3 // 4, width, 3)
    assert (compress(picture, 640, 85).width, compress(picture, 640, 85).height) == (640, 480)


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, yunet: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)

    async def opens(source: Source) -> None:
        async with source:
            pass

    for needs in (
        lambda: FaceDetector(yunet),
        lambda: run(opens(Camera(CameraConfig("0")))),
        lambda: run(opens(VideoFile(tmp_path / "a.mp4"))),
    ):
        with pytest.raises(DependencyMissing, match=r"pip install 'visavis\[vision\]'"):
            needs()


def test_a_file_that_is_another_model(tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(ModelMissing):
        FaceDetector(tmp_path / "none.onnx")
    with pytest.raises(ModelMismatch):
        FaceDetector(model_file("silero-vad"))
