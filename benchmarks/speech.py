"""Grammar speech recognition: sentences right, speech outside the grammar rejected, delay of a stop word, and cost.

    python -m benchmarks.speech [FOLDER]

FOLDER: real recordings (default: `shared/data` beside the checkout, where the tests look too); without one, only the
synthesised stop words are measured.
Each real sentence is heard under its own grammar; every recording is heard under every grammar it does not belong to.
Synthetic voices say stop words, words that resemble them, and motions that are contradicted ("please never turn left").
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from benchmarks.machine import machine
from embodied.voices.espeak import Espeak, EspeakVoice
from policies.sentences import Sentences
from streams import models
from streams.audio.resample import Resampler
from streams.encoders.recognisers.grammar import GrammarModel
from streams.encoders.speech import SpeechEncoder
from streams.encoders.vad import MODEL, SileroVad
from streams.packet import Packet
from streams.topics import AUDIO, Topic
from streams.types import Audio, Samples, Words

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RATE, BLOCK = 16_000, 320
HEAD = "#JSGF V1.0;\ngrammar {0};\npublic <{0}> = "
DIGITS = "zero | one | two | three | four | five | six | seven | eight | nine"
ROBOT = (
    HEAD.format("robot")
    + f"""hello [robot] | good (morning | evening) | thank you | what time is it | what is the date [today]
    | set a timer for <n> (seconds | minutes | hours) | cancel the timer | what is <n> (plus | minus | times) <n>
    | repeat that | say that again | what did you (hear | [just] say) | volume (up | down) | speak louder | help
    | yes [please] | no [thanks] | yeah | okay | cancel | never mind | (go | move) (forward | back | backward)
      [<n> (meters | metres | steps)] | turn (left | right | around) [<n> degrees] | come (here | back) | follow me
    | (stop | halt | freeze) [now] | stop moving | uh huh | mm hm | i see;
