"""Clients that mean no good, or that just go: the endpoint refuses them, drops them, and stays."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.realtime.app import Endpoint
from agent.realtime.connection import Connection
from agent.realtime.limits import RealtimeConfig
from agent.realtime.outbox import Gone, Outbox
from streams import clock as clocks
from tests.realtime_client import TOKEN, Ear, deaf, encoded, hearing, serving, voice, write

websockets = pytest.importorskip("websockets")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def run(main: Any) -> None:
    clocks.run(main)


async def empty(endpoint: Endpoint, seconds: float = 15) -> None:
    """Wait until all sessions have ended."""
    async with asyncio.timeout(seconds):
        while endpoint.talking:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)


async def event(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            told: dict[str, Any] = json.loads(await socket.recv())
            if told["type"] == kind:
                return told


def test_garbage_is_answered_by_errors_and_the_conversation_goes_on() -> None:
    async def main() -> None:
        limits = RealtimeConfig(message_kib=64)
        async with serving(deaf(), limits) as served:
            async with websockets.connect(served.socket, additional_headers=HEADERS) as socket:
                for message, code in (
                    ("\x00\x01", "invalid_json"),
                    (b"\xff\xfe", "invalid_message"),
                    ("[]", "invalid_event"),
                    ('{"type": "input_audio_buffer.append", "audio": "' + "A" * 70_000 + '"}', "message_too_large"),
                    (json.dumps({"type": "hello", "note": "ä" * 40_000}, ensure_ascii=False), "message_too_large"),
                    ('{"type": "session.update", "session": {"turn_detection": 3}}', "invalid_value"),
                ):
                    await socket.send(message)
                    assert (await event(socket, "error"))["error"]["code"] == code
                await socket.send('{"type": "response.create"}')
                assert (await event(socket, "response.done"))["response"]["status"] == "failed"
            await empty(served.endpoint)

    run(main())


def test_a_flood_is_cut_off() -> None:
    async def main() -> None:
        async with serving(deaf(), RealtimeConfig(messages_per_s=50)) as served:
            async with websockets.connect(served.socket, additional_headers=HEADERS) as socket:
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    for _ in range(2000):
                        await socket.send('{"type": "input_audio_buffer.clear"}')
                        await asyncio.sleep(0)
                    async with asyncio.timeout(10):
                        while True:
                            await socket.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
            await empty(served.endpoint)

    run(main())


def test_too_much_sound_is_refused_and_what_came_before_is_kept() -> None:
    async def main() -> None:
        async with serving(deaf(), RealtimeConfig(backlog_s=1.0)) as served:
            async with served.client().realtime.connect(model="visavis") as connection:
                ear = Ear(connection)
                for _ in range(4):
                    await connection.input_audio_buffer.append(audio=encoded(voice("hello")[:12_000]), event_id="more")
                refused = await ear.until("error")
                assert (refused.error.code, refused.error.event_id) == ("input_audio_buffer_full", "more")
            await empty(served.endpoint)

    run(main())


def test_a_client_that_vanishes_in_mid_sentence_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with serving(hearing()) as served:
            before = {task for task in asyncio.all_tasks() if not task.done()}
            client = await served.client().realtime.connect(model="visavis").enter()
            ear = Ear(client)
            await write(client, "help")
            await ear.until("response.output_audio.delta", 5)
            await client.input_audio_buffer.append(audio=encoded(voice("what time is it")[:20_000]))
            client._connection.transport.abort()
            await empty(served.endpoint)
            await asyncio.sleep(0.1)
            left = {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}
            assert not {name for name in left if "realtime" in name or name in ("body", "conductor", "vad")}
            async with served.client().realtime.connect(model="visavis") as again:
                await Ear(again).until("session.created")

    run(main())


class Stuck:
    """A socket whose client sends and never reads."""

    def __init__(self, reads: int, blocks: bool) -> None:
        self.reads, self.blocks = reads, blocks
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> str:
        if self.closed is not None:
            raise Gone
        await asyncio.sleep(0.01)
        return '{"type": "conversation.item.retrieve", "item_id": "' + "x" * 4000 + '"}'

    async def send(self, text: str) -> None:
        self.reads -= 1
        if self.reads < 0:
            await asyncio.sleep(3600)

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (RealtimeConfig(stuck_s=0.2), "reads nothing"),
        (RealtimeConfig(behind_kib=64, stuck_s=5.0), "reads too slowly"),
    ],
)
def test_a_client_that_does_not_read_is_dropped_not_waited_for(limits: RealtimeConfig, reason: str) -> None:
    async def main() -> None:
        socket = Stuck(3, True)
        async with asyncio.timeout(12):
            await Connection(socket, deaf(), limits).run()
        assert socket.closed is not None and socket.closed[0] == 1013 and reason in socket.closed[1]

    run(main())


def test_what_waits_is_counted_in_bytes() -> None:
    async def main() -> None:
        socket = Stuck(100, False)
        outbox = Outbox(socket, 1000, 1.0)
        assert outbox.put("ä" * 300) and outbox.put("b" * 400)
        running = asyncio.create_task(outbox.run())
        await asyncio.sleep(0.01)
        assert socket.reads == 98 and outbox.put("ä" * 500), "what was sent does not wait any more"
        assert not outbox.put("b"), "1000 bytes wait already"
        assert await running

    run(main())


def test_a_session_that_cannot_begin_says_why() -> None:
    async def main() -> None:
        async with serving(deaf('policy.sentences=["/nowhere/at-all.toml"]')) as served:
            async with websockets.connect(served.socket, additional_headers=HEADERS) as socket:
                error = (await event(socket, "error"))["error"]
                assert error["type"] == "server_error" and "at-all.toml" in error["message"]
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await event(socket, "response.done")
                assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011
            await empty(served.endpoint)

    run(main())


@pytest.mark.parametrize(
    "enter",
    [
        lambda url: websockets.connect(f"{url}?token={TOKEN.replace(' ', '%20')}"),
        lambda url: websockets.connect(url, additional_headers={"authorization": f"bearer {TOKEN}"}),
    ],
)
def test_other_ways_to_show_the_token(enter: Callable[[str], Any]) -> None:
    async def main() -> None:
        async with serving(deaf()) as served, enter(served.socket) as socket:
            assert (await event(socket, "session.created"))["session"]["id"]

    run(main())


def test_a_page_shows_the_token_as_a_subprotocol_and_an_old_client_speaks_the_beta() -> None:
    async def main() -> None:
        async with serving(deaf()) as served:
            served.endpoint.token = "abc"
            offered = ["realtime", "openai-insecure-api-key.abc", "openai-beta.realtime-v1"]
            async with websockets.connect(served.socket, subprotocols=offered) as socket:
                assert socket.subprotocol == "realtime"
                assert (await event(socket, "session.created"))["session"]["modalities"] == ["audio", "text"]
                content = [{"type": "input_text", "text": "what is two plus three"}]
                item = {"type": "message", "role": "user", "content": content}
                await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
                await event(socket, "conversation.item.created")
                await socket.send('{"type": "response.create"}')
                await event(socket, "response.audio.delta")
                done = (await event(socket, "response.done"))["response"]
                assert done["output"][0]["content"][0] == {"type": "audio", "transcript": "Two plus three is five."}

    run(main())
