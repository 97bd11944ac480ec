"""A causal language model of transformers as a thread uses it: load, write the conversation down, generate.

Synchronous: no event loop, no session clock. What it generates is taken apart in `torch_reader.py`.
"""

import copy
import importlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from policies.errors import PolicyError
from policies.models.answer import Piece
from policies.models.failures import Failure
from policies.models.torch_reader import Reader, Stopped, parser


class LocalModelError(PolicyError):
    """A model cannot be used in this process: names the key of the configuration, and what to do."""


class Question(NamedTuple):
    """What is asked. settings: of `transformers.GenerationConfig`;  chat: further arguments of the chat template"""

    id: int
    messages: list[Any]
    tools: list[Any]
    settings: dict[str, Any]
    seed: int | None
    chat: dict[str, Any]


class Count(NamedTuple):
    """What came of it, as in `Answered`."""

    finish: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


class Kept:
    """What the model has read already in one conversation, so that the next question need not read it again."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.cache: Any = None


class TextModel:
    """A loaded model and its tokenizer: on a GPU if torch has one, else on the processor, in its own number format.

    place: folder, or name in the local cache of Hugging Face;  name: for reports
    Takes seconds to make. Raises `LocalModelError`. May be shared by threads: it answers one question at a time.
    """

    def __init__(self, place: str, name: str) -> None:
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
        safetensors = importlib.import_module("safetensors")
        transformers.utils.logging.disable_progress_bar()
        broken = (OSError, ValueError, ImportError, RuntimeError, LookupError, safetensors.SafetensorError)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(place, local_files_only=True, dtype="auto")
            self.device = _device(torch)
            self._model = model.to(self.device).eval()
        except broken as error:
            why = str(error).strip().split("\n", 1)[0]
            raise LocalModelError(
                f"llm.model is {place!r}, which transformers cannot load as a language model: {why} "
                "Give a folder with config.json, weights and tokenizer of a text model."
            ) from error
        if not tokenizer.chat_template:
            raise LocalModelError(
                f"llm.model is {place!r}, which has no chat template: it was not trained to converse. "
                "Take its variant for instructions or chat."
            )
        if not tokenizer.is_fast:
            raise LocalModelError(f"llm.model is {place!r}, which has no tokenizer.json: its words cannot be streamed.")
        self.name = name
        self.tokenizer = tokenizer
        self.takes_tools = "tools" in str(tokenizer.chat_template)
        self.context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._transformers, self._torch = transformers, torch
        self._cores = torch.get_num_threads()
        self._ends = _ends(model, tokenizer)
        self._free = threading.Lock()
        self._stop: threading.Event | None = None  # of the question that is being answered
        for modules in [each for each in self._model.modules() if isinstance(each, torch.nn.ModuleList)]:
            for layer in modules:
                layer.register_forward_pre_hook(self._look)

    def answer(self, question: Question, kept: Kept, told: Callable[[Piece], None], stop: threading.Event) -> Count:
        """Generate; `told` gets a piece per token, an empty one where a token says nothing yet. Ends within a layer
        of `stop`, also where it still reads. Raises `Failure`."""
        while not self._free.acquire(timeout=0.02):
            if stop.is_set():
                return Count("", 0, 0, 0)
        try:
            self._stop = stop
            if self.device == "cpu":  # holds for this thread; a core is left to hearing and speaking, which cannot wait
                self._torch.set_num_threads(max(1, self._cores - 1))
            return self._answer(question, kept, told, stop)
        finally:
            self._stop = None
            self._free.release()

    def _look(self, *called: Any) -> None:
        """Called before each layer."""
        if self._stop is not None and self._stop.is_set():
            raise Stopped

    def _answer(self, question: Question, kept: Kept, told: Callable[[Piece], None], stop: threading.Event) -> Count:
        prompt, tokens = self._written(question)
        most = question.settings["max_new_tokens"]
        if self.context is not None:
            most = min(most, self.context - len(tokens))
            if most <= 0:
                raise Failure(
                    "too_long", f"the question has {len(tokens)} tokens, and {self.name} takes {self.context}."
                )
        settings = copy.deepcopy(self._model.generation_config)
        settings.update(**{**question.settings, "max_new_tokens": most})
        cached = self._take_up(kept, tokens)
        apart = parser(self.tokenizer, self._model, prompt, question.tools)
        reader = Reader(apart, self.tokenizer, question.id, told, stop)
        if question.seed is not None:
            self._torch.manual_seed(question.seed)
        ids = self._torch.tensor([tokens], device=self.device)
        given = {"input_ids": ids, "attention_mask": self._torch.ones_like(ids), "past_key_values": kept.cache}
        try:
            self._model.generate(**given, generation_config=settings, streamer=reader)
        except Stopped:
            return Count("", len(tokens), cached, len(reader.tokens))
        except (RuntimeError, ValueError, LookupError, TypeError) as error:  # out of memory, a request it cannot follow
            kept.cache = None
            raise Failure("server", f"{self.name} failed: {type(error).__name__}: {error}") from error
        finally:
            kept.tokens = [*tokens, *reader.tokens][: _evened(kept.cache)]
        ended = bool(reader.tokens) and reader.tokens[-1] in self._ends
        if reader.torn is not None and ended:  # else it came to its greatest length in the midst of a call
            raise reader.torn
        finish = "tool_calls" if reader.calls else "stop" if ended or len(reader.tokens) < most else "length"
        return Count(finish, len(tokens), cached, len(reader.tokens))

    def _written(self, question: Question) -> tuple[str, list[int]]:
        """The chat as the model reads it: as text, and as tokens."""
        jinja2 = importlib.import_module("jinja2")
        tools = question.tools if self.takes_tools else []
        try:
            prompt = self.tokenizer.apply_chat_template(
                [_message(each, self.name) for each in question.messages],
                tools=tools or None,
                add_generation_prompt=True,
                tokenize=False,
                **question.chat,
            )
        except (jinja2.TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise Failure("refused", f"the chat template of {self.name} cannot write this down: {error}") from error
        return prompt, self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def _take_up(self, kept: Kept, tokens: list[int]) -> int:
        """Leave in `kept` what `tokens` begin with; how many that are. At least one token is always read."""
        same = 0
        if kept.cache is not None:
            while same < min(len(kept.tokens), len(tokens) - 1) and kept.tokens[same] == tokens[same]:
                same += 1
            if same:
                kept.cache.crop(same - len(kept.tokens))
        if not same:
            fresh = self._transformers.DynamicCache(config=self._model.config)
            # a layer that forgets (sliding window, recurrent) cannot be set back to an earlier place
            plain = fresh.is_croppable and not any(fresh.is_sliding)
            kept.cache = fresh if plain else None
        kept.tokens = []
        return same


def located(model: str) -> str:
    """The folder or name of `llm.model`, if there is one. Raises `LocalModelError`."""
    if not model:
        raise LocalModelError(
            "llm.model is empty: for the engine 'transformers' it is the folder of a model, or its name in the local "
            "cache of Hugging Face."
        )
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if folder.is_dir():
        raise LocalModelError(
            f"llm.model is {model!r}, a folder without config.json: this is no model of transformers."
        )
    hub = importlib.import_module("huggingface_hub")
    try:
        if isinstance(hub.try_to_load_from_cache(model, "config.json"), str):
            return model
    except ValueError:  # not a name that a model may have: it was meant as a folder
        pass
    raise LocalModelError(
        f"llm.model is {model!r}: there is no such folder, and no such model in the local cache of Hugging Face. "
        "Nothing is fetched during a session: fetch it once (hf download NAME), or give the folder."
    )


_shared: WeakValueDictionary[str, TextModel] = WeakValueDictionary()
_loading = threading.Lock()


def shared(place: str, name: str) -> TextModel:
    """The model of `place`: loaded once, and shared as long as somebody holds it. Raises `LocalModelError`."""
    with _loading:
        model = _shared.get(place)
        if model is None:
            model = _shared[place] = TextModel(place, name)
        return model


def _device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _evened(cache: Any) -> int:
    """Take away what only some layers have read, where it was stopped; how many tokens are left."""
    if cache is None:
        return 0
    read = min(layer.get_seq_length() for layer in cache.layers)
    for layer in cache.layers:
        layer.crop(read - layer.get_seq_length())
    return int(read)


def _ends(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return set(ends) if isinstance(ends, list) else {ends}


def _message(message: Any, name: str) -> dict[str, Any]:
    """One message of OpenAI's form, as chat templates read it: content as text, arguments of calls as objects."""
    content = message.get("content") or ""
    if isinstance(content, list):
        if any(part.get("type") != "text" for part in content):
            raise Failure("refused", f"{name} runs in this process and takes text only, no pictures.")
        content = "\n".join(part["text"] for part in content)
    written = {**message, "content": content}
    if message.get("tool_calls"):
        written["tool_calls"] = [_called(call) for call in message["tool_calls"]]
    return written


def _called(call: Any) -> Any:
    function = call["function"]
    given = function.get("arguments") or "{}"
    return {**call, "function": {**function, "arguments": json.loads(given) if isinstance(given, str) else given}}
