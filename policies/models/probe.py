"""What a language model's server can do, found out by asking it: for `visavis doctor --llm URL`.

It is asked through `ChatModel` itself, so that what is found here is what a session will find.
"""

import asyncio
import struct
import zlib
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from policies.errors import PolicyError
from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel
from policies.models.failures import Failure, of_key
from policies.models.finding import Finding
from streams.clock import SECOND, Clock, run
from streams.errors import DependencyMissing
from streams.packet import Packet
from streams.topics import IMAGE, Topic
from streams.types import Answered, Ask, Delta, Fault, Image, Outcome

LIST_MS = 3000
LOAD_MS = 40_000
"""How long the first answer is waited for: a server on this machine reads the model from the disk first."""
ANSWER_MS = 20_000
PATIENCE_S = 120.0
"""How long all of it may take."""
TOKENS = 64
_SLOW_MS = 1500
_FEW = 4  # words: an answer of fewer may come in one piece
_AT_ONCE = 0.02  # of the time to the first token: pieces that all come in less were held back by somebody
_NO_LIST = (400, 404, 405, 410, 501)  # of HTTP: from a server that can do without a list of models
_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


class Probe(Struct, frozen=True):
    """What was found. url: as it may be shown;  model: that was asked;  models: that the server lists

    reachable, streams, tools, pictures: whether it answers, in pieces, calls tools, and sees pictures
    first_ms: until the first token, when the model was loaded;  tokens_per_s: after that
    findings: the same in sentences, each with what to do
    """

    url: str
    model: str = ""
    models: tuple[str, ...] = ()
    reachable: bool = False
    streams: bool = False
    tools: bool = False
    pictures: bool = False
    first_ms: float | None = None
    tokens_per_s: float | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a session can be had with it."""
        return all(finding.ok for finding in self.findings)


def look(config: LlmConfig, patience_s: float = PATIENCE_S) -> Probe:
    """`probe`, from outside any event loop. Raises nothing but `KeyboardInterrupt`."""
    return run(probe(config, patience_s))


async def probe(config: LlmConfig, patience_s: float = PATIENCE_S) -> Probe:
    """Ask the server of `config` a few small questions. In real time, some seconds; at most `patience_s`."""
    patient = replace(
        config,
        attempts=1,
        first_token_ms=max(config.first_token_ms, LOAD_MS),
        whole_ms=LOAD_MS + ANSWER_MS,
        output_tokens=min(config.output_tokens, TOKENS),
    )
    try:
        asking = _Asking(config, patient)
    except (PolicyError, DependencyMissing) as error:
        return Probe(url="", findings=(_unusable(config, error),))
    limit = asyncio.timeout(patience_s)
    try:
        async with limit:
            await asking.all()
    except TimeoutError:
        if not limit.expired():
            raise
        asking.found("llm server", False, f"not all could be asked in {patience_s:g} s", "see to the server's load")
    finally:
        await asking.model.aclose()
    return replace(asking.probe, findings=tuple(asking.findings))


def _unusable(config: LlmConfig, error: PolicyError | DependencyMissing) -> Finding:
    """What is wrong before anybody is asked."""
    if isinstance(error, DependencyMissing):
        return Finding("llm server", False, str(error), f"pip install 'visavis[{error.extra}]'")
    if "key" in str(error).partition(":")[0]:
        return Finding("llm key", False, str(error), f"export {config.key_env}=...   # a key of this server")
    return Finding("llm server", False, str(error), "--llm URL, such as http://localhost:11434/v1")


class _Asking:
    """The questions, one after the other, and what was told of each."""

    def __init__(self, config: LlmConfig, patient: LlmConfig) -> None:
        self.config = config
        self.clock = Clock()
        self.newest: Packet[Image] | None = None  # it is a `Pictures`, too
        self.model = ChatModel(patient, self, self.clock, self)
        self.findings: list[Finding] = []
        self.probe = Probe(url=self.model.url, model=config.model)
        self._told: list[tuple[int, Any]] = []

    def publish(self, topic: Topic[Any], t: int, data: Any) -> None:
        """As a bus does."""
        self._told.append((t, data))

    def found(self, name: str, ok: bool, detail: str, mend: str = "") -> None:
        self.findings.append(Finding(name, ok, self.model.redacted(detail), mend))

    def refused(self, name: str, detail: str, mend: str) -> None:
        """A problem, which may be that of the key."""
        if of_key(detail):
            name, mend = "llm key", f"export {self.model.key_env}=...   # a key of this server"
        self.found(name, False, detail, mend)

    async def all(self) -> None:
        if await self._listing() and await self._answers():
            if self.config.tools:
                await self._tools()
            await self._pictures()

    async def _ask(self, text: str, **more: Any) -> tuple[Outcome, Answered]:
        self._told.clear()
        messages = [{"role": "user", "content": text}]
        ask = Ask({"messages": messages, **more}, picture_ns=3600 * SECOND if self.newest is not None else 0, id=1)
        outcome = await self.model.perform(ask)
        if outcome.status == "cut":  # it makes an outcome of a cancellation
            raise asyncio.CancelledError
        return outcome, msgspec.convert(outcome.result, Answered)

    def _deltas(self) -> list[tuple[int, Delta]]:
        return [(t, data) for t, data in self._told if isinstance(data, Delta)]

    def _refused(self) -> str:
        return next((data.message for _, data in self._told if isinstance(data, Fault)), "")

    async def _listing(self) -> bool:
        """Whether there is a server, and the model on it."""
        limit = LIST_MS + self.config.connect_ms
        try:
            async with asyncio.timeout(limit / 1000):
                names = await self.model.models()
        except Failure as failure:
            if not self._unlisted(failure):
                return False
            names = []
        except TimeoutError:
            self.found("llm server", False, f"no answer from {self.probe.url} in {limit / 1000:g} s",
                       "see whether it is the right address, and whether a firewall is between")  # fmt: skip
            return False
        else:
            listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            self.found("llm server", True, f"{self.probe.url} has {listed or 'no models'}")
        chosen = self.config.model or (names[0] if names else "")
        self.probe = replace(self.probe, reachable=True, models=tuple(names), model=chosen)
        if not chosen:
            self.found("llm model", False, "none is named, and the server lists none", "name one by --model NAME")
            return False
        if names and not any(name == chosen or name.startswith(f"{chosen}:") for name in names):  # Ollama: NAME:latest
            self.found("llm model", False, f"{chosen} is not among those that the server has",
                       f"--model {names[0]} (or, with Ollama: ollama pull {chosen})")  # fmt: skip
        return True

    def _unlisted(self, failure: Failure) -> bool:
        """Whether a server whose models cannot be listed is asked all the same."""
        url, told = self.probe.url, str(failure)
        if failure.status in (401, 403) and self.config.model:  # some keys may ask, and not list
            self.found("llm server", True, f"{url} is there, and lists no models (HTTP {failure.status})")
            return True
        if failure.status in _NO_LIST or told.endswith("is no list of models."):
            self.found("llm server", True, f"{url} is there, and lists no models: {told}")
            return True
        mends = {
            "connect": "start it (such as: ollama serve), or give another --llm URL",
            "malformed": "see whether it is the right address: mostly it ends with /v1, on a port of its own",
            "refused": "give the address of the API itself by --llm",
        }
        mend = mends.get(failure.kind, "see the log of the server, and whether it is the right port")
        if "SSL" in told:
            mend = "http:// in place of https://, if the server does not encrypt; else see to its certificate"
        self.refused("llm server", told, mend)
        return False

    async def _answers(self) -> bool:
        """Whether it answers, how fast, and in pieces."""
        config = self.config
        outcome, result = await self._ask("Say hello.")
        if outcome.status != "done":
            self.refused("llm answer", outcome.detail, "see the log of the server, and docs/models.md")
            return False
        loading = result.first_ms or 0.0
        outcome, result = await self._ask("Count from one to twenty, in words.")
        if outcome.status != "done":
            self.refused("llm answer", f"its second answer: {outcome.detail}", "see the log of the server")
            return False
        deltas = self._deltas()
        if not deltas or result.first_ms is None:
            self.found("llm answer", False, f"{result.model} answers with nothing", "take another model")
            return False
        took = (deltas[-1][0] - deltas[0][0]) / SECOND
        tokens = result.output_tokens or len(deltas)
        speed = tokens / took if len(deltas) > 2 and took > 0 else None
        words = len("".join(delta.text + delta.thought for _, delta in deltas).split())
        held = words >= 2 * _FEW and took * 1000 < _AT_ONCE * result.first_ms
        streams = (len(deltas) > 1 and not held) or max(words, result.output_tokens or 0) < _FEW
        self.probe = replace(self.probe, streams=streams, first_ms=result.first_ms, tokens_per_s=speed)
        told = f"{result.model}: first token after {result.first_ms:.0f} ms"
        told += f", then {speed:.0f} tokens/s" if speed else ""
        slow = result.first_ms > min(_SLOW_MS, config.first_token_ms)
        self.found(
            "llm answer", True, f"{told}{'; people wait for that' if slow else ''}",
            "a smaller model, or one that does not think first" if slow else "",
        )  # fmt: skip
        if loading > config.first_token_ms:
            self.found("llm loading", False, f"the first answer took {loading / 1000:.1f} s, and llm.first_token_ms is "
                       f"{config.first_token_ms}", "keep the model loaded (Ollama: OLLAMA_KEEP_ALIVE=-1)")  # fmt: skip
        if not self.probe.streams:
            self.found("llm streaming", False, "the answer comes all at once: the voice can only begin at its end",
                       "switch streaming on, or the buffering of a proxy in between off")  # fmt: skip
        else:
            short = f"its answer is too short to tell: {words} word{'s' if words != 1 else ''} in one piece"
            self.found("llm streaming", True, f"{len(deltas)} pieces" if len(deltas) > 1 else short)
        return True

    async def _tools(self) -> None:
        choice = {"type": "function", "function": {"name": "add"}}
        outcome, _ = await self._ask("What is 2 plus 3? Use the tool.", tools=[_TOOL], tool_choice=choice)
        calls = "".join(piece.name for _, delta in self._deltas() for piece in delta.tools)
        arguments = "".join(piece.arguments for _, delta in self._deltas() for piece in delta.tools)
        mend = "take a model that does, or set llm.tools=false (vLLM: --enable-auto-tool-choice; llama.cpp: --jinja)"
        if outcome.status == "done" and calls == "add" and _is_object(arguments):
            self.probe = replace(self.probe, tools=True)
            self.found("llm tools", True, f"it calls them: add({arguments})")
        elif outcome.status != "done":
            self.found("llm tools", False, outcome.detail, mend)
        elif calls:
            self.found("llm tools", False, f"it calls {calls}({arguments[:80]}), which is not what was offered", mend)
        else:
            self.found("llm tools", False, self._refused() or "it was offered a tool, and did not call it", mend)

    async def _pictures(self) -> None:
        self.newest = Packet(IMAGE, self.clock.now(), self.clock.now(), 0, 0, red())
        outcome, result = await self._ask("Which colour has this picture? One word.")
        self.newest = None
        mend = "take a model that sees, if it is to look"
        if outcome.status != "done":
            self.found("llm pictures", True, f"none: {outcome.detail}", mend)
        elif result.image is None:
            self.found("llm pictures", True, self._refused() or "it takes none", mend)
        else:
            said = "".join(delta.text for _, delta in self._deltas()).strip()
            sees = "red" in said.lower()
            self.probe = replace(self.probe, pictures=sees)
            told = f"it takes them, {'and' if sees else 'but'} calls a red one {said[:40]!r}"
            self.found("llm pictures", True, told, "" if sees else mend)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def red(side: int = 96) -> Image:
    """A red square as PNG (ISO/IEC 15948), made without a library."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xdc\x14\x14" * side) * side)
    data = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")
    return Image(data, "png", side, side)
