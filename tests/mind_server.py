"""A model's server beside a test: in a thread, on a real socket, answering by what the person said last."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tests.model_servers import DONE, Line, ModelServer, chunk, event, usage


class Spoken(Struct, frozen=True):
    """An answer: `text` word by word, each with the blank before it, then `calls` (tool, and arguments as JSON text).

    first_s, each_s: until the first word, and from one to the next;  status: of HTTP, 200 for an answer
    stalls: after its text nothing comes any more
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    first_s: float = 0.1
    each_s: float = 0.02
    status: int = 200
    stalls: bool = False


class Served(Struct):
    """One question and what became of it. Times are monotonic seconds.

    sent: words so far;  left: when the client was seen to go, None if it stayed to the end
    """

    body: Any
    key: str
    at: float
    sent: int = 0
    left: float | None = None
    whole: bool = False


class MindServer:
    """`with MindServer({end of the person's words: answer}) as server`: url, questions, and open connections.

    After a tool has been called, the answer is that of "after " and the tool's name. What is not known is answered by
    "I see."; a list gives one answer after the other, the last one for ever.
    """

    def __init__(self, answers: Mapping[str, Spoken | Sequence[Spoken]]) -> None:
        self.answers = answers
        self.served: list[Served] = []
        self.connections = 0
        self.most = 0  # at once
        self._open = 0
        self._times: dict[str, int] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> "MindServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self.die()

    def die(self) -> None:
        """As a crash: nobody listens any more, and connections break off. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._dead.set)
            self._thread.join(10)
            assert not self._thread.is_alive()

    def asked(self, text: str) -> list[Served]:
        """The questions to which the person's last words were `text`."""
        return [each for each in self.served if words_of(each.body).endswith(text)]

    async def _main(self) -> None:
        self._loop, self._dead = asyncio.get_running_loop(), asyncio.Event()
        async with ModelServer(self._play) as server:
            self.url = server.url
            self._ready.set()
            await self._dead.wait()
            self.connections = server.connections

    def _answer(self, body: Any) -> Spoken:
        words = words_of(body)
        key = next((each for each in self.answers if words.endswith(each)), "")
        answer = self.answers.get(key, Spoken("I see."))
        if isinstance(answer, Spoken):
            return answer
        count = self._times[key] = self._times.get(key, -1) + 1
        return answer[min(count, len(answer) - 1)]

    async def _play(self, line: Line) -> None:
        served = Served(line.body, line.headers.get("authorization", ""), time.monotonic())
        self.served.append(served)
        self._open += 1
        self.most = max(self.most, self._open)
        gone = asyncio.ensure_future(line.reader.read(1))  # nothing comes on it but its end
        try:
            await self._tell(line, served, gone)
        finally:
            self._open -= 1
            gone.cancel()
            line.keep = False

    async def _tell(self, line: Line, served: Served, gone: "asyncio.Future[bytes]") -> None:
        answer = self._answer(line.body)
        if answer.status != 200:
            line.whole(answer.status, {"error": {"message": f"{answer.text} (key {served.key})"}})
            return
        line.head(connection="close")
        pieces: list[dict[str, Any]] = [
            chunk(f" {word}" if place else word) for place, word in enumerate(answer.text.split())
        ]
        for place, (name, arguments) in enumerate(answer.calls):
            call = {"index": place, "id": f"c{place}", "type": "function", "function": {"name": name, "arguments": ""}}
            pieces.append(chunk(tool_calls=[call]))
            halves = arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]
            pieces += [chunk(tool_calls=[{"index": place, "function": {"arguments": half}}]) for half in halves]
        wait = answer.first_s
        for piece in pieces:
            if await self._left(served, gone, wait):
                return
            line.send(event(piece))
            served.sent += 1
            wait = answer.each_s
        if await self._left(served, gone, 3600 if answer.stalls else 0 if pieces else wait):
            return
        line.send(event(chunk(finish="tool_calls" if answer.calls else "stop")))
        line.send(event(usage(20, len(pieces))))
        line.send(DONE)
        line.end()
        served.whole = True

    async def _left(self, served: Served, gone: "asyncio.Future[bytes]", wait_s: float) -> bool:
        await asyncio.wait([gone], timeout=wait_s)
        if not gone.done():
            return False
        gone.exception()  # a reset is as good as an end
        served.left = time.monotonic()
        return True


def words_of(body: Any) -> str:
    """What the newest message is about: the person's words, or "after " and the tool that was called."""
    messages = body["messages"]
    if messages[-1]["role"] == "tool":
        calls = next(message["tool_calls"] for message in reversed(messages) if message["role"] == "assistant")
        return f"after {calls[-1]['function']['name']}"
    content = messages[-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def spoken_before(body: Any) -> list[str]:
    """What the model is told to have said, message by message."""
    return [str(message["content"]) for message in body["messages"] if message["role"] == "assistant"]
