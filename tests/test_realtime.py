"""The core of the Realtime protocol, by itself: client events and packets in, server events and orders out."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from agent.config import Config, load
from agent.realtime import formats, orders
from agent.realtime.beta import older
from agent.realtime.dialogue import ASKED_NS, Dialogue
from agent.realtime.microphone import BLOCK, KEPT_QUIET, TAIL, ClientMicrophone
from agent.realtime.refusals import Refused
from agent.realtime.settings import Settings, changed, configured, turns
from streams import clock as clocks
from streams.clock import MS, SECOND, Clock
from streams.packet import Packet
from streams.topics import ACTION, AUDIO, FEEDBACK, PERCEPT, PLAYBACK, TURN, Topic
from streams.types import (
    Audio,
    Call,
    Fault,
    Hush,
    Outcome,
    Played,
    Say,
    SpeechEnded,
    StopPressed,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    Typed,
)

pytest.importorskip("av")
RATE = 16_000


class Scene:
    """A dialogue, and what came out of it, written down a line each."""

    def __init__(self, **settings: Any) -> None:
        self.dialogue = Dialogue("sess_1", Settings(**settings))
        self.events: list[dict[str, Any]] = []
        self.orders: list[Any] = []
        self.keep(self.dialogue.begin())

    def keep(self, out: Any) -> None:
        for each in out:
            if isinstance(each, dict):
                self.events.append({"event_id": f"event_{len(self.events) + 1}", **each})
            else:
                self.orders.append(each)

    def send(self, kind: str, now: int = 0, **fields: Any) -> None:
        self.keep(self.dialogue.client(json.dumps({"type": kind, **fields}), now))

    def happen(self, topic: Topic[Any], data: Any, t: int = 0) -> None:
        self.keep(self.dialogue.packet(Packet(topic, t, t, 0, 0, data)))

    def replied(self, turn: int) -> None:
        self.keep(self.dialogue.replied(turn))

    def said(self, turn: int, text: str) -> None:
        """A person said `text`."""
        self.happen(TURN, TurnOpened(turn, SECOND), SECOND + 64 * MS)
        self.happen(PERCEPT, SpeechEnded(turn, 0), 2 * SECOND)
        committed = TurnCommitted(turn, text, (), 1.0, SECOND, 2 * SECOND, "silence")
        self.happen(TURN, committed, 2 * SECOND + 300 * MS)

    def spoke(self, turn: int, id: int, text: str, heard: str | None = None, status: Any = "done") -> None:
        """The agent said `text`, of which `heard` was heard, a word in each block of 100 ms."""
        self.happen(ACTION, Say(text, turn, id))
        for index, word in enumerate((text if heard is None else heard).split()):
            end = 3 * SECOND + (index + 1) * 100 * MS
            self.happen(PLAYBACK, Audio(np.full(2400, 1000, np.int16), 24_000, 0), end)
            self.happen(FEEDBACK, Played(turn, id, index, word.strip(".,"), end - 100 * MS, end), end)
        result = text if heard is None else heard
        if status != "done":
            self.happen(ACTION, Hush(turn, "interruption"))
        self.happen(FEEDBACK, Outcome(turn, id, "Say", "", status, result=result))

    def lines(self) -> list[str]:
        return [line(event) for event in self.events]

    def last(self) -> dict[str, Any]:
        return self.events[-1]


def line(event: dict[str, Any]) -> str:
    """What matters of an event."""
    facts = [event["type"]]
    for key in ("item_id", "audio_start_ms", "audio_end_ms", "transcript", "text", "call_id", "arguments"):
        if key in event:
            facts.append(f"{key.removeprefix('audio_')}={event[key]}")
    if "delta" in event:
        facts.append(f"{len(base64.b64decode(event['delta']))} bytes" if "audio.delta" in facts[0] else event["delta"])
    if "item" in event:
        item = event["item"]
        facts.append(f"{item['id']} {item.get('role', item['type'])} {item['status']}")
    if "response" in event:
        response = event["response"]
        facts.append(f"{response['id']} {response['status']} {len(response['output'])} items")
    if "error" in event:
        facts.append(f"{event['error']['code']} {event['error']['event_id']} {event['error']['param']}")
    return " ".join(facts)


def test_a_turn_and_its_answer() -> None:
    scene = Scene()
    scene.said(1, "hello there")
    scene.spoke(1, 1, "Good morning.")
    scene.replied(1)
    assert scene.lines() == [
        "session.created",
        "input_audio_buffer.speech_started item_id=item_1 start_ms=1000",
        "input_audio_buffer.speech_stopped item_id=item_1 end_ms=2000",
        "input_audio_buffer.committed item_id=item_1",
        "conversation.item.added item_1 user completed",
        "conversation.item.done item_1 user completed",
        "conversation.item.input_audio_transcription.delta item_id=item_1 hello there",
        "conversation.item.input_audio_transcription.completed item_id=item_1 transcript=hello there",
        "response.created resp_1 in_progress 0 items",
        "response.output_item.added item_2 assistant in_progress",
        "conversation.item.added item_2 assistant in_progress",
        "response.content_part.added item_id=item_2",
        "response.output_audio.delta item_id=item_2 4800 bytes",
        "response.output_audio_transcript.delta item_id=item_2 Good",
        "response.output_audio.delta item_id=item_2 4800 bytes",
        "response.output_audio_transcript.delta item_id=item_2  morning",
        "response.output_audio_transcript.delta item_id=item_2 .",
        "response.output_audio.done item_id=item_2",
        "response.output_audio_transcript.done item_id=item_2 transcript=Good morning.",
        "response.content_part.done item_id=item_2",
        "conversation.item.done item_2 assistant completed",
        "response.output_item.done item_2 assistant completed",
        "response.done resp_1 completed 1 items",
    ]


def test_every_event_is_one_that_the_official_client_knows() -> None:
    pytest.importorskip("openai")
    from openai.types.realtime import RealtimeServerEvent
    from pydantic import TypeAdapter

    known = TypeAdapter(RealtimeServerEvent)
    scene = Scene(tools=({"type": "function", "name": "wave"},))
    scene.send("session.update", session={"type": "realtime", "tools": [{"type": "function", "name": "wave"}]})
    scene.said(1, "hello")
    scene.spoke(1, 1, "Good morning.", "Good", "cut")
    scene.said(2, "wave")
    scene.happen(ACTION, Call("wave", {"hand": "left"}, turn=2, id=2))
    scene.replied(2)
    scene.send("conversation.item.truncate", item_id="item_2", content_index=0, audio_end_ms=50)
    scene.send("conversation.item.retrieve", item_id="item_2")
    scene.send("conversation.item.delete", item_id="item_2")
    scene.send("input_audio_buffer.clear")
    scene.send("nothing")
    scene.send("response.create")
    scene.happen(FEEDBACK, Fault("voice", "VoiceError", "it died"))
    for event in scene.events:
        parsed = known.validate_python(event)
        assert type(parsed).__name__ != "dict" and parsed.type == event["type"]


def test_what_is_cut_says_why_and_how_much_was_heard() -> None:
    scene = Scene()
    scene.said(1, "tell me")
    scene.spoke(1, 1, "One two three.", "One two", "cut")
    done = scene.last()["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "One two"}]
    scene.said(2, "again")
    scene.happen(ACTION, Say("One two three.", 2, 2))
    scene.send("response.cancel")
    assert scene.orders[-1] == orders.StopTalking()
    scene.happen(ACTION, Hush(2, "stop"))
    scene.happen(FEEDBACK, Outcome(2, 2, "Say", "", "fenced", result=""))
    assert scene.last()["response"]["status_details"]["reason"] == "client_cancelled"


def test_several_sentences_are_one_message() -> None:
    scene = Scene()
    scene.said(1, "both")
    scene.happen(ACTION, Say("It rains.", 1, 1))
    scene.happen(ACTION, Say("It pours.", 1, 2))
    scene.replied(1)
    for id, words in ((1, "It rains."), (2, "It pours.")):
        scene.happen(PLAYBACK, Audio(np.ones(2205, np.int16), 22_050, 0), 3 * SECOND)
        scene.happen(FEEDBACK, Played(1, id, 0, "It", 0, 3 * SECOND), 3 * SECOND)
        scene.happen(FEEDBACK, Outcome(1, id, "Say", "", "done", result=words))
    assert scene.last()["response"]["output"][0]["content"][0]["transcript"] == "It rains. It pours."
    sound = [base64.b64decode(each["delta"]) for each in scene.events if each["type"] == "response.output_audio.delta"]
    assert len(b"".join(sound)) == 2 * 4800, "resampled without losing a sample"


def test_what_was_not_for_the_agent_is_no_item_but_words_are() -> None:
    scene = Scene()
    for turn, reason, text in ((1, "no_words", ""), (2, "echo", "good morning"), (3, "backchannel", "uh huh")):
        scene.events.clear()
        scene.happen(TURN, TurnOpened(turn, SECOND), SECOND + 64 * MS)
        scene.happen(TURN, TurnDropped(turn, reason, text), 2 * SECOND)
        assert ("conversation.item.added" in [each["type"] for each in scene.events]) == (reason == "backchannel")
        assert scene.events[1]["type"] == "input_audio_buffer.speech_stopped"
        assert not any(each["type"].startswith("response") for each in scene.events)


def test_text_waits_for_response_create() -> None:
    scene = Scene()
    for words in ("what is", "two plus three"):
        content = [{"type": "input_text", "text": words}]
        scene.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert not [each for each in scene.orders if isinstance(each, orders.Write)]
    scene.send("response.create", response={"metadata": {"topic": "sums"}})
    assert scene.orders[-1] == orders.Write("what is two plus three")
    scene.happen(TURN, TurnOpened(1, SECOND), SECOND)
    scene.happen(TURN, TurnCommitted(1, "what is two plus three", (), 1.0, SECOND, SECOND, "typed"), SECOND)
    scene.spoke(1, 1, "Five.")
    scene.replied(1)
    assert scene.last()["response"]["metadata"] == {"topic": "sums"}
    assert not [each for each in scene.lines() if "input_audio" in each], "nobody spoke"


def written(words: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": words}]}


def test_text_has_a_bound_alone_and_together() -> None:
    scene = Scene()
    scene.send("conversation.item.create", item=written("x" * 3000), event_id="long")
    assert scene.lines()[-1] == "error text_too_long long item.content" and not scene.orders
    parts = [{"type": "input_text", "text": ""}] * 3000
    scene.send("conversation.item.create", item=written("") | {"content": parts})
    assert scene.lines()[-1] == "error text_too_long None item.content"
    for _ in range(20):
        scene.send("conversation.item.create", item=written("x" * 999))
    assert scene.lines()[-1] == "error text_too_long None item.content"
    scene.send("response.create", response={"input": [written("y")] * 20})
    assert scene.lines()[-1] == "error text_too_long None response.input"
    scene.send("response.create")
    assert [each for each in scene.orders if isinstance(each, orders.Write)] == [
        orders.Write(f"{'x' * 999} {'x' * 999}")
    ]
    output = {"type": "function_call_output", "call_id": "call_1", "output": "z" * 33_000}
    scene.send("conversation.item.create", item=output)
    assert scene.lines()[-1] == "error text_too_long None item.output"


def test_of_long_items_the_oldest_are_forgotten() -> None:
    scene = Scene()
    for _ in range(20):
        scene.send("conversation.item.create", item=written(" " * 300_000, "system"))
    assert list(scene.dialogue.conversation._items) == ["item_18", "item_19", "item_20"]
    for name in ("item_18", "item_19", "item_20"):
        scene.send("conversation.item.delete", item_id=name)
    assert scene.dialogue.conversation._size == 0


def test_a_response_with_nothing_to_answer_ends_with_the_reason() -> None:
    scene = Scene()
    scene.send("response.create")
    assert scene.lines()[-2:] == ["response.created resp_1 in_progress 0 items", "response.done resp_1 failed 0 items"]
    assert "nothing to answer" in scene.last()["response"]["status_details"]["error"]["message"]
    content = [{"type": "input_text", "text": "stop"}]  # the reflex answers it: there is no turn
    scene.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    scene.send("response.create", now=SECOND)
    scene.keep(scene.dialogue.tick(SECOND + ASKED_NS - 1))
    assert "failed" not in scene.lines()[-1]
    scene.keep(scene.dialogue.tick(SECOND + ASKED_NS))
    assert scene.lines()[-1] == "response.done resp_2 failed 0 items"


def test_turns_wait_where_the_client_asks_for_every_answer() -> None:
    scene = Scene()
    detection = {"type": "server_vad", "create_response": False}
    scene.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    scene.said(1, "hello")
    assert not [each for each in scene.orders if isinstance(each, orders.Release)]
    scene.send("response.create")
    assert scene.orders[-1] == orders.Release(1)
    scene.spoke(1, 1, "Yes.")
    scene.send("response.create")
    assert scene.last()["error"]["code"] == "conversation_already_has_active_response"
    scene.replied(1)
    assert scene.last()["type"] == "response.done"


def test_a_function_of_the_client() -> None:
    scene = Scene()
    scene.send("session.update", session={"tools": [{"type": "function", "name": "wave"}]})
    scene.said(1, "wave")
    scene.happen(ACTION, Call("set_timer", {"seconds": 3}, turn=1, id=1))
    scene.happen(ACTION, Call("wave", {"hand": "left"}, turn=1, id=2))
    scene.replied(1)
    place = "item_id=item_2 call_id=call_2"
    assert scene.lines()[-8:] == [
        "response.created resp_1 in_progress 0 items",
        "response.output_item.added item_2 function_call in_progress",
        "conversation.item.added item_2 function_call in_progress",
        f'response.function_call_arguments.delta {place} {{"hand":"left"}}',
        f'response.function_call_arguments.done {place} arguments={{"hand":"left"}}',
        "conversation.item.done item_2 function_call completed",
        "response.output_item.done item_2 function_call completed",
        "response.done resp_1 completed 1 items",
    ]
    output = {"type": "function_call_output", "call_id": "call_2", "output": '{"waved": true}'}
    scene.send("conversation.item.create", item=output)
    assert scene.lines()[-1].startswith("conversation.item.done")
    scene.send("response.create")
    assert scene.orders[-1] == orders.Deliver(2, {"waved": True})
    scene.send("conversation.item.create", event_id="late", item=output)
    assert scene.lines()[-1] == "error call_not_found late item.call_id"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("7", "invalid_event", None),
        ('{"type": 7}', "unknown_event", "type"),
        ('{"type": "dance"}', "unknown_event", "type"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.commit"}', "turn_detection_on", None),
        ('{"type": "response.cancel"}', "response_cancel_not_active", "response_id"),
        ('{"type": "output_audio_buffer.clear"}', "output_audio_buffer_empty", None),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_not_found", "item_id"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1}', "item_not_found", "item_id"),
        ('{"type": "conversation.item.create", "item": {"type": "message"}}', "unsupported_item", "item.type"),
        ('{"type": "session.update", "session": {"type": "transcription"}}', "unsupported_session", "session.type"),
        ('{"type": "session.update", "session": {"output_modalities": ["smell"]}}', "invalid_value",
         "session.output_modalities"),
        ('{"type": "session.update", "session": {"input_audio_format": "mp3"}}', "unsupported_format",
         "session.audio.input.format"),
        ('{"type": "session.update", "session": {"tools": [{"type": "mcp"}]}}', "unsupported_tool", "session.tools[0]"),
        ('{"type": "session.update", "session": {"speed": 9}}', "invalid_value", "session.audio.output.speed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_an_error_that_says_so(message: str, code: str, param: str | None) -> None:
    scene = Scene()
    scene.keep(scene.dialogue.client(message, 0))
    error = scene.last()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"] and not scene.orders


def test_settings_say_what_is_in_effect_and_what_means_nothing() -> None:
    detection = {"type": "server_vad", "silence_duration_ms": 700, "threshold": 0.7, "interrupt_response": False}
    asked = {"instructions": "Be kind.", "voice": "alloy", "speed": 1.2, "turn_detection": detection, "temperature": 1}
    settings = changed(Settings(), asked, running=False)
    assert [note.split(":")[0].split()[0] for note in settings.notes] == [
        "instructions", "voice", "interrupt_response", "temperature",
    ]  # fmt: skip
    config = configured(Config(), settings)
    assert (config.turns.min_wait_ms, config.turns.max_wait_ms) == (700, 700)
    assert config.vad.threshold == 0.7 and config.vad.threshold_off <= 0.7
    assert config.voice.espeak.rate_wpm == round(1.2 * Config().voice.espeak.rate_wpm)
    late = changed(settings, {"speed": 0.5, "turn_detection": {"threshold": 0.2}}, running=True)
    assert (late.speed, late.detection and late.detection.threshold) == (1.2, 0.7)
    assert len(late.notes) == 2
    held = changed(late, {"audio": {"input": {"turn_detection": None}}}, running=True)
    assert held.detection is None and turns(Config().turns, held).min_wait_ms == 600_000
    eager = changed(held, {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}, running=True)
    assert turns(Config().turns, eager).max_wait_ms < Config().turns.max_wait_ms


def test_no_echo_is_cancelled_whatever_is_configured() -> None:
    engines = ("auto", "kalman", "none")
    found = [configured(load(None, [f"echo.engine={each}"]), Settings()).echo.engine for each in engines]
    assert found == ["none"] * 3


def test_the_beta_has_its_own_names() -> None:
    scene = Scene()
    scene.said(1, "hello")
    scene.spoke(1, 1, "Hi.")
    scene.replied(1)
    told = [each for event in scene.events if (each := older(event)) is not None]
    kinds = [each["type"] for each in told]
    assert "conversation.item.created" in kinds and "response.audio.delta" in kinds
    assert not {"conversation.item.added", "conversation.item.done", "response.output_audio.delta"} & set(kinds)
    assert told[0]["session"]["input_audio_format"] == "pcm16" and told[0]["session"]["modalities"] == ["audio", "text"]
    assert told[-1]["response"]["output"][0]["content"][0]["type"] == "audio"


# --- sound


@pytest.mark.parametrize(("form", "codec"), [(formats.ULAW, "pcm_mulaw"), (formats.ALAW, "pcm_alaw")])
def test_companded_sound_is_that_of_the_standard(form: formats.AudioFormat, codec: str) -> None:
    import av

    codes = bytes(range(256))
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = 8000, "mono"
    theirs = np.concatenate([frame.to_ndarray()[0] for frame in context.decode(av.Packet(codes))])
    assert np.array_equal(form.decode(codes), theirs)
    ramp = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
    again = form.decode(form.encode(ramp)).astype(int)
    step = np.abs(np.sort(form.decode(codes).astype(int))[:, None] - ramp[None, ::64]).min(axis=0)
    assert np.array_equal(np.abs(again - ramp)[::64], step), "no code would have been nearer"


class Listening:
    """What a microphone publishes: (packet time, time of publication, samples) in order."""

    def __init__(self) -> None:
        self.audio: list[tuple[int, int, Audio]] = []
        self.percepts: list[Any] = []
        self.clock = Clock()

    def publish(self, topic: Topic[Any], t: int, data: Any) -> None:
        if topic is AUDIO:
            self.audio.append((t, self.clock.now(), data))
        else:
            self.percepts.append(data)


def listen(plan: Any) -> tuple[ClientMicrophone, Listening]:
    """Run `plan(microphone, sleep)` in virtual time."""
    import asyncio

    async def main() -> tuple[ClientMicrophone, Listening]:
        microphone, heard = ClientMicrophone(most_s=20), Listening()
        running = asyncio.create_task(microphone.run(heard, heard.clock))
        await asyncio.sleep(0)
        await plan(microphone, asyncio.sleep)
        running.cancel()
        return microphone, heard

    return clocks.run(main(), virtual=True)


def ramp(seconds: float, begin: int = 1000) -> np.ndarray[Any, np.dtype[np.int16]]:
    return (begin + np.arange(round(seconds * RATE)) % 20_000).astype(np.int16)


def check(heard: Listening) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Time goes on without a slip, and never ahead of the clock; returns the sound."""
    for (t, now, audio), after in zip(heard.audio, [*heard.audio[1:], None], strict=True):
        assert t <= now and t == audio.end * SECOND // RATE
        assert after is None or after[2].start >= audio.end
    return np.concatenate([audio.samples for _, _, audio in heard.audio])


