"""A language model in this process: a real one of transformers, tiny, on the processor."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from policies.errors import PolicyError
from policies.llm.settings import LlmConfig
from policies.models.answer import Piece
from policies.models.local import LocalModel, LocalModelError
from policies.models.torch_reader import Reader, parser
from policies.models.torch_text import Kept, Question, TextModel
from streams.clock import Clock, run
from streams.errors import DependencyMissing
from streams.types import Answered, Ask, Delta, Fault, Outcome
from tests.tiny_model import RECITED, into_cache, tiny_model

for package in ("torch", "transformers"):
    pytest.importorskip(package)

GREETING, UNICODE = ("".join(RECITED[name][:-1]) for name in ("greet", "unicode"))
TOOL = {
    "type": "function",
    "function": {
        "name": "set_timer",
        "description": "Set a timer.",
        "parameters": {"type": "object", "properties": {"seconds": {"type": "number"}}},
    },
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It brings no template for its answers, and has no place for tools."""
    return tiny_model(tmp_path_factory.mktemp("models") / "bare", tools=False, parses=False)


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it says is noise that depends on all it has read."""
    return tiny_model(tmp_path_factory.mktemp("models") / "attentive", wired=False)


class Room:
    """A session with one model. told: what it published, with times"""

    def __init__(self, model: Path | str, **settings: Any) -> None:
        self.told: list[tuple[int, Any]] = []
        self.clock = Clock()
        self.pictures = SimpleNamespace(newest=None)
        config = LlmConfig(engine="transformers", model=str(model), **settings)
        self.model = LocalModel(config, self, self.clock, self.pictures)
        self._asked = 0
        self._news = asyncio.Event()

    def publish(self, topic: Any, t: int, data: Any) -> None:
        self.told.append((t, data))
        self._news.set()

    async def heard(self, id: int, pieces: int) -> None:
        """Wait until so many pieces of an answer have come."""
        while len(self.deltas(id)) < pieces:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)

    def deltas(self, id: int) -> list[Delta]:
        return [data for _, data in self.told if isinstance(data, Delta) and data.id == id]

    def faults(self) -> list[Fault]:
        return [data for _, data in self.told if isinstance(data, Fault)]

    async def ask(self, *words: str, **request: Any) -> tuple[str, Outcome, Answered]:
        roles = ["user", "assistant"] * len(words)
        messages = [{"role": role, "content": text} for role, text in zip(roles, words)]
        return await self.put(Ask({"messages": messages, **request}))

    async def put(self, ask: Ask) -> tuple[str, Outcome, Answered]:
        self._asked += 1
        ask = msgspec.structs.replace(ask, id=self._asked)
        outcome = await self.model.perform(ask)
        text = "".join(delta.text for delta in self.deltas(ask.id))
        return text, outcome, msgspec.convert(outcome.result, Answered)


def meeting(model: Path | str, scene: Callable[[Room], Awaitable[Any]], virtual: bool = False, **settings: Any) -> Any:
    async def main() -> Any:
        room = Room(model, **settings)
        try:
            return await scene(room)
        finally:
            await room.model.aclose()

    return run(main(), virtual=virtual)


# --- answers


def test_an_answer_comes_in_whole_words_with_its_counts_and_times(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        assert await room.model.warm()
        before = room.clock.now()
        text, outcome, answered = await room.ask("please greet")
        deltas = room.deltas(1)
        assert text == GREETING
        assert (outcome.action, outcome.name, outcome.status, outcome.id) == ("Ask", "tiny", "done", 1)
        assert (answered.finish, answered.model, answered.error) == ("stop", "tiny", "")
        assert answered.output_tokens == len(RECITED["greet"])
        assert [delta.index for delta in deltas] == list(range(len(deltas)))
        assert all(not delta.text[-1].isalpha() for delta in deltas)
        assert 0 < (answered.first_ms or 0) <= (answered.whole_ms or 0) <= (room.clock.now() - before) / 1e6
        assert str(tiny) not in repr(room.told) + repr(outcome)

    meeting(tiny, scene)


def test_characters_of_several_tokens_come_whole(tiny: Path, bare: Path) -> None:
    async def scene(room: Room) -> None:
        text, _, _ = await room.ask("unicode")
        assert text == UNICODE

    meeting(tiny, scene)
    meeting(bare, scene)


def test_calls_and_thoughts_are_taken_apart_by_the_tokenizers_template_or_the_common_marks(
    tiny: Path, bare: Path
) -> None:
    async def scene(room: Room) -> None:
        text, _, answered = await room.ask("a timer please", tools=[TOOL])
        (delta,) = room.deltas(1)
        assert (text, answered.finish) == ("", "tool_calls")
        (piece,) = delta.tools
        assert (piece.index, piece.name, piece.arguments) == (0, "set_timer", '{"seconds": 90}')
        assert piece.call

        text, _, answered = await room.ask("now think")
        assert (text, answered.finish) == ("Hello there…", "stop")
        assert "".join(delta.thought for delta in room.deltas(2)) == "They want a greeting"

    meeting(tiny, scene)
    meeting(bare, scene)


@pytest.mark.parametrize(
    ("kind", "before", "answer"),
    [
        (
            "qwen3_5",
            "<|im_start|>assistant\n<think>\n",
            "Hm.</think>\n\nYes.<tool_call>\n<function=set_timer>\n<parameter=seconds>\n90\n</parameter>\n</function>"
            "\n</tool_call><|im_end|>",
        ),
        (
            "gemma4",
            "<|turn>model\n",
            "<|channel>thought\nHm.<channel|>Yes.<|tool_call>call:set_timer{seconds:90}<tool_call|>",
        ),
        (
            "llama",
            "<think>\n",
            'Hm.</think>Yes.<tool_call>{"name": "set_timer", "arguments": {"seconds": 90}}</tool_call>',
        ),
    ],
)
def test_the_ways_in_which_families_of_models_write_thoughts_and_calls(kind: str, before: str, answer: str) -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type=kind))
    tokenizer = SimpleNamespace(added_tokens_decoder={}, backend_tokenizer=None)
    pieces: list[Piece] = []
    reader = Reader(parser(tokenizer, model, before, [TOOL]), tokenizer, 1, pieces.append, threading.Event())
    for letter in answer:  # as tokens come, cut anywhere
        pieces.append(reader.read(letter))
    reader.end()
    whole = sum(pieces, Piece())
    assert (whole.thought.strip(), whole.text.strip()) == ("Hm.", "Yes.")
    (call,) = whole.tools
    assert (call.name, json.loads(call.arguments)) == ("set_timer", {"seconds": 90})


def test_a_call_that_is_no_json_fails_and_the_next_answer_is_well(tiny: Path, bare: Path) -> None:
    async def scene(room: Room) -> None:
        _, outcome, answered = await room.ask("broken", tools=[TOOL])
        assert (outcome.status, answered.error, answered.finish) == ("failed", "malformed", "")
        assert "\n" not in outcome.detail
        assert not any(delta.tools for delta in room.deltas(1))
        text, outcome, answered = await room.ask("torn", tools=[TOOL])
        assert (text, outcome.status, answered.error) == ("Well", "failed", "malformed")
        text, outcome, answered = await room.ask("torn", tools=[TOOL], max_tokens=2)
        assert (text, outcome.status, answered.finish) == ("Well", "done", "length")
        assert (await room.ask("greet"))[0] == GREETING

    meeting(tiny, scene)
    meeting(bare, scene)


def test_an_answer_may_come_to_its_greatest_length(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        text, outcome, answered = await room.ask("endless")
        assert (outcome.status, answered.finish, answered.output_tokens) == ("done", "length", 5)
        assert text == "one two three four five "
        assert (await room.ask("endless", max_tokens=2))[0] == "one two "

    meeting(tiny, scene, output_tokens=5)


def test_what_was_read_already_is_not_read_again_and_changes_nothing(attentive: Path) -> None:
    first, second = "Tell me of the sea. " * 10, "And of the mountains."

    async def kept(room: Room) -> tuple[str, str, int | None]:
        answer, _, _ = await room.ask(first)
        await room.put(Ask({"messages": [{"role": "user", "content": "sum up"}]}, purpose="summary"))
        again, _, answered = await room.ask(first, "Aha.", second)
        assert answered.input_tokens is not None
        assert answered.input_tokens - 80 < (answered.cached_tokens or 0) < answered.input_tokens
        whole, _, answered = await room.ask(first, "Aha.", second)
        assert whole == again
        assert answered.cached_tokens == (answered.input_tokens or 0) - 1
        return answer, again, answered.input_tokens

    async def fresh(room: Room) -> tuple[str, int | None, int | None]:
        answer, _, answered = await room.ask(first, "Aha.", second)
        return answer, answered.input_tokens, answered.cached_tokens

    async def other(room: Room) -> str:
        return (await room.ask(first.replace("sea", "tea"), "Aha.", second))[0]

    _, again, count = meeting(attentive, kept, output_tokens=20)
    assert meeting(attentive, fresh, output_tokens=20) == (again, count, 0)
    assert meeting(attentive, other, output_tokens=20) != again, "the model does not look at what it reads"


@pytest.mark.parametrize("step", [1, 6])
def test_where_it_was_stopped_in_a_layer_it_takes_up_again(attentive: Path, step: int) -> None:
    """step: 1 is when it reads the question, later ones are tokens of the answer."""
    model, stop, steps, told = TextModel(str(attentive), "attentive"), threading.Event(), [0], []
    question = Question(1, [{"role": "user", "content": "Tell me of the sea."}], [], {"max_new_tokens": 12}, None, {})
    whole = model.answer(question, Kept(), told.append, stop)
    assert whole.output_tokens == 12

    def count(*called: Any) -> None:
        steps[0] += 1
        if steps[0] == step:
            stop.set()

    hook = model._model.model.layers[0].mlp.register_forward_pre_hook(count)  # the first layer has read, no other has
    kept, heard = Kept(), len(told)
    stopped = model.answer(question, kept, told.append, stop)
    hook.remove()
    assert (stopped.finish, stopped.output_tokens) == ("", step - 1)
    assert len(kept.tokens) == kept.cache.get_seq_length() == (0 if step == 1 else (whole.input_tokens or 0) + step - 2)

    del told[heard:]
    again = model.answer(question, kept, told.append, threading.Event())
    assert again.cached_tokens == (0 if step == 1 else (whole.input_tokens or 0) - 1)
    assert told[heard:] == told[:heard]


def test_a_seed_makes_chance_repeatable(attentive: Path) -> None:
    async def scene(room: Room) -> list[str]:
        return [(await room.ask("Say something.", seed=seed))[0] for seed in (1, 1, 2)]

    first, same, other = meeting(attentive, scene, temperature=2.0, output_tokens=20)
    assert first == same != other


def test_in_virtual_time_an_answer_takes_none(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        text, _, answered = await room.ask("greet")
        assert (text, answered.whole_ms, room.clock.now()) == (GREETING, 0, 0)

    meeting(tiny, scene, virtual=True)


# --- cuts, waits, and several at once


def test_a_cut_ends_it_at_once_and_the_model_stops(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        await room.model.warm()
        asking = asyncio.ensure_future(room.ask("endless"))
        await room.heard(1, 5)
        heard, before = len(room.deltas(1)), room.clock.now()
        asking.cancel()
        _, outcome, answered = await asking
        assert room.clock.now() - before < 50e6
        assert (outcome.status, answered.finish, answered.error) == ("cut", "", "")
        assert len(room.deltas(1)) == heard
        async with asyncio.timeout(10):  # all of the answer would take half a minute
            assert (await room.ask("greet"))[0] == GREETING
        assert len(room.deltas(1)) == heard

    meeting(tiny, scene, output_tokens=50_000)


def test_the_loop_goes_on_while_it_thinks(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        await room.model.warm()
        gaps: list[int] = []

        async def tick() -> None:
            while True:
                before = room.clock.now()
                await asyncio.sleep(0.005)
                gaps.append(room.clock.now() - before)

        ticking = asyncio.ensure_future(tick())
        _, _, answered = await room.ask("endless")
        ticking.cancel()
        assert len(gaps) > 20
        assert max(gaps) < (answered.whole_ms or 0) * 1e6 / 2

    meeting(tiny, scene, output_tokens=1000)


def test_every_wait_has_a_bound(tiny: Path) -> None:
    async def slow(room: Room) -> None:
        await room.model.warm()
        _, outcome, answered = await room.ask("sea " * 10_000)
        assert (outcome.status, answered.error, answered.first_ms) == ("timeout", "first_token", None)
        assert "first_token_ms" in outcome.detail

    meeting(tiny, slow, first_token_ms=1)

    async def long(room: Room) -> None:
        await room.model.warm()
        text, outcome, answered = await room.ask("endless")
        assert (outcome.status, answered.error) == ("timeout", "too_long")
        assert text.startswith("one two three")
        assert "whole_ms" in outcome.detail

    meeting(tiny, long, whole_ms=300, output_tokens=50_000)


def test_sessions_share_a_model_and_keep_their_conversations_apart(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        other = Room(tiny)
        try:
            answers = await asyncio.gather(*(each.ask(word) for each, word in ((room, "greet"), (other, "unicode"))))
            assert [text for text, _, _ in answers] == [GREETING, UNICODE]
            assert room.model._model is other.model._model
        finally:
            await other.model.aclose()

    meeting(tiny, scene)


def test_a_question_that_is_withdrawn_before_its_turn_is_never_thought_of(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        await room.model.warm()
        first = asyncio.ensure_future(room.ask("endless"))
        await room.heard(1, 1)
        second = asyncio.ensure_future(room.ask("greet"))
        await asyncio.sleep(0.01)
        second.cancel()
        _, outcome, _ = await second
        assert outcome.status == "cut"
        first.cancel()
        await first
        assert (await room.ask("unicode"))[0] == UNICODE
        assert room.deltas(2) == []

    meeting(tiny, scene, output_tokens=50_000)


# --- what it cannot do


def test_pictures_and_tools_it_cannot_take_are_left_out_and_told_once(bare: Path) -> None:
    async def scene(room: Room) -> None:
        room.pictures.newest = SimpleNamespace(seq=1, t=0)
        for _ in range(2):
            ask = Ask({"messages": [{"role": "user", "content": "greet"}], "tools": [TOOL]}, picture_ns=10**12)
            text, _, answered = await room.put(ask)
            assert (text, answered.image) == (GREETING, None)
        assert [fault.error for fault in room.faults()] == ["NotSupported", "NotSupported"]

        shown = [{"type": "text", "text": "greet"}, {"type": "image_url", "image_url": {"url": "data:image/png,"}}]
        _, outcome, answered = await room.put(Ask({"messages": [{"role": "user", "content": shown}]}))
        assert (outcome.status, answered.error) == ("failed", "refused")
        assert "no pictures" in outcome.detail

    meeting(bare, scene)


def test_messages_that_cannot_be_written_down_are_refused(tiny: Path) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "set_timer", "arguments": "{no json"}}]
    wrong: list[Any] = [["hello"], [{"role": "assistant", "content": None, "tool_calls": calls}]]

    async def scene(room: Room) -> None:
        for messages in wrong:
            _, outcome, answered = await room.put(Ask({"messages": messages}))
            assert (outcome.status, answered.error) == ("failed", "refused")
        calls[0]["function"]["arguments"] = '{"seconds": 90}'  # type: ignore[index]
        talk = [
            {"role": "user", "content": [{"type": "text", "text": "timer"}]},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "1", "content": "done: greet"},
        ]
        assert (await room.put(Ask({"messages": talk})))[0] == GREETING

    meeting(tiny, scene)


def test_a_question_longer_than_the_model_can_read_is_told_so(tiny: Path) -> None:
    async def scene(room: Room) -> None:
        _, outcome, answered = await room.ask("a" * 100_001)
        assert (outcome.status, answered.error) == ("failed", "too_long")
        assert "100000" in outcome.detail

    meeting(tiny, scene)


@pytest.mark.parametrize(
    ("model", "what"),
    [("", "llm.model is empty"), ("no/such/model", "hf download"), ("/no/such folder", "no such folder")],
)
def test_a_model_that_is_not_there(model: str, what: str) -> None:
    async def scene(room: Room) -> None:
        raise AssertionError("it was made")

    with pytest.raises(PolicyError, match=what):
        meeting(model, scene)


def test_settings_it_does_not_know(tiny: Path, tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        raise AssertionError("it was made")

    with pytest.raises(LocalModelError, match=r"llm\.extra has 'reasoning_effort'"):
        meeting(tiny, scene, extra={"reasoning_effort": "none"})
    with pytest.raises(LocalModelError, match=r"config\.json"):
        meeting(tmp_path, scene)


def test_a_missing_package_names_the_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(room: Room) -> None:
        raise AssertionError("it was made")

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyMissing, match=r"visavis\[transformers\]"):
        meeting(tiny, scene)


def test_a_model_that_cannot_be_loaded_is_told_and_refuses(tiny: Path, tmp_path: Path) -> None:
    torn, silent = tmp_path / "torn", tmp_path / "silent"
    for folder in (torn, silent):
        shutil.copytree(tiny, folder)
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:1000])
    (silent / "chat_template.jinja").unlink()

    async def scene(room: Room) -> None:
        assert not await room.model.warm()
        (fault,) = room.faults()
        _, outcome, answered = await room.ask("greet")
        assert (outcome.status, answered.error, outcome.detail) == ("failed", "refused", fault.message)
        assert "llm.model" in fault.message

    meeting(torn, scene)
    meeting(silent, scene)


def test_a_name_in_the_local_cache(tiny: Path, tmp_path: Path) -> None:
    into_cache(tiny, tmp_path, "tests/tiny")
    code = (
        "from tests.test_local_model import *\n"
        "async def scene(room):\n"
        "    text, outcome, _ = await room.ask('greet')\n"
        "    print(text, outcome.name)\n"
        "meeting('tests/tiny', scene)"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == f"{GREETING} tests/tiny\n", done.stderr
