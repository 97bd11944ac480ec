"""Pictures for chunk policies: brought to size in the inference's thread, young enough, and both kinds of graphs."""

import asyncio
import base64
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")
pytest.importorskip("onnxruntime")

import cv2
from msgspec.structs import replace

from agent.errors import ConfigError
from agent.robots.sight import Eyes, check, fits
from embodied.node.profile import Profile
from examples.reach.graph import Graph
from policies.chunks import serve
from policies.chunks.description import Acted, ChunkSpec, Observed
from policies.chunks.errors import ChunkRefused, DoesNotFit, PackageError
from policies.chunks.executor import ChunkExecutor
from policies.chunks.inference import OnnxPolicy
from policies.chunks.looking import Sight, pixels
from policies.chunks.package import Package, write_package
from policies.chunks.policy import Observation, Stitch
from policies.chunks.remote import RemotePolicy
from policies.chunks.told import Event, Tick
from streams.clock import MS, SECOND, Clock, run
from streams.packet import Packet
from streams.pictures import compress
from streams.topics import IMAGE
from streams.types import Image
from tests.chunk_scenes import spec

FRONT, STATE = "observation.images.front", "observation.state"
SIZE = (24, 32)
ROWS = 20


def room(across: float, red: bool = True) -> Image:
    """A grey wall with a blob at `across` (-1 left to 1 right), blue if it is not red."""
    picture = np.full((120, 160, 3), 110, np.uint8)
    cv2.circle(picture, (round(80 + 79.5 * across), 60), 9, (30, 30, 230) if red else (230, 30, 30), -1)
    return compress(picture, 160, 90)


def finder(graph: Graph) -> str:
    """Where it is reddest, from left to right: a convolution, and a soft-argmax over its pixels. float32[1, 1]"""
    front = graph.input(FRONT, [1, 3, *SIZE])
    weights = np.zeros((1, 3, 3, 3), np.float32)
    weights[0, 0], weights[0, 1:] = 1 / 9, -0.5 / 9
    red = graph.node("Relu", graph.node("Conv", front, graph.constant(weights)))
    tall, wide = SIZE[0] - 2, SIZE[1] - 2
    flat = graph.node("Reshape", red, graph.constant(np.array([1, tall * wide])))
    where = graph.node("Softmax", graph.node("Mul", flat, graph.constant(40.0)))
    centres = np.tile((np.arange(wide) + 1.5) / SIZE[1] * 2 - 1, tall).astype(np.float32)
    return graph.node("MatMul", where, graph.constant(centres[:, None]))


def looking(**changed: Any) -> ChunkSpec:
    observation = {STATE: Observed(("j1.pos",), channel="joints"), FRONT: Observed(size=SIZE, oldest_ms=400)}
    return spec(("j1.pos",), ROWS, **{"observation": observation, **changed})


def at_once(folder: Path) -> Path:
    """One pass: every row is where the red blob is."""
    graph = Graph("policy")
    found = finder(graph)
    state = graph.input(STATE, [1, 1])
    found = graph.node("Add", found, graph.node("Mul", state, graph.constant(0.0)))
    row = graph.linear(found, np.ones((ROWS, 1), np.float32), None)
    graph.output("action", [1, ROWS, 1], graph.node("Reshape", row, graph.constant(np.array([1, ROWS, 1]))))
    write_package(folder, looking(family="one_pass", rtc="none"), {"policy": graph.data()})
    return folder


def flowing(folder: Path) -> Path:
    """A flow that ends where the red blob is, whatever the noise was."""
    encoder = Graph("encoder")
    found = finder(encoder)
    state = encoder.input(STATE, [1, 1])
    encoder.output(
        "context", [1, 1], encoder.node("Add", found, encoder.node("Mul", state, encoder.constant(0.0)))
    )  # fmt: skip
    step = Graph("step")
    context = step.input("context", [1, 1])
    noisy = step.input("noisy", ["n", ROWS, 1])
    time = step.input("time", ["n", 1])
    flat = step.node("Reshape", noisy, step.constant(np.array([-1, ROWS])))
    left = step.node("Max", step.node("Sub", step.constant(1.0), time), step.constant(0.05))
    flow = step.node("Div", step.node("Sub", context, flat), left)
    step.output(
        "velocity", ["n", ROWS, 1], step.node("Reshape", flow, step.constant(np.array([-1, ROWS, 1])))
    )  # fmt: skip
    write_package(folder, looking(), {"encoder": encoder.data(), "step": step.data()})
    return folder


