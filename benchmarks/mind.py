"""The policy of a language model: how soon it is heard, how fast a cut closes the line, and what drafts gain and cost.

    python -m benchmarks.mind [--quick] [--sweep] [--speech FOLDER] [--count 40]

Voice: in real time, with a server of chat completions on this machine's loopback (a thread of this process), espeak-ng
and the simulated speaker. From the token that ends the first clause to its first sample, and where the time goes; then
from the `Hush` or `Withdraw` to the server's having seen the connection close, and what was still read after it.

Drafts: composed sentences in several voices through Silero VAD, Smart Turn and a recogniser on the virtual clock, to a
model that takes 400 ms to its first token; the same with and without drafts. known: sentences of the agent's grammar,
heard by pocketsphinx; open and paused: any sentence, without and with pauses of 150 to 900 ms in it, heard by a
recogniser that reads along and tells a word 60 ms late; read: real recordings that come with the times of their words
(`*.align.json` in FOLDER). --sweep: the same for other lengths of the lull that a draft begins in.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from agent import assembly, config
from agent.session import Log
from benchmarks.machine import machine, percentile
from policies.llm import lull
from policies.llm.speakable import Speakable
from policies.models.scripted import Tokens
from streams.clock import MS, SECOND, Clock
from streams.devices.speaker import SimulatedSpeaker
from streams.ports import Publisher
from streams.topics import ACTION, FEEDBACK, PERCEPT, PLAYBACK, TURN
from streams.types import Ask, Audio, Delta, Hush, PlayStarted, Samples, Say, Withdraw, Words
from tests.mind_scenes import Told, gains, listen, tell
from tests.mind_server import MindServer, Spoken
from tests.mind_talk import KNOWN, OPEN, PAUSED, PAUSES_MS, VOICES, Talk, paused, plain, read_aloud
from tests.minds import typed
from tests.scenes import Percepts, spoken

HEARD_MS, CLOSED_MS, GAIN_MS = 60.0, 50.0, 150.0
FIRST_MS = 400.0
AUDIBLE = 100  # of int16
ANSWERS = (
    "Of course. That is easy to say.",
    "Yes, it is. And there is more to tell.",
    "The next train to the city leaves at half past seven. You have time.",
    "I have put the milk and the two loaves of bread on your list. Anything else?",
    "Well, as far as anybody knows, nobody has ever seen that. So I doubt it.",
)
LONG = "And on it goes, word by word. " * 60
DRAFTED = Tokens("Of course. That is a long answer to a short question, and there is more to it.", first_ms=FIRST_MS)


class Missed(list[str]):
    """The targets that were missed."""

    def see(self, what: str, value: float, target: float, *, most: bool) -> str:
        """`value` beside its target, as a part of a line."""
        good = value <= target if most else value >= target
        if not good:
            self.append(what)
        sign = "<=" if most else ">="
        return f"target {sign} {target:g}: {'met' if good else 'MISSED'} (x{value / target if target else value:.2f})"


class NotingSpeaker(SimulatedSpeaker):
    """Notes when samples were given to it, in ns of session time."""

    def __init__(self, publisher: Publisher, clock: Clock, rate: int, notes: list[int], **kinds: Any) -> None:
        super().__init__(publisher, clock, rate, **kinds)
        self._now, self._notes = clock.now, notes

    def write(self, samples: Samples) -> int:
        """As the speaker does."""
        self._notes.append(self._now())
        return super().write(samples)


class Live(NamedTuple):
    """A session in real time. written: when sound was given to the speaker;  zero: monotonic s of session time 0"""

    log: Log
    written: list[int]
    zero: float


def live(scene: Sequence[Any], url: str, tail_ms: float = 1500) -> Live:
    """Hold a session of percepts with a model on a socket, espeak-ng and the simulated speaker."""
    chosen = ["policy.engine=llm", "vad.engine=webrtc", "turn_end.engine=none", "speech.engine=none"]
    loaded = config.load(None, [*chosen, f'llm.url="{url}"', 'llm.model="m"'])
    log, written, zero = Log(PERCEPT, TURN, ACTION, FEEDBACK, PLAYBACK), list[int](), list[float]()

    def speaker(publisher: Publisher, clock: Clock, rate: int) -> SimulatedSpeaker:
        section = loaded.speaker
        zero.append(time.monotonic() - clock.now() / SECOND)
        return NotingSpeaker(
            publisher, clock, rate, written, block_ms=section.block_ms, latency_blocks=section.latency_blocks
        )

    body = assembly.AgentBody(loaded, installed=False, speaker=speaker)
    body.begin()
    try:
        assembly.assemble(loaded, [Percepts(scene, tail_ms)], taps=[log], senses=False, body=body).run()
    finally:
        body.close()
    return Live(log, written, zero[0])


# --- how soon it is heard


class Stages(NamedTuple):
    """ms from the token that ends the first clause.

    certain: to the token by which it is known that it ends there;  said: to its `Say`;  made: to its first samples at
    the speaker;  begun: to the first of them at its output;  audible: to the first that can be heard
    """

    certain: float
    said: float
    made: float
    begun: float
    audible: float


def stages(held: Live) -> Iterator[Stages]:
    """Those of each turn whose answer was heard."""
    packets = list(held.log.packets)
    playback = [packet.data for packet in packets if isinstance(packet.data, Audio)]
    for ask in [packet.data for packet in packets if isinstance(packet.data, Ask)]:
        said = next((p for p in packets if isinstance(p.data, Say) and p.data.turn == ask.turn), None)
        if said is None:
            continue
        begun = next((p.t for p in packets if isinstance(p.data, PlayStarted) and p.data.id == said.data.id), None)
        if begun is None:
            continue
        text, parser, ended, certain = "", Speakable("en"), None, None
        for delta in [p for p in packets if isinstance(p.data, Delta) and p.data.id == ask.id]:
            text += delta.data.text
            if ended is None and said.data.text in text:
                ended = delta.at
            if certain is None and any(piece.text for piece in parser.push(delta.data.text)):
                certain = delta.at
        if ended is None or certain is None:
            continue
        made = next(t for t in held.written if t >= said.at)
        audible = _audible(playback, begun)
        yield Stages(*((t - ended) / MS for t in (certain, said.at, made, begun, audible)))


def _audible(playback: Iterable[Audio], begun: int) -> int:
    for audio in playback:
        start = audio.start * SECOND // audio.rate
        if start + len(audio.samples) * SECOND // audio.rate <= begun:
            continue
        for place in abs(audio.samples.astype(int)).__gt__(AUDIBLE).nonzero()[0]:
            t: int = start + int(place) * SECOND // audio.rate
            if t >= begun:
                return t
    raise SystemExit("an answer was never heard")


def soon(count: int, missed: Missed) -> None:
    """From the token that ends the first clause to the sound."""
    scene = [typed(500 + 1500 * number, f"question {number}") for number in range(count)]
    answers = {f"question {n}": Spoken(ANSWERS[n % len(ANSWERS)], first_s=0.1, each_s=0.012) for n in range(count)}
    with MindServer(answers) as server:
        found = list(stages(live(scene, server.url)))
    print(f"\nfirst clause complete -> heard, ms (n={len(found)} of {count})     p50     p95     max")

    def row(name: str, values: Sequence[float], told: str = "") -> None:
        figures = "".join(f"{percentile(values, percent):8.1f}" for percent in (50, 95, 100))
        print(f"  {name:44}{figures}  {told}")

    row("until it is certain that it ends (next token)", [each.certain for each in found])
    row("+ reading it, and the step of the policy", [each.said - each.certain for each in found])
    row("+ synthesis, to the speaker", [each.made - each.said for each in found])
    row("+ the speaker's next block", [each.begun - each.made for each in found])
    row("+ until it is audible (silence of the voice)", [each.audible - each.begun for each in found])
    ours = [each.begun - each.certain for each in found]
    row("our share: certain -> first sample", ours, missed.see("heard", percentile(ours, 50), HEARD_MS, most=True))
    row("all: last character -> first sample", [each.begun for each in found])
    row("all, audible", [each.audible for each in found])


# --- how fast a cut closes the line


def closed(count: int, missed: Missed) -> None:
    """From the cut to the server's having seen the connection close."""
    talks = [typed(500 + 700 * number, f"talk {number}") for number in range(count + 1)]
    begin = 500 + 700 * (count + 2)
    drafts = [each for n in range(count // 2) for each in _changed(n + 1, begin + 2600.0 * n)]
    bye = typed(begin + 2600.0 * (count // 2), "good bye")
    answers = {"good bye": Spoken("Bye."), "": Spoken(LONG, first_s=0.03, each_s=0.01)}
    with MindServer(answers) as server:
        held = live([*talks, *drafts, bye], server.url, tail_ms=200)
        served = {str(each.body["messages"]): each for each in server.served}
        time.sleep(0.2)
    packets = list(held.log.packets)
    asks = {p.data.id: p for p in packets if isinstance(p.data, Ask)}
    cuts: dict[str, list[float]] = {"Hush": [], "Withdraw": []}
    after = 0
    for number, ask in asks.items():
        end = next(
            (
                p
                for p in packets
                if p.order > ask.order
                and (
                    (isinstance(p.data, Hush) and p.data.turn >= ask.data.turn)
                    or (isinstance(p.data, Withdraw) and p.data.id == number)
                )
            ),
            None,
        )
        each = served.get(str(ask.data.request["messages"]))
        if end is None or each is None or each.left is None:
            continue
        cuts[type(end.data).__name__].append((each.left - held.zero) * 1000 - end.at / MS)
        after += sum(isinstance(p.data, Delta) and p.data.id == number and p.order > end.order for p in packets)
    print("\ncut -> connection closed, ms                                p50     p95     max")
    for kind, values in cuts.items():
        if values:
            figures = "".join(f"{percentile(values, percent):8.1f}" for percent in (50, 95, 100))
            told = missed.see(f"closed by {kind}", percentile(values, 95), CLOSED_MS, most=True)
            print(f"  {kind + f' (n={len(values)})':44}  {figures}  {told}")
    print(f"  tokens told after the cut: {after}  {missed.see('tokens', after, 0, most=True)}")


def _changed(segment: int, at: float) -> list[Any]:
    """Speech whose last words are others than they seemed: its draft is withdrawn."""
    scene = spoken(segment, at, at + 900, f"tell me more of number {segment}", final_after_ms=420)
    return [
        (published, t, Words(segment, "tell me more", data.words[:3], False) if _partial(data) else data)
        for published, t, data in scene
    ]


def _partial(data: Any) -> bool:
    return isinstance(data, Words) and not data.final


# --- what drafts gain and cost


def talks(folder: Path, voices: int, speech: Path | None) -> dict[str, list[tuple[Talk, bool]]]:
    """The sounds by kind, each with whether the recogniser reads along."""
    made: dict[str, list[tuple[Talk, bool]]] = {"known": [], "open": [], "paused": []}
    for number, voice in enumerate(VOICES[:voices]):
        pauses = PAUSES_MS[number:] + PAUSES_MS[:number]
        if number < 3:
            made["known"].append((plain(folder, KNOWN, f"known{number}", voice), False))
        made["open"].append((plain(folder, OPEN, f"open{number}", voice), True))
        made["paused"].append((paused(folder, PAUSED, f"paused{number}", voice, pauses), True))
    if speech is not None and any(speech.glob("*.align.json")):
        made["read"] = [(read_aloud(folder, speech, "read"), True)]
    return made


def told_of(sounds: Iterable[tuple[Talk, bool]], *settings: str) -> list[Told]:
    """What came of each session."""
    return [
        tell(listen(talk.sound, lambda ask: DRAFTED, *settings, reads=reads), talk.ends_ns) for talk, reads in sounds
    ]


def preempted(folder: Path, voices: int, speech: Path | None, sweep: bool, missed: Missed) -> None:
    """What drafts gain, and what they cost."""
    sounds = talks(folder, voices, speech)
    without = {kind: told_of(each, "llm.drafts.enabled=false") for kind, each in sounds.items()}
    print(
        f"\ndrafts, at {FIRST_MS:g} ms to the first token; offset: true end of the words -> first sample, ms (median)"
    )
    print("  lull   talk     turns  offset without  with   gain p50   p10   min  drafts/turn  taken  tokens out, in")
    usual = lull.QUIET_HOPS
    others: list[str] = []
    for hops in dict.fromkeys((usual, *((1, 2, 3, 4, 5, 1000) if sweep else ()))):
        lull.QUIET_HOPS = hops
        every: list[float] = []
        for kind, each in sounds.items():
            with_ = told_of(each)
            gained = sorted(gain for old, new in zip(without[kind], with_, strict=True) for gain in gains(old, new))
            every += gained
            _row("none" if hops == 1000 else f"{hops * 32} ms", kind, without[kind], with_, gained or [0.0])
            others += [other for told in (*with_, *without[kind]) for other in told.others]
        if hops == usual:
            told = missed.see("gain of drafts", median(every), GAIN_MS, most=False)
            print(f"  all: gain p50 {median(every):.0f} ms (n={len(every)})  {told}")
    lull.QUIET_HOPS = usual
    print(f"  answers to words other than those committed: {len(others)}", end="  ")
    print(missed.see("other words", len(others), 0, most=True), *others, sep="\n    ")


def _row(hops: str, kind: str, without: Sequence[Told], with_: Sequence[Told], gained: Sequence[float]) -> None:
    turns = sum(told.turns for told in with_)
    old, new = (median(offset for told in both for offset in told.true_ms) for both in (without, with_))
    drafts, taken = (sum(getattr(told, what) for told in with_) / turns for what in ("drafts", "taken"))
    inputs = sum(told.tokens_in for told in with_) / sum(told.tokens_in for told in without)
    wasted = sum(told.wasted for told in with_) / turns
    print(
        f"  {hops:6} {kind:7} {turns:6} {old:15.0f} {new:5.0f} {median(gained):10.0f} {percentile(gained, 10):5.0f}"
        f" {gained[0]:5.0f} {drafts:12.2f} {taken:6.2f}  +{wasted:.1f} a turn, x{inputs:.2f}"
    )


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer of everything: a minute")
    parser.add_argument("--sweep", action="store_true", help="other lengths of the lull too")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="of recordings with *.align.json beside them")
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    print(machine("httpx2", "onnxruntime", "pocketsphinx"))
    missed = Missed()
    count = min(10, options.count) if options.quick else options.count
    soon(count, missed)
    closed(count, missed)
    with tempfile.TemporaryDirectory() as folder:
        preempted(Path(folder), 2 if options.quick else len(VOICES), options.speech, options.sweep, missed)
    print(f"\nmissed: {', '.join(missed) or 'nothing'};  {machine()}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
