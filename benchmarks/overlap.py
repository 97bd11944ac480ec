"""Who speaks over the agent and what becomes of it, on scripted scenes in virtual time with all real parts.

    python -m benchmarks.overlap [RECORDINGS] [--held-out | --third] [--count 40] [--keep FOLDER] [--list]
                                           [--only NAME] [--set KEY=VALUE …]

RECORDINGS is a folder of speech. Detector, recogniser, turn model, turn-taker, policy, voice and simulated speaker are
those of `visavis run`; the scenes (`overlap_scenes.py`) do not hear the agent. What the agent did is read from what its
speaker played. --keep keeps the percepts of each scene: they do not depend on the policy, so that another run with
the same folder measures another policy in seconds. --list prints every event that went wrong.

Columns: events; share that went right (an interruption: the agent was cut; else: it went on); ms from the onset of the
sound to the silence of the agent that an interruption ended in; ms from pause to decision; ms of silence that what
was no interruption cost (those that paused, and their share); for interruptions what became of the sentence.
"""

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agent import assembly, config
from agent.session import Log
from benchmarks.overlap_scenes import ASK, Cast, Event, Scene, scenes
from embodied.voices.espeak import EspeakVoice
from streams.clock import MS, SECOND, Clock
from streams.devices.files import ArraySource
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import ACTION, FEEDBACK, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import (
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Percept,
    Say,
    TurnCommitted,
    TurnDropped,
    Voice,
)

STORY = " ".join(
    f"The {which} traveller came to the village in {season}, and told a tale about {what} that nobody has forgotten."
    for which, season, what in (
        ("first", "spring", "a river"), ("second", "summer", "two brothers"), ("third", "autumn", "an old clock"),
        ("fourth", "winter", "the sea"), ("fifth", "march", "a lost letter"), ("sixth", "june", "a white horse"),
        ("seventh", "october", "the long road"), ("eighth", "december", "a lamp"), ("last", "april", "himself"),
    )
)  # fmt: skip
INTENT = '[intents.help]\nsentences = ["{}"]\nreply = "{}"\n'
WINDOW_S = 2.5  # after an event, in which what follows is counted as its doing
TOPICS = (VOICE, PERCEPT, TURN, ACTION, FEEDBACK, PLAYBACK)
Kept = tuple[int, int, Voice | Percept]


class Again:
    """A source of percepts that were kept: (time of publication, `t`, payload)."""

    name = "percepts"
    writes: tuple[Topic[Any], ...] = (VOICE, PERCEPT)

    def __init__(self, kept: Sequence[Kept], seconds: float) -> None:
        self._kept, self._end = kept, round(seconds * SECOND)

    async def __aenter__(self) -> "Again":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish them at their times."""
        for at, t, data in self._kept:
            await clock.sleep_until(at)
            topic: Topic[Any] = VOICE if isinstance(data, Voice) else PERCEPT
            bus.publish(topic, t, data)
        await clock.sleep_until(self._end)


class Told(NamedTuple):
    """What became of one event. right: see the module;  void: the agent was not speaking at its onset
    silence_ms: onset to the silence that lasted;  decided_ms: of each pause, until it was decided;  stall_ms: in all
    reasons: of what was decided;  sentence: "answered", "misheard", "not understood" or "lost"
    """

    event: Event
    snr_db: float
    right: bool
    void: bool
    silence_ms: float | None
    decided_ms: tuple[float, ...]
    stall_ms: float
    reasons: tuple[str, ...]
    sentence: str
    heard: str
    evidence: tuple[dict[str, float | str], ...]


def hold(scene: Scene, settings: config.Config, kept: Path | None) -> Log:
    """One session, on the sound or on the percepts that were kept of it."""
    log, seconds = Log(*TOPICS), len(scene.sound) / 16_000
    started = datetime(2026, 1, 1, tzinfo=UTC)
    if kept is not None and kept.exists():
        percepts = msgspec.msgpack.decode(kept.read_bytes(), type=list[Kept])
        assembly.assemble(settings, [Again(percepts, seconds)], taps=[log], senses=False, started=started).run(
            speed=None
        )
        return log
    source = ArraySource(scene.sound, tail_ms=0)
    assembly.assemble(settings, [source], taps=[log], started=started).run(speed=None)
    if kept is not None:
        senses = [(p.at, p.t, p.data) for p in log.packets if p.topic in (VOICE, PERCEPT)]
        kept.write_bytes(msgspec.msgpack.encode(senses))
    return log


def judge(scene: Scene, log: Log) -> list[Told]:
    """What became of each event of a scene."""
    told = []
    for n, event in enumerate(scene.events):
        after = scene.events[n + 1].start if n + 1 < len(scene.events) else 1e9
        told.append(_judge(event, scene.snr_db, list(log.packets), min(event.end + WINDOW_S, after)))
    return told


def _judge(event: Event, snr_db: float, packets: list[Packet[Any]], until: float) -> Told:
    begin = round(event.start * SECOND)
    inside = [p for p in packets if begin <= p.at < until * SECOND]
    played = [p.t for p in packets if p.topic is PLAYBACK]
    if event.long:  # an answer must have been there to be stopped
        void = sum(begin <= t < until * SECOND for t in played) < 150
    else:
        void = not any(begin - 150 * MS <= t <= begin + 100 * MS for t in played)
    over = [p for p in inside if isinstance(p.data, OverlapPaused | OverlapResumed | OverlapCut)]
    decided, stall, silence, pause = [], 0.0, None, None
    reasons: list[str] = []
    evidence: list[dict[str, float | str]] = []
    for packet in over:
        if isinstance(packet.data, OverlapPaused):
            pause = packet.at
            continue
        reasons.append(packet.data.reason)
        evidence.append(packet.data.evidence)
        if pause is not None:
            decided.append((packet.at - pause) / MS)
        if isinstance(packet.data, OverlapCut):
            silence = ((packet.at if pause is None else pause) - begin) / MS
            break
        if pause is not None:
            stall += (packet.at - pause) / MS
        pause = None
    cut = silence is not None
    heard = [p.data for p in inside if isinstance(p.data, TurnCommitted | TurnDropped) and cut]
    text = heard[-1].text if heard else ""
    if not heard or isinstance(heard[-1], TurnDropped):
        sentence = "lost"
    elif not text:
        sentence = "not understood"
    else:
        sentence = "answered" if text == event.text else "misheard"
    right = cut if event.kind == "interruption" else not cut
    return Told(
        event,
        snr_db,
        right,
        void,
        silence,
        tuple(decided),
        stall,
        tuple(reasons),
        sentence if cut else "",
        text,
        tuple(evidence),
    )


class Wholeness:
    """Counts samples of the agent's voice that were lost or heard twice, against the voice alone."""

    def __init__(self) -> None:
        self._voice = EspeakVoice()
        self._takes: dict[str, Any] = {}
        self.wrong = self.checked = 0

    def check(self, log: Log) -> None:
        """Follow everything that was said through what was played."""
        blocks = [p.data.samples for p in log.packets if p.topic is PLAYBACK]
        sound = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
        sound, at = sound[sound != 0], 0
        ends = {o.id: o.status for o in log.of(Outcome) if o.action == "Say"}
        for say in log.of(Say):
            if say.text not in self._takes:
                take = np.concatenate([chunk.samples for chunk in self._voice.speak(say.text)])
                self._takes[say.text] = take[take != 0]
            take, rest = self._takes[say.text], sound[at:]
            count = min(len(take), len(rest))
            same = take[:count] == rest[:count]
            run = count if same.all() else int(np.argmin(same))
            if ends.get(say.id) == "done":
                self.wrong += len(take) - run
                at += len(take)
            self.checked += run
            if ends.get(say.id) != "done":
                break  # what follows begins after a fade: tests/test_end_to_end_barge_in.py looks at that

    def close(self) -> None:
        """End the voice."""
        self._voice.close()


