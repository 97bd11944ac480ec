"""A video file as microphone and camera: pictures at their times, in step with the sound that AudioFile gives."""

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.files import AudioFile
from streams.devices.video import VideoFile
from streams.errors import SourceError
from streams.packet import Packet
from streams.pictures import decompress
from streams.ports import Source
from streams.topics import AUDIO, IMAGE
from tests.cameras import number_of, numbered

pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")

RATE = 16_000


def clip(
    path: Path, pictures: Sequence[float] = (), sound_s: float = 0.0, sound_at: float = 0.0, codec: str = "mpeg4",
    rotation: int = 0,
) -> Path:  # fmt: skip
    """A file with pictures (`numbered`) at the given times, and a sound that is loud around every whole second."""
    with av.open(str(path), "w") as container:
        video = sound = None
        if pictures:
            video = container.add_stream(codec, rate=25)
            video.width, video.height, video.time_base = 320, 240, Fraction(1, 1000)
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
            video.bit_rate = 4_000_000
            if rotation:
                video.set_display_rotation(rotation)
        if sound_s:
            sound = container.add_stream("pcm_s16le" if path.suffix in (".mkv", ".avi", ".wav") else "aac", rate=RATE)
        for number, at in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        if video:
            container.mux(video.encode(None))
        if sound:
            t = np.arange(round(sound_s * RATE)) / RATE
            tone = (12000 * np.sin(2 * np.pi * 440 * t) * (np.abs(t - np.round(t)) < 0.05)).astype(np.int16)
            for begin in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, begin : begin + 1024], format="s16", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), begin + round(sound_at * RATE)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def play(source: Source, virtual: bool = True) -> list[Packet[Any]]:
    """Everything `source` publishes."""

    async def main() -> list[Packet[Any]]:
        clock = Clock()
        bus = Bus(clock)
        packets = []

        async def show() -> None:
            async with source:
                await source.run(bus, clock)
            bus.close(*source.writes)

        with bus.open(*source.writes) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(show())
                async for packet in lane:
                    packets.append(packet)
        return packets

    return run(main(), virtual=virtual)


def shown(packets: list[Packet[Any]]) -> list[tuple[float, int]]:
    """(seconds, number of the picture)."""
    pictures = [(packet, decompress(packet.data, 320)) for packet in packets if packet.topic is IMAGE]
    return [(packet.t / SECOND, number_of(picture)) for packet, picture in pictures if picture is not None]


def heard(packets: list[Packet[Any]]) -> np.ndarray:
    blocks = [packet.data.samples for packet in packets if packet.topic is AUDIO]
    return np.concatenate(blocks) if blocks else np.empty(0, np.int16)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi", "mov"])
def test_pictures_at_their_times_and_the_sound_of_an_audio_file(tmp_path: Path, suffix: str) -> None:
    codec = "mjpeg" if suffix == "avi" else "mpeg4"
    times = [number * 0.04 for number in range(50)]
    path = clip(tmp_path / f"a.{suffix}", times, 2.0, codec=codec)
    packets = play(VideoFile(path, rate_hz=100))
    pictures = shown(packets)
    assert [number for _, number in pictures] == list(range(50))
    begin = pictures[0][0]
    assert [t - begin for t, _ in pictures] == pytest.approx(times, abs=0.002)
    assert begin == pytest.approx(0, abs=0.1)
    assert all(packet.at == packet.t for packet in packets)
    np.testing.assert_array_equal(heard(packets), heard(play(AudioFile(path))))


def test_true_times_even_where_they_are_uneven(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.3, 0.31, 0.9, 1.5, 1.54]
    pictures = shown(play(VideoFile(clip(tmp_path / "a.mkv", times), rate_hz=100)))
    assert [t for t, _ in pictures] == pytest.approx(times, abs=0.0011)
    assert [number for _, number in pictures] == list(range(7))


@pytest.mark.parametrize("rate", [10, 12, 25, 60])
def test_no_more_pictures_than_asked_for(tmp_path: Path, rate: int) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(75)])
    times = [t for t, _ in shown(play(VideoFile(path, rate_hz=rate)))]
    assert len(times) == pytest.approx(min(rate, 25) * 3, abs=1)
    assert all(b - a > 0.039 for a, b in pairwise(times))


