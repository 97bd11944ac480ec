"""The WAV tap: what was heard, at the time it was heard, whatever happens to the session or the disk."""

import asyncio
import resource
import signal
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.audio.resample import Resampler
from streams.audio.wav import WavFile, write_wav
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.wav import WavTap
from streams.errors import SourceError
from streams.ports import Tap
from streams.topics import AUDIO, PLAYBACK
from streams.types import Audio, Fault, Samples

VOICE_RATE = 22_050


def read(path: Path) -> tuple[Samples, int]:
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, file.getnchannels()), file.getframerate()


def noise(count: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).integers(-20000, 20000, count, dtype=np.int16)


def unexpected(fault: Fault) -> None:
    pytest.fail(str(fault))


def session(
    tap: WavTap, utterances: dict[int, Samples], seconds: float = 5, jitter: bool = False, faults: Any = None
) -> None:
    """Virtual: a person hums for `seconds`, and the agent says `utterances` {sample of the session clock: samples}."""

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)

        async def person() -> None:
            hum = (np.sin(np.arange(int(seconds * 16000)) * 2 * np.pi * 200 / 16000) * 8000).astype(np.int16)
            for begin in range(0, len(hum), 320):
                t = (begin + 320) * SECOND // 16000
                await clock.sleep_until(t)
                late = (begin // 320 % 3) * 4 * MS if jitter else 0
                bus.publish(AUDIO, t - late, Audio(hum[begin : begin + 320], 16000, begin))

        async def agent() -> None:
            for start, samples in utterances.items():
                for begin in range(0, len(samples), 441):
                    end = start + begin + len(samples[begin : begin + 441])
                    t = -(-end * SECOND // VOICE_RATE)
                    await clock.sleep_until(t)
                    bus.publish(PLAYBACK, t, Audio(samples[begin : begin + 441], VOICE_RATE, start + begin))

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(person())
                group.create_task(agent())
            bus.close(AUDIO, PLAYBACK)

        with bus.open(*tap.reads) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(tap.run(lane, clock, (unexpected) if faults is None else faults.append))
                group.create_task(both())

    run(main(), virtual=True)


def test_the_voice_stands_where_it_was_heard_to_the_sample(tmp_path: Path) -> None:
    utterances = {5000: noise(20_000), 40_001: noise(441 * 7, 1), 90_000: noise(100, 2)}
    tap = WavTap(tmp_path / "a.wav")
    assert isinstance(tap, Tap)
    session(tap, utterances)
    samples, rate = read(tmp_path / "a.wav")
    assert rate == VOICE_RATE and samples.shape == (90_100, 1)
    expected = np.zeros(90_100, np.int16)
    for start, sound in utterances.items():
        expected[start : start + len(sound)] = sound
    assert np.array_equal(samples[:, 0], expected)


@pytest.mark.parametrize("jitter", [False, True])
def test_person_left_agent_right(tmp_path: Path, jitter: bool) -> None:
    smooth = (np.sin(np.arange(44_100) * 2 * np.pi * 300 / VOICE_RATE) * 9000).astype(np.int16)
    session(WavTap(tmp_path / "b.wav", "both"), {VOICE_RATE: smooth}, seconds=5, jitter=jitter)
    samples, rate = read(tmp_path / "b.wav")
    assert rate == 24_000 and abs(len(samples) - 5 * rate) <= 1
    left, right = samples[:, 0].astype(float), samples[:, 1].astype(float)
    t = np.arange(len(samples)) / rate
    assert np.abs(left[100:-100] - 8000 * np.sin(2 * np.pi * 200 * t[100:-100])).max() < 40
    spoken = 9000 * np.sin(2 * np.pi * 300 * (t - 1)) * ((t >= 1) & (t < 3))
    inside = (np.abs(t - 1) > 0.005) & (np.abs(t - 3) > 0.005)
    assert np.abs(right - spoken)[inside].max() < 40


def test_both_when_the_agent_never_speaks_or_outlasts_the_person(tmp_path: Path) -> None:
    session(WavTap(tmp_path / "b.wav", "both", 16_000), {}, seconds=3)
    samples, rate = read(tmp_path / "b.wav")
    assert rate == 16_000 and samples.shape == (48_000, 2) and not samples[:, 1].any()
    session(WavTap(tmp_path / "b.wav", "both", VOICE_RATE), {VOICE_RATE: noise(VOICE_RATE * 3)}, seconds=2)
    samples, _ = read(tmp_path / "b.wav")
    assert samples.shape == (4 * VOICE_RATE, 2) and not samples[3 * VOICE_RATE :, 0].any()
    assert np.array_equal(samples[VOICE_RATE:, 1], noise(VOICE_RATE * 3))


def test_nothing_said_is_a_whole_file(tmp_path: Path) -> None:
    session(WavTap(tmp_path / "a.wav"), {}, seconds=1)
    assert read(tmp_path / "a.wav")[0].shape == (0, 1)


def test_the_header_is_right_on_the_way_and_after_cancelling(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        tap = WavTap(path)
        with bus.open(*tap.reads) as lane:
            task = asyncio.create_task(tap.run(lane, clock, unexpected))
            for block in range(125):
                end = (block + 1) * 320
                bus.publish(PLAYBACK, end * SECOND // 16000, Audio(noise(320, block), 16000, block * 320))
            await asyncio.sleep(0.3)
            assert len(read(path)[0]) == 2 * 16000, "all but the second in work"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert len(read(path)[0]) == 125 * 320

    run(main())


def test_a_disk_that_fills_up_is_one_fault(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    faults: list[Fault] = []
    try:
        session(WavTap(tmp_path / "a.wav"), {0: noise(88_200)}, faults=faults)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    [fault] = faults
    assert fault.where == "wav" and "File too large" in fault.message and str(tmp_path / "a.wav") in fault.message
    samples, _ = read(tmp_path / "a.wav")
    assert np.array_equal(samples[:, 0], noise(88_200)[: len(samples)]) and len(samples) >= 44_100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_device_is_told_once() -> None:
    faults: list[Fault] = []
    session(WavTap("/dev/full"), {0: noise(88_200)}, faults=faults)
    [fault] = faults
    assert "No space left" in fault.message


def block(n: int) -> tuple[int, Audio]:
    return (n + 1) * SECOND, Audio(noise(VOICE_RATE, n), VOICE_RATE, n * VOICE_RATE)


@pytest.mark.parametrize("virtual", [True, False])
def test_a_tap_that_gives_up_closes_its_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virtual: bool) -> None:
    def full(file: WavFile, frames: Samples) -> None:
        raise OSError(28, "No space left on device")

    faults: list[Fault] = []

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        tap = WavTap(tmp_path / "a.wav")
        with bus.open(PLAYBACK) as lane:
            bus.publish(PLAYBACK, *block(0))
            await tap.run(lane, clock, faults.append)
            assert lane not in bus.lanes

    monkeypatch.setattr(WavFile, "append", full)
    run(main(), virtual=virtual)
    assert [fault.error for fault in faults] == ["OSError"]


def test_the_loop_goes_on_while_the_disk_takes_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, free, waited = threading.Event(), threading.Event(), []
    original = WavFile.append

    def slow(file: WavFile, frames: Samples) -> None:
        began.set()
        waited.append(free.wait(5))
        original(file, frames)

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        tap = WavTap(tmp_path / "a.wav")
        with bus.open(PLAYBACK) as lane:
            task = asyncio.create_task(tap.run(lane, clock, unexpected))
            bus.publish(PLAYBACK, *block(0))
            assert await asyncio.to_thread(began.wait, 20)
            task.cancel()
            asyncio.get_running_loop().call_later(0.1, free.set)
            with pytest.raises(asyncio.CancelledError):
                await task

    monkeypatch.setattr(WavFile, "append", slow)
    run(main())
    assert waited and all(waited)
    assert np.array_equal(read(tmp_path / "a.wav")[0][:, 0], noise(VOICE_RATE, 0)), "and the file is whole"


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot write .*no/a\.wav: No such file.*Name a file in a folder"):
        WavTap(tmp_path / "no" / "a.wav")
    with pytest.raises(SourceError, match="cannot write"):
        write_wav(tmp_path / "no" / "a.wav", [noise(3)], 16000)


def test_write_wav_and_what_a_crash_leaves(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", [noise(5), noise(9, 1)], 8000)
    samples, rate = read(tmp_path / "x.wav")
    assert rate == 8000 and np.array_equal(samples[:, 1], noise(9, 1)) and list(samples[5:, 0]) == [0] * 4
    file = WavFile(tmp_path / "x.wav", 1, 8000)
    file.append(noise(1000))
    assert np.array_equal(read(tmp_path / "x.wav")[0][:, 0], noise(1000)), "before it is closed"
    file.close()
    file.close()


@pytest.mark.parametrize(("source", "target"), [(22050, 24000), (16000, 24000), (48000, 16000), (16000, 16000)])
def test_resampling_in_pieces_is_resampling_in_one(source: int, target: int) -> None:
    samples = noise(source)
    whole = Resampler(source, target)
    one = np.concatenate([whole.push(samples), whole.finish()])
    pieces = Resampler(source, target)
    parts = [pieces.push(samples[begin : begin + 317]) for begin in range(0, source, 317)]
    assert np.array_equal(np.concatenate([*parts, pieces.finish()]), one)
    assert len(one) == target
