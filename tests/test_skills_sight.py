"""A policy that sees, really trained: in a whole session it brings the arm to a lamp that only the camera knows of."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'visavis[train]'")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")

from msgspec.structs import replace

from embodied.node.senses import picture
from embodied.robot.settings import GuardSettings
from examples.reach.eye import Table, black
from examples.reach.seeing import PARITY, Recipe, arrivals, begin, train
from examples.reach.world import NAMES, tool
from policies.chunks.inference import OnnxPolicy
from policies.chunks.package import Package
from policies.models.pictures import NewestPicture
from streams.clock import MS, SECOND, Clock
from streams.ports import Publisher
from streams.topics import IMAGE, Topic
from streams.types import Controlled, Fault, Image
from tests.robot_room import Held, Room, hold, typed

TINY = Recipe(tables=600, steps=250, batch=48, width=96, rate=4e-3)
SENTENCE = (
    'policy.texts=[["own", """[intents.reach]\\nsentences=["reach"]\\n'
    'command={ name = "reach_lamp", arguments = { seconds = 4 } }"""]]'
)
GUARDS = GuardSettings(odometry_needed=False)


class Above:
    """The camera above the table of the simulated arm: ten pictures a second, except while it is `away` (s, s)."""

    name = "camera"
    writes: tuple[Topic[Any], ...] = (IMAGE,)

    def __init__(self, room: Room, table: Table, away: tuple[float, float] = (99, 99), dark: bool = False) -> None:
        self.room, self.table, self.away, self.dark = room, table, away, dark

    async def __aenter__(self) -> "Above":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    @property
    def joints(self) -> Any:
        arm = self.room.robot.joints
        return np.array([arm[name.removesuffix(".pos")] for name in NAMES])

    async def run(self, bus: Publisher, clock: Clock) -> None:
        for n in range(1, 75):
            await clock.sleep_until(n * 100 * MS)
            if not self.away[0] * SECOND <= clock.now() < self.away[1] * SECOND:
                bus.publish(IMAGE, clock.now(), self.take())

    def take(self) -> Image:
        return black() if self.dark else self.table.picture(self.joints)

    @property
    def off(self) -> float:
        """How far the tool is from the lamp, m."""
        return float(np.hypot(*(tool(self.joints) - self.table.place)))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxPolicy]:
    folder: Path = tmp_path_factory.mktemp("seeing")
    made = train(folder, TINY)
    assert made.parity < PARITY
    policy: Any = OnnxPolicy.load(folder)
    policy.folder = folder
    yield policy


def session(policy: OnnxPolicy, seed: int, see: Callable[[Room], Any] | None) -> tuple[Held, Any]:
    start = begin(np.random.default_rng(seed))
    home = {name.removesuffix(".pos"): float(at) for name, at in zip(NAMES, start)}
    room = Room(profile="arm", changes={"options.home": home}, skills=[policy], settings=GUARDS)
    camera = None if see is None else see(room)
    held = hold([typed(1500, "reach")], room, SENTENCE, tail_ms=6000, sources=[] if camera is None else [camera])
    return held, camera


def test_with_pictures_it_arrives_and_with_black_ones_it_does_not(policy: OnnxPolicy) -> None:
    seen, _ = arrivals(policy, 20)
    blind, _ = arrivals(policy, 20, dark=True)
    assert seen >= 14 and blind <= 5, (seen, blind)


def test_a_robot_behind_its_guards_is_brought_to_the_lamp(policy: OnnxPolicy) -> None:
    off = []
    for seed in range(3):
        held, camera = session(policy, seed, lambda room: Above(room, Table(seed)))  # noqa: B023 - called at once
        assert [outcome.status for outcome in held.ends()] == ["done"]
        assert len(held.of(Controlled)) > 150 and not [each for each in held.of(Fault) if "Chunk" in each.error]
        off.append(camera.off)
    assert sorted(off)[1] < 0.03, off
    _, dark = session(policy, 0, lambda room: Above(room, Table(0), dark=True))
    assert dark.off > 0.03


def test_without_a_camera_or_a_picture_it_does_not_begin(policy: OnnxPolicy) -> None:
    held, _ = session(policy, 0, None)
    assert [outcome.status for outcome in held.ends()] == ["refused"]
    assert "needs to see (observation.images.front), and there is no camera" in held.ends()[0].detail
    held, _ = session(policy, 0, lambda room: Above(room, Table(0), away=(0.5, 99)))
    assert [outcome.status for outcome in held.ends()] == ["refused"]
    assert "s old; 400 ms are allowed" in held.ends()[0].detail
    assert held.of(Controlled) == []


def test_pictures_that_stay_away_are_told_and_the_arm_rests_until_they_are_back(policy: OnnxPolicy) -> None:
    held, camera = session(policy, 1, lambda room: Above(room, Table(1), away=(2.0, 4.0)))
    [blind] = [each for each in held.of(Fault) if each.error == "ChunkBlind"]
    assert "the newest picture for observation.images.front is" in blind.message and "400 ms" in blind.message
    told = [packet for packet in held.log.packets if isinstance(packet.data, Controlled)]
    resting = [packet.data for packet in told if 3.3 < packet.t / 1e9 < 3.9]
    assert resting and all(each.chunk == -1 for each in resting)
    assert all(each.action == resting[0].action for each in resting)
    assert any(packet.data.chunk >= 0 for packet in told if packet.t / 1e9 > 4.2)
    assert [outcome.status for outcome in held.ends()] == ["done"] and camera.off < 0.06


def test_it_sees_through_what_the_robot_sends_as_telemetry_too(policy: Any) -> None:
    """Five small pictures a second over MQTT, without a camera in the session."""
    front, spec = "observation.images.front", policy.spec
    told = replace(spec.observation[front], channel="camera.front", oldest_ms=500)
    there = Package.read(policy.folder)._replace(
        spec=replace(spec, observation={**spec.observation, front: told})
    )  # fmt: skip
    start = begin(np.random.default_rng(2))
    changes = {
        "options.home": {name.removesuffix(".pos"): float(at) for name, at in zip(NAMES, start)},
        "observation_features.cameras": {"front": {"telemetry": "camera.front"}},
    }
    eye: list[Above] = []

    def begin_to_tell(room: Room) -> None:
        eye.append(Above(room, Table(2)))
        driver: Any = room.robot
        driver.channels = lambda now: {"camera.front": picture(eye[0].take().data)}

    room = Room(
        profile="arm", changes=changes, skills=[OnnxPolicy(there)], settings=GUARDS, happening=[(0, begin_to_tell)]
    )
    held = hold([typed(1500, "reach")], room, SENTENCE, tail_ms=6000)
    assert [outcome.status for outcome in held.ends()] == ["done"], held.of(Fault)
    assert not [each for each in held.of(Fault) if "Chunk" in each.error] and eye[0].off < 0.03


def test_two_taps_of_newest_pictures_have_names_of_their_own() -> None:
    assert NewestPicture().name != NewestPicture("another").name
