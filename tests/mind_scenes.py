"""Composed sound through the real ears to a scripted model, on the virtual clock: what was drafted, and how soon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent import assembly, config, registry
from agent.session import Log
from policies.models.scripted import Script, ScriptedModel
from streams.devices.files import AudioFile
from streams.topics import ACTION, FEEDBACK, IMAGE, PERCEPT, TURN
from streams.types import Delta, PlayStarted, TurnCommitted, Withdraw
from tests.minds import Held

EARS = ["policy.engine=llm", "vad.engine=silero", "turn_end.engine=smart-turn", "faces.engine=none"]
RECOGNISER = "tests.composed:reads_along"
NEAR_NS = 100_000_000
END_NS = 250_000_000  # at most between a true end and what is heard as it


def listen(sound: Path, script: Script, *settings: str, reads: bool = True, tail_ms: int = 4000) -> Held:
    """Hold a session on `sound` with Silero VAD, Smart Turn, and the model of `script`.

    reads: the recogniser reads along in the score beside the sound; else it is the grammar's
    """
    registry.BUILT_IN["recognisers"].setdefault("score", RECOGNISER)
    ears = ["speech.engine=score", f"speech.jsgf={sound.with_suffix('.json')}"] if reads else ["speech.engine=grammar"]
    loaded = config.load(None, [*EARS, *ears, *settings])
    made: list[ScriptedModel] = []

    def model(publisher: Any, clock: Any, pictures: Any) -> ScriptedModel:
        made.append(ScriptedModel(script, publisher, clock))
        return made[0]

    log = Log(PERCEPT, TURN, ACTION, FEEDBACK, IMAGE)
    body = assembly.AgentBody(loaded, installed=False, model=model)
    source = AudioFile(sound, block_ms=20, tail_ms=tail_ms)
    session = assembly.assemble(loaded, [source], taps=[log], body=body)
    session.run(speed=None)
    return Held(session, log, made[0])


class Told(Struct, frozen=True):
    """What came of the drafts of a session.

    turns: committed and answered by the model;  drafts, taken: asked before the commit, and those that became answers
    wasted: tokens of drafts that came for nothing;  wasted_in, tokens_in: input tokens of those, and of all questions
    others: answers to other words than were committed: their texts
    offsets: of each turn, where it ended as was heard (ns), and ms from there to its answer's first sample
    true_ms: ms from the true end of the last word, of turns that did not end in a pause of a sentence
    """

    turns: int
    drafts: int
    taken: int
    wasted: int
    wasted_in: int
    tokens_in: int
    others: tuple[str, ...]
    offsets: tuple[tuple[int, float], ...]
    true_ms: tuple[float, ...]


def tell(held: Held, ends_ns: Sequence[int]) -> Told:
    """Sum up a session. ends_ns: true ends of turns"""
    asks = {ask.id: ask for ask in held.asks()}
    withdrawn = {each.id for each in held.of(Withdraw)}
    commits = {turn.turn: turn for turn in held.of(TurnCommitted) if turn.text}
    taken, others = [], []
    for turn, commit in commits.items():
        mine = [ask for ask in asks.values() if ask.turn == turn and ask.id not in withdrawn]
        first = mine[:1]
        taken += [ask for ask in first if ask.purpose == "draft"]
        if len([ask for ask in mine if ask.purpose == "draft"]) > 1 or not first:
            others.append(f"{commit.text}: {len(mine)} questions that stand")
        others += [f"{commit.text!r} was answered as {ask.request['messages'][-1]['content']!r}" for ask in first
                   if not ask.request["messages"][-1]["content"].endswith(commit.text)]  # fmt: skip
    drafts = [ask for ask in asks.values() if ask.purpose == "draft"]
    for_nothing = {ask.id for ask in drafts} - {ask.id for ask in taken}
    sounds: dict[int, int] = {}
    for packet in held.packets:
        if isinstance(packet.data, PlayStarted):
            sounds.setdefault(packet.data.turn, packet.t)
    offsets = [
        (commit.end_ns, (sounds[turn] - commit.end_ns) / 1e6) for turn, commit in commits.items() if turn in sounds
    ]
    true = [
        (sounds[turn] - end) / 1e6
        for turn, commit in commits.items()
        for end in ends_ns
        if turn in sounds and abs(end - commit.end_ns) < END_NS
    ]
    return Told(
        turns=len(commits),
        drafts=len(drafts),
        taken=len(taken),
        wasted=sum(delta.id in for_nothing for delta in held.of(Delta)),
        wasted_in=sum(len(str(ask.request)) // 4 for ask in drafts if ask.id in for_nothing),
        tokens_in=sum(len(str(ask.request)) // 4 for ask in asks.values()),
        others=tuple(others),
        offsets=tuple(offsets),
        true_ms=tuple(true),
    )


def gains(without: Told, with_: Told) -> list[float]:
    """ms by which drafts made the answers sooner, for turns that ended at the same place."""
    return [
        slow - next(fast for other, fast in with_.offsets if abs(other - end) < NEAR_NS)
        for end, slow in without.offsets
        if any(abs(other - end) < NEAR_NS for other, _ in with_.offsets)
    ]
