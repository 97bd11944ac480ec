"""Made-up households for tests: what people say, with the pauses they make, through the real turn-taker and conductor.

A household is a list of sayings, each a list of stretches of speech with the pause before it. The percepts are those
the encoders would publish; the agent answers each turn; all of it is written as a recording. The people do not know
when the agent takes the turn: they go on when they have thought, whether or not it has begun to speak.
"""

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from agent.conductor import Conductor
from agent.config import Config
from agent.session import Log, Session
from policies.reflex import Reflex, stop_words
from policies.turns import TurnConfig, TurnTaker
from streams.recording import Header
from streams.types import Manner, Percept
from tests.scenes import Percepts, spoken
from tests.sessions import STARTED, tape
from tests.test_conversation import Echo, Mouth


class Piece(NamedTuple):
    """A stretch of speech. pause_ms: silence before it;  complete, p_end: what the encoders make of it"""

    text: str
    pause_ms: float = 0.0
    complete: bool = True
    p_end: float | None = 0.9
    final_after_ms: float = 220


Saying = list[Piece]
BEGIN = ("set a timer for", "i would like", "tell me about", "go forward and", "remind me to", "what about the")
ALSO = ("the green one", "call my sister", "look at the table", "find the red ball", "turn on the lamp")
REST = ("ten minutes", "some more light", "the weather tomorrow", "turn left", "water the plants", "blue one please")
WHOLE = ("what time is it", "go forward", "tell me a story", "what can you do", "turn left", "good morning")


def slow(rng: random.Random, count: int) -> list[Saying]:
    """People who think in mid-sentence, for about a second: often where the words could be an end."""
    sayings: list[Saying] = []
    for _ in range(count):
        if rng.random() < 0.5:
            text, p_end = (rng.choice(BEGIN), 0.5) if rng.random() < 0.3 else (rng.choice(ALSO), 0.7)
            first = Piece(text, complete=False, p_end=_near(rng, p_end))
            second = Piece(rng.choice(REST), rng.uniform(700, 1700), complete=False, p_end=_near(rng, 0.95))
            sayings.append([first, second])
        else:
            sayings.append([Piece(rng.choice(WHOLE), complete=rng.random() < 0.6, p_end=_near(rng, 0.95))])
    return sayings


def quick(rng: random.Random, count: int) -> list[Saying]:
    """People who say what they want in one go, or with a breath of a third of a second; the model doubts most ends."""
    sayings: list[Saying] = []
    for _ in range(count):
        if rng.random() < 0.4:
            first = Piece(rng.choice(BEGIN), complete=False, p_end=_near(rng, 0.4))
            second = Piece(rng.choice(REST), rng.uniform(250, 380), complete=False, p_end=_near(rng, 0.7))
            sayings.append([first, second])
        else:
            sayings.append([Piece(rng.choice(ALSO), complete=False, p_end=_near(rng, 0.7))])
    return sayings


def noise(rng: random.Random, count: int) -> list[Saying]:
    """Evidence that says nothing about pauses of every length."""
    sayings: list[Saying] = []
    for _ in range(count):
        pieces = [Piece(rng.choice((*BEGIN, *ALSO)), complete=False, p_end=rng.random())]
        while rng.random() < 0.4:
            text, wait = rng.choice((*BEGIN, *ALSO)), rng.uniform(250, 1500)
            pieces.append(Piece(text, wait, complete=False, p_end=rng.random()))
        sayings.append(pieces)
    return sayings


def _near(rng: random.Random, p: float) -> float:
    return min(0.99, max(0.01, rng.gauss(p, 0.08)))


def scene_of(sayings: list[Saying], rest_ms: float = 5000) -> list[tuple[float, float, Percept]]:
    """The percepts of `sayings`, one after the other with `rest_ms` between."""
    scene: list[tuple[float, float, Percept]] = []
    at, segment = 1000.0, 0
    for saying in sayings:
        for piece in saying:
            segment += 1
            start = at + piece.pause_ms
            at = start + 250 * max(1, len(piece.text.split()))
            scene += spoken(
                segment,
                start,
                at,
                piece.text,
                complete=piece.complete,
                p_end=piece.p_end,
                final_after_ms=piece.final_after_ms,
            )
        at += rest_ms
    return scene


def live(
    path: Path,
    scene: list[tuple[float, float, Percept]],
    *,
    config: TurnConfig | None = None,
    manner: Manner | None = None,
    day: int = 0,
    policy: Echo | None = None,
    tail_ms: float = 4000,
) -> Log:
    """Hold `scene` as a session, and write its recording."""
    log, words, turns = Log(), stop_words("en"), config or TurnConfig()
    conductor = Conductor(TurnTaker(turns, stop_words=words, manner=manner), policy or Echo(), Reflex(words))
    source = Percepts(scene, tail_ms=tail_ms)
    Session(sources=[source], encoders=[], conductor=conductor, body=Mouth(), taps=[log]).run(speed=None)
    started: datetime = STARTED + timedelta(days=day)
    tape(
        path,
        list(log.packets),
        header=Header(started=started, config=Config(turns=turns, manner=manner or Manner()).text()),
    )
    return log


def household(folder: Path, kind: str, *, days: int = 5, count: int = 30, seed: int = 1) -> list[Path]:
    """Recordings of some days of a household of `kind`: "slow", "quick" or "noise"."""
    rng = random.Random(seed)
    made = {"slow": slow, "quick": quick, "noise": noise}[kind]
    paths = []
    for day in range(days):
        paths.append(folder / f"{kind}-{day}.mcap")
        live(paths[-1], scene_of(made(rng, count)), day=day)
    return paths
