"""A speech-to-speech server that misbehaves: nothing hangs, nothing is said twice, every case ends in a clear event."""

import asyncio
from typing import Any

import msgspec
import pytest

from policies.models.realtime_settings import RealtimeModelConfig, RealtimeSetupError, address, key
from streams import clock as clocks
from streams.types import Fault, Outcome, Played, Recovered, Say, Typed
from tests.realtime_model_server import QUICK, Talk, asking, model_server, saying, sound
from tests.test_realtime_policy import url

pytest.importorskip("av")
FALLBACK = "The fallback answers."
BROKE_OFF = QUICK.broke_off


def run(main: Any) -> None:
    clocks.run(main)


async def never(talk: Talk) -> None:
    pass


async def created_and_nothing(talk: Talk) -> None:
    await talk.created()


async def stalls(talk: Talk) -> None:
    await talk.created()
    await talk.begin()
    await talk.words("one two three")


async def closes(talk: Talk) -> None:
    await stalls(talk)
    await talk.socket.close(1011, "bye")


async def breaks(talk: Talk) -> None:
    await stalls(talk)
    talk.socket.transport.abort()


async def refuses(talk: Talk) -> None:
    await talk.error("invalid_value", "no such thing", talk.create["event_id"])


async def errs_in_general(talk: Talk) -> None:
    await talk.error("server_error", "it hurts", type="server_error")


async def rate_limited(talk: Talk) -> None:
    await talk.created()
    await talk.done("failed", {"type": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}})


async def out_of_credit(talk: Talk) -> None:
    await talk.error("insufficient_quota", "pay first", type="insufficient_quota")


async def fails_in_the_middle(talk: Talk) -> None:
    await stalls(talk)
    await talk.done("failed", {"type": "failed", "error": {"type": "server_error", "message": "it broke"}})


async def is_cancelled_by_itself(talk: Talk) -> None:
    await talk.created()
    await talk.done("cancelled", {"type": "cancelled", "reason": "turn_detected"})


async def expires(talk: Talk) -> None:
    await talk.error("session_expired", "60 minutes are over")
    await talk.socket.close(1001, "expired")


async def no_json(talk: Talk) -> None:
    await talk.created()
    await talk.socket.send('{"type": "response.output_audio.delta", ')


async def binary(talk: Talk) -> None:
    await talk.socket.send(b"\x00\xff\xfe")


async def a_list(talk: Talk) -> None:
    await talk.socket.send("[1, 2]")


async def no_base64(talk: Talk) -> None:
    await talk.created()
    await talk.send("response.output_audio.delta", response_id=talk.id, item_id="i", content_index=0, delta="???")


async def half_a_sample(talk: Talk) -> None:
    await talk.created()
    await talk.send("response.output_audio.delta", response_id=talk.id, item_id="i", content_index=0, delta="AAAA")


async def no_fields(talk: Talk) -> None:
    await talk.created()
    await talk.send("response.output_audio_transcript.delta", response_id=talk.id, delta=7)


async def nameless(talk: Talk) -> None:
    await talk.send("response.created", response={})


async def endless_items(talk: Talk) -> None:
    await talk.created()
    for number in range(100):
        await talk.send("response.output_audio.delta", response_id=talk.id, item_id=f"i{number}", delta=sound(10))


async def endless_text(talk: Talk) -> None:
    await talk.created()
    for _ in range(30):
        await talk.send("response.output_text.delta", response_id=talk.id, item_id="i", delta="x" * 10_000)


async def filtered(talk: Talk) -> None:
    await talk.created()
    await talk.done("incomplete", {"type": "incomplete", "reason": "content_filter"})


NOTHING_CAME = [
    (never, "timeout", "first_token"),
    (created_and_nothing, "timeout", "first_token"),
    (refuses, "refused", "refused"),
    (errs_in_general, "failed", "server"),
    (rate_limited, "failed", "rate_limit"),
    (out_of_credit, "failed", "rate_limit"),
    (is_cancelled_by_itself, "failed", "server"),
    (expires, "failed", "closed"),
    (no_json, "failed", "malformed"),
    (binary, "failed", "malformed"),
    (a_list, "failed", "malformed"),
    (no_base64, "failed", "malformed"),
    (half_a_sample, "failed", "malformed"),
    (no_fields, "failed", "malformed"),
    (nameless, "failed", "malformed"),
    (endless_text, "failed", "too_long"),
]


