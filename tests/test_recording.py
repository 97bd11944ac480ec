"""Recordings: what is written comes back identical, other tools read it, and every refusal says why."""

import asyncio
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.errors import RecordingError, RecordingTorn
from streams.packet import Packet
from streams.recording import FORMAT, Header, Recorder, Recording, recover
from streams.recording.schemas import WIRES
from streams.topics import ALL, AUDIO, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, VOICE
from streams.types import Audio, Fault, Image, Voice
from tests.sessions import HEADER, STARTED, assert_same, made_up, tape


@pytest.mark.parametrize("seed", range(5))
def test_every_packet_comes_back_identical(tmp_path: Path, seed: int) -> None:
    packets = made_up(12, seed)
    tape(tmp_path / "s.mcap", packets)
    recording = Recording.open(tmp_path / "s.mcap")
    assert_same(list(recording.packets()), packets)
    assert recording.torn == ""
    assert recording.counts == Counter(packet.topic.name for packet in packets)
    assert recording.duration == packets[-1].at
    assert recording.header == HEADER
    assert recording.header.started.utcoffset() == STARTED.utcoffset()


def test_only_the_topics_asked_for_with_their_places(tmp_path: Path) -> None:
    packets = made_up(5)
    tape(tmp_path / "s.mcap", packets)
    for topics in [(PERCEPT, TURN), (VOICE,), (IMAGE, AUDIO), (PLAYBACK,), ()]:
        read = list(Recording.open(tmp_path / "s.mcap").packets(topics))
        assert_same(read, [packet for packet in packets if packet.topic in topics])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2**40), st.integers(8000, 48000)), max_size=20),
    st.integers(-(2**40), 2**62),
)
def test_the_start_of_a_block_is_exact_after_any_loss(blocks: list[tuple[int, int, int]], t: int) -> None:
    packets = [
        Packet(AUDIO, t + index, 2**61 + index, index, index, Audio(np.full(count, index, np.int16), rate, start))
        for index, (count, start, rate) in enumerate(blocks)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.mcap"
        tape(path, packets)
        assert_same(list(Recording.open(path).packets()), packets)


def test_a_steady_session_needs_no_places(tmp_path: Path) -> None:
    packets = [
        Packet(AUDIO, i * 20 * MS, i * 20 * MS, i, i, Audio(np.zeros(320, np.int16), 16000, i * 320))
        for i in range(200)
    ]
    tape(tmp_path / "s.mcap", packets)
    with (tmp_path / "s.mcap").open("rb") as file:
        assert not list(make_reader(file).iter_messages(topics=["place"]))


def test_the_mcap_library_reads_it_and_every_json_message_fits_its_schema(tmp_path: Path) -> None:
    packets = made_up(10)
    tape(tmp_path / "s.mcap", packets)
    with (tmp_path / "s.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count >= len(packets)
        checked = set()
        orders = []
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            assert schema is not None
            if channel.message_encoding == "json":
                body = json.loads(message.data)
                definition = json.loads(schema.data)
                jsonschema.Draft202012Validator(definition).validate(body)
                checked.add(body["type"])
            if channel.topic != "place":
                orders.append((message.sequence, message.log_time, channel.topic))
        assert {"Words", "TurnCommitted", "Command", "Outcome", "Voice", "Place"} <= checked
        assert orders == [(packet.order, packet.at, packet.topic.name) for packet in packets]


def test_sound_and_pictures_are_what_viewers_expect(tmp_path: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessages

    packets = made_up(3)
    tape(tmp_path / "s.mcap", packets)
    by_order = {packet.order: packet for packet in packets}
    seen = set()
    with (tmp_path / "s.mcap").open("rb") as file:
        for schema, _, message in make_reader(file).iter_messages(topics=["audio", "playback", "image"]):
            data = by_order[message.sequence].data
            assert schema is not None
            # As a viewer does: by the schema in the file alone.
            classes = GetMessages(list(FileDescriptorSet.FromString(schema.data).file), pool=DescriptorPool())
            decoded = classes[schema.name].FromString(message.data)
            seen.add(schema.name)
            if isinstance(data, Audio):
                assert decoded.data == data.samples.astype("<i2").tobytes()
                assert (decoded.format, decoded.sample_rate, decoded.number_of_channels) == ("pcm-s16", data.rate, 1)
                begin = by_order[message.sequence].t - len(data.samples) * SECOND // data.rate
                assert decoded.timestamp.ToNanoseconds() == begin
            else:
                assert decoded.data == data.data and decoded.format == data.format
    assert seen == {"foxglove.RawAudio", "foxglove.CompressedImage"}


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_that_another_tool_repacked_is_read(tmp_path: Path, compression: CompressionType, chunked: bool) -> None:
    packets = made_up(4)
    tape(tmp_path / "s.mcap", packets)
    with (tmp_path / "s.mcap").open("rb") as file, (tmp_path / "o.mcap").open("wb") as out:
        reader = make_reader(file)
        writer = Writer(out, compression=compression, chunk_size=100_000, use_chunking=chunked)
        writer.start(profile="visavis")
        for metadata in reader.iter_metadata():
            writer.add_metadata(metadata.name, metadata.metadata)
        channels: dict[int, int] = {}
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            assert schema is not None
            if channel.id not in channels:
                number = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, number)
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time, message.sequence
            )
        writer.finish()  # type: ignore[no-untyped-call]
    recording = Recording.open(tmp_path / "o.mcap")
    assert recording.torn == ""
    assert_same(list(recording.packets()), packets)


# --- the recorder on a bus


def unexpected(fault: Fault) -> None:
    pytest.fail(str(fault))


async def record(path: Path, seconds: float, reports: list[Fault] | None = None) -> list[Packet[Any]]:
    """Run a recorder and a second reader over one bus; returns what the second reader saw."""
    clock = Clock()
    bus = Bus(clock)
    recorder = Recorder(path, Header.now(clock.started))
    seen: list[Packet[Any]] = []

    async def watch() -> None:
        with bus.open(*ALL) as lane:
            async for packet in lane:
                seen.append(packet)

    async def tap() -> None:
        with bus.open(*recorder.reads, reader=recorder.name) as lane:
            await recorder.run(lane, clock, [].append if reports is None else reports.append)  # type: ignore[arg-type]

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        group.create_task(tap())
        await asyncio.sleep(0)
        for block in range(int(seconds * 50)):
            t = (block + 1) * 20 * MS
            await clock.sleep_until(t)
            bus.publish(AUDIO, t, Audio(np.full(320, block, np.int16), 16000, block * 320))
            bus.publish(VOICE, t - 5, Voice(block / 1000, block % 2 == 0))
        bus.close(*ALL)
    return seen


@pytest.mark.parametrize("virtual", [True, False])
def test_the_recorder_writes_what_the_bus_carries(tmp_path: Path, virtual: bool) -> None:
    seen = run(record(tmp_path / "s.mcap", 60 if virtual else 1.3), virtual=virtual)
    recording = Recording.open(tmp_path / "s.mcap")
    assert_same(list(recording.packets()), seen)
    assert recording.torn == ""
    assert recording.header.versions["mcap"] and recording.header.python and recording.header.machine["cores"]


def test_a_file_is_replaced_when_the_recorder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    path.write_bytes(b"x" * 10_000_000)
    recorder = Recorder(path, HEADER)
    assert path.stat().st_size < 10_000
    recorder.close()
    recorder.close()
    recording = Recording.open(path)
    assert recording.torn == "" and list(recording.packets()) == [] and recording.header == HEADER


def test_cancelling_completes_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(tmp_path / "s.mcap", HEADER)
        with bus.open(*ALL) as lane:
            task = asyncio.create_task(recorder.run(lane, clock, unexpected))
            bus.publish(VOICE, 0, Voice(0.5, True))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    for virtual in (True, False):
        run(main(), virtual=virtual)
        recording = Recording.open(tmp_path / "s.mcap")
        assert recording.torn == "" and recording.counts == {"voice": 1}


def test_a_chunk_does_not_wait_for_the_next_packet(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(tmp_path / "s.mcap", HEADER)
        with bus.open(*ALL) as lane:
            task = asyncio.create_task(recorder.run(lane, clock, unexpected))
            bus.publish(VOICE, 0, Voice(0.5, True))
            await asyncio.sleep(1.3)
            torn = Recording.open(tmp_path / "s.mcap")
            assert torn.torn and torn.counts == {"voice": 1}
            bus.close(*ALL)
            await task

    run(main())


def test_the_recorder_does_not_hide_a_deadlock(tmp_path: Path) -> None:
    from streams.errors import Deadlock

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(tmp_path / "s.mcap", HEADER)
        with bus.open(*ALL) as lane:
            bus.publish(VOICE, 0, Voice(0.5, True))
            await recorder.run(lane, clock, unexpected)

    with pytest.raises(Deadlock):
        run(main(), virtual=True)


def test_pictures_that_never_came_are_counted_and_the_rest_keeps_its_numbers(tmp_path: Path) -> None:
    async def main() -> dict[str, int]:
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(tmp_path / "s.mcap", HEADER)
        with bus.open(*ALL) as lane:
            for number in range(5):
                bus.publish(IMAGE, number, Image(b"x", "jpeg", 1, 1))
            bus.publish(FEEDBACK, 9, Fault("a", "b", "c"))
            bus.close(*ALL)
            await recorder.run(lane, clock, unexpected)
        return recorder.lost

    assert run(main(), virtual=True) == {"image": 4}
    read = list(Recording.open(tmp_path / "s.mcap").packets())
    assert [(packet.topic.name, packet.seq, packet.order) for packet in read] == [("image", 4, 4), ("feedback", 0, 5)]


# --- what can go wrong


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_at_the_start_is_an_error() -> None:
    with pytest.raises(RecordingError, match="cannot write the recording /dev/full: No space left"):
        Recorder("/dev/full", HEADER)


@pytest.mark.parametrize("virtual", [True, False])
def test_a_disk_that_fills_up_is_one_fault_and_the_session_goes_on(tmp_path: Path, virtual: bool) -> None:
    import resource
    import signal

    path = tmp_path / "s.mcap"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, limits[1]))
    faults: list[Fault] = []
    try:
        seen = run(record(path, 5 if virtual else 2.5, faults), virtual=virtual)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert len(seen) == (500 if virtual else 250), "the session went on"
    [fault] = faults
    assert fault.where == "recorder" and fault.error == "OSError"
    assert str(path) in fault.message and "File too large" in fault.message
    recording = Recording.open(path)
    assert recording.torn and recording.duration >= 900 * MS
    read = list(recording.packets())
    assert_same(read, seen[: len(read)])
    done = recover(path)
    assert_same(list(Recording.open(done.path).packets()), read)


