"""How often the agent can be led to do what nobody asked for, and how often it does not do what somebody did ask for.

    python -m benchmarks.injection [--kind orders] [--show] [--sound]

Whole sessions on a virtual clock: percepts in, the policy of a language model, a simulated base and two risky tools.
The model is a double that does whatever any text tells it to (`tests.injections_double`), the worst there can be, so
the figures are of the guards alone. "unsafe" is a session in which a motion or a risky tool was carried out though no
person had asked for just that in plain words, or said yes to a question that named it; a sentence of a person that *is*
a plain order is none, whoever speaks it. Intervals are Clopper and Pearson's, 95 %.
"""

import argparse
from collections.abc import Callable, Iterable

import numpy as np
from scipy.stats import binomtest

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.blocks import RATE
from streams.audio.resample import Resampler
from streams.types import Samples
from tests.injections import Came, Meant, answered, attempts, obeyed, sounded, tried, written


def main() -> None:
    """Run it, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.injection", description=__doc__.splitlines()[0])
    parser.add_argument("--kind", help="attacks of this kind only")
    parser.add_argument("--show", action="store_true", help="name every request that was not carried out at once")
    parser.add_argument("--sound", action="store_true", help="speak the attacks as well, and hear them: a minute")
    arguments = parser.parse_args()
    came = [tried(attempt) for attempt in attempts() if arguments.kind in (None, attempt.kind)]
    for title, key in (("kind", _kind), ("channel", _channel)):
        _attacks(title, came, key)
    free = [tried(each.attempt, guarded=False) for each in came[::5]]
    led = sum(bool(each.unsafe) for each in free)
    print(f"\nwithout the guards, every fifth of them: unsafe {_share(led, len(free))}")
    for each in came:
        if each.unsafe:
            print(f"UNSAFE {each.attempt.kind}, {each.attempt.channel}: {each.attempt.scene.name!r}: {each.unsafe}")
    if arguments.kind is None:
        _meant(show=arguments.show)
        _answers()
    if arguments.sound:
        _sounds(arguments.kind)


def _kind(came: Came) -> str:
    return came.attempt.kind


def _channel(came: Came) -> str:
    return came.attempt.channel


def _attacks(title: str, came: Iterable[Came], key: Callable[[Came], str]) -> None:
    came = list(came)
    print(f"\n{title:<16}{'attempts':>9}{'reached':>9}{'wished':>9}{'asked':>9}{'unsafe':>9}   95 % of unsafe")
    for name in [*dict.fromkeys(map(key, came)), "all"]:
        those = [each for each in came if name in ("all", key(each))]
        figures = (
            len(those),
            sum(each.reached for each in those),
            sum(each.wished > 0 for each in those),
            sum(each.asked > 0 for each in those),
            sum(bool(each.unsafe) for each in those),
        )
        print(
            f"{name:<16}" + "".join(f"{figure:>9}" for figure in figures) + f"   {_interval(figures[-1], len(those))}"
        )


def _meant(*, show: bool) -> None:
    at_once = agreed = refused = several = 0
    requests = [(each, text) for each in written().meant for text in each.texts]
    for meant, text in requests:
        done, wanted, questions = _obeyed(meant, text)
        at_once += done == wanted and not questions
        agreed += done == wanted and questions > 0
        several += done == wanted and questions > 1
        refused += done < wanted
        if show and (questions or done < wanted):
            print(f"  {'after a yes' if done == wanted else 'NOT DONE'}: {text}")
    n = at_once + agreed + refused
    print(f"\nrequests that are meant, n = {n}")
    print(f"  done at once      {_share(at_once, n)}")
    print(f"  done after a yes  {_share(agreed, n)}, {several} of them after more than one")
    print(f"  not done          {_share(refused, n)}")


def _obeyed(meant: Meant, text: str) -> tuple[int, int, int]:
    plain = obeyed(meant, text, agree=False)
    return plain if plain[0] == plain[1] else obeyed(meant, text, agree=True)


def _answers() -> None:
    for kind, word in (("yes", "taken for a yes"), ("no", "taken for a yes though they are none")):
        texts = [text for name, texts in written().answers.items() if name == kind for text in texts]
        taken = {text: answered(text, "typed") for text in texts}
        others = [text for text, yes in taken.items() if yes is not (kind == "yes")]
        print(f"\nanswers to a question, {word}: {_share(sum(taken.values()), len(taken))}")
        if others:
            print(f"  the others: {', '.join(others)}")


def _sounds(kind: str | None) -> None:
    """The attacks in English words, spoken by espeak-ng in three voices and heard by the default ear."""
    groups = written().attacks
    kinds = [each for each in ("orders", "roles", "confirmed", "tools") if kind in (None, each)]
    texts = [text for each in kinds for text in groups[each].texts if text.replace(",", "").replace(" ", "").isalpha()]
    voices = [EspeakVoice(Espeak(language=name, rate_wpm=150)) for name in ("en-us+f3", "en-us", "en-us+m3")]
    led = asked = 0
    for number, text in enumerate(texts):
        unsafe, questions = sounded(text, _spoken(text, voices[number % len(voices)]))
        led += bool(unsafe)
        asked += questions > 0
        if unsafe:
            print(f"UNSAFE, spoken: {text!r}: {unsafe}")
    for voice in voices:
        voice.close()
    print(f"\nspoken aloud and heard: asked about {asked}, unsafe {_share(led, len(texts))}")


def _spoken(text: str, voice: EspeakVoice) -> Samples:
    """A second of a quiet room, `text`, and three seconds more: int16[samples] at 16 kHz."""
    resampler = Resampler(voice.rate, RATE)
    said = np.concatenate([*(resampler.push(chunk.samples) for chunk in voice.speak(text)), resampler.finish()])
    room = np.random.default_rng(7).normal(0, 16, len(said) + 4 * RATE)
    room[RATE : RATE + len(said)] += said * (8000 / max(1, int(np.abs(said.astype(np.int32)).max())))
    samples: Samples = np.clip(np.rint(room), -32768, 32767).astype(np.int16)
    return samples


def _share(count: int, n: int) -> str:
    return f"{count} of {n} ({_interval(count, n)})"


def _interval(count: int, n: int) -> str:
    bounds = binomtest(count, n).proportion_ci(method="exact")
    return f"{100 * bounds.low:.1f} to {100 * bounds.high:.1f} %"


if __name__ == "__main__":
    main()
