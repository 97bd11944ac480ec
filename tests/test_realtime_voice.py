"""The official `openai` client talks with the agent by voice: asks, interrupts, murmurs, and ends its turns itself."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams import clock as clocks
from tests.realtime_client import RATE, Ear, encoded, hearing, sentences, serving, speak, text, voice, write

pytest.importorskip("av")
pytestmark = pytest.mark.slow
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
            assert done.response.status == "completed"
            assert done.response.output[0].id != part.id and done.response.output[0].content[0].transcript
            assert not len(ear.sound(first.item_id)), "nothing more of what was cut is sent"

    run(main())


def test_a_murmur_is_spoken_over_without_losing_a_sample(tmp_path: Path) -> None:
    async def main() -> None:
        config = hearing(sentences(tmp_path))
        async with serving(config) as served, served.client().realtime.connect(model="visavis") as connection:
            ear = Ear(connection)
            sounds = []
            for murmur in (False, True):
                ear.clear()
                await write(connection, "tell me something")
                await ear.until("response.output_audio.delta", 15)
                if murmur:
                    await speak(connection, np.concatenate([voice("uh huh", 0.1), np.zeros(RATE // 2, np.int16)]))
                done = await ear.until("response.done")
                assert done.response.status == "completed", done.response.status_details
                sounds.append(ear.sound(done.response.output[0].id))
            times = [at for at, each in zip(ear.times, ear.events, strict=True) if each.type.endswith("audio.delta")]
            assert max(np.diff(times)) > 0.2, "it paused"
            assert np.array_equal(*sounds), "and went on from the same sample"

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
