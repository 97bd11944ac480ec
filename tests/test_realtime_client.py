"""The official `openai` client writes to the agent, lends it a function, stops it, and makes mistakes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.realtime.limits import RealtimeConfig
from streams import clock as clocks
from tests.realtime_client import RATE, Ear, deaf, sentences, serving, write

pytest.importorskip("av")
WEATHER = {"type": "function", "name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
LONG = "help"  # the longest answer there is


def run(main: Any) -> None:
    clocks.run(main)


def test_a_conversation_by_text_is_answered_in_sound_or_in_text() -> None:
    async def main() -> None:
        async with serving(deaf()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await write(connection, "what is two plus three")
            done = await ear.until("response.done")
            assert done.response.output[0].content[0].transcript == "Two plus three is five."
            assert len(ear.sound(done.response.output[0].id)) > RATE
            ear.clear()
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await write(connection, "what is two plus four")
            done = await ear.until("response.done", seconds=2)
            assert done.response.output[0].content[0].text == "Two plus four is six."
            assert "".join(each.delta for each in ear.of("response.output_text.delta")) == "Two plus four is six."
            assert not ear.of("response.output_audio.delta") and not ear.of("error")

    run(main())


def test_the_agent_calls_a_function_of_the_client(tmp_path: Path) -> None:
    async def main() -> None:
        config = deaf(sentences(tmp_path))
        async with serving(config) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
            await write(connection, "how is the weather in Rome")
            call = await ear.until("response.function_call_arguments.done")
            assert (call.name, call.arguments) == ("weather", '{"place":"Rome"}')
            done = await ear.until("response.done")
            assert [each.type for each in done.response.output] == ["function_call"]
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains in Rome."}
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            said = await ear.until("response.done")
            assert said.response.output[0].content[0].transcript == "It rains in Rome."
            await connection.conversation.item.create(item=output)
            refused = await ear.until("error")
            assert refused.error.code == "call_not_found" and "it is over" in refused.error.message

    run(main())


def test_a_function_that_gives_no_result_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        config = deaf(sentences(tmp_path))
        limits = RealtimeConfig(function_s=0.3)
        async with serving(config, limits) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
            await write(connection, "how is the weather in Rome")
            done = await ear.until("response.done", 2)
            assert "too long" in done.response.output[0].content[0].transcript

    run(main())


def test_the_client_cancels_and_truncates() -> None:
    async def main() -> None:
        async with serving(deaf()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await write(connection, LONG)
            await ear.until("response.output_audio.delta", 20)
            await connection.response.cancel()
            done = await ear.until("response.done")
            assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")
            await connection.response.cancel()
            assert (await ear.until("error")).error.code == "response_cancel_not_active"
            ear.clear()
            await write(connection, LONG)
            delta = await ear.until("response.output_audio_transcript.delta", 4)
            await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=300)
            await ear.until("conversation.item.truncated")
            done = await ear.until("response.done")
            kept = done.response.output[0].content[0].transcript
            told = "".join(each.delta for each in ear.of("response.output_audio_transcript.delta"))
            assert done.response.status == "cancelled" and told.startswith(kept) and len(kept) < len(told)
            await connection.conversation.item.retrieve(item_id=delta.item_id)
            assert (await ear.until("conversation.item.retrieved")).item.content[0].transcript == kept
            await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=99_000)
            assert (await ear.until("error")).error.param == "audio_end_ms"

    run(main())


def test_a_bad_event_is_told_with_its_name_and_the_conversation_goes_on() -> None:
    async def main() -> None:
        async with serving(deaf()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await connection.send({"type": "dance", "event_id": "evt_7"})
            refused = await ear.until("error")
            assert (refused.error.code, refused.error.event_id) == ("unknown_event", "evt_7")
            await connection.input_audio_buffer.append(audio="no base64!", event_id="evt_8")
            refused = await ear.until("error")
            assert (refused.error.param, refused.error.event_id) == ("audio", "evt_8")
            await write(connection, "what is two plus three")
            assert (await ear.until("response.done")).response.status == "completed"

    run(main())


def test_a_wrong_token_and_one_client_too_many_are_turned_away() -> None:
    async def main() -> None:
        from websockets.exceptions import InvalidStatus

        async with serving(deaf(), RealtimeConfig(connections=1)) as served:
            with pytest.raises(InvalidStatus) as wrong:
                await served.client("sesame").realtime.connect(model="visavis").enter()
            assert wrong.value.response.status_code == 401
            async with served.client().realtime.connect(model="visavis"):
                with pytest.raises(InvalidStatus) as full:
                    await served.client().realtime.connect(model="visavis").enter()
                assert full.value.response.status_code == 503
            async with asyncio.timeout(15):
                while served.endpoint.talking:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
            async with served.client().realtime.connect(model="visavis") as connection:
                await Ear(connection).until("session.created")

    run(main())


def test_sound_as_telephones_have_it() -> None:
    async def main() -> None:
        async with serving(deaf()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            sizes = {}
            for form in ({"type": "audio/pcm", "rate": RATE}, {"type": "audio/pcmu"}):
                audio: Any = {"input": {"format": form}, "output": {"format": form}}
                await connection.session.update(session={"type": "realtime", "audio": audio})
                assert (await ear.until("session.updated")).session.audio.output.format.type == form["type"]
                ear.clear()
                await write(connection, "what is two plus three")
                await ear.until("response.done")
                sizes[form["type"]] = sum(len(ear.decoded(each)) for each in ear.of("response.output_audio.delta"))
            assert sizes["audio/pcm"] == pytest.approx(6 * sizes["audio/pcmu"], abs=60), "a byte for 3 samples of 2"

    run(main())