def test_a_live_voice_in_chunks_comes_through_whole_and_soon() -> None:
    said = ramp(2)
    jitter = np.random.default_rng(3).uniform(-0.01, 0.01, 50)

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        await sleep(1)
        for place, late in zip(range(0, len(said), 640), jitter, strict=True):
            microphone.push(said[place : place + 640], RATE)
            await sleep(0.04 + late)
        await sleep(1)

    microphone, heard = listen(plan)
    sound = check(heard)
    assert np.array_equal(sound[: len(said)], said) and not sound[len(said) :].any()
    assert max(now - t for t, now, _ in heard.audio[:95]) < 100 * MS
    end = heard.audio[-1][0]
    assert end > 3.6 * SECOND, "silence goes on where nothing comes"
    assert microphone.position(heard.audio[0][0]) == 20 and microphone.position(end) == 2000


def test_a_file_in_one_burst_is_heard_at_its_own_pace() -> None:
    said = ramp(3)

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        await sleep(0.5)
        microphone.push(said, RATE)
        with pytest.raises(Refused, match="more than 20 s"):
            microphone.push(ramp(18), RATE)
        await sleep(4)

    _, heard = listen(plan)
    sound = check(heard)
    assert np.array_equal(sound[: len(said)], said)
    assert heard.audio[0][1] - heard.audio[0][0] <= 500 * MS


