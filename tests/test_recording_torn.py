"""Recordings that were cut off: at any byte, and by a real `kill -9`."""

import os
import random
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Message
from mcap.stream_reader import StreamReader, breakup_chunk

from streams.clock import MS, SECOND
from streams.errors import RecordingError, RecordingTorn
from streams.recording import Recording, recover
from streams.recording.writer import CHUNK_BYTES
from tests.sessions import assert_same, made_up, tape


def message_ends(data: bytes) -> tuple[int, list[int], list[int]]:
    """By the `mcap` library, of a whole file: where the first chunk begins, where each packet ends, and each chunk."""
    first, ends, chunks, place = 0, [], [], -1
    for record in StreamReader(BytesIO(data), emit_chunks=True).records:
        if isinstance(record, Chunk):
            begin = data.index(record.data)
            first = first or begin
            parts = breakup_chunk(record)
            sizes = [31 + len(part.data) if isinstance(part, Message) else 0 for part in parts]
            position = begin + len(record.data) - sum(sizes)  # schemas and channels stand before all messages
            for part, size in zip(parts, sizes, strict=True):
                position += size
                if isinstance(part, Channel) and part.topic == "place":
                    place = part.id
                if isinstance(part, Message) and part.channel_id != place:
                    ends.append(position)
            chunks.append(begin + len(record.data))
    return first, ends, chunks


@pytest.mark.parametrize("finish", [True, False])
def test_cut_at_any_byte_it_is_read_to_the_last_whole_message(tmp_path: Path, finish: bool) -> None:
    packets = made_up(4)
    path, cut_path = tmp_path / "s.mcap", tmp_path / "cut.mcap"
    tape(path, packets)
    first, ends, _ = message_ends(path.read_bytes())
    assert len(ends) == len(packets)
    tape(path, packets, finish=finish)
    data = path.read_bytes()
    rng = random.Random(1)
    cuts = {*range(0, first, 37), *(rng.randrange(len(data)) for _ in range(250)), len(data) - 1, len(data) - 8}
    cuts |= {end + step for end in rng.sample([e for e in ends if e < len(data)], 20) for step in (-1, 0, 1)}
    for cut in sorted(cuts):
        cut_path.write_bytes(data[:cut])
        try:
            recording = Recording.open(cut_path)
        except RecordingError as error:
            assert cut < first, error
            assert isinstance(error, RecordingTorn) or cut == 0
            continue
        whole = sum(end <= cut for end in ends)
        assert recording.torn and str(cut_path) in recording.torn
        assert_same(list(recording.packets()), packets[:whole])
        assert sum(recording.counts.values()) == whole
        assert recording.duration == (packets[whole - 1].at if whole else 0)
        assert recording.lost_bytes <= max(CHUNK_BYTES, 4096)
    cut_path.write_bytes(data)
    assert bool(Recording.open(cut_path).torn) is not finish


def test_recover_makes_a_whole_file_of_any_piece(tmp_path: Path) -> None:
    packets = made_up(3)
    path = tmp_path / "s.mcap"
    tape(path, packets)
    data = path.read_bytes()
    for cut in random.Random(2).sample(range(40_000, len(data)), 12):
        path.write_bytes(data[:cut])
        done = recover(path)
        assert done.path == tmp_path / "s.recovered.mcap" and done.torn and path.stat().st_size == cut
        recording = Recording.open(done.path)
        assert recording.torn == ""
        read = list(recording.packets())
        assert_same(read, packets[: done.packets])
        assert read[-1].at == done.duration
        with done.path.open("rb") as file:
            assert sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages()) >= done.packets
    assert sorted(tmp_path.iterdir()) == [tmp_path / "s.mcap", tmp_path / "s.recovered.mcap"]
    in_place = recover(path, path)
    assert in_place.torn and Recording.open(path).torn == ""
    assert recover(path, tmp_path / "copy.mcap").torn == ""
    with pytest.raises(RecordingError, match="cannot write the recovered recording"):
        recover(path, tmp_path / "no" / "copy.mcap")


def test_zeros_at_the_end_as_after_a_power_cut(tmp_path: Path) -> None:
    packets = made_up(4)
    path = tmp_path / "s.mcap"
    tape(path, packets)
    data = path.read_bytes()
    _, ends, chunks = message_ends(data)
    assert len(chunks) > 2
    for cut in (chunks[1], chunks[1] - 20_000, chunks[0] + 5):
        path.write_bytes(data[:cut] + bytes(max(0, chunks[1] - cut)) + bytes(4096))
        recording = Recording.open(path)
        read = list(recording.packets())
        assert recording.torn and len(read) <= sum(end <= cut for end in ends)
        assert_same(read, packets[: len(read)])
        assert len(read) >= sum(end <= chunks[0] for end in ends)


RECORDING_CHILD = """
import asyncio, sys
import numpy as np
from streams.bus import Bus
from streams.clock import MS, Clock, run
from streams.recording import Header, Recorder
from streams.topics import ALL, AUDIO, PLAYBACK, VOICE
from streams.types import Audio, Voice

async def main():
    clock = Clock()
    bus = Bus(clock)
    recorder = Recorder(sys.argv[1], Header.now(clock.started))
    noise = np.random.default_rng(0).integers(-32768, 32768, 320, dtype=np.int16)
    with bus.open(*ALL) as lane:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run(lane, clock, print))
            block = 0
            while True:
                t = (block + 1) * 20 * MS
                await clock.sleep_until(t)
                bus.publish(AUDIO, t, Audio(noise, 16000, block * 320))
                bus.publish(PLAYBACK, t, Audio(noise, 16000, block * 320))
                bus.publish(VOICE, t, Voice(block / 1e6, False))
                block += 1
                print(t, bus.order, flush=True)

run(main())
"""


def test_a_killed_session_loses_one_chunk_at_most(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    root = Path(__file__).resolve().parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDING_CHILD, str(path)],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with child:
        time.sleep(3.3)
        child.send_signal(signal.SIGKILL)
        assert child.stdout is not None
        lines = [line.split() for line in child.stdout.read().splitlines()]
    assert child.returncode == -signal.SIGKILL
    t, published = map(int, lines[-1])
    recording = Recording.open(path)
    read = list(recording.packets())
    assert recording.torn
    assert [packet.order for packet in read] == list(range(len(read)))
    assert t - recording.duration <= SECOND + 100 * MS
    lost = [packet for packet in range(published) if packet >= len(read)]
    assert len(lost) <= 160, "150 packets are published in a second"
    done = recover(path)
    with done.path.open("rb") as file:
        messages = list(make_reader(file, validate_crcs=True).iter_messages(topics=["audio", "playback", "voice"]))
    assert [(message.sequence, message.publish_time) for _, _, message in messages] == [(p.order, p.t) for p in read]
    assert_same(list(Recording.open(done.path).packets()), read)