def test_sound_that_begins_later_begins_later(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(60)], 2.0, sound_at=0.5)
    packets = play(VideoFile(path))
    loud = np.abs(heard(packets).astype(int)) > 3000
    assert np.flatnonzero(loud)[0] / RATE == pytest.approx(0.5, abs=0.01)
    assert shown(packets)[0] == (0.0, 0)


@pytest.mark.parametrize("name", ["grid_bbaf2n.mpg", "grid_lwbsza.mpg"])
def test_real_clips(shared_data: Path, name: str) -> None:
    path = shared_data / "av" / name
    packets = play(VideoFile(path))
    np.testing.assert_array_equal(heard(packets), heard(play(AudioFile(path))))
    times = [packet.t / SECOND for packet in packets if packet.topic is IMAGE]
    assert 28 <= len(times) <= 31 and times[0] < 0.05 and 2.7 < times[-1] < 3.05
    assert all(t * 25 == pytest.approx(round(t * 25), abs=0.01) for t in times)
    assert {(p.data.width, p.data.height) for p in packets if p.topic is IMAGE} == {(360, 288)}


def test_without_sound_it_is_silent_as_long_as_it_lasts(tmp_path: Path) -> None:
    packets = play(VideoFile(clip(tmp_path / "a.mkv", [number * 0.04 for number in range(25)]), tail_ms=500))
    samples = heard(packets)
    assert not samples.any() and len(samples) / RATE == pytest.approx(1.5, abs=0.05)
    assert len(shown(packets)) >= 9


def test_without_pictures_it_is_an_audio_file(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", sound_s=1.0)
    packets = play(VideoFile(path))
    assert {packet.topic for packet in packets} == {AUDIO}
    np.testing.assert_array_equal(heard(packets), heard(play(AudioFile(path))))


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    upright = clip(tmp_path / "a.mp4", [0.0, 0.04, 0.08])
    turned = clip(tmp_path / "b.mp4", [0.0, 0.04, 0.08], rotation=90)
    one, other = (
        next(packet.data for packet in play(VideoFile(path)) if packet.topic is IMAGE) for path in (upright, turned)
    )
    assert (one.width, one.height, other.width, other.height) == (320, 240, 240, 320)
    expected, got = np.rot90(decompress(one, 320)), decompress(other, 320)  # type: ignore[arg-type]
    assert got is not None and np.abs(expected.astype(int) - got).mean() < 6


def test_live_it_keeps_time(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(25)], 1.0)
    source = VideoFile(path, tail_ms=0)
    packets = play(source, virtual=False)
    assert max(packet.at - packet.t for packet in packets) < 500 * MS
    assert all(packet.at >= packet.t for packet in packets)
    assert len(shown(packets)) + source.late >= 9
    np.testing.assert_array_equal(heard(packets), heard(play(AudioFile(path, tail_ms=0))))


def test_cancelled_in_the_middle_it_leaves_at_once(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(100)], 4.0)

    async def main() -> float:
        clock = Clock()
        async with VideoFile(path) as source:
            running = asyncio.create_task(source.run(Bus(clock), clock))
            await asyncio.sleep(0.3)
            begin = clock.now()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert running.cancelled()
        return (clock.now() - begin) / SECOND

    assert run(main()) < 1.0


def test_a_file_cut_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(50)], 2.0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    pictures = shown(play(VideoFile(path)))
    assert pictures and pictures[-1][0] < 1.9


@pytest.mark.parametrize(
    ("content", "why"), [(None, "no such file"), (b"", "empty"), (b"not a video" * 100, "no sound or video file")]
)
def test_what_is_no_video_is_refused_as_a_sound_file_is(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)

    async def opens(source: Source) -> None:
        async with source:
            pass

    for source in (VideoFile(path), AudioFile(path)):
        with pytest.raises(SourceError, match=why) as caught:
            run(opens(source))
        assert str(path) in str(caught.value)


def test_the_same_pictures_every_time(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [number * 0.04 for number in range(25)], 1.0)
    one, other = ([(p.topic.name, p.t, p.seq) for p in play(VideoFile(path))] for _ in range(2))
    assert one == other