def seen(image: Image, t: int = 0) -> Observation:
    return Observation(t, Sight({STATE: np.zeros(1, np.float32)}, {FRONT: (image, SIZE)}))


# --- pictures


def test_a_picture_is_squeezed_by_areas_and_turned_to_rgb() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    image = compress(noise, 160, 95)
    whole = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    wanted = cv2.resize(whole, (50, 30), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    found = pixels(image, (30, 50))
    assert found.shape == (30, 50, 3) and found.dtype == np.uint8 and (found == wanted).all()
    assert (pixels(image, (120, 160)) == whole[:, :, ::-1]).all()
    red = pixels(room(0.0), SIZE)[12, 16]
    assert red[0] > 180 and red[2] < 90


def test_it_is_decoded_when_it_is_asked_for_and_only_once() -> None:
    sight = Sight({STATE: np.zeros(1, np.float32)}, {FRONT: (Image(b"no", "jpeg", 4, 4), SIZE)})
    assert list(sight) == [STATE, FRONT] and len(sight) == 2 and FRONT in sight and "other" not in sight
    with pytest.raises(ChunkRefused, match="decoded"):
        sight[FRONT]
    with pytest.raises(KeyError):
        sight["other"]
    good = seen(room(0.5)).values
    assert good[FRONT] is good[FRONT]


def test_a_description_says_how_old_a_picture_may_be() -> None:
    looking(family="flow", graphs=looking().graphs)
    assert looking().pictures == {FRONT: Observed(size=SIZE, oldest_ms=400)} and looking().given == {}
    wrong = looking(observation={STATE: Observed(("j1.pos",), oldest_ms=300)})
    with pytest.raises(PackageError, match="no `oldest_ms`"):
        write_package(Path("unused"), wrong, {"encoder": b"", "step": b""})


# --- both kinds of graphs


@pytest.mark.parametrize(("make", "stitch"), [(at_once, "replace"), (flowing, "forward"), (flowing, "best_of")])
def test_what_is_seen_is_followed(tmp_path: Path, make: Any, stitch: Stitch) -> None:
    """The executor in virtual time: a blob that jumps from left to right."""
    policy = OnnxPolicy.load(make(tmp_path))
    assert policy.infer(seen(room(-0.6)), None, 0)[0, 0] == pytest.approx(-0.6, abs=0.04)

    async def main() -> None:
        clock, ticks, events = Clock(), list[Tick](), list[Event]()
        began = clock.now()

        def observe() -> Observation:
            return seen(room(-0.6 if clock.now() - began < SECOND else 0.7), clock.now())

        executor = ChunkExecutor(
            policy, clock, observe=observe, tick=ticks.append, told=events.append, stitch=stitch, cost=lambda: 40 * MS
        )
        executor.begin("look")
        running = asyncio.create_task(executor.run())
        await clock.sleep_until(began + 3 * SECOND)
        running.cancel()
        await asyncio.wait([running])
        moved = [(tick.due - began, float(tick.action[0])) for tick in ticks if tick.action is not None]
        before, after = ([at for t, at in moved if a < t / MS < b] for a, b in ((300, 1000), (2500, 3000)))
        assert len(before) > 30 and max(abs(at + 0.6) for at in before) < 0.06
        assert len(after) > 20 and max(abs(at - 0.7) for at in after) < 0.06
        assert executor.counts.starved == executor.counts.refused == 0 and not events

    run(main(), virtual=True)


def test_what_cannot_be_decoded_is_one_chunk_refused(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(at_once(tmp_path))
    with pytest.raises(ChunkRefused, match="decoded"):
        policy.infer(seen(Image(b"\xff\xd8\xff", "jpeg", 160, 120)), None, 0)


def test_the_loop_does_not_decode(tmp_path: Path) -> None:
    """Real time: the pictures are made in the thread of the inference."""
    policy, threads = OnnxPolicy.load(at_once(tmp_path)), set[str]()

    class Noted(Sight):
        def __getitem__(self, name: str) -> Any:
            threads.add(threading.current_thread().name)
            return super().__getitem__(name)

    async def main() -> None:
        clock, image = Clock(), room(0.3)
        executor = ChunkExecutor(
            policy, clock, stitch="replace",
            observe=lambda: Observation(clock.now(), Noted({STATE: np.zeros(1, np.float32)}, {FRONT: (image, SIZE)})),
        )  # fmt: skip
        executor.begin("look")
        running = asyncio.create_task(executor.run())
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.wait([running])
        assert executor.counts.inferred > 0

    run(main(), virtual=False)
    assert threads and threading.current_thread().name not in threads


def test_a_policy_on_a_server_sees_the_same(tmp_path: Path) -> None:
    pytest.importorskip("websockets")
    policy, token = OnnxPolicy(Package.read(at_once(tmp_path))), "a-token-for-the-tests"

    def talk(port: int) -> Any:
        remote = RemotePolicy(f"ws://127.0.0.1:{port}", token, allow_remote=True)
        try:
            return remote.spec, remote.infer(seen(room(0.4)), None, 0)
        finally:
            remote.close()

    async def main() -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(serve.serve(policy, token, 0, ready.set_result))
        described, rows = await asyncio.to_thread(talk, await ready)
        running.cancel()
        await asyncio.wait([running])
        assert described.pictures == policy.spec.pictures
        assert (rows == policy.infer(seen(room(0.4)), None, 0)).all() and rows[0, 0] == pytest.approx(0.4, abs=0.04)

    run(main(), virtual=False)


# --- where they come from


def eyes(oldest_ms: float = 400, channel: str = "") -> tuple[Eyes, dict[str, Any]]:
    heard: dict[str, Any] = {}
    described = looking(observation={FRONT: Observed(size=SIZE, oldest_ms=oldest_ms, channel=channel)})
    return Eyes(described, heard.get), heard


def test_a_picture_of_the_session_has_to_be_young() -> None:
    made, _ = eyes()
    assert "--robot-camera" in made.missing() and FRONT in made.missing()
    assert made.look(0) == f"no picture has come for {FRONT}"
    made.camera = SimpleNamespace(newest=None)  # type: ignore[assignment]
    assert made.missing() == "" and made.look(0) == f"no picture has come for {FRONT}"
    image = room(0.0)
    made.camera = SimpleNamespace(newest=Packet(IMAGE, SECOND, SECOND, 0, 0, image))  # type: ignore[assignment]
    found = made.look(SECOND + 400 * MS)
    assert not isinstance(found, str) and found[FRONT].image is image and found[FRONT].t == SECOND
    assert made.look(SECOND + 1000 * MS) == f"the newest picture for {FRONT} is 1.0 s old; 400 ms are allowed"
    assert made.stale == 1


def test_a_picture_of_telemetry_is_read_with_mistrust() -> None:
    made, heard = eyes(channel="camera.hand")
    assert made.missing() == "" and isinstance(made.look(0), str)

    def tell(values: dict[str, Any], t: int) -> Any:
        heard["camera.hand"] = (SimpleNamespace(values=values), t)
        return made.look(t)

    good = {"jpeg": base64.b64encode(room(0.0).data).decode()}
    found = tell(good, SECOND)
    assert (found[FRONT].image.width, found[FRONT].image.height, found[FRONT].t) == (160, 120, SECOND)
    assert made.look(SECOND)[FRONT].image is found[FRONT].image  # type: ignore[index] # decoded once
    assert isinstance(made.look(2 * SECOND), str) and made.stale == 1
    huge = compress(np.zeros((8, 4000, 3), np.uint8), 4000, 50)
    for values in ({}, {"jpeg": "no base64!"}, {"jpeg": 7}, {"jpeg": base64.b64encode(b"GIF").decode()},
                   {"jpeg": base64.b64encode(huge.data).decode()}):  # fmt: skip
        assert isinstance(tell(values, 3 * SECOND), str)
    assert made.malformed == 5


def test_a_policy_that_sees_has_to_fit() -> None:
    hand = looking(observation={FRONT: Observed(size=SIZE, channel="camera.hand")})
    plain = Profile.load("arm").factsheet
    sheet = replace(plain, observation_features={"cameras": {"hand": {"telemetry": "camera.hand"}}})
    fits(hand, sheet)
    fits(looking(), sheet)
    with pytest.raises(DoesNotFit, match=r"on the channel 'camera\.hand'; of cameras this robot sends none"):
        fits(hand, plain)
    both = looking(observation={FRONT: Observed(size=SIZE), "observation.images.side": Observed(size=SIZE)})
    with pytest.raises(DoesNotFit, match="a session has one camera"):
        fits(both, sheet)
    check([looking()], camera=True)
    check([hand], camera=False)
    with pytest.raises(ConfigError, match=r"--skill: scripted needs to see .*--robot-camera"):
        check([looking()], camera=False)
    assert Acted(("j1.pos",)) == looking().action