# --- the report


def report(told: list[Told], minutes: float, listing: bool) -> None:
    """Print the table, and with `listing` what went wrong."""
    print(f"{'':28}   n  void  right   silence p50/p95/max   decided p50/p95/max   paused   stall p50/p95/max")
    for kind in ("interruption", "backchannel", "aside", "noise"):
        mine = [each for each in told if each.event.kind == kind]
        _line(kind, mine)
        for what in sorted({each.event.what for each in mine}):
            _line(f"  {what}", [each for each in mine if each.event.what == what])
    cuts = [each for each in told if each.event.kind == "interruption" and each.sentence]
    for what in ("sentence", "real", "other", "short"):
        counts: dict[str, int] = {}
        for each in cuts:
            if each.event.what == what:
                counts[each.sentence] = counts.get(each.sentence, 0) + 1
        print(f"  sentences of kind {what}: {counts}")
    slow = [each for each in told if each.event.kind == "interruption" and each.right and not each.void]
    fast = sum((each.silence_ms or 0) <= 500 for each in slow)
    print(f"  interruptions silenced within 500 ms: {fast} of {len(slow)}")
    pauses = sum(len(each.decided_ms) for each in told if each.event.kind == "noise")
    print(f"  false pauses by noise: {pauses} in {minutes:.1f} minutes of noise scenes")
    for each in told if listing else ():
        event = each.event
        if (not each.right or each.stall_ms > 800) and not each.void:
            print(
                f"  {'WRONG' if not each.right else 'stall'} {event.kind} {event.what} {event.end - event.start:.1f} s"
                f" at {event.start:.2f} {event.level_db:+.0f} dB, SNR {each.snr_db:.0f}: {each.reasons}"
                f" {[round(ms) for ms in each.decided_ms]} {each.heard!r} {each.evidence}"
            )


def _line(name: str, told: list[Told]) -> None:
    real = [each for each in told if not each.void]
    right = sum(each.right for each in real)
    silence = [each.silence_ms for each in real if each.silence_ms is not None]
    decided = [ms for each in real for ms in each.decided_ms]
    stalls = [each.stall_ms for each in real if each.stall_ms]
    share = f"{100 * right / len(real):4.0f} %" if real else "   -  "
    print(
        f"{name:28} {len(real):3} {len(told) - len(real):4}  {share}   {_spread(silence):>19}   {_spread(decided):>19}"
        f"   {len(stalls):4}     {_spread(stalls):>17}"
    )


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return "/".join(f"{value:.0f}" for value in (*np.percentile(values, [50, 95]), max(values)))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--held-out", dest="cast", action="store_const", const=1, default=0)
    parser.add_argument("--third", dest="cast", action="store_const", const=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", default="", help="scenes whose name begins so")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    told: list[Told] = []
    whole, minutes = Wholeness(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, "story.toml")
        own.write_text(INTENT.format(ASK, STORY))
        settings = config.load(assignments=[f"policy.sentences=['{own}']", *options.set])
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
        for scene in scenes(Cast(options.cast, options.recordings), options.count):
            if not scene.name.startswith(options.only):
                continue
            kept = options.keep / f"{options.cast} {scene.name}.percepts" if options.keep else None
            log = hold(scene, settings, kept)
            told += judge(scene, log)
            whole.check(log)
            minutes += len(scene.sound) / 16_000 / 60 if scene.name.startswith("noise") else 0
    whole.close()
    report(told, minutes, options.list)
    print(f"  samples of the agent's voice lost or repeated: {whole.wrong} of {whole.checked}")


if __name__ == "__main__":
    main()
