"""Recordings with a wrong byte in them: refused in one line, and mended but for the chunk that has it."""

import random
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from agent import cli
from streams.clock import SECOND
from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import Recording, recover
from streams.topics import AUDIO
from streams.types import Audio
from tests.sessions import assert_same, made_up, same, tape
from tests.test_recording_torn import message_ends

HEAD = 9 + 40  # of a chunk, ahead of its content


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[Path, bytes, list[int]]:
    """Where to write a damaged file, the bytes of a whole one of four chunks or more, and where each chunk ends."""
    path = tmp_path / "s.mcap"
    tape(path, made_up(6))
    data = path.read_bytes()
    chunks = message_ends(data)[2]
    assert len(chunks) > 3
    return path, data, chunks


def flip(path: Path, data: bytes, *places: int) -> None:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0xFF
    path.write_bytes(changed)


@pytest.mark.parametrize("number", [0, 1, -1])
def test_every_other_chunk_is_kept(damaged: tuple[Path, bytes, list[int]], number: int) -> None:
    path, data, chunks = damaged
    packets = made_up(6)
    flip(path, data, chunks[number] - 5000)
    with pytest.raises(RecordingError, match=r"damaged .*visavis recover .*s\.mcap"):
        list(Recording.open(path).packets())
    done = recover(path)
    [loss] = done.losses
    assert loss.begin < chunks[number] - 5000 < loss.begin + loss.size < loss.begin + 80_000
    whole = Recording.open(done.path)
    assert not whole.torn and whole.header.extra["lost"][0]["begin"] == loss.begin
    read = {packet.order: packet for packet in whole.packets()}
    lost = [packet for packet in packets if packet.order not in read]
    assert len(read) == done.packets and lost
    assert all(loss.after_ns <= packet.at and (loss.until_ns or packet.at) >= packet.at for packet in lost)
    assert lost == packets[packets.index(lost[0]) :][: len(lost)], "one stretch"
    assert loss.packets is not None and loss.packets >= len(lost)
    for packet in packets:
        if packet.order in read and packet.order < lost[0].order:
            assert same(read[packet.order], packet)
    with done.path.open("rb") as file:
        assert sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages()) >= done.packets


def test_sound_stands_where_its_time_says(tmp_path: Path) -> None:
    """An even microphone: after a loss its sample clock is that of the session, to the sample."""
    packets = _even(6)
    path = tmp_path / "s.mcap"
    tape(path, packets)
    data = path.read_bytes()
    flip(path, data, message_ends(data)[2][1] - 5000)
    read = list(Recording.open(recover(path).path).packets())
    by_order = {packet.order: packet for packet in packets}
    assert len(read) < len(packets)
    assert_same(read, [by_order[packet.order] for packet in read])


def _even(seconds: int) -> list[Packet[Any]]:
    packets: list[Packet[Any]] = []
    for packet in made_up(seconds):
        if packet.topic is AUDIO:
            n = len(packets)
            samples = packet.data.samples.repeat(320)[:320]
            t = (n + 1) * SECOND // 50
            packets.append(Packet(AUDIO, t, t, n, n, Audio(samples, 16000, n * 320)))
    return packets


def test_wrong_anywhere_and_in_several_places(damaged: tuple[Path, bytes, list[int]]) -> None:
    """Lengths and checksums too: no file is read as if it were whole, and most of it is always there."""
    path, data, chunks = damaged
    packets = {packet.order: packet for packet in made_up(6)}
    rng = random.Random(3)
    first = message_ends(data)[0] - HEAD
    places = [(first + step,) for step in range(0, HEAD)]
    places += [tuple(rng.randrange(first, chunks[-1]) for _ in range(count)) for count in (1, 1, 1, 1, 2, 2, 3)]
    places += [(chunks[1] + step,) for step in range(0, 12)]  # in the index behind a chunk
    for wrong in places:
        flip(path, data, *wrong)
        done = recover(path)
        recording = Recording.open(done.path)
        assert not recording.torn
        read = list(recording.packets())
        assert done.packets == len(read) >= len(packets) * (len(chunks) - 1 - len(wrong)) / (len(chunks) + 1)
        assert all(packets[packet.order].at == packet.at for packet in read)
        if len(read) < len(packets):
            assert done.losses or done.torn, wrong
            with pytest.raises(RecordingError, match="recover"):
                list(Recording.open(path).packets())


def test_the_command_tells_what_is_lost(
    damaged: tuple[Path, bytes, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, data, chunks = damaged
    flip(path, data, chunks[1] - 5000)
    for command in ("events", "replay"):
        assert cli.main([command, str(path)]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"visavis recover {path}" in told or "configuration cannot be read" in told
    assert cli.main(["recover", str(path)]) == 0
    told = capsys.readouterr().out
    assert "damaged: " in told and "packets, between " in told and "wrote " in told
    assert cli.main(["events", str(path.with_suffix(".recovered.mcap"))]) == 0
