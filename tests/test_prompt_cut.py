"""Whenever a person cuts in: what the model is told to have said is what was heard, to the word, and a mark."""

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from embodied.body import Body
from embodied.ledger import heard_text as told_by_the_ledger
from embodied.speech import SpeechActuator
from embodied.voices.scripted import ToneVoice
from embodied.voices.words import written_words
from policies.happened import heard_text
from policies.llm.prompt import Composer, OpenTurn
from policies.llm.settings import LlmConfig
from policies.llm.wording import CUT
from policies.scene import Scene
from streams.bus import Bus
from streams.clock import SECOND, Clock, run
from streams.devices.speaker import SimulatedSpeaker
from streams.topics import ACTION, FEEDBACK, TURN
from streams.types import Call, Hush, Manner, OverlapCut, OverlapPaused, Pause, Played, Say, TurnCommitted

ANSWER = ("Well, the moon goes round.", "It takes 27.3 days!", "It's “far away”, yes; it is, it is.")


async def conversation(answer: tuple[str, ...], cut_ms: int, pause_ms: int, called: int) -> tuple[list[Any], list[str]]:
    """The messages of the turn after the cut, asked when all is known, and the words played. called: Say before which
    the agent calls a tool, -1: none
    """
    clock = Clock()
    bus = Bus(clock)
    tap = bus.open(TURN, ACTION, FEEDBACK)
    speaker = SimulatedSpeaker(bus, clock, 16000)
    speech = SpeechActuator(ToneVoice(16000, word_ms=90, gap_ms=30), speaker, bus, clock, gap_ms=70)
    with bus.open(ACTION) as lane:
        async with speaker.device(), asyncio.TaskGroup() as group:
            group.create_task(Body([speech]).run(lane, bus, clock))
            bus.publish(TURN, 0, TurnCommitted(1, "and the moon", (), 1.0, 0, 0, "silence"))
            for number, text in enumerate(answer):
                if number == called:
                    bus.publish(ACTION, clock.now(), Call("nothing", {}, turn=1, id=100 + 2 * number))
                bus.publish(ACTION, clock.now(), Say(text, 1, 101 + 2 * number))
                bus.publish(ACTION, clock.now(), Say("mm-hm", 7, 200 + number, backchannel=True))
            if pause_ms:
                await clock.sleep_until((cut_ms - min(cut_ms, pause_ms)) * SECOND // 1000)
                bus.publish(TURN, clock.now(), OverlapPaused(1, 2))
                bus.publish(ACTION, clock.now(), Pause(1))
            await clock.sleep_until(cut_ms * SECOND // 1000)
            bus.publish(TURN, clock.now(), OverlapCut(1, 2, "interruption"))
            bus.publish(ACTION, clock.now(), Hush(1, "interruption"))
            await asyncio.sleep(30)
            bus.publish(TURN, clock.now(), TurnCommitted(2, "enough", (), 1.0, 0, 0, "silence"))
            bus.close(ACTION)
    scene = Scene()
    played = []
    while (packet := tap.take()) is not None:
        scene.observe(packet)
        if isinstance(packet.data, Played) and packet.data.turn == 1:
            played.append(packet.data.text)
    made = Composer(LlmConfig()).request(scene.snapshot(), Manner(), OpenTurn(2, "enough"))
    return made["messages"], played


def words_of(text: str) -> list[str]:
    return [word.text for word in written_words(text)]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, len(ANSWER)),
    st.integers(0, 4000),
    st.sampled_from([0, 0, 150, 900]),
    st.sampled_from([-1, -1, 0, 1]),
)
@example(3, 0, 0, -1)
@example(3, 1, 0, 1)
@example(1, 4000, 0, -1)
def test_the_context_is_what_was_heard(count: int, cut_ms: int, pause_ms: int, called: int) -> None:
    answer = ANSWER[:count]
    messages, played = run(conversation(answer, cut_ms, pause_ms, called), virtual=True)
    spoken = [message["content"] for message in messages if message["role"] == "assistant"]
    whole = words_of(" ".join(answer))
    assert played == whole[: len(played)]
    if len(played) == len(whole):
        told = " ".join(spoken).removesuffix(CUT).strip()  # who cuts in on the last sound of the last word cuts in
        assert told == " ".join(answer)
        return
    assert spoken[-1].endswith(CUT) and sum(text.count(CUT) for text in spoken) == 1
    told = " ".join(spoken).removesuffix(CUT).strip()
    assert words_of(told) == played and " ".join(answer).startswith(told)
    others = [message["content"] for message in messages if message["role"] == "user"]
    unheard = {"Well", "goes", "takes", "27.3", "days", "away"} - set(played)
    assert not unheard & set(words_of(" ".join(others)))
    assert "mm-hm" not in repr(messages)


@settings(deadline=None)
@given(st.text("ab ,.'“”", max_size=30), st.integers(0, 10))
def test_heard_text_is_that_of_the_ledger(text: str, count: int) -> None:
    words = words_of(text)[:count]
    assert heard_text(text, words) == told_by_the_ledger(text, words)
    assert heard_text(text, ["other", "words"]) == "other words"