<n> = {DIGITS} | ten | eleven | twelve | fifteen | twenty | thirty | forty | forty five | sixty | ninety;
"""
)
GRAMMARS = {
    "robot": ROBOT,
    "grid": HEAD.format("grid")
    + "(bin | lay | place | set) (blue | green | red | white) (at | by | in | with) ("
    + " | ".join("abcdefghijklmnopqrstuvxyz")
    + f") ({DIGITS}) (again | now | please | soon);\n",
    "digits": HEAD.format("digits") + f"({DIGITS});\n",
}
SPOKEN = {
    "av/grid_bbaf2n.mpg": ("grid", "bin blue at f two now"),
    "av/grid_brbk7n.mpg": ("grid", "bin red by k seven now"),
    "av/grid_lbax4n.mpg": ("grid", "lay blue at x four now"),
    "av/grid_lbbc2a.mpg": ("grid", "lay blue by c two again"),
    "av/grid_lrwp9a.mpg": ("grid", "lay red with p nine again"),
    "av/grid_lwbsza.mpg": ("grid", "lay white by s zero again"),
    "commands/cards-001.wav": ("cards", "ten of clubs"),
    "commands/cards-002.wav": ("cards", "four queen of clubs"),
    "commands/cards-003.wav": ("cards", "seven of clubs"),
    "commands/goforward.raw": ("robot", "go forward ten meters"),
    **{f"commands/alnum_{word}_petewarden.wav": ("digits", word) for word in ("zero", "one", "two", "three", "four")},
}
STOPS = ("stop", "halt", "freeze")
NEARLY_STOP = (
    *("please sweep the floor", "shop around the corner", "top of the morning", "stopwatch", "a bus station"),
    *("freedom of speech", "fruit and cheese", "haul the boxes", "hold the line", "stock prices fell", "three", "fall"),
)
MOTIONS = ("move", "turn", "come_back")
CONTRADICTED = (
    *("please do not turn left", "please don't go forward", "please never turn right", "do not come back"),
    *("please not turn around", "never go forward two meters", "he said go forward", "maybe turn left ninety degrees"),
    *("turn right after the church", "go forward was not what i wanted", "please possibly go back", "if i turn left"),
)


@dataclass
class Tally:
    """What was measured."""

    right: int = 0
    sentences: int = 0
    rejected: int = 0
    others: int = 0
    trusted: int = 0  # of `others`, taken with a confidence of 0.8 or more
    delays: list[float] = field(default_factory=list)  # s
    finals: list[float] = field(default_factory=list)  # s of computing
    computing: float = 0.0  # s
    speech: float = 0.0  # s
    misses: list[str] = field(default_factory=list)


def read(path: Path) -> Samples:
    """int16[samples] at 16 kHz, mono, of any file, with half a second of near silence around it."""
    if path.suffix == ".raw":
        sound = np.fromfile(path, np.int16).astype(np.float64)
    else:
        with av.open(str(path)) as container:
            convert = av.AudioResampler("s16", "mono", RATE)
            frames = [part for frame in container.decode(audio=0) for part in convert.resample(frame)]
            frames += convert.resample(None)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)
    return padded(sound)


def padded(sound: np.ndarray) -> Samples:
    """`sound` between half seconds of a quiet room."""
    noise = np.random.default_rng(0).normal(0, 4, len(sound) + RATE)
    noise[RATE // 2 : -RATE // 2] += sound
    return np.clip(noise, -32768, 32767).astype(np.int16)


def hear(sound: Samples, model: GrammarModel, vad: SileroVad, tally: Tally) -> Iterator[tuple[int, Words]]:
    """(t, words) as `SpeechEncoder` makes of `sound`."""
    encoder = SpeechEncoder(model.recogniser())
    vad.reset()

    def push(topic: Topic, t: int, data: object) -> Iterator[tuple[int, Words]]:
        start = time.thread_time()
        emits = encoder.push(Packet(topic, t, t, 0, 0, data))
        spent = time.thread_time() - start
        tally.computing += spent
        for emit in emits:
            if emit.data.final:
                tally.finals.append(spent)
                tally.speech += (encoder._now.end - encoder._now.start) / 1e9
            yield emit.t, emit.data

    for at in range(0, len(sound), BLOCK):
        audio = Packet(AUDIO, (at + BLOCK) * 62_500, 0, 0, 0, Audio(sound[at : at + BLOCK], RATE, at))
        yield from push(AUDIO, audio.t, audio.data)
        for emit in vad.push(audio):
            yield from push(*emit)
    for emit in (*vad.flush(),):
        yield from push(*emit)


def same(text: str, wanted: str) -> bool:
    """Spelling variants of one pronunciation, and plurals of units, are not told apart."""
    return re.sub(r"met(re|er)s?", "meter", text) == re.sub(r"met(re|er)s?", "meter", wanted)


def recordings(folder: Path, vad: SileroVad, tally: Tally) -> None:
    """Real speech, in and out of every grammar."""
    grammars = {**GRAMMARS, "cards": (folder / "commands" / "cards.gram").read_text()}
    compiled = {name: GrammarModel(jsgf) for name, jsgf in grammars.items()}
    files = [*SPOKEN, *(str(p.relative_to(folder)) for p in sorted(folder.glob("[st][pu]*/*.[wf]*")))]
    for name in files:
        sound = read(folder / name)
        own, wanted = SPOKEN.get(name, ("", ""))
        for grammar, model in compiled.items():
            said = [words for _, words in hear(sound, model, vad, tally) if words.final]
            text = " ".join(words.text for words in said if words.text)
            if grammar == own:
                tally.sentences += 1
                tally.right += same(text, wanted)
                if not same(text, wanted):
                    tally.misses.append(f"{name}: {wanted!r} heard as {text!r} ({said[0].guess if said else ''})")
            elif not (own == "digits" and grammar == "robot"):
                tally.others += 1
                tally.rejected += not text
                tally.trusted += any(words.text and words.confidence >= 0.8 for words in said)


def stops(vad: SileroVad, tally: Tally) -> tuple[int, int]:
    """Stop words by synthetic voices: (heard, said); the delay runs from the end of the sound to the words' `t`."""
    model = GrammarModel(ROBOT, urgent=STOPS)
    heard = said = 0
    for word, sound in spoken((*STOPS, "stop now")):
        end = (len(sound) - RATE / 2) / RATE
        times = [t / 1e9 for t, words in hear(sound, model, vad, tally) if word.split()[0] in words.text.split()]
        said += 1
        heard += bool(times)
        tally.delays += [times[0] - end] if times else []
    return heard, said


