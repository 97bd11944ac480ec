"""Made-up sessions for the tests of recordings: every payload type, losses, late stamps, and sound at a real rate."""

import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import Header, Recorder, Recording
from streams.recording.writer import Tape
from streams.topics import ACTION, AUDIO, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import (
    Audio,
    Call,
    Command,
    Fault,
    Halt,
    Hush,
    Image,
    Outcome,
    OverlapCut,
    Played,
    PlayStarted,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnEnd,
    TurnOpened,
    TurnWaiting,
    Voice,
    Word,
    Words,
)

STARTED = datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
HEADER = Header(
    started=STARTED,
    config='[turns]\nmax_wait_ms = 900\nname = "Zoë"\n',
    overrides={"turns.max_wait_ms": 900, "voice.name": "en"},
    models={"silero": "ab" * 32},
    versions={"visavis": "0.1.0"},
    python="CPython 3.11.7",
    machine={"cores": 2},
    extra={"sources": ["person.wav"]},
)

_WORDS = (Word("café", 10, 20, 0.1), Word("stop", 30, 2**53 + 1))
_EVENTS: list[tuple[Topic[Any], Any]] = [
    (PERCEPT, SpeechStarted(1, 5)),
    (PERCEPT, Words(1, "café stop", _WORDS, False, 0.1 + 0.2, guess="x")),
    (PERCEPT, TurnEnd(1, 1 / 3, 200_000_000, "smart-turn")),
    (PERCEPT, SpeechEnded(1, 7)),
    (TURN, TurnOpened(1, 3)),
    (TURN, TurnWaiting(1, 0.7, 3, 4, {"silence": 0.25, "model": "smart-turn"})),
    (TURN, TurnCommitted(1, "café stop", _WORDS, 1.0, 0, 9, "silence", evidence={"p": 1e-300})),
    (TURN, TurnDropped(2, "no_words")),
    (TURN, OverlapCut(1, 2, "stop")),
    (ACTION, Say('He said "hi"\n\u2028 \U0001f600', 1, 1)),
    (ACTION, Call("timer", {"s": 5, "x": [1.5, None, True, {"a": "b"}]}, "cancel", 1, 2)),
    (ACTION, Command("move", {"distance_m": -1.0}, turn=1, id=3)),
    (ACTION, Hush(1, "interruption")),
    (ACTION, Halt("stop")),
    (FEEDBACK, PlayStarted(1, 1)),
    (FEEDBACK, Played(1, 1, 0, "He", 1, 2, "estimated")),
    (FEEDBACK, Outcome(1, 2, "Call", "timer", "done", result={"left": 5, "list": [1, 2.5]})),
    (FEEDBACK, Fault("voice", "VoiceError", "it died")),
]


def made_up(seconds: float, seed: int = 0) -> list[Packet[Any]]:
    """A session of `seconds`: 50 blocks/s each way, 31 hops, 5 pictures, a few events; some are lost."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed).integers(-32768, 32768, 48000, dtype=np.int16)
    packets: list[Packet[Any]] = []
    seqs: dict[str, int] = {}

    def add(topic: Topic[Any], t: int, at: int, data: Any, lost: int = 0) -> None:
        seq = seqs.get(topic.name, 0) + lost
        seqs[topic.name] = seq + 1
        order = packets[-1].order + 1 + lost if packets else lost
        packets.append(Packet(topic, t, at, seq, order, data))

    start = {"audio": 0, "playback": 17}
    hop = 0
    for block in range(int(seconds * 50)):
        at = (block + 1) * 20_000_000 + rng.randrange(5_000_000)
        if rng.random() < 0.02:
            start["audio"] += 320  # the microphone lost a block: the sample clock goes on
        count = rng.choice((320, 320, 160, 1))
        begin = rng.randrange(40000)
        samples = noise[begin : begin + count]
        add(AUDIO, at - rng.randrange(-1000, 10_000_000), at, Audio(samples, 16000, start["audio"]))
        start["audio"] += count
        add(PLAYBACK, at, at, Audio(noise[begin : begin + 441], 22050, start["playback"]))
        start["playback"] += 441
        while hop * 32 < block * 20:
            add(VOICE, hop * 32_000_000 - 1, at, Voice(rng.random(), rng.random() < 0.5))
            hop += 1
        if block % 10 == 0:
            picture = Image(rng.randbytes(2000), rng.choice(("jpeg", "png")), 640, rng.choice((480, 480, 360)))
            add(IMAGE, at, at, picture, lost=rng.choice((0, 0, 2)))
            topic, event = rng.choice(_EVENTS)
            add(topic, at, at, event)
    if len(packets) > 400:
        for topic, event in _EVENTS:
            add(topic, at, at, event)
    return packets


def tape(path: Path, packets: list[Packet[Any]], *, finish: bool = True, header: Header = HEADER) -> None:
    """Write `packets` to `path` as the recorder would; without `finish`, as `kill -9` would leave it."""
    with path.open("wb", buffering=0) as raw:
        out = Tape(_Whole(raw), header)
        for packet in packets:
            out.write(packet)
        if finish:
            out.finish()


class _Whole:
    """A raw file as a Tape's output (the mcap writer would put a buffer before a bare one)."""

    def __init__(self, raw: Any) -> None:
        self.write, self.tell, self.flush = raw.write, raw.tell, raw.flush


def same(one: Packet[Any], other: Packet[Any]) -> bool:
    """Whether two packets are identical, down to dtype and type."""
    facts = [(p.topic, p.t, p.at, p.seq, p.order, type(p.data)) for p in (one, other)]
    if facts[0] != facts[1]:
        return False
    a, b = one.data, other.data
    if isinstance(a, Audio):
        return bool(a.rate == b.rate and a.start == b.start and np.array_equal(a.samples, b.samples)) and (
            a.samples.dtype == b.samples.dtype
        )
    if isinstance(a, Image):
        return bool((a.data, a.format, a.width, a.height) == (b.data, b.format, b.width, b.height))
    return bool(a == b) and repr(a) == repr(b)


def assert_same(read: list[Packet[Any]], written: list[Packet[Any]]) -> None:
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert same(one, other), f"\n{one}\n{other}"


__all__ = ["HEADER", "STARTED", "Recorder", "Recording", "assert_same", "made_up", "same", "tape"]


def recorded(recording: Path) -> int:
    """How much (ns) is in a file that is being recorded; at first it may not be there, or lack its header."""
    try:
        return Recording.open(recording).duration
    except (FileNotFoundError, RecordingError):
        return 0
