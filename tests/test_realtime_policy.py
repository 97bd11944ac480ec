"""A speech-to-speech model as the policy, against a server that does as it is told: whole answers, cuts and tools."""

import asyncio
from typing import Any

import numpy as np
import pytest

from streams import clock as clocks
from streams.types import Ask, Delta, Fault, Hush, Played, PlayStarted, Say, Typed
from tests.realtime_model_server import Talk, asking, model_server, saying, says
from tests.scenes import spoken

pytest.importorskip("av")


def run(main: Any) -> None:
    clocks.run(main)


def url(model: Any) -> str:
    return f"ws://127.0.0.1:{model.port}/v1/realtime"


def first_t(asked: Any) -> int:
    """When the first sound left the loudspeaker, ns."""
    return next(packet.t for packet in asked.log.packets if isinstance(packet.data, PlayStarted))


def test_what_is_written_is_answered_in_the_models_own_voice() -> None:
    async def main() -> None:
        async with model_server(saying("Hello there you two")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hi"))
            outcome = await asked.outcome()
            assert outcome.status == "done" and outcome.result["finish"] == "stop" and outcome.result["error"] == ""
            assert (outcome.result["input_tokens"], outcome.result["cached_tokens"]) == (12, 5)
            said = await asked.outcome("Say")
            assert (said.status, said.result) == ("done", "Hello there you two")
            assert asked.heard() == "Hello there you two"
            assert {each.quality for each in asked.log.of(Played)} == {"estimated"}
            (say,) = asked.log.of(Say)
            assert say.source and not say.text
            deltas = asked.log.of(Delta)
            assert [each.index for each in deltas] == list(range(len(deltas)))
            assert "".join(each.text for each in deltas) == "Hello there you two "
            created = model.of("conversation.item.create")[0]["item"]
            assert created["content"] == [{"type": "input_text", "text": "hi"}]
            first = model.events[0]["session"]
            assert first["audio"]["input"] == {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None}
            assert not model.heard().size, "nobody spoke, so nothing was sent"

    run(main())


def test_what_is_said_is_sent_while_it_is_said_and_nothing_else() -> None:
    async def main() -> None:
        async with model_server(saying("Yes")) as model, asking(url(model)) as asked:
            await asyncio.sleep(1)
            now = asked.hand.clock.now()
            for at, t, percept in spoken(1, 0, 800, "what is that"):
                await asked.hand.clock.sleep_until(now + round(at * 1e6))
                asked.hand.give(percept, now + round(t * 1e6))
                if at == 500:
                    assert model.heard().size > 0.3 * 24000, "it is sent as it comes"
            assert (await asked.outcome()).status == "done"
            (ask,) = asked.log.of(Ask)
            begin, end = ask.request["audio"]
            assert (end - begin) / 1e9 == pytest.approx(0.8, abs=0.01) and ask.request["transcript"] == "what is that"
            heard = model.heard()
            assert 0.8 + 0.3 <= len(heard) / 24000 <= 0.8 + 0.3 + 0.8, "with what was before, and the silence after"
            tone = np.abs(np.fft.rfft(heard[: 8 * 2400].astype(float)))
            assert np.argmax(tone) * 24000 / (8 * 2400) == pytest.approx(0.2 * 16000 / 2 / np.pi, abs=3), (
                "the tone of the room"
            )
            kinds = model.kinds()
            assert kinds.index("input_audio_buffer.commit") < kinds.index("response.create")
            assert "input_audio_buffer.clear" not in kinds
            # what was not meant for anybody is taken back
            now = asked.hand.clock.now()
            for at, t, percept in spoken(2, 0, 300, "", p_end=None):
                await asked.hand.clock.sleep_until(now + round(at * 1e6))
                asked.hand.give(percept, now + round(t * 1e6))
            await model.until("input_audio_buffer.clear")

    run(main())


def test_a_cut_cancels_the_answer_truncates_it_to_what_was_heard_and_lets_nothing_late_in() -> None:
    async def late(talk: Talk) -> None:
        await talk.created()
        await talk.begin()
        await talk.words("one two three four five six seven eight nine ten eleven twelve", gap=0.1)
        await talk.until("response.cancel")
        await talk.words("late words that nobody may hear")
        await talk.done("cancelled", {"reason": "client_cancelled"})

    async def main() -> None:
        async with model_server(late, saying("The second answer")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("count"))
            await asked.until(lambda data: isinstance(data, Played) and data.index == 2)
            asked.hand.give(Typed("something else"))
            cut = await asked.outcome()
            assert cut.status == "cut"
            truncate = await model.until("conversation.item.truncate")
            first = asked.log.of(Say)[0]
            words = [each.text for each in asked.log.of(Played) if each.id == first.id]
            said = await asked.outcome("Say")
            assert said.status == "cut" and said.result == " ".join(words) and 3 <= len(words) < 8
            assert truncate["item_id"] == "item_resp_1" and truncate["content_index"] == 0
            sent, played = truncate["audio_end_ms"], (asked.log.packets[-1].at - first_t(asked)) / 1e6
            assert 200 * len(words) <= sent <= played, "no word more than was heard, no sound more than was played"
            whole = await asked.outcome("Say", 2)
            assert (whole.status, whole.result) == ("done", "The second answer")
            kinds = model.kinds()
            assert kinds.index("response.cancel") < kinds.index("conversation.item.truncate")
            assert kinds.index("response.cancel") < len(kinds) - 1 - kinds[::-1].index("response.create")
            assert "late" not in asked.heard() and asked.link.late >= 5
            assert model.of("response.cancel")[0]["response_id"] == "resp_1"

    run(main())


def test_an_answer_that_was_sent_whole_is_truncated_too_and_one_heard_whole_is_not() -> None:
    text = "a long answer that has been sent in one go and is played for many seconds after that"

    async def main() -> None:
        async with model_server(saying(text), saying("Short one")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("go"))
            assert (await asked.outcome()).status == "done"
            await asked.until(lambda data: isinstance(data, Played) and data.index == 3)
            asked.hand.give(Typed("enough"))
            truncate = await model.until("conversation.item.truncate")
            words = [each for each in asked.log.of(Played) if each.turn == asked.log.of(Say)[0].turn]
            assert truncate["audio_end_ms"] == pytest.approx(200 * len(words), abs=300), words
            assert "response.cancel" not in model.kinds(), "it was over"
            await asked.outcome("Say", 2)
            assert len(model.of("conversation.item.truncate")) == 1

    run(main())


def test_a_pause_is_nothing_to_the_server_and_loses_no_sample() -> None:
    async def main() -> None:
        async with (
            model_server(saying("one two three four five six seven eight")) as model,
            asking(url(model)) as asked,
        ):
            asked.hand.give(Typed("count"))
            await asked.until(lambda data: isinstance(data, Played) and data.index == 2)
            now = asked.hand.clock.now()
            for at, t, percept in spoken(1, 0, 300, "uh huh"):
                await asked.hand.clock.sleep_until(now + round(at * 1e6))
                asked.hand.give(percept, now + round(t * 1e6))
            said = await asked.outcome("Say")
            assert (said.status, said.result) == ("done", "one two three four five six seven eight")
            assert not {"response.cancel", "conversation.item.truncate"} & set(model.kinds())
            assert not asked.log.of(Hush)

    run(main())


def test_text_of_a_server_without_a_voice_is_spoken_by_ours() -> None:
    async def mute(talk: Talk) -> None:
        await talk.created()
        await talk.send("response.output_text.delta", response_id=talk.id, item_id="i", delta="I have ")
        await talk.send("response.output_text.delta", response_id=talk.id, item_id="i", delta="no voice.")
        await talk.done()

    async def main() -> None:
        async with model_server(mute) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hi"))
            assert (await asked.outcome("Say")).result == "I have no voice."
            assert not asked.log.of(Fault)

    run(main())


def test_a_new_connection_is_told_what_was_heard() -> None:
    async def goes(talk: Talk) -> None:
        await says(talk, "I am fine")
        await talk.until("conversation.item.truncate")
        await talk.socket.close(1001, "session_expired")

    async def main() -> None:
        async with model_server(goes, saying("As I said")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("how are you"))
            await asked.until(lambda data: isinstance(data, Played) and data.index == 1)
            asked.hand.give(Typed("stop"))
            await asked.until(lambda data: isinstance(data, Fault))
            while model.connections < 2 or not asked.link.line.standing:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            before = len(model.events)
            asked.hand.give(Typed("again"))
            assert (await asked.outcome(count=2)).status == "done"
            items = [each["item"] for each in model.events[before:] if each["type"] == "conversation.item.create"]
            told = [(item["role"], item["content"][0]["type"], item["content"][0]["text"]) for item in items]
            heard = asked.heard(asked.log.of(Say)[0].turn)
            assert told[0] == ("user", "input_text", "how are you")
            assert told[1] == ("assistant", "output_text", f"{heard} — (the person cut in here)")
            assert told[-1] == ("user", "input_text", "again") and len(told) == 3

    run(main())
