"""The camera against a real one on the network: the newest picture, gone and back, frozen and left."""

import asyncio
import os
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.camera import Camera, CameraConfig
from streams.devices.capture import VARIABLE
from streams.errors import RealIOError, SourceError
from streams.packet import Packet
from streams.pictures import decompress
from streams.ports import Source
from streams.topics import FEEDBACK, IMAGE
from streams.types import Fault, Gauge, Recovered
from tests.cameras import MjpegCamera, PlayList, number_of, numbered

pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")


class Watch:
    """What a running camera publishes."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.packets: list[Packet[Any]] = []

    async def __aenter__(self) -> "Watch":
        self.clock = Clock()
        self.bus = Bus(self.clock)
        await self.camera.__aenter__()
        self._lane = self.bus.open(IMAGE, FEEDBACK)
        self._tasks = [asyncio.create_task(self.camera.run(self.bus, self.clock)), asyncio.create_task(self._keep())]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.camera.__aexit__(*exc)

    async def _keep(self) -> None:
        async for packet in self._lane:
            self.packets.append(packet)

    def images(self) -> list[Packet[Any]]:
        return [packet for packet in self.packets if packet.topic is IMAGE]

    def told(self, kind: type) -> list[Any]:
        return [packet.data for packet in self.packets if isinstance(packet.data, kind)]

    async def until(self, what: Callable[[], bool], seconds: float = 10.0) -> float:
        """Wait for `what`; returns how long that took."""
        begin = self.clock.now()
        async with asyncio.timeout(seconds):
            while not what():  # noqa: ASYNC110 - anything may be waited for
                await asyncio.sleep(0.005)
        return (self.clock.now() - begin) / SECOND


def seen(packet: Packet[Any]) -> int:
    picture = decompress(packet.data, 320)
    assert picture is not None
    return number_of(picture)


def test_pictures_are_new_and_no_more_than_asked_for() -> None:
    async def main() -> None:
        with MjpegCamera(hz=50) as server:
            async with Watch(Camera(CameraConfig(server.address, rate_hz=10, width=160))) as watch:
                assert isinstance(watch.camera, Source)
                await watch.until(lambda: len(watch.images()) >= 12)
                images = watch.images()
                assert {(each.data.format, each.data.width, each.data.height) for each in images} == {
                    ("jpeg", 160, 120)
                }
                times = [each.t for each in images]
                assert times == sorted(times) and all(each.at >= each.t for each in images)
                steps = [(b - a) / MS for a, b in pairwise(times)]
                assert sum(steps) / len(steps) == pytest.approx(100, rel=0.25)
                assert server.drawn - seen(images[-1]) % 256 <= 8  # pictures of 20 ms ago, not of a queue
                assert watch.told(Fault) == []

    run(main())


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted() -> None:
    """The loop itself is held up: nobody fetches, and the thread goes on."""

    async def main() -> None:
        with MjpegCamera(hz=50) as server:
            async with Watch(Camera(CameraConfig(server.address, rate_hz=50))) as watch:
                await watch.until(lambda: len(watch.images()) >= 3)
                before = watch.camera.dropped
                threading.Event().wait(0.6)
                drawn, count = server.drawn, len(watch.images())
                await watch.until(lambda: len(watch.images()) > count)
                assert watch.camera.dropped - before >= 10
                assert 0 <= drawn - seen(watch.images()[count]) <= 8

    run(main())


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_camera_that_goes_is_noticed_and_comes_back(how: str) -> None:
    async def main() -> None:
        with MjpegCamera() as server:
            async with Watch(Camera(CameraConfig(server.address))) as watch:
                await watch.until(lambda: len(watch.images()) >= 2)
                server.kill() if how == "kill" else server.freeze()
                assert await watch.until(lambda: bool(watch.told(Fault))) < 3.0
                (fault,) = watch.told(Fault)
                assert (fault.where, fault.error) == ("camera", "SourceLost") and server.address in fault.message
                count = len(watch.images())
                await asyncio.sleep(0.6)  # at least one try in vain
                assert len(watch.told(Fault)) == 1 and not watch.told(Recovered)
                server.start() if how == "kill" else server.thaw()
                await watch.until(lambda: len(watch.images()) >= count + 3)
                assert [each.where for each in watch.told(Recovered)] == ["camera"]
                seqs = [each.seq for each in watch.images()]
                assert seqs == list(range(len(seqs)))

    run(main())


def test_a_camera_stuck_in_a_call_is_lost_and_left_behind() -> None:
    """Its read may take half a minute: it is told after two seconds all the same, and leaving does not wait for it."""

    async def main() -> None:
        with MjpegCamera() as server:
            config = CameraConfig(server.address, read_ms=30_000, lost_ms=400)
            async with Watch(Camera(config)) as watch:
                await watch.until(lambda: len(watch.images()) >= 2)
                server.freeze()
                assert await watch.until(lambda: bool(watch.told(Fault))) < 2.0
                begin = watch.clock.now()
            assert watch.clock.now() - begin < 3 * SECOND

    run(main())


def test_leaving_a_frozen_camera_does_not_hang() -> None:
    async def main() -> None:
        with MjpegCamera() as server:
            async with Watch(Camera(CameraConfig(server.address))) as watch:
                await watch.until(lambda: len(watch.images()) >= 2)
                server.freeze()
                await asyncio.sleep(0.1)
                begin = watch.clock.now()
            assert watch.clock.now() - begin < 3 * SECOND

    run(main())


def test_it_may_be_entered_again_in_another_loop() -> None:
    async def opens(camera: Camera) -> None:
        async with camera:
            pass

    with MjpegCamera() as server:
        camera = Camera(CameraConfig(server.address))
        for _ in range(2):
            run(opens(camera))


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("http://127.0.0.1:9/nothing", "open in a video player"),
        ("7", "plugged in"),
        ("/dev/video7", "plugged in"),
        ("no/such/file.mp4", "no such file"),
        (__file__, "video file"),
    ],
)
def test_a_camera_that_does_not_open_says_what_to_do(source: str, advice: str) -> None:
    async def main() -> None:
        with pytest.raises(SourceError, match=advice) as caught:
            async with Camera(CameraConfig(source)):
                pass
        assert source in str(caught.value)

    run(main())


def test_a_password_is_not_told() -> None:
    async def main() -> None:
        with pytest.raises(SourceError, match=r"cannot open the camera 'http://127\.0\.0\.1:9/a'") as caught:
            async with Camera(CameraConfig("http://somebody:secret@127.0.0.1:9/a")):
                pass
        assert "secret" not in str(caught.value)

    run(main())


def test_a_server_that_never_answers_is_refused_in_time() -> None:
    async def main() -> None:
        with MjpegCamera() as server:
            server.freeze()
            begin = asyncio.get_running_loop().time()
            with pytest.raises(SourceError, match="cannot open the camera"):
                async with Camera(CameraConfig(server.address, open_ms=300, read_ms=300)):
                    pass
            assert asyncio.get_running_loop().time() - begin < 5

    run(main())


@pytest.mark.parametrize("given", ["", "rtsp_transport;udp"])
def test_a_play_list_leads_nowhere(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address may come from a robot, which must not choose whom this machine talks with; own options stay."""
    monkeypatch.setenv(VARIABLE, given)  # and put back afterwards, whatever is done to it here
    if not given:
        monkeypatch.delenv(VARIABLE)

    async def main() -> None:
        with MjpegCamera() as other, PlayList(f"{other.address}/part.ts") as listed:
            with pytest.raises(SourceError, match="cannot open the camera"):
                async with Camera(CameraConfig(listed.address, open_ms=2000, read_ms=500)):
                    pass
            assert listed.asked and not other.asked
            assert os.environ[VARIABLE].startswith(given)

    run(main())


