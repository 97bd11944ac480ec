"""What was heard of everything the agent said, found in the sound of the card by correlation, against its ledger.

Each thing said is synthesised once more by itself and followed through what came out of the speaker, ten milliseconds
at a time; where it pauses, it is looked for again. The card's sound has gone through a browser that resamples, so
that samples are alike and not the same.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, resample_poly

from embodied.voices.espeak import EspeakVoice
from streams.clock import SECOND
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Outcome, Played, PlayStarted, Say

RATE = 16_000
STEP = RATE // 100
PIECE = RATE // 5
PARTS = (1, 2, 4, 8)  # of a piece: where little was rendered between two pauses, only little can be found
SKIPS = tuple(STEP * n for n in (0, 4, 8, 12))  # past a moment that was dropped
GAP = 4  # steps
ALIKE = 0.85
LOUD = 300.0
EDGE = RATE * 8 // 1000  # the fade of a cut is 5 ms; filters smear a little

Floats = NDArray[np.float64]


class Rendered(NamedTuple):
    """One Say at the card, in samples of 16 kHz.

    begin: where it begins in the sound;  surely: this much of it was rendered;  hardly: no more than this was
    pauses: silences in the midst of it
    """

    begin: int
    surely: int
    hardly: int
    pauses: int


def follow(sound: Floats, said: Floats, start: int) -> Rendered | None:
    """Where `said` is in `sound` from `start` on; None where it never began."""
    loud = np.flatnonzero(np.abs(said) > LOUD)
    place, pauses = int(loud[0]), 0
    begin = at = -1
    while place + STEP < len(said):
        since = start if at < 0 else at
        tries = (
            (skip, _find(sound, said[place + skip :][: PIECE // part], since))
            for skip in SKIPS
            for part in (PARTS if begin >= 0 else PARTS[:2])
        )
        skip, found = next(((skip, each) for skip, each in tries if each is not None), (0, None))
        if found is None:
            break
        place += skip
        if begin < 0:
            begin = found - place
        else:
            pauses += 1
        offset = found - place
        before = place
        while place < len(said) and (
            _alike(sound, said, place, offset)
            or any(_there(sound, said, place + gap * STEP, offset) for gap in range(1, GAP))
        ):  # a moment that the card or the browser dropped is no end
            place += STEP
        if place == before:  # alike on the whole, and not in its beginning: chance
            break
        place = min(place, len(said))
        at = offset + place - STEP
        while place + STEP < len(said) and np.abs(said[place : place + STEP]).max() < LOUD:
            place += STEP  # a pause that fell into a silence between words
    if begin < 0:
        return None
    last = place if place + STEP < len(said) else len(said)
    if last == len(said):
        return Rendered(begin, last, last, pauses)
    ended = _last_loud(sound, max(0, at - RATE // 2), at + 3 * STEP) - (at - (place - STEP))
    surely = max(0, ended)
    rest = loud[loud > surely + EDGE]
    return Rendered(begin, surely, int(rest[0]) if len(rest) else len(said), pauses)


def _find(sound: Floats, piece: Floats, start: int) -> int | None:
    """First place at or behind `start` at which `piece` sounds."""
    if np.abs(piece).max(initial=0) < LOUD:
        return None
    window = sound[start : start + 12 * RATE]
    if len(window) < len(piece):
        return None
    power = np.convolve(window**2, np.ones(len(piece)), "valid")
    match = correlate(window, piece, "valid", method="fft") / np.sqrt(np.maximum(power, 1e4) * (piece @ piece))
    good = np.flatnonzero(match > ALIKE)
    if not len(good):
        return None
    near = match[good[0] : good[0] + RATE // 2]  # one period of a vowel is like the next: the best of them
    return start + int(good[0] + np.argmax(near))


def _alike(sound: Floats, said: Floats, place: int, offset: int) -> bool:
    """Whether the ten milliseconds at `place` sound at `offset` as they should."""
    a, b = said[place : place + STEP], sound[offset + place : offset + place + STEP]
    if not len(a) or len(b) < len(a):
        return False
    if np.abs(a).max() < LOUD:
        return bool(np.abs(b).max() < 4 * LOUD)
    return bool(np.linalg.norm(b) > 0.2 * np.linalg.norm(a))  # else it is silent


def _there(sound: Floats, said: Floats, place: int, offset: int) -> bool:
    """As `_alike`, of what is not silence."""
    loud = np.abs(said[place : place + STEP]).max(initial=0) >= LOUD
    return bool(loud) and _alike(sound, said, place, offset)


def _last_loud(sound: Floats, first: int, last: int) -> int:
    """Place after the last sample that is not silence."""
    places = np.flatnonzero(np.abs(sound[first:last]) > 100)
    return first + int(places[-1]) + 1 if len(places) else first


class Checked(NamedTuple):
    """A Say, what was found of it, and what the ledger says. words: (text, end in samples of 16 kHz) of the voice"""

    text: str
    status: str
    rendered: Rendered | None
    words: Sequence[tuple[str, int]]
    told: Sequence[str]

    @property
    def wrong(self) -> str:
        """What does not agree; "" if the ledger is true."""
        heard = [text for text, _ in self.words[: len(self.told)]]
        if heard != list(self.told):
            return f"other words: {self.told}"
        if self.rendered is None:
            return f"told, and not heard: {self.told}" if self.told else ""
        for text, end in self.words[: len(self.told)]:
            if end > self.rendered.hardly + EDGE:
                return f"{text!r} was told, its end at {end} was not rendered: {self.rendered}"
        for text, end in self.words[len(self.told) :]:
            if end <= self.rendered.surely - EDGE:
                return f"{text!r} was rendered up to its end at {end}, and not told: {self.rendered}"
        return ""


def check(recording: Path, heard: NDArray[np.int16]) -> list[Checked]:
    """Every Say of a recording against the sound of the speaker at 16 kHz, which began before it."""
    packets: list[Any] = list(Recording.open(recording).packets((ACTION, FEEDBACK)))
    starts = {packet.data.id: packet.t * RATE // SECOND for packet in packets if isinstance(packet.data, PlayStarted)}
    sound, shift = heard.astype(float), None  # of the sound against session time, from the first that is found
    voice = EspeakVoice()
    ratio = RATE / voice.rate
    found = []
    try:
        for say in (packet.data for packet in packets if isinstance(packet.data, Say)):
            chunks = list(voice.speak(say.text))
            samples = np.concatenate([chunk.samples for chunk in chunks]).astype(float)
            said = resample_poly(samples, 320, 441)
            words = [(mark.text, round(mark.end * ratio)) for chunk in chunks for mark in chunk.marks]
            told = [p.data.text for p in packets if isinstance(p.data, Played) and p.data.id == say.id]
            (outcome,) = (
                p.data for p in packets if isinstance(p.data, Outcome) and (p.data.action, p.data.id) == ("Say", say.id)
            )
            rendered = None
            if (begun := starts.get(say.id)) is not None:
                first = 0 if shift is None else begun + shift - RATE // 2
                later = min((start for start in starts.values() if start > begun), default=None)
                last = len(sound) if shift is None or later is None else later + shift - RATE // 10
                rendered = follow(sound[:last], said, max(0, first))
                if rendered is not None and shift is None:
                    shift = rendered.begin - begun
            found.append(Checked(say.text, outcome.status, rendered, words, told))
    finally:
        voice.close()
    return found