def false_stops(vad: SileroVad) -> tuple[int, int]:
    """Words that resemble stop words, or begin like one: (taken for one, said)."""
    model = GrammarModel(Sentences.load().grammar(stop_words=STOPS), urgent=STOPS)
    taken = said = 0
    for _, sound in spoken(NEARLY_STOP):
        said += 1
        taken += any(set(STOPS) & set(words.text.split()) for _, words in hear(sound, model, vad, Tally()))
    return taken, said


def contradicted(vad: SileroVad) -> tuple[int, int, int]:
    """Motions that are not asked for: (understood as a motion, of these with a confidence of 0.8 or more, said)."""
    sentences = Sentences.load()
    model = GrammarModel(sentences.grammar(stop_words=STOPS), urgent=STOPS)
    sure: list[float] = []
    said = 0
    for _, sound in spoken(CONTRADICTED):
        said += 1
        for _, words in hear(sound, model, vad, Tally()):
            understood = sentences.understand(words.text) if words.final and words.text else None
            if understood is not None and understood.intent.does in MOTIONS:
                sure.append(words.confidence)
    return len(sure), sum(confidence >= 0.8 for confidence in sure), said


def spoken(texts: Sequence[str]) -> Iterator[tuple[str, Samples]]:
    """Each of `texts` by each of the synthetic voices, trimmed to what is audible, in a quiet room."""
    for language in ("en-us", "en-us+f2", "en-us+m3", "en-us+klatt", "en-us+Andrea", "en-gb-x-rp"):
        voice = EspeakVoice(Espeak(language=language))
        for text in texts:
            pieces = [chunk.samples for chunk in voice.speak(text)]
            resampler = Resampler(voice.rate, RATE)
            sound = np.concatenate([resampler.push(np.concatenate(pieces)), resampler.finish()]).astype(np.float64)
            loud = np.nonzero(np.abs(sound) > 300)[0]
            yield text, padded(sound[loud[0] : loud[-1]])
        voice.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder or (DATA if DATA.is_dir() else None)
    print(machine("pocketsphinx", "onnxruntime", "numpy"))
    vad, tally = SileroVad(models.pull(MODEL)), Tally()
    if folder is None:
        print("no folder of real recordings: only stop words, by espeak-ng")
    else:
        print(f"real recordings of {folder}, and stop words by espeak-ng")
        recordings(folder, vad, tally)
        print(f"sentences right            {tally.right} of {tally.sentences}")
        print(
            f"outside the grammar        {tally.rejected} of {tally.others} rejected, {tally.trusted} trusted (>= 0.8)"
        )
        print("\n".join(f"    {miss}" for miss in tally.misses))
    heard, said = stops(vad, tally)
    ms = np.percentile(np.array(tally.delays) * 1000, (50, 95, 100)).round()
    print(f"stop words (synthetic)     {heard} of {said} heard; delay median/p95/max {ms} ms of session time")
    print("resembling a stop word     {} of {} taken for one (synthetic)".format(*false_stops(vad)))
    print(
        "contradicted motions       {} moves, {} of them trusted (>= 0.8), of {} (synthetic)".format(*contradicted(vad))
    )
    finals = np.percentile(np.array(tally.finals) * 1000, (50, 95, 100)).round(1)
    print(f"final words                computing median/p95/max {finals} ms")
    print(f"CPU per second of speech   {tally.computing / tally.speech:.3f} s (lead and closing silence included)")


if __name__ == "__main__":
    main()