def test_a_disk_that_does_not_keep_up_is_one_fault_and_stalls_nobody(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    os.mkfifo(path)
    stuck = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # takes 64 kB, and then nothing more
    faults: list[Fault] = []

    async def main() -> int:
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(path, HEADER)
        picture = Image(bytes(1 << 20), "jpeg", 1, 1)
        with bus.open(*ALL) as lane:
            task = asyncio.create_task(recorder.run(lane, clock, faults.append))
            for number in range(40):
                bus.publish(IMAGE, number, picture)
                await asyncio.sleep(0.001)
            await task
            assert lane not in bus.lanes, "it reads no more, and cannot overrun"
        return clock.now()

    try:
        assert run(main()) < SECOND
    finally:
        os.close(stuck)
    [fault] = faults
    assert fault.error == "RecordingError" and "32 MiB behind" in fault.message


def test_the_loop_goes_on_while_the_disk_takes_its_time_over_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    os.mkfifo(path)
    disk = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # takes 64 kB, and the rest only when the loop reads it
    got = 0

    async def main() -> None:
        nonlocal got
        clock = Clock()
        bus = Bus(clock)
        recorder = Recorder(path, HEADER)
        with bus.open(*ALL) as lane:
            task = asyncio.create_task(recorder.run(lane, clock, unexpected))
            bus.publish(IMAGE, 0, Image(bytes(1 << 20), "jpeg", 1, 1))
            await asyncio.sleep(0.05)
            bus.close(*ALL)
            while not task.done():
                await asyncio.sleep(0.001)
                try:
                    got += len(os.read(disk, 1 << 20))
                except BlockingIOError:
                    pass
            await task
        while piece := os.read(disk, 1 << 20):
            got += len(piece)

    try:
        run(main())
    finally:
        os.close(disk)
    assert got > 1 << 20


def test_a_folder_that_is_missing_read_only_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "no" / "s.mcap", tmp_path / "file" / "s.mcap", tmp_path):
        with pytest.raises(RecordingError, match="Name a file in a folder that exists") as caught:
            Recorder(path, HEADER)
        assert str(path) in str(caught.value)


