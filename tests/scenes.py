"""Small helpers to compose scenes: sources of ready-made percepts on the session clock."""

from collections.abc import Sequence
from typing import Any

from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, VOICE, Topic
from streams.types import Percept, SpeechEnded, SpeechStarted, TurnEnd, Voice, Word, Words

ONSET_MS = 80
OFFSET_MS = 200


class Percepts:
    """A source that publishes percepts `(at_ms, t_ms, payload)` at their instants, then ends after `tail_ms`."""

    name = "percepts"
    writes: tuple[Topic[Any], ...] = (VOICE, PERCEPT)

    def __init__(self, scene: Sequence[tuple[float, float, Percept | Voice]], tail_ms: float = 2000) -> None:
        self.scene = sorted(scene, key=lambda item: item[0])
        self.tail_ms = tail_ms

    async def __aenter__(self) -> "Percepts":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        for at_ms, t_ms, payload in self.scene:
            await clock.sleep_until(round(at_ms * MS))
            bus.publish(VOICE if isinstance(payload, Voice) else PERCEPT, round(t_ms * MS), payload)
        await clock.sleep_until(clock.now() + round(self.tail_ms * MS))


def spoken(
    segment: int,
    start_ms: float,
    end_ms: float,
    text: str,
    *,
    complete: bool = True,
    confidence: float = 1.0,
    guess: str = "",
    p_end: float | None = 0.9,
    partials: bool = True,
    final_after_ms: float = 220,
) -> list[tuple[float, float, Percept]]:
    """One stretch of speech as the encoders would report it."""
    words = text.split()
    step = (end_ms - start_ms) / max(1, len(words))
    spans = tuple(
        Word(word, round((start_ms + i * step) * MS), round((start_ms + (i + 1) * step) * MS))
        for i, word in enumerate(words)
    )
    scene: list[tuple[float, float, Percept]] = [
        (start_ms + ONSET_MS, start_ms, SpeechStarted(segment, round((start_ms + ONSET_MS) * MS))),
        (end_ms + OFFSET_MS, end_ms, SpeechEnded(segment, round((end_ms + OFFSET_MS) * MS))),
    ]
    if partials:
        for i in range(1, len(words) + 1):
            at = start_ms + i * step + 100
            part = Words(segment, " ".join(words[:i]), spans[:i], final=False, complete=complete and i == len(words))
            scene.append((at, at, part))
    final = Words(segment, text, spans, True, confidence, complete, guess)
    scene.append((end_ms + final_after_ms, end_ms, final))
    if p_end is not None:
        scene.append((end_ms + 290, end_ms + 190, TurnEnd(segment, p_end, 190 * MS, "scene")))
    return scene


def voiced(start_ms: float, end_ms: float, level_db: float) -> list[tuple[float, float, Voice]]:
    """The hops of a voice of that loudness."""
    hops = range(round((end_ms - start_ms) / 32))
    ends = [start_ms + 32 * (hop + 1) for hop in hops]
    return [(end, end, Voice(0.95, True, level_db)) for end in ends]
