"""What was heard of the agent is what is in its sound file, to the word; nothing of what was cut is in it.

Looked for in the samples: each thing the agent says is synthesised once more by itself and followed through the file.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embodied.voices.espeak import EspeakVoice
from policies.scene import Scene
from streams.clock import SECOND
from streams.types import Hush, Outcome, OverlapResumed, Pause, Played, Resume, Say
from tests.composed import Said
from tests.dialogues import Held, hold, parts

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

QUICK = ["turn_end.engine=none"]  # the turn model has no part in this, and costs the most
BLOCK = 0.020
FADE = 0.005


class Spoken:
    """One Say in the sound file. exact: its samples that are there as they were made;  faded: those after, on the way
    to silence;  place: in the file, of the sample after the last;  words: (text, end) of each word of the take
    """

    def __init__(self, say: Say, samples: NDArray[np.int16], words: list[tuple[str, int]]) -> None:
        self.say, self.samples, self.words = say, samples, words
        self.exact = self.faded = self.first = self.place = 0

    def surely(self) -> list[str]:
        """Words whose every sample is in the file."""
        return [text for text, end in self.words if end <= self.exact]

    def hardly(self) -> list[str]:
        """Words that may be said to be: the last may end within the fade."""
        return [text for text, end in self.words if end <= self.exact + self.faded]


def follow(held: Held) -> list[Spoken]:
    """Every Say of a dialogue, followed through the sound file by its samples. Silence is passed over."""
    voice = EspeakVoice()
    sound, fade = held.sound, round(FADE * held.rate)
    places = np.flatnonzero(sound)
    loud, at = sound[places], 0
    result = []
    for say in held.of(Say):
        chunks = list(voice.speak(say.text))
        samples = np.concatenate([chunk.samples for chunk in chunks])
        spoken = Spoken(say, samples, [(mark.text, mark.end) for chunk in chunks for mark in chunk.marks])
        result.append(spoken)
        there = np.flatnonzero(samples)
        rest = loud[at:]
        count = min(len(there), len(rest))
        same = rest[:count] == samples[there[:count]]
        run = count if same.all() else int(np.argmin(same))
        if run < min(100, len(there)):  # never began (or chance): the next one is looked for at the same place
            continue
        spoken.first = int(places[at])
        at += run
        spoken.exact = int(there[run]) if run < len(there) else len(samples)
        if run < len(there):  # cut: what follows within the length of a fade is its end on the way to silence
            end = places[at - 1] + 1
            tail = int(np.count_nonzero(places[at:] < end + fade))
            spoken.faded, at = fade, at + tail
        spoken.place = int(places[at - 1]) + 1
    voice.close()
    assert at == len(loud), f"{len(loud) - at} samples in the file are nobody's, from {places[at] / held.rate:.3f} s on"
    return result


def check_words(held: Held) -> list[Spoken]:
    """Log, context and sound agree on what was heard of everything that was said."""
    followed = follow(held)
    scene = Scene()
    for packet in held.packets:
        scene.observe(packet)
    dialogue = scene.snapshot().dialogue().splitlines()
    context = [line for line in dialogue if line.startswith("agent:")]
    heard_of: dict[int, list[str]] = {}
    for spoken in followed:
        told = [word.text for word in held.of(Played) if word.id == spoken.say.id]
        assert told in (spoken.surely(), spoken.hardly()), spoken.say
        heard_of.setdefault(spoken.say.turn, []).extend(told)
        (outcome,) = (o for o in held.of(Outcome) if o.action == "Say" and o.id == spoken.say.id)
        if outcome.status == "done":
            assert len(told) == len(spoken.words) and outcome.result == spoken.say.text
        else:
            assert outcome.status in ("cut", "fenced")
            assert [word.strip(",.:") for word in outcome.result.split()] == told
            assert len(told) < len(spoken.words)
    lines = [
        line.removeprefix("agent: ").split(" — (")[0].removesuffix("— (cut off before it was heard)").strip()
        for line in context
    ]
    assert [line.split() for line in lines] == list(heard_of.values())
    return followed


def check_silence(held: Held, followed: list[Spoken]) -> None:
    """From a pause or cut on, at most the block that sounds and the fade are still heard."""
    rate, slack = held.rate, round((BLOCK + FADE) * held.rate) + 1
    by_turn = {spoken.say.turn: spoken for spoken in followed}
    pending: float | None = None
    for packet in held.at(Pause, Hush, Resume, Say):
        place = packet.at * rate / SECOND
        if isinstance(packet.data, Pause | Hush):
            pending = place if pending is None else pending
            if isinstance(packet.data, Hush) and packet.data.turn in by_turn:
                assert by_turn[packet.data.turn].place <= place + slack
        elif pending is not None:
            assert not held.sound[round(pending) + slack : round(place)].any()
            pending = None
    if pending is not None:
        assert not held.sound[round(pending) + slack :].any()


@pytest.mark.parametrize("seed", range(6))
def test_at_any_interruption_log_context_and_sound_tell_the_same_words(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines, at = [], 0.5
    for _ in range(6):
        lines.append(Said(round(at, 4), "what can you do"))
        at += 1.2 + rng.uniform(0.15, 1.0 if rng.random() < 0.4 else 9.0)
    held = hold(tmp_path, lines, settings=QUICK)
    followed = check_words(held)
    check_silence(held, followed)
    assert len([outcome for outcome in held.of(Outcome) if outcome.status in ("cut", "fenced")]) >= 3


def test_a_pause_is_a_gap_of_silence_in_which_no_sample_is_lost(tmp_path: Path) -> None:
    lines = [Said(0.5, "what can you do"), *(Said(3.7 + 2.51 * n, "uh huh") for n in range(3))]
    held = hold(tmp_path, lines, settings=QUICK)
    (spoken,) = check_words(held)
    assert len(held.of(OverlapResumed)) == 3
    assert spoken.exact == len(spoken.samples), "every sample, once, in order"
    check_silence(held, [spoken])
    quiet = 0
    for pause, resume in zip(held.at(Pause), held.at(Resume), strict=True):
        first, last = (round(packet.at * held.rate / SECOND) for packet in (pause, resume))
        gap = held.sound[first + round(BLOCK * held.rate) + 1 : last]
        assert not gap.any()
        quiet += len(gap)
    length = spoken.place - spoken.first
    extra = length - np.flatnonzero(spoken.samples)[-1] + np.flatnonzero(spoken.samples)[0] - 1
    assert quiet <= extra <= quiet + 3 * 2 * round(BLOCK * held.rate) + 3


def test_with_a_speaker_that_is_late_too(tmp_path: Path) -> None:
    """What the device has taken cannot be taken back: it is heard, and told."""
    lines = [Said(0.5, "what can you do"), Said(4.013, "what can you do"), Said(6.6, "uh huh"), Said(9.1, "help")]
    held = hold(tmp_path, lines, settings=[*QUICK, "speaker.latency_blocks=4"])
    check_words(held)


def test_in_real_time_too(tmp_path: Path) -> None:
    lines = [Said(0.3, "what can you do"), Said(3.1, "thank you")]
    held = hold(tmp_path, lines, "--speed", "1", settings=[*QUICK, "audio.tail_ms=500"])
    first, _ = check_words(held)
    assert 0 < len(first.surely()) < len(first.words)