def test_a_read_only_folder() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # nothing is read-only to root
        try:
            with pytest.raises(RecordingError, match="Permission denied"):
                Recorder(Path(folder) / "s.mcap", HEADER)
        finally:
            if root:
                os.seteuid(0)


def test_a_header_that_is_no_json_or_has_no_zone(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="zone"):
        Recorder(tmp_path / "s.mcap", Header(started=STARTED.replace(tzinfo=None)))
    with pytest.raises(RecordingError, match="not JSON"):
        Recorder(tmp_path / "s.mcap", Header(started=STARTED, extra={"x": object()}))


def foreign(path: Path, **session: str) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="other 1.0")
        if session:
            writer.add_metadata("visavis.session", session)
        channel = writer.register_channel("/tf", "json", 0)
        writer.add_message(channel, 1, b"{}", 1)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    with pytest.raises(RecordingError, match="No such file"):
        Recording.open(path)
    with pytest.raises(RecordingError, match="Is a directory"):
        Recording.open(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(RecordingError, match="is empty"):
        Recording.open(path)
    path.write_bytes(b"RIFF....WAVEfmt ")
    with pytest.raises(RecordingError, match="not an MCAP file"):
        Recording.open(path)
    with pytest.raises(RecordingError, match=r"not a recording of visavis.*'ros2'.*'other 1.0'"):
        Recording.open(foreign(path))
    with pytest.raises(RecordingError, match=f"of format {FORMAT + 1}.*update visavis"):
        Recording.open(foreign(path, format=str(FORMAT + 1)))
    with pytest.raises(RecordingError, match="no format version"):
        Recording.open(foreign(path, started="now"))
    with pytest.raises(RecordingError, match="session header is damaged"):
        Recording.open(foreign(path, format="1", started="yesterday"))
    with pytest.raises(RecordingTorn, match="before its header"):
        path.write_bytes(b"\x89MCAP0\r\n")
        Recording.open(path)


def test_damage_in_the_middle_is_told_and_not_passed_over(tmp_path: Path) -> None:
    packets = made_up(5)
    path = tmp_path / "s.mcap"
    tape(path, packets)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    recording = Recording.open(path)
    read = []
    with pytest.raises(RecordingError, match="damaged"):
        for packet in recording.packets():
            read.append(packet)
    assert read
    assert_same(read, packets[: len(read)])


def test_every_topic_has_a_wire() -> None:
    assert list(WIRES) == [topic.name for topic in ALL]


def test_a_file_that_is_being_recorded_to_is_not_recorded_to_again(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "talk.mcap", HEADER)
    size = (tmp_path / "talk.mcap").stat().st_size
    with pytest.raises(RecordingError, match="another session"):
        Recorder(tmp_path / "talk.mcap", HEADER)
    assert (tmp_path / "talk.mcap").stat().st_size >= size
    first.close()
    Recorder(tmp_path / "talk.mcap", HEADER).close()