def test_where_nothing_came_the_fallback_answers_and_the_next_turn_is_the_models() -> None:
    scripts = [each for script, _, _ in NOTHING_CAME for each in (script, saying("Better"))]

    async def main() -> None:
        async with model_server(*scripts) as model, asking(url(model)) as asked:
            for number, (script, status, error) in enumerate(NOTHING_CAME):
                asked.hand.give(Typed("hello"))
                outcome = await asked.outcome(count=2 * number + 1)
                assert (outcome.status, outcome.result["error"]) == (status, error), (script, outcome)
                fault = await asked.until(
                    lambda data, words=outcome.detail: isinstance(data, Fault) and data.message.endswith(f"{words}.")
                )
                assert outcome.detail and fault.error == "RealtimeModelGone", script
                says = [each for each in asked.log.of(Say) if each.turn == outcome.turn]
                assert [(each.text, each.source) for each in says] == [(FALLBACK, "")], script
                asked.hand.give(Typed("hello again"))
                again = await asked.outcome(count=2 * number + 2)
                assert again.status == "done", (script, again)
                says = [each for each in asked.log.of(Say) if each.turn == again.turn]
                assert [bool(each.source) for each in says] == [True], script

    run(main())


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        (stalls, "timeout", "between_tokens"),
        (closes, "failed", "closed"),
        (breaks, "failed", "closed"),
        (fails_in_the_middle, "failed", "server"),
    ],
)
def test_an_answer_that_breaks_off_is_heard_as_far_as_it_came_and_nothing_twice(
    script: Any, status: str, error: str
) -> None:
    async def main() -> None:
        async with model_server(script, saying("Better now")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hello"))
            outcome = await asked.outcome()
            assert (outcome.status, outcome.result["error"]) == (status, error)
            sorry = await asked.outcome("Say", 2)
            assert sorry.result == BROKE_OFF and FALLBACK not in [each.text for each in asked.log.of(Say)]
            first, second = asked.log.of(Say)
            assert first.source and second.text == BROKE_OFF
            played = [each.text for each in asked.log.of(Played) if each.id == first.id]
            assert played == ["one", "two", "three"][: len(played)]
            asked.hand.give(Typed("hello again"))
            assert (await asked.outcome("Say", 3)).result == "Better now"
            if error == "closed":
                assert model.connections == 2 and asked.log.of(Recovered)
                assert [each for each in asked.log.of(Fault) if each.error == "Unreachable"]

    run(main())


def test_too_many_items_end_an_answer_and_what_came_is_heard_once() -> None:
    async def main() -> None:
        async with model_server(endless_items) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hello"))
            assert (await asked.outcome()).result["error"] == "malformed"
            await model.until("response.cancel")
            asked.hand.give(Typed("and now"))
            assert (await asked.outcome(count=2)).status == "done"

    run(main())


def test_what_was_filtered_away_is_an_answer_without_words() -> None:
    async def main() -> None:
        async with model_server(filtered) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hello"))
            outcome = await asked.outcome()
            assert outcome.status == "done" and outcome.result["finish"] == "content_filter"
            assert not asked.log.of(Say)

    run(main())


def test_an_endless_sound_is_cut_off() -> None:
    async def floods(talk: Talk) -> None:
        await talk.created()
        for _ in range(12):
            await talk.send(
                "response.output_audio.delta", response_id=talk.id, item_id="i", content_index=0, delta=sound(24_000)
            )

    async def main() -> None:
        config = msgspec.structs.replace(QUICK, longest_s=5)
        async with model_server(floods) as model, asking(url(model), config) as asked:
            asked.hand.give(Typed("hello"))
            outcome = await asked.outcome()
            assert (outcome.status, outcome.result["error"]) == ("failed", "too_long")
            assert (await model.until("response.cancel"))["response_id"] == "resp_1"

    run(main())


@pytest.mark.parametrize("metadata", [True, False], ids=["told", "untold"])
def test_an_answer_nobody_asked_for_is_cancelled_and_not_heard(metadata: bool) -> None:
    """Two at once: the server is quicker with one of its own, and goes on with it."""

    async def two(talk: Talk) -> None:
        await talk.created(metadata=... if metadata else None)
        await talk.created("resp_other", None)
        await talk.begin()
        await talk.begin("other", "resp_other")
        place = {"response_id": "resp_other", "item_id": "other", "output_index": 0, "content_index": 0}
        await talk.send("response.output_audio_transcript.delta", **place, delta="nobody asked ")
        await talk.send("response.output_audio.delta", **place, delta=sound(24_000))
        await talk.words("the right answer")
        assert (await talk.until("response.cancel"))["response_id"] == "resp_other"
        await talk.done("cancelled", response="resp_other")
        await talk.done()

    async def main() -> None:
        async with model_server(two) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("hello"))
            assert (await asked.outcome("Say")).result == "the right answer"
            assert asked.heard() == "the right answer"
            assert [each.error for each in asked.log.of(Fault)] == ["Unasked"]

    run(main())


