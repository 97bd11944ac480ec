"""Sound files as sources: the exact sample clock of any format, whatever the blocks, and refusals that say why."""

import asyncio
import os
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audio.decode import Decoder
from streams.audio.wav import write_wav
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.files import ArraySource, AudioFile
from streams.errors import SourceError
from streams.packet import Packet
from streams.ports import Source
from streams.topics import AUDIO
from streams.types import Samples

RATE = 16_000
SECONDS = 2.345


def voice_like(rate: int, seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    """float64[samples] in [-1, 1]: 40 partials below 3 kHz, loud and soft in turns; the same sound at every rate."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    partials = zip(rng.uniform(200, 3000, 40), rng.uniform(0, 6, 40), strict=True)
    sound = sum(np.sin(2 * np.pi * f * t + p) for f, p in partials) / 20
    clipped: np.ndarray = np.clip(sound * (0.2 + 0.7 * (np.sin(2 * np.pi * 1.3 * t) > 0)), -1, 1)
    return clipped


def write(
    path: Path,
    codec: str,
    rate: int,
    channels: list[np.ndarray],
    *,
    start: float = 0,
    gap: tuple[float, float] | None = None,
    video: bool = False,
) -> Path:
    """Encode `channels`; the sound begins at `start` s, and from `gap[0]` on its time stamps are `gap[1]` s later."""
    layout = "stereo" if len(channels) == 2 else "mono"
    interleaved = (np.stack(channels, axis=1) * 30000).astype(np.int16)
    with av.open(str(path), "w") as container:
        if video:
            pictures = container.add_stream("mjpeg", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuvj420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if video:
            for number in range(5):
                picture = av.VideoFrame(64, 48, "yuvj420p")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        for begin in range(0, len(interleaved), 1000):
            piece = np.ascontiguousarray(interleaved[begin : begin + 1000].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            later = gap[1] if gap and begin >= gap[0] * rate else 0
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = begin + round((start + later) * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def play(source: Source) -> list[Packet[Any]]:
    """Everything `source` publishes, in virtual time."""

    async def main() -> list[Packet[Any]]:
        clock = Clock()
        bus = Bus(clock)
        packets = []

        async def sound() -> None:
            async with source:
                await source.run(bus, clock)
            bus.close(AUDIO)

        with bus.open(AUDIO) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(sound())
                async for packet in lane:
                    packets.append(packet)
        return packets

    return run(main(), virtual=True)


def samples_of(packets: list[Packet[Any]]) -> Samples:
    return np.concatenate([packet.data.samples for packet in packets])


def heard(path: Path, **options: Any) -> Samples:
    """The samples of a file, without tail and without what fills the last block up (blocks of one sample)."""
    from streams.audio.decode import Decoder

    decoder = Decoder(path, options.pop("rate", RATE), **options)
    try:
        return decoder.read(10**9)
    finally:
        decoder.close()


def lag_ms(samples: Samples, reference: np.ndarray, rate: int = RATE) -> float:
    """How much later `samples` are than `reference`, by the peak of their cross-correlation, to 1/8 sample."""
    size = 1 << (len(samples) + len(reference)).bit_length()
    product = np.fft.rfft(samples.astype(float), size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size * 8)
    peak = int(np.argmax(correlation))
    return (peak - size * 8 if peak > size * 4 else peak) / 8 / rate * 1000


def likeness(samples: Samples, reference: np.ndarray) -> float:
    size = min(len(samples), len(reference))
    return float(np.corrcoef(samples[:size], reference[:size])[0, 1])


FORMATS = [
    # suffix, codec, rate, channels, does the container say where the sound ends?
    (".wav", "pcm_s16le", 8000, 1, True),
    (".wav", "pcm_s16le", 44100, 2, True),
    (".wav", "pcm_f32le", 48000, 2, True),
    (".wav", "pcm_s24le", 96000, 1, True),
    (".wav", "pcm_u8", 11025, 1, True),
    (".wav", "pcm_f64le", 22050, 1, True),
    (".aiff", "pcm_s16be", 22050, 2, True),
    (".flac", "flac", 44100, 2, True),
    (".mp3", "libmp3lame", 44100, 2, True),
    (".mp3", "libmp3lame", 24000, 1, True),
    (".mp4", "aac", 48000, 2, True),
    (".m4a", "aac", 44100, 1, True),
    (".mkv", "libopus", 48000, 2, True),
    (".webm", "libopus", 48000, 1, True),
    (".ogg", "libopus", 48000, 2, True),
    (".mkv", "aac", 48000, 1, False),
    (".mkv", "flac", 16000, 1, True),
]


@pytest.mark.parametrize(("suffix", "codec", "rate", "channels", "says"), FORMATS)
def test_the_sample_clock_is_exact_in_every_format(
    tmp_path: Path, suffix: str, codec: str, rate: int, channels: int, says: bool
) -> None:
    sound = voice_like(rate)
    path = write(tmp_path / f"x{suffix}", codec, rate, [sound] * channels)
    samples = heard(path)
    expected = round(len(sound) / rate * RATE)
    if says:
        assert abs(len(samples) - expected) <= 1
    else:
        assert 0 <= len(samples) - expected <= 1024 * RATE // rate, "padded to a whole packet at most"
    reference = voice_like(RATE)
    assert abs(lag_ms(samples, reference)) < 0.5
    quality = 0.9999 if codec.startswith(("pcm_s16", "pcm_f", "pcm_s24", "flac")) else 0.97
    assert likeness(samples, reference) > quality
    loudness = np.abs(samples).max() / 30000 / np.abs(reference).max()
    assert 0.9 < loudness < 1.1, "mixing down keeps the level"


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"), [(".mp4", "aac", 48000), (".mkv", "libopus", 48000), (".ogg", "libopus", 48000)]
)
def test_sound_that_begins_later_begins_later(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    for video in (False, True) if suffix != ".ogg" else (False,):
        path = write(tmp_path / f"x{suffix}", codec, rate, [voice_like(rate)], start=0.5, video=video)
        slack = 1.5 if suffix == ".mkv" else 1.0  # Matroska rounds time stamps to 1 ms
        samples = heard(path)
        assert abs(len(samples) - round((SECONDS + 0.5) * RATE)) <= RATE // 500
        assert not samples[: round(0.47 * RATE)].any()
        assert abs(lag_ms(samples, voice_like(RATE)) - 500) < slack


def test_mpeg_ts_begins_anywhere(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ts", "aac", 48000, [voice_like(48000)], start=7.0)
    assert abs(len(heard(path)) - SECONDS * RATE) < 2 * 1024 / 3 + 1


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"), [(".mkv", "pcm_s16le", 44100), (".mkv", "libopus", 48000), (".mp4", "aac", 48000)]
)
def test_a_gap_in_the_time_stamps_is_silence_of_that_length(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    sound = voice_like(rate)
    path = write(tmp_path / f"x{suffix}", codec, rate, [sound], gap=(1.0, 0.75))
    samples = heard(path)
    assert abs(len(samples) - round((SECONDS + 0.75) * RATE)) <= RATE // 20
    reference = voice_like(RATE)
    assert abs(lag_ms(samples[:14000], reference[:14000])) < 1.0
    late = samples[round(1.85 * RATE) :]
    assert abs(lag_ms(late, reference[round(1.1 * RATE) :])) < 1.5
    assert np.abs(samples[round(1.1 * RATE) : round(1.7 * RATE)]).max() < 300


def test_one_channel_or_both(tmp_path: Path) -> None:
    left, right = voice_like(44100), voice_like(44100, seed=1)
    path = write(tmp_path / "x.wav", "pcm_s16le", 44100, [left, right])
    reference, other = voice_like(RATE), voice_like(RATE, seed=1)
    assert likeness(heard(path, channel=0), reference) > 0.999
    assert likeness(heard(path, channel=1), other) > 0.999
    assert likeness(heard(path), reference + other) > 0.999
    with pytest.raises(SourceError, match=r"channel 2 of .*x.wav: it has 2"):
        heard(path, channel=2)


def test_headerless_samples(tmp_path: Path) -> None:
    samples = (voice_like(RATE) * 30000).astype("<i2")
    (tmp_path / "x.raw").write_bytes(samples.tobytes())
    assert np.array_equal(heard(tmp_path / "x.raw"), samples)


def test_another_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", "pcm_s16le", 16000, [voice_like(16000)])
    samples = heard(path, rate=48000)
    assert len(samples) == round(SECONDS * 48000)
    assert likeness(samples, voice_like(48000)) > 0.999


@settings(max_examples=12, deadline=None)
@given(block_ms=st.sampled_from([1, 5, 10, 20, 25, 32, 100, 1000, 5000]), tail_ms=st.integers(0, 3000))
def test_blocks_do_not_change_the_samples(
    tmp_path_factory: pytest.TempPathFactory, block_ms: int, tail_ms: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.mp3"
    if not path.exists():
        write(path, "libmp3lame", 44100, [voice_like(44100)])
    whole = heard(path)
    for source in (
        AudioFile(path, block_ms=block_ms, tail_ms=tail_ms),
        ArraySource(whole, block_ms=block_ms, tail_ms=tail_ms),
    ):
        packets = play(source)
        block = RATE * block_ms // 1000
        samples = samples_of(packets)
        assert np.array_equal(samples[: len(whole)], whole)
        assert not samples[len(whole) :].any()
        assert 0 <= len(samples) - len(whole) - RATE * tail_ms // 1000 < block
        for number, packet in enumerate(packets):
            assert len(packet.data.samples) == block and packet.data.rate == RATE
            assert packet.data.start == number * block
            assert packet.t == packet.at == (number + 1) * block_ms * MS


def test_live_it_keeps_the_pace_and_can_be_cancelled(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4", "aac", 48000, [voice_like(48000, 20)])

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        late = []
        with bus.open(AUDIO) as lane:
            async with AudioFile(path) as source:
                task = asyncio.create_task(source.run(bus, clock))
                for _ in range(60):
                    packet = await lane.get()
                    assert packet is not None
                    late.append(packet.at - packet.t)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            left = clock.now()
        assert min(late) >= -MS // 10 and sorted(late)[30] < 10 * MS
        assert 1200 * MS <= left < 3 * SECOND

    run(main())


def test_leaving_waits_for_the_piece_in_work_off_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.wav"
    write_wav(path, [np.zeros(10 * RATE, np.int16)], RATE)
    began, free, waited = threading.Event(), threading.Event(), []
    original = Decoder.read

    def slow(decoder: Decoder, count: int) -> Samples:
        began.set()
        waited.append(free.wait(5))
        return original(decoder, count)

    async def main() -> None:
        clock = Clock()
        async with AudioFile(path) as source:
            task = asyncio.create_task(source.run(Bus(clock), clock))
            assert await asyncio.to_thread(began.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            asyncio.get_running_loop().call_later(0.1, free.set)
        assert waited == [True]

    monkeypatch.setattr(Decoder, "read", slow)
    run(main())


# --- what can go wrong


def refusal(path: Path) -> str:
    async def main() -> str:
        with pytest.raises(SourceError) as caught:
            async with AudioFile(path):
                pass
        return str(caught.value)

    message = run(main(), virtual=True)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


def test_refusals(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.wav")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in refusal(tmp_path / "file" / "x.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "it is empty" in refusal(tmp_path / "empty.wav")
    (tmp_path / "half.raw").write_bytes(b"x")
    assert "none is whole" in refusal(tmp_path / "half.raw")
    write_wav(tmp_path / "nothing.wav", [np.zeros(0, np.int16)], 16000)
    assert "it is empty" in refusal(tmp_path / "nothing.wav")


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".mp4", ".flac", ".ogg", ".txt", ".aac", ".m3u8", ""])
@pytest.mark.parametrize(
    "text", ["hello\n", "Lorem ipsum dolor sit amet. " * 4000, "#EXTM3U\n#EXTINF:9,\n/etc/passwd\n"]
)
def test_a_text_file_as_sound(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(text)
    message = refusal(path)
    assert any(reason in message for reason in ("no sound or video file", "no sound in it", "is empty", "damaged"))


def test_a_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    assert "there is no sound in it" in refusal(tmp_path / "x.mp4")


def test_a_file_that_may_not_be_read() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "x.wav", "pcm_s16le", 16000, [voice_like(16000, 0.1)])
        path.chmod(0)
        Path(folder).chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # nothing is unreadable to root
        try:
            assert "Permission denied" in refusal(path)
        finally:
            if root:
                os.seteuid(0)


def test_a_file_cut_in_the_middle_is_heard_to_there(tmp_path: Path) -> None:
    for name, codec, rate in (
        ("x.wav", "pcm_s16le", 44100),
        ("x.mp3", "libmp3lame", 44100),
        ("x.oga", "flac", 48000),
    ):
        path = write(tmp_path / name, codec, rate, [voice_like(rate)])
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        samples = heard(path)
        assert 0.3 * SECONDS * RATE < len(samples) < 0.7 * SECONDS * RATE
        assert abs(lag_ms(samples, voice_like(RATE)[: len(samples)])) < 1
    path = write(tmp_path / "x.mp4", "aac", 48000, [voice_like(48000)])
    path.write_bytes(path.read_bytes()[:-2000])
    assert "no sound or video file" in refusal(path)


def test_damaged_packets_are_counted_and_become_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", "flac", 16000, [voice_like(16000)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = os.urandom(3000)
    path.write_bytes(data)
    samples = heard(path)
    assert abs(len(samples) - SECONDS * RATE) < 4608 * 2
    assert likeness(samples[:9000], voice_like(RATE)[:9000]) > 0.999


def test_an_array_must_be_mono_int16() -> None:
    for wrong in (np.zeros((2, 10), np.int16), np.zeros(10, np.float32)):
        with pytest.raises(SourceError, match="int16"):
            ArraySource(wrong)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="whole number"):
        ArraySource(np.zeros(10, np.int16), 11025, block_ms=20 // 3)
    assert isinstance(ArraySource(np.zeros(10, np.int16)), Source)
    assert isinstance(AudioFile("x.wav"), Source)