def test_a_gap_is_silence_and_what_comes_late_is_caught_up_in_quiet() -> None:
    first, second = ramp(1), ramp(1, 2000)
    quiet = np.full(RATE * 3, 5, np.int16)

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        microphone.push(first, RATE)
        await sleep(2)
        microphone.push(np.concatenate([second, quiet]), RATE)
        await sleep(10)

    microphone, heard = listen(plan)
    sound = check(heard)
    place = int(np.flatnonzero(sound == 2000)[-1])
    assert np.array_equal(sound[:RATE], first) and place > RATE and not sound[RATE:place].any()
    assert microphone.skipped > 0 and (sound == 5).sum() >= KEPT_QUIET
    assert (sound == 5).sum() + microphone.skipped == len(quiet)


def test_what_is_held_back_is_heard_at_once_when_it_is_judged() -> None:
    said = ramp(2)

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        microphone.hold(True)
        await sleep(1)
        microphone.push(ramp(1, 9000), RATE)
        microphone.forget()
        for place in range(0, len(said), RATE):
            microphone.push(said[place : place + RATE], RATE)
            await sleep(1)
        assert not microphone._out or not heard_of(microphone)
        until = microphone.judge()
        assert until <= 3.1 * SECOND
        await sleep(1)
        microphone.write("hello")
        microphone.stop()

    def heard_of(microphone: ClientMicrophone) -> int:
        return microphone._came - RATE  # the second that was cleared

    _, heard = listen(plan)
    sound = check(heard)
    assert np.array_equal(sound[: len(said)], said) and len(sound) == len(said) + TAIL
    assert {now for _, now, _ in heard.audio} == {3 * SECOND}, "all of it in one step"
    assert heard.percepts == [Typed("hello"), StopPressed("realtime")]
    assert BLOCK * SECOND // RATE == 20 * MS


