"""Eyes and ears of a robot: what it sends, what is made of it here, and what is said when it is gone. Virtual time."""

import asyncio
import base64
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.node.senses import FileSense, SenseMissing, picture, senses, sound
from embodied.remote.media import Ear, Eye, media
from embodied.robot.factsheet import Factsheet
from streams.clock import MS, SECOND, Clock, run
from streams.devices.robot_camera import RobotCamera
from streams.devices.robot_microphone import RobotMicrophone
from streams.errors import SourceError
from streams.pictures import compress
from streams.types import Audio, Fault, Image, Recovered

FAR = 5_000_000
"""The robot's clock is somewhere else, in ms."""
FIRST = 640
"""Samples of the first block: silence was published in its place while nothing had come yet."""


class Stage:
    """A session with one source."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.told: list[tuple[int, Any]] = []

    def publish(self, topic: Any, t: int, data: Any) -> None:
        assert t <= self.clock.now()
        self.told.append((t, data))

    def of(self, kind: Any) -> list[Any]:
        return [data for _, data in self.told if isinstance(data, kind)]

    def errors(self) -> list[str]:
        return [fault.error for fault in self.of(Fault)]

    @property
    def mono_ms(self) -> int:
        return FAR + self.clock.now() // MS

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))


@asynccontextmanager
async def stage(source: Any) -> AsyncIterator[Stage]:
    made = Stage(Clock())
    async with source:
        job = asyncio.create_task(source.run(made, made.clock))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        yield made
        job.cancel()
        await asyncio.wait([job])
        assert job.cancelled()


def jpeg(width: int = 64, height: int = 48) -> dict[str, Any]:
    values = picture(compress(np.full((height, width, 3), 90, np.uint8), width, 80).data)
    assert values is not None
    return values


# --- the camera


def test_pictures_are_published_with_the_time_of_their_taking() -> None:
    async def main() -> None:
        camera = RobotCamera("r1")
        async with stage(camera) as s:
            for late in (0.0, 0.04, 0.0):
                taken, told = s.clock.now(), s.mono_ms
                await s.wait(late)
                assert camera.feed(jpeg(), told)
                t, image = s.told[-1]
                assert isinstance(image, Image) and (image.width, image.height) == (64, 48)
                assert abs(t - taken) <= 2 * MS
                await s.wait(0.2)
            assert s.errors() == []

    run(main(), virtual=True)


def test_a_camera_that_falls_silent_is_away_then_lost_then_back() -> None:
    async def main() -> None:
        camera = RobotCamera("r1")
        async with stage(camera) as s:
            camera.feed(jpeg(), s.mono_ms)
            await s.wait(3)
            assert s.errors() == ["SourceAway"] and "r1" in s.of(Fault)[0].message
            await s.wait(6)
            assert s.errors() == ["SourceAway", "SourceLost"]
            assert camera.feed(jpeg(), s.mono_ms)
            assert len(s.of(Recovered)) == 1
            camera.gone("the robot is not heard.")
            await s.wait(0.1)
            assert camera.feed(jpeg(), 17)  # it has started anew: its clock, too
            assert s.errors()[2:] == ["SourceAway"] and len(s.of(Recovered)) == 2
            assert s.clock.now() - s.told[-1][0] < 10 * MS

    run(main(), virtual=True)


def test_a_camera_that_never_comes_is_told() -> None:
    async def main() -> None:
        async with stage(RobotCamera("r1")) as s:
            await s.wait(10)
            assert s.errors() == ["SourceAway", "SourceLost"]

    run(main(), virtual=True)


@pytest.mark.parametrize(
    "values",
    [{}, {"jpeg": 7}, {"jpeg": ""}, {"jpeg": "no base64!"}, {"jpeg": "é"}, {"jpeg": base64.b64encode(b"GIF").decode()},
     {"jpeg": "A" * 50_000}, {"jpeg": jpeg()["jpeg"][:40]}, {"jpeg": None}],
)  # fmt: skip
def test_what_is_no_picture_is_counted_and_nothing_else(values: dict[str, Any]) -> None:
    async def main() -> None:
        camera = RobotCamera()
        async with stage(camera) as s:
            assert not camera.feed(values, s.mono_ms)
            assert camera.malformed == 1 and s.told == []

    run(main(), virtual=True)


def test_pictures_that_come_too_fast_are_dropped() -> None:
    async def main() -> None:
        camera = RobotCamera()
        assert not camera.feed(jpeg(), 1)  # no session runs
        async with stage(camera) as s:
            for _ in range(100):
                camera.feed(jpeg(), s.mono_ms)
                await s.wait(0.02)
            assert 10 <= len(s.of(Image)) <= 14 and camera.dropped == 101 - len(s.of(Image))

    run(main(), virtual=True)


# --- the microphone


def tone(start: int, count: int, rate: int = 16_000) -> Any:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(start, start + count) / rate)).astype(np.int16)


async def talk(s: Stage, ear: RobotMicrophone, blocks: Any, size: int = 640) -> None:
    """Feed these blocks, each when it has been heard, counted from the session's beginning."""
    for n in blocks:
        await s.clock.sleep_until((n + 1) * size * SECOND // ear.rate)
        ear.feed(sound(tone(n * size, size, ear.rate), ear.rate, 7000 + n * size), s.mono_ms)


def heard(s: Stage) -> Any:
    """What was published, laid where it says it lies."""
    blocks = s.of(Audio)
    out = np.zeros(blocks[-1].end, np.int16)
    at = 0
    for block in blocks:
        assert block.start >= at
        at = block.end
        out[block.start : at] = block.samples
    return out


def test_sound_is_whole_and_what_is_lost_is_a_jump_of_the_sample_clock() -> None:
    async def main() -> None:
        ear = RobotMicrophone("r1")
        async with stage(ear) as s:
            await talk(s, ear, [n for n in range(50) if n not in (20, 21, 22)])
            out = heard(s)
            expected = tone(0, 50 * 640)
            expected[20 * 640 : 23 * 640] = 0
            assert len(out) == len(expected) and np.array_equal(out[FIRST:], expected[FIRST:])
            assert ear.lost == 3 * 640 and "SamplesLost" in s.errors()
            for t, block in s.told:
                if isinstance(block, Audio):
                    assert abs(t - block.end * SECOND // 16_000) <= 3 * MS

    run(main(), virtual=True)


def test_a_loss_that_is_no_whole_number_of_blocks_is_exact_too() -> None:
    async def main() -> None:
        ear = RobotMicrophone()
        async with stage(ear) as s:
            start = 0
            for n, size in enumerate((640, 640, 320, 500, 640)):
                start += 480 if n == 3 else 0
                await s.clock.sleep_until((start + size) * SECOND // 16_000)
                ear.feed(sound(tone(start, size), 16_000, start), s.mono_ms)
                start += size
            out = heard(s)
            expected = tone(0, start)
            expected[1600:2080] = 0
            assert np.array_equal(out[FIRST:], expected[FIRST:]) and ear.lost == 480

    run(main(), virtual=True)


def test_other_rates_are_changed_to_ours() -> None:
    async def main() -> None:
        ear = RobotMicrophone(rate=48_000)
        async with stage(ear) as s:
            await talk(s, ear, range(50), 960)
            out = heard(s).astype(float)
            assert abs(len(out) - 16_000) < 400
            middle = out[2000:14_000]
            assert abs(np.argmax(np.abs(np.fft.rfft(middle))) * 16_000 / len(middle) - 440) < 2

    run(main(), virtual=True)


def test_a_robot_that_starts_anew_or_repeats_itself_is_understood() -> None:
    async def main() -> None:
        ear = RobotMicrophone()
        async with stage(ear) as s:
            await talk(s, ear, range(20))
            again = sound(tone(0, 640), 16_000, 7000 + 19 * 640)
            assert not ear.feed(again, s.mono_ms) and ear.stale == 1
            await s.wait(0.1)
            assert ear.feed(sound(tone(0, 640), 16_000, 0), s.mono_ms)
            assert s.of(Audio)[-1].samples.any()

    run(main(), virtual=True)


def test_without_sound_there_is_silence_and_a_word_about_it() -> None:
    async def main() -> None:
        ear = RobotMicrophone("r1")
        async with stage(ear) as s:
            await talk(s, ear, range(10))
            await s.wait(1)
            assert s.errors() == ["SourceAway"]
            await s.wait(6)
            assert s.errors() == ["SourceAway", "SourceLost"]
            blocks = s.of(Audio)
            assert abs(blocks[-1].end / 16_000 - s.clock.now() / SECOND) < 0.1 and not blocks[-1].samples.any()
            assert ear.feed(sound(tone(0, 640), 16_000, 500_000), s.mono_ms)
            assert len(s.of(Recovered)) == 1
        silent = RobotMicrophone("r2")
        async with stage(silent) as s:
            await s.wait(3)
            assert s.errors() == ["SourceAway"] and "r2" in s.of(Fault)[0].message

    run(main(), virtual=True)


GOOD = sound(tone(0, 640), 16_000, 0)


@pytest.mark.parametrize(
    "values",
    [{}, {**GOOD, "pcm": "AAAA"}, {**GOOD, "pcm": "AA"}, {**GOOD, "pcm": 3}, {**GOOD, "rate": 8000},
     {**GOOD, "start": -1}, {**GOOD, "start": 1.5}, {**GOOD, "start": True}, {**GOOD, "start": 2**60},
     {**GOOD, "pcm": "A" * 100_000}],
)  # fmt: skip
def test_what_is_no_sound_is_counted_and_nothing_else(values: dict[str, Any]) -> None:
    async def main() -> None:
        ear = RobotMicrophone()
        async with stage(ear) as s:
            assert not ear.feed(values, s.mono_ms)
            assert ear.malformed == 1 and s.told == []

    run(main(), virtual=True)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(SourceError, match="96000"):
        RobotMicrophone(rate=96_000)


# --- the robot's own side


def recorded(path: Path, samples: Any, rate: int = 16_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples).tobytes())
    return path


def test_a_file_is_told_at_its_pace_and_heard_over_there_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        ear = RobotMicrophone()
        path = recorded(tmp_path / "talk.wav", tone(0, 16_000))
        (sense,) = senses({"microphone": {"file": "talk.wav", "loop": True}}, tmp_path)
        assert isinstance(sense, FileSense) and path.exists()
        async with stage(ear) as s:
            told: list[dict[str, Any]] = []

            def publish(channel: str, values: dict[str, Any]) -> None:
                assert channel == "microphone"
                told.append(values)
                ear.feed(values, s.mono_ms)

            job = asyncio.create_task(sense.run(publish, s.clock))
            await s.wait(2.5)
            job.cancel()
            assert len(told) == 62 and told[10]["start"] == 6400
            assert np.array_equal(heard(s)[FIRST : 62 * 640], np.tile(tone(0, 16_000), 3)[FIRST : 62 * 640])

    run(main(), virtual=True)


def test_senses_that_cannot_be_had_say_why(tmp_path: Path) -> None:
    eight = recorded(tmp_path / "8bit.wav", np.zeros(100, np.uint8), width=1)
    for options, match in (
        ({"microphone": {"file": "none.wav"}}, "none.wav"),
        ({"microphone": {"file": eight.name}}, "16 bits"),
        ({"microphone": {"file": eight.name, "lop": True}}, "lop"),
        ({"cameras": {"front": {"devise": 0}}}, "devise"),
        ({"cameras": 3}, "cameras|items"),
    ):
        with pytest.raises(SenseMissing, match=match):
            senses(options, tmp_path)
    assert senses({}) == ()


def test_pictures_too_large_for_a_message_are_not_sent() -> None:
    assert picture(b"x" * 32_001) is None


# --- what the factsheet says


def sheet(**features: Any) -> Factsheet:
    return Factsheet("1.0", 1, "b", observation_features=features)


def test_what_a_factsheet_says_is_read() -> None:
    found = media(
        sheet(
            cameras={
                "front": {"url": "rtsp://10.0.0.7:554/front?x=1", "size": [640, 480], "fov_deg": 70},
                "hand": {"telemetry": "camera.hand", "size": [1, "a"], "fov_deg": 900},
            },
            microphone={"telemetry": "microphone", "rate": 48_000},
            state=["j1.pos"],
        )
    )
    assert found.eyes == (
        Eye("front", "rtsp://10.0.0.7:554/front?x=1", "", (640, 480), 70.0),
        Eye("hand", "", "camera.hand"),
    )
    assert found.ear == Ear("", "microphone", 48_000) and found.passed_over == ()
    assert found.settings() == {"camera.source": "rtsp://10.0.0.7:554/front?x=1", "camera.fov_deg": 70.0}
    assert found.settings("hand") == {"camera.fov_deg": 60.0} and found.settings("none") == {}
    assert media(sheet()).ear is None


@pytest.mark.parametrize(
    "where",
    [
        "/dev/video0",
        "0",
        "file:///etc/passwd",
        "concat:a|b",
        "http:///x",
        "rtsp://",
        "http://[",
        "http://a\nb",
        7,
        None,
    ],
)
def test_an_address_that_is_no_stream_of_the_network_is_not_opened(where: Any) -> None:
    found = media(sheet(cameras={"front": {"url": where}}, microphone={"url": where}))
    assert found.eyes == () and found.ear is None and len(found.passed_over) == 2


def test_nonsense_is_passed_over() -> None:
    for told in (3, [], "x", {"a": 3}, {"a": {"telemetry": "../x"}}, {"a": {"telemetry": "A" * 99}}):
        assert media(sheet(cameras=told, microphone=told)).eyes == ()
    assert media(sheet(microphone={"telemetry": "m", "rate": "fast"})).ear is None
    assert len(media(sheet(cameras={str(n): {"telemetry": "c"} for n in range(99)})).eyes) == 8