def test_no_source_and_no_virtual_time() -> None:
    async def main() -> None:
        with MjpegCamera() as server:
            camera = Camera(CameraConfig(server.address))
            real = asyncio.create_task(asyncio.sleep(0))
            await real
            clock = Clock()
            camera._capture = object()  # type: ignore[assignment] # virtual time cannot wait for a real one to open
            with pytest.raises(RealIOError):
                await camera.run(Bus(clock), clock)

    run(main(), virtual=True)
    with pytest.raises(SourceError, match=r"camera\.source"):
        Camera(CameraConfig())


def test_a_file_is_a_camera_at_its_own_pace_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(IMAGE, FEEDBACK) as lane:
            async with Camera(CameraConfig(str(path), rate_hz=10)) as camera:
                await asyncio.sleep(0.3)  # it waits for its beginning
                begin = clock.now()
                async with asyncio.timeout(10):
                    keep = asyncio.create_task(_all(lane))
                    await camera.run(bus, clock)
                bus.close(IMAGE, FEEDBACK)
                packets = await keep
        assert clock.now() - begin > 0.8 * SECOND
        numbers = [seen(packet) for packet in packets]
        assert numbers[0] == 0 and numbers == sorted(numbers) and 8 <= len(numbers) <= 12

    run(main())


async def _all(lane: Any) -> list[Packet[Any]]:
    return [packet async for packet in lane]


def test_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.devices.camera.GAUGE_MS", 300)

    async def main() -> None:
        with MjpegCamera(hz=40) as server:
            async with Watch(Camera(CameraConfig(server.address))) as watch:
                await watch.until(lambda: len(watch.told(Gauge)) >= 6)
                gauges = watch.told(Gauge)
                assert {each.name for each in gauges} == {"dropped", "age_ms", "arriving_hz"}
                arriving = [each.value for each in gauges if each.name == "arriving_hz"]
                assert 10 < arriving[-1] < 60

    run(main())