@pytest.mark.parametrize("gap", [0.0, 0.2, 1.0])
def test_nothing_is_heard_before_its_commit_from_a_client_that_goes_on_sending(gap: float) -> None:
    commits: list[tuple[float, int]] = []

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        microphone.hold(True)
        for turn in (1, 2, 3, 4):
            for _ in range(100):
                await sleep(0.02)
                microphone.push(np.full(RATE // 50, 1000 * turn, np.int16), RATE)
            commits.append((4 * SECOND, 0) if turn == 4 else (microphone._now() * SECOND // RATE, microphone.judge()))
            await sleep(gap)
        await sleep(3)

    _, heard = listen(plan)
    sound = check(heard)
    for turn, (committed, until) in enumerate(commits[:3], start=1):
        blocks = [(t, now) for t, now, audio in heard.audio if audio.samples[0] == 1000 * turn]
        assert len(blocks) == 100, "all of the turn"
        assert min(now for _, now in blocks) >= committed, "nothing of it before its commit"
        assert max(t for t, _ in blocks) == until - TAIL * SECOND // RATE, "and all of it, with its tail, in time"
        behind = int(np.flatnonzero(sound == 1000 * turn)[-1]) + 1
        assert not sound[behind : behind + TAIL].any(), "silence lies behind it"
    assert not (sound == 4000).any(), "a turn that is not committed is not heard"


def test_what_is_committed_is_heard_though_the_buffer_is_cleared_behind_it() -> None:
    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        microphone.hold(True)
        await sleep(1)
        for value in (1000, 2000):
            microphone.push(np.full(RATE, value, np.int16), RATE)
            microphone.judge()
        microphone.push(np.full(RATE + 7, 3000, np.int16), RATE)
        microphone.forget()
        await sleep(5)

    microphone, heard = listen(plan)
    sound = check(heard)
    assert [int((sound == value).sum()) for value in (1000, 2000, 3000)] == [RATE, RATE, 0]
    assert len(sound) == 2 * RATE + TAIL and microphone._waiting == 0


def test_a_client_that_sends_its_quiet_too_is_judged_no_later_each_turn() -> None:
    turn = np.concatenate([np.full(RATE * 2, 5, np.int16), ramp(1)])
    late: list[int] = []

    async def plan(microphone: ClientMicrophone, sleep: Any) -> None:
        microphone.hold(True)
        for _ in range(5):
            for place in range(0, len(turn), RATE // 50):
                await sleep(0.02)
                microphone.push(turn[place : place + RATE // 50], RATE)
            late.append(microphone.judge() - microphone._now() * SECOND // RATE)

    _, heard = listen(plan)
    assert max(late) <= 510 * MS, "the quiet before the voice makes up for the tail"
    sound = check(heard)
    starts = np.flatnonzero(sound == 1000)
    assert len(starts) >= 4 and all((sound[at - 1600 : at] == 5).all() for at in starts)