@pytest.mark.parametrize("metadata", [True, False], ids=["told", "untold"])
def test_an_answer_that_is_born_after_it_was_cut_is_cancelled_and_not_taken_for_the_next(metadata: bool) -> None:
    async def late(talk: Talk) -> None:
        await talk.until("response.cancel")
        await asyncio.sleep(0.1)
        await talk.created(metadata=... if metadata else None)
        await talk.begin()
        await talk.words("the old answer")
        await talk.until("response.cancel")
        await talk.done("cancelled")

    async def main() -> None:
        async with model_server(late, saying("the new answer")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("one"))
            await model.until("response.create")
            asked.hand.give(Typed("two"))
            assert (await asked.outcome()).status == "cut"
            assert (await asked.outcome("Say")).result == "the new answer"
            assert asked.heard() == "the new answer" and not asked.log.of(Fault)
            assert model.connections == 1

    run(main())


def test_a_server_that_does_not_let_go_of_an_answer_is_left_for_a_new_connection() -> None:
    async def deaf(talk: Talk) -> None:
        await talk.created()
        await talk.begin()
        await talk.words("one two three four five six seven eight", gap=0.1)
        await asyncio.sleep(2)

    async def main() -> None:
        async with model_server(deaf, saying("the new answer")) as model, asking(url(model)) as asked:
            asked.hand.give(Typed("one"))
            await asked.until(lambda data: isinstance(data, Played))
            asked.hand.give(Typed("two"))
            assert (await asked.outcome("Say", 2)).result == "the new answer"
            assert model.connections == 2 and asked.log.of(Recovered)

    run(main())


def test_a_server_that_is_away_is_no_reason_to_wait_and_is_asked_again() -> None:
    async def main() -> None:
        async with model_server(saying("I am back")) as model:
            model.refuse = (503, "busy")
            async with asking(url(model)) as asked:
                await asked.until(lambda data: isinstance(data, Fault) and data.error == "Unreachable")
                asked.hand.give(Typed("hello"))
                outcome = await asked.outcome()
                assert (outcome.status, outcome.result["error"]) == ("failed", "connect")
                assert outcome.result["whole_ms"] < 400 and "503" in outcome.detail
                assert (await asked.outcome("Say")).result == FALLBACK
                model.refuse = None
                await asked.until(lambda data: isinstance(data, Recovered))
                asked.hand.give(Typed("hello again"))
                assert (await asked.outcome("Say", 2)).result == "I am back"
                assert len([each for each in asked.log.of(Fault) if each.error == "Unreachable"]) == 1

    run(main())


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "does not take the key in VISAVIS_REALTIME_KEY"), (404, "no such model"), (429, "too often")],
)
def test_why_a_connection_was_refused_is_told_in_words(status: int, words: str) -> None:
    async def main() -> None:
        async with model_server() as model:
            model.refuse = (status, "no")
            async with asking(url(model)) as asked:
                fault = await asked.until(lambda data: isinstance(data, Fault))
                assert words in fault.message and str(status) in fault.message

    run(main())


def test_the_key_comes_from_the_environment_and_is_never_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RealtimeModelConfig(url="wss://api.example.com/v1/realtime?x=1", model="speaks", key_env="A_KEY")
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(RealtimeSetupError, match="A_KEY"):
        key(config)
    monkeypatch.setenv("A_KEY", "secret")
    assert key(config) == "secret" and address(config) == "wss://api.example.com/v1/realtime?x=1&model=speaks"
    with pytest.raises(RealtimeSetupError, match="unencrypted"):
        key(msgspec.structs.replace(config, url="ws://api.example.com/v1/realtime"))
    with pytest.raises(RealtimeSetupError, match="wss://"):
        address(RealtimeModelConfig(url="https://api.example.com"))

    async def main() -> None:
        async with (
            model_server() as model,
            asking(url(model), msgspec.structs.replace(QUICK, key_env="A_KEY")) as asked,
        ):
            asked.hand.give(Typed("hello"))
            await asked.outcome()
            assert model.headers[0]["Authorization"] == "Bearer secret"
            assert "secret" not in str([packet.data for packet in asked.log.packets])

    run(main())


def test_it_is_made_anew_in_a_pause_without_a_fault() -> None:
    async def main() -> None:
        config = msgspec.structs.replace(QUICK, renew_min=0.5 / 60)
        async with model_server(saying("one two three four", gap=0.2)) as model, asking(url(model), config) as asked:
            await asyncio.sleep(0.2)
            asked.hand.give(Typed("hello"))
            assert (await asked.outcome()).status == "done"
            async with asyncio.timeout(5):
                while model.connections < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert not asked.log.of(Fault)

    run(main())


def test_a_session_that_ends_in_the_middle_of_an_answer_ends() -> None:
    async def main() -> None:
        async with model_server(stalls) as model:
            async with asking(url(model)) as asked:
                asked.hand.give(Typed("hello"))
                await asked.until(lambda data: isinstance(data, Say))
            asks = [each for each in asked.log.of(Outcome) if each.action == "Ask"]
            assert len(asks) == 1
            async with asyncio.timeout(3):
                while model.open:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    run(main())
