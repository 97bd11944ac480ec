"""The official `openai` client talks with the agent: by voice and by text, interrupts it, and lends it a function."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.realtime.limits import RealtimeConfig
from streams import clock as clocks
from tests.realtime_client import RATE, Ear, deaf, encoded, hearing, sentences, serving, speak, text, voice, write

pytest.importorskip("av")
WEATHER = {"type": "function", "name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
LONG = "help"  # the longest answer there is


def run(main: Any) -> None:
    clocks.run(main)


def test_a_conversation_by_voice() -> None:
    async def main() -> None:
        async with serving(hearing()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            created = await ear.until("session.created")
            assert created.session.audio.input.format.rate == RATE
            await asyncio.sleep(1.5)  # the session begins
            for said, answer in (("what time is it", "It is"), ("go forward one meter", "one")):
                ear.clear()
                await speak(connection, voice(said))
                done = await ear.until("response.done")
                assert done.response.status == "completed", done
                heard = ear.of("conversation.item.input_audio_transcription.completed")[0].transcript
                assert heard.replace("metre", "meter") == said
                item = done.response.output[0]
                assert answer in item.content[0].transcript
                words = "".join(each.delta for each in ear.of("response.output_audio_transcript.delta"))
                assert words == item.content[0].transcript
                sound = ear.sound(item.id)
                assert len(sound) > RATE / 2 and np.abs(sound.astype(int)).max() > 1000
                started = ear.of("input_audio_buffer.speech_started")[0]
                stopped = ear.of("input_audio_buffer.speech_stopped")[0]
                spoken_ms = len(voice(said)) * 1000 / RATE - 400
                assert stopped.audio_end_ms - started.audio_start_ms == pytest.approx(spoken_ms, abs=450)
                order = [
                    kind for kind in dict.fromkeys(ear.kinds(sound=True)) if "input_audio" in kind or "done" in kind
                ]
                assert order.index("input_audio_buffer.speech_started") < order.index("input_audio_buffer.committed")
                assert order[-1] == "response.done" and not ear.of("error")

    run(main())


def test_a_person_interrupts_and_is_answered() -> None:
    async def main() -> None:
        async with serving(hearing()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await write(connection, LONG)
            first = await ear.until("response.output_audio.delta", 25)
            await speak(connection, voice("what time is it"))
            cut = await ear.until("response.done")
            assert cut.response.status == "cancelled"
            assert cut.response.status_details.reason == "turn_detected"
            part = cut.response.output[0]
            assert part.id == first.item_id and part.status == "incomplete"
            ear.clear()
            done = await ear.until("response.done")
            print([(e.type, e.transcript) for e in ear.events if "transcription.comp" in e.type])
            assert done.response.status == "completed" and "It is" in done.response.output[0].content[0].transcript
            assert not len(ear.sound(first.item_id)), "nothing more of what was cut is sent"

    run(main())


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


def test_a_turn_that_the_client_ends_itself() -> None:
    async def main() -> None:
        async with serving(hearing()) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            await connection.session.update(session=MANUAL)
            await connection.input_audio_buffer.append(audio=encoded(voice("what time is it")))
            await connection.input_audio_buffer.clear()
            await connection.input_audio_buffer.commit()
            refused = await ear.until("error")
            assert refused.error.code == "input_audio_buffer_commit_empty"
            await speak(connection, np.concatenate([voice("what is two"), voice("plus three")]))
            await connection.input_audio_buffer.commit()
            heard = await ear.until("conversation.item.input_audio_transcription.completed")
            assert heard.transcript == "what is two plus three", (
                "one turn, in spite of its pause; what was cleared is not in it"
            )
            await asyncio.sleep(0.5)
            await connection.conversation.item.create(item=text("never mind this one"))
            assert not ear.of("response.created"), "nothing is answered before it is asked for"
            await connection.response.create()
            await ear.until("response.done")
            await connection.input_audio_buffer.append(audio=encoded(np.zeros(RATE, np.int16)))
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            done = await ear.until("response.done")
            assert done.response.status == "failed" and "nobody spoke" in done.response.status_details.error.message
            assert not ear.of("input_audio_buffer.speech_started")

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
