"""What the client of chat completions costs beside the bare socket, and how fast a cut closes the connection.

    python -m benchmarks.model [--answers 30] [--tokens 200] [--cuts 100]

A server on this machine, in a process of its own, stamps every token with the time at which it sent it (the system's
monotonic clock, which processes share) and tells when it saw a connection close.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.machine import machine, spread
from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel
from streams.clock import Clock, run
from streams.types import Ask, Delta

REQUEST = {"messages": [{"role": "user", "content": "hello"}]}
GAP_S = 0.004


def served(ready: Any, closed: Any, tokens: int) -> None:
    """The server: `tokens` tokens, `GAP_S` apart, each the time at which it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                gone = asyncio.ensure_future(reader.read(1)) if b"user-agent" in head else None
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for _ in range(tokens):
                    piece(
                        writer, json.dumps({"choices": [{"index": 0, "delta": {"content": f"{time.monotonic_ns()} "}}]})
                    )
                    if gone is not None:
                        await asyncio.wait([gone], timeout=GAP_S)
                        if gone.done():
                            gone.exception()  # a reset is as good as an end
                            closed.put(time.monotonic_ns())
                            return
                    else:
                        await asyncio.sleep(GAP_S)
                piece(writer, json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
                piece(writer, "[DONE]")
                writer.write(b"0\r\n\r\n")
                if gone is not None:
                    return  # its first byte was waited for: it cannot be used again
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def piece(writer: asyncio.StreamWriter, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ready.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


class Told:
    """A publisher that notes how late each token came, in ns, and calls `began` with the first."""

    def __init__(self) -> None:
        self.late: list[int] = []
        self.first: list[int] = []
        self.began: Callable[[], object] = lambda: None

    def publish(self, topic: Any, t: int, data: Any) -> None:
        """As a bus does."""
        now = time.monotonic_ns()
        if isinstance(data, Delta):
            late = [now - int(word) for word in data.text.split()]
            if data.index == 0:
                self.first += late[:1]
                self.began()
            self.late += late


async def raw(port: int, answers: int) -> tuple[list[int], list[int]]:
    """The floor: a stream of asyncio, and nothing but looking for the tokens in its bytes."""
    late: list[int] = []
    first: list[int] = []
    body = json.dumps(REQUEST).encode()
    for _ in range(answers):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        begun = False
        while b"[DONE]" not in (data := await reader.read(65536)):
            now = time.monotonic_ns()
            stamps = [now - int(part.partition(b" ")[0]) for part in data.split(b'"content": "')[1:]]
            first += stamps[:1] if not begun else []
            begun = begun or bool(stamps)
            late += stamps
        writer.close()
    return late, first


async def ours(port: int, answers: int, tokens: int) -> tuple[list[int], list[int]]:
    """The same through `ChatModel`."""
    told = Told()
    config = LlmConfig(url=f"http://127.0.0.1:{port}/v1", model="m", output_tokens=max(400, tokens))
    model = ChatModel(config, told, Clock())
    for number in range(answers):
        outcome = await model.perform(Ask(REQUEST, turn=1, id=number + 1))
        if outcome.status != "done":
            raise SystemExit(f"an answer failed: {outcome.detail}")
    await model.aclose()
    return told.late, told.first


async def sdk(port: int, answers: int) -> tuple[list[int], list[int]]:
    """The same through OpenAI's own client."""
    from openai import AsyncOpenAI

    told = Told()
    async with AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:
        for number in range(answers):
            await _sdk_answer(client, told, number)
    return told.late, told.first


async def _sdk_answer(client: Any, told: Told, number: int) -> None:
    stream = await client.chat.completions.create(model="m", stream=True, **REQUEST)
    async with stream:
        index = 0
        async for each in stream:
            if each.choices and each.choices[0].delta.content:
                told.publish(None, 0, Delta(1, number, index, each.choices[0].delta.content))
                index += 1


async def cuts(port: int, closed: Any, count: int, library: str) -> tuple[list[int], list[int]]:
    """From the cancellation to the server's having seen the connection close, and to the end of the call."""
    told = Told()
    config = LlmConfig(url=f"http://127.0.0.1:{port}/v1", model="m")
    model = ChatModel(config, told, Clock())
    client: Any = None
    if library == "openai":
        from openai import AsyncOpenAI

        client = AsyncOpenAI(api_key="none", base_url=config.url, max_retries=0)
    times, outcomes = [], []
    for number in range(count):
        began = asyncio.Event()
        told.began = began.set
        asking: asyncio.Task[Any] = asyncio.ensure_future(
            _sdk_answer(client, told, number) if client else model.perform(Ask(REQUEST, turn=1, id=number + 1))
        )
        await began.wait()
        await asyncio.sleep(GAP_S * (number % 7) / 5)
        cut = time.monotonic_ns()
        asking.cancel()
        await asyncio.wait([asking])
        outcomes.append(time.monotonic_ns() - cut)
        times.append(await asyncio.to_thread(closed.get, True, 5) - cut)
    await model.aclose()
    if client:
        await client.close()
    return times, outcomes


def imports() -> None:
    """What the libraries take to be imported, each in a process of its own."""
    for name in ("policies.models.chat", "httpx2", "openai"):
        code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
        times = [
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
            for _ in range(3)
        ]
        print(f"import {name:22} {min(times) * 1000:6.0f} ms")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=100)
    options = parser.parse_args()
    print(machine("httpx2", "openai"))
    context = multiprocessing.get_context("spawn")
    ready, closed = context.Queue(), context.Queue()
    server = context.Process(target=served, args=(ready, closed, options.tokens), daemon=True)
    server.start()
    port = ready.get(timeout=20)
    try:
        for name, measured in (
            ("asyncio", lambda: raw(port, options.answers)),
            ("ChatModel", lambda: ours(port, options.answers, options.tokens)),
            ("openai", lambda: sdk(port, options.answers)),
        ):  # fmt: skip
            _print(name, measured)
        for name in ("ChatModel", "openai"):
            times, outcomes = run(cuts(port, closed, options.cuts, name))
            print(f"{name:9} cut → closed at the server  {spread(times, 'us', 1e-3)}")
            print(f"{name:9} cut → end of the call       {spread(outcomes, 'us', 1e-3)}")
    finally:
        server.terminate()
        server.join()
    imports()


def _print(name: str, measured: Callable[[], Awaitable[tuple[list[int], list[int]]]]) -> None:
    async def measure() -> tuple[list[int], list[int]]:
        return await measured()

    cpu = time.process_time()
    late, first = run(measure())
    cpu = (time.process_time() - cpu) / max(1, len(late))
    print(f"{name:9} token sent → told  {spread(late, 'us', 1e-3)}")
    print(f"{name:9} first token        {spread(first, 'us', 1e-3)}")
    print(f"{name:9} processor          {cpu * 1e6:12.0f} us a token")


if __name__ == "__main__":
    main()
