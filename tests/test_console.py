"""The console's server with real sockets and a client that plays the page's part."""

import asyncio
import json
import shutil
import ssl
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agent import config
from agent.console.host import Host
from agent.console.server import Tls
from agent.console.settings import ConsoleConfig
from agent.replay import Replay
from agent.replaying import perform
from streams.clock import Clock, run
from streams.errors import VisavisError
from streams.recording import Recording
from streams.topics import AUDIO, PLAYBACK
from tests.console_page import Page, opened, where
from tests.dialogues import parts

__all__ = ["parts"]

LIGHT = ["vad.engine=webrtc", "turn_end.engine=none", "speech.engine=none", "voice.engine=tones"]


@asynccontextmanager
async def console(folder: Path, *assignments: str, **options: Any) -> AsyncIterator[Host]:
    """A console on a free port, while the context is open."""
    lines: list[str] = []
    host = Host(
        config.load(None, [*LIGHT, *assignments]), recordings=folder, announce=lines.append, assignments=assignments,
        **options,
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.main())
        async with asyncio.timeout(20):
            while not host.sessions and not running.done():  # noqa: ASYNC110 - it tells by nothing else
                await asyncio.sleep(0.01)
        try:
            yield host
        finally:
            host.stop(0.0)
            async with asyncio.timeout(10):
                await asyncio.wait([running])


def held(act: Callable[[Host], Awaitable[Any]], folder: Path, *assignments: str, **options: Any) -> Any:
    """What `act(host)` gives, with a console running."""

    async def main() -> Any:
        async with console(folder, *assignments, **options) as host:
            return await act(host)

    return run(main())


async def ask(host: Host, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    netloc, token = where(host.address)
    headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
    async with httpx.AsyncClient(base_url=f"http://{netloc}") as client:
        return await client.request(method, path, headers=headers, **options)


# --- who may come in


def test_only_who_has_the_token_from_a_page_of_ours_comes_in(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        netloc, token = where(host.address)
        async with httpx.AsyncClient(base_url=f"http://{netloc}") as client:
            answers = {
                "page": await client.get(f"/?token={token}"),
                "none": await client.get("/"),
                "wrong": await client.get(f"/?token={token}x"),
                "health": await client.get("/healthz"),
                "list": await client.get("/api/recordings"),
                "host": await client.get(f"/?token={token}", headers={"Host": "evil.example:80"}),
                "origin": await client.get(f"/?token={token}", headers={"Origin": "http://evil.example"}),
                "null": await client.get(f"/?token={token}", headers={"Origin": "null"}),
                "ours": await client.get(f"/?token={token}", headers={"Origin": f"http://{netloc}"}),
                "static": await client.get("/page/../host.py"),
                "climbing": await client.get("/page/%2e%2e/host.py"),
            }
        status = {name: answer.status_code for name, answer in answers.items()}
        assert status == {
            "page": 200, "none": 403, "wrong": 403, "health": 200, "list": 403, "host": 421, "origin": 403, "null": 403,
            "ours": 200, "static": 403, "climbing": 404,
        }  # fmt: skip
        for answer in answers.values():
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
        assert "printed" in answers["none"].text
        assert token not in answers["none"].text

        for query, options, code in (
            ("", {}, 403),
            ("?token=guess", {}, 403),
            (f"?token={token}", {"origin": "http://evil.example"}, 403),
            (f"?token={token}", {"origin": f"https://{netloc}1"}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://{netloc}/ws{query}", **options):  # type: ignore[arg-type]
                    pass
            assert refused.value.response.status_code == code
        async with opened(host.address) as page:
            assert page.messages("welcome")[0]["protocol"] == 1

    held(act, tmp_path, page=pages(tmp_path))


def pages(folder: Path) -> Path:
    """A page that stands for ours."""
    page = folder / "page"
    page.mkdir(exist_ok=True)
    (page / "index.html").write_text("<!doctype html><title>t</title>")
    return page


def test_names_of_this_machine_and_welcome_origins_are_what_was_said(tmp_path: Path) -> None:
    from agent.console.security import Gate

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status(gate: Gate, **headers: str) -> int:
        codes: list[int] = []

        async def send(message: Any) -> None:
            codes.append(message.get("status", codes[-1] if codes else 0))

        listed = [(name.encode(), value.encode()) for name, value in headers.items()]
        await gate({"type": "http", "path": "/", "headers": listed, "query_string": b"token=t"}, None, send)  # type: ignore[arg-type]
        return codes[0]

    async def main() -> None:
        local = Gate(nothing, "t", "127.0.0.1")
        for name, code in (
            ("127.0.0.1:1", 200),
            ("localhost", 200),
            ("[::1]:8", 200),
            ("192.168.1.5:1", 421),
            ("", 421),
        ):
            assert await status(local, host=name) == code, name
        everywhere = Gate(nothing, "t", "0.0.0.0", names=["desk.example"], origins=["https://proxy.example/"])
        for name, code in (("192.168.1.5:1", 200), ("desk.example", 200), ("rebound.example", 421)):
            assert await status(everywhere, host=name) == code, name
        assert await status(everywhere, host="1.2.3.4", origin="https://proxy.example") == 200
        assert await status(everywhere, host="1.2.3.4", origin="https://[bad") == 403

    run(main())


def test_a_stranger_does_not_spend_what_the_owner_and_the_page_need() -> None:
    from agent.console.security import Budget, Gate

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def main() -> None:
        clock = Clock()
        gate = Gate(
            nothing, "t", "127.0.0.1", budget=Budget(clock, 1, 5), files=Budget(clock, 1, 5),
            refusals=Budget(clock, 1, 5),
        )  # fmt: skip

        async def status(path: str, token: bytes, host: bytes = b"127.0.0.1") -> int:
            codes: list[int] = []

            async def send(message: Any) -> None:
                codes.append(message.get("status", 0))

            scope = {"type": "http", "path": path, "headers": [(b"host", host)], "query_string": b"token=" + token}
            await gate(scope, None, send)  # type: ignore[arg-type]
            return codes[0]

        assert [await status("/", b"x") for _ in range(7)] == [403] * 5 + [429] * 2
        assert await status("/", b"t", b"evil.example") == 429
        assert [await status("/page/main.js", b"") for _ in range(6)] == [200] * 5 + [429]
        assert [await status("/", b"t") for _ in range(6)] == [200] * 5 + [429]
        await asyncio.sleep(2)
        assert await status("/", b"t") == 200

    run(main(), virtual=True)


# --- a conversation


def test_talk_by_text_is_heard_by_the_talker_and_the_ledger_is_what_was_heard(tmp_path: Path) -> None:
    async def act(host: Host) -> tuple[Page, Page]:
        async with opened(host.address) as watcher, opened(host.address, talking=True) as page:
            await page.until(lambda page: page.session["talker"] == 2)
            await watcher.send(type="text", text="what time is it")
            done = await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 30)
            assert done[0]["status"] == "done"
            await page.until(lambda page: len(page.of("Played")) >= len(done[0]["result"].split()))
            await watcher.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"])
            assert watcher.frames == 0, "only who talks hears"
            assert watcher.of("Typed")[0]["text"] == "what time is it"
            assert {event["topic"] for event in page.events} <= {"voice", "percept", "turn", "action", "feedback"}
            assert not [fault for fault in page.of("Fault") if fault["where"] == "speaker"]
            return page, watcher

    page, _ = held(act, tmp_path, record=True)
    assert page.session["recording"].endswith(".mcap")
    recording = Recording.open(tmp_path / page.session["recording"])
    assert not recording.torn
    blocks = [packet.data.samples for packet in recording.packets([PLAYBACK])]
    assert np.concatenate(blocks).tolist() == page.heard, "what the recording says sounded is what the page played"


def test_a_voice_is_understood_answered_and_cuts_what_is_being_said(tmp_path: Path, parts: None) -> None:
    from tests.composed import take

    # A plain voice: variants such as the default's differ from process to process, and some "stop"s become other words.
    lines = [take(text, "en-us").samples for text in ("what time is it", "what can you do", "stop")]

    async def act(host: Host) -> Page:
        async with opened(host.address, talking=True) as page:
            await asyncio.sleep(0.5)
            await page.speak(lines[0])
            done = await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 15)
            assert done[0]["status"] == "done"
            assert done[0]["result"].startswith("It is"), done
            await page.speak(lines[1])
            await page.until(lambda page: len([p for p in page.of("Played") if p["turn"] == 2]) >= 3, 15)
            await page.speak(lines[2])
            await page.until(lambda page: len([o for o in page.of("Outcome") if o["action"] == "Say"]) == 2, 15)
            await asyncio.sleep(0.3)
            return page

    page = held(act, tmp_path, "vad.engine=silero", "speech.engine=grammar", "voice.engine=espeak", record=True)
    said = [outcome for outcome in page.of("Outcome") if outcome["action"] == "Say"]
    assert [outcome["status"] for outcome in said] == ["done", "cut"]
    assert said[1]["result"]
    recording = Recording.open(tmp_path / page.session["recording"])
    blocks = np.concatenate([packet.data.samples for packet in recording.packets([PLAYBACK])])
    assert len(blocks) == len(page.heard)
    assert np.sum(blocks != np.array(page.heard)) <= 0.006 * page.rate, "but for the fade of the cut"
    behind = [packet.at - packet.t for packet in recording.packets([AUDIO])]
    assert np.median(behind) < 25_000_000, "sound is where it belongs in time"


def test_stop_cuts_and_what_is_told_as_heard_was_heard(tmp_path: Path) -> None:
    async def act(host: Host) -> Page:
        async with opened(host.address) as page:
            await page.take("microphone")
            await page.send(type="text", text="what can you do")
            await page.until(lambda page: len(page.of("Played")) >= 3, 20)
            pressed = page.now()
            await page.send(type="stop")
            await page.until(lambda page: page.messages("flush"))
            assert page.now() - pressed < 1.0
            outcome = await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"])
            assert outcome[0]["status"] == "cut"
            await asyncio.sleep(0.3)
            frames = page.frames
            await page.send(type="text", text="what time is it")
            await page.until(
                lambda page: [o for o in page.of("Outcome") if o["action"] == "Say" and o["status"] == "done"], 20
            )
            assert page.frames > frames
            return page

    page = held(act, tmp_path, record=True)
    recording = Recording.open(tmp_path / page.session["recording"])
    blocks = np.concatenate([packet.data.samples for packet in recording.packets([PLAYBACK])])
    assert len(blocks) == len(page.heard)
    same = int(np.sum(blocks == np.array(page.heard)))
    assert len(blocks) - same <= 0.006 * page.rate, "but for the fade of the cut"
    cut = next(o for o in page.of("Outcome") if o["action"] == "Say" and o["status"] == "cut")
    words = [played["text"] for played in page.of("Played") if played["id"] == cut["id"]]
    assert cut["result"].split()[-1] == words[-1]
    jump = next(place for place in range(1, len(page.indices)) if page.indices[place] != page.indices[place - 1] + 1)
    assert words == heard_words(page, jump)


def heard_words(page: Page, samples: int) -> list[str]:
    """The words of the first Say whose tone lies whole in what was played before the cut: 200 ms each, 50 ms gaps."""
    text = page.of("Say")[0]["text"].split()
    unit, word = round(0.25 * page.rate), round(0.2 * page.rate)
    return [each for place, each in enumerate(text) if place * unit + word <= samples]


def test_a_page_that_reloads_in_mid_speech_takes_its_place_again(tmp_path: Path) -> None:
    async def act(host: Host) -> tuple[list[Any], list[int], list[int]]:
        async with opened(host.address) as first:
            await first.take("microphone")
            await first.send(type="text", text="what can you do")
            await first.until(lambda page: len(page.of("Played")) >= 3, 20)
        async with opened(host.address) as second:
            await second.until(lambda page: len(page.of("Played")) >= 3)  # of the last minute
            await second.take("microphone")
            await second.until(lambda page: len(page.of("Played")) >= 6, 20)
            await second.send(type="stop")
            await second.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"])
            return second.events, first.indices, second.indices

    events, before, after = held(act, tmp_path)
    outcome = next(event for event in events if event["type"] == "Outcome" and event["action"] == "Say")
    assert outcome["status"] == "cut"
    faults = [event["where"] for event in events if event["type"] == "Fault"]
    assert set(faults) == {"microphone", "speaker"}
    assert [event["where"] for event in events if event["type"] == "Recovered"].count("speaker") == 1
    assert after[0] <= before[-1] + 1, "no sample is missing"
    assert before[-1] - after[0] < 3000, "and hardly one comes twice"


def test_a_second_talker_is_refused_politely_until_the_first_gives_back(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as one, opened(host.address) as two:
            await one.take("microphone", "camera")
            await two.take("microphone")
            refused = two.messages("refused")[0]
            assert refused["what"] == "microphone"
            assert "viewer 1" in refused["reason"]
            await two.push(np.zeros(320, np.int16))
            error = await two.until(lambda page: page.messages("error"))
            assert "take it first" in error[0]["message"]
            await one.send(type="release", media=["microphone"])
            await one.until(lambda page: page.messages("released"))
            await two.send(type="take", media=["microphone"])
            await two.until(lambda page: page.messages("taken") and page.session["talker"] == 2)
            assert not one.of("Fault"), "who gives it back is not missed"

    held(act, tmp_path)


def test_pictures_are_shown_to_watchers_and_not_to_who_takes_them(tmp_path: Path) -> None:
    from tests.test_remote import jpeg

    async def act(host: Host) -> None:
        async with opened(host.address) as one, opened(host.address) as two:
            await one.take("camera")
            for number in range(5):
                await one.show(jpeg(), number)
                await asyncio.sleep(0.25)
            await two.until(lambda page: page.pictures)
            kind, _, t = struct.unpack_from("<B3xId", two.pictures[-1])
            assert kind == 2
            assert t > 0
            assert two.pictures[-1][16:] == jpeg()
            assert not one.pictures
            await one.show(b"no jpeg")
            error = await one.until(lambda page: page.messages("error"))
            assert "JPEG" in error[0]["message"]

    held(act, tmp_path)


# --- what pages do wrong


WRONG: list[str | bytes] = [
    "no json", '{"type":"unknown"}', '{"type":"text","text":"   "}', '{"type":"played","index":"x","time":0}',
    json.dumps({"type": "text", "text": "x" * 2001}), json.dumps({"type": "text", "text": "x" * 70_000}),
    '{"type":"take","media":["gun"]}', b"", b"\x01", struct.pack("<B3xId", 9, 0, 0.0), "[" * 60_000,
    struct.pack("<B3xId", 1, 0, float("nan")) + bytes(640), '{"type":"played","index":1e300,"time":1}',
]  # fmt: skip


def test_what_is_wrong_is_told_and_the_page_stays(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            for frame in WRONG:
                page.told.clear()
                await page.socket.send(frame)
                await page.until(lambda page: page.messages("error"))
                await asyncio.sleep(0.1)
            await page.send(type="ping", time=5.5)
            pong = await page.until(lambda page: page.messages("pong"))
            assert pong[0]["time"] == 5.5

    held(act, tmp_path)


def test_too_large_too_many_and_not_reading_end_a_page_and_nothing_else(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        netloc, token = where(host.address)
        address = f"ws://{netloc}/ws?token={token}"
        async with opened(host.address) as good:
            async with connect(address) as large:
                await large.send(bytes(600_000))
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await large.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009

            async with connect(address) as flood:
                with pytest.raises(ConnectionClosed) as closed:
                    for _ in range(5000):
                        await flood.send('{"type":"ping","time":1}')
                        await asyncio.wait_for(flood.recv(), 5)
                    pytest.fail("a flood was taken")
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
                assert "a second" in closed.value.rcvd.reason

            _, writer = await asyncio.open_connection(*netloc.split(":"), limit=1024)
            writer.write(
                f"GET /ws?token={token} HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await asyncio.sleep(0.2)
            deaf = max(host.room.viewers)
            for _ in range(300):  # nobody reads there
                host.room.viewers[deaf].outbox.put(b"x" * 100_000) if deaf in host.room.viewers else None
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                while deaf in host.room.viewers:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            writer.close()
            await good.send(type="ping", time=1.0)
            await good.until(lambda page: page.messages("pong"))
            assert len(host.room.viewers) == 1

    held(act, tmp_path)


def test_more_pages_than_may_are_sent_away(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        netloc, token = where(host.address)
        async with opened(host.address), connect(f"ws://{netloc}/ws?token={token}") as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013

    held(act, tmp_path, settings=ConsoleConfig(viewers=1))


# --- recordings


def test_recording_begins_and_ends_sessions_and_each_replays_identically(tmp_path: Path) -> None:
    async def act(host: Host) -> list[str]:
        async with opened(host.address, talking=True) as page:
            assert page.session["recording"] is None
            await page.send(type="record", on=True)
            await page.until(lambda page: page.session["recording"], 20)
            assert page.session["number"] == 2
            assert page.session["talker"] == 1
            await page.send(type="text", text="what time is it")
            await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 20)
            await page.send(type="record", on=False)
            await page.until(lambda page: page.session["number"] == 3, 20)
            assert page.session["recording"] is None
            listing = (await ask(host, "/api/recordings")).json()
            return [entry["name"] for entry in listing if not entry["open"]]

    names = held(act, tmp_path)
    assert len(names) == 1
    recording = Recording.open(tmp_path / names[0])
    assert not recording.torn
    settings = config.reload(recording.header.config)
    performance = Replay(recording, mode="media")
    perform(performance, settings, recording)
    assert performance.identical
    assert performance.replayed


def test_recordings_are_listed_shown_heard_and_taken_in_and_no_name_leads_out(  # noqa: PLR0915
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sessions import made_up, tape

    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(aside))
    folder = tmp_path / "recordings"
    folder.mkdir()
    tape(folder / "one.mcap", made_up(3.0))
    tape(folder / "torn.mcap", made_up(4.0), finish=False)
    (folder / "none.mcap").write_bytes(b"nothing of the kind")
    (tmp_path / "secret.mcap").write_bytes((folder / "one.mcap").read_bytes())
    (folder / "link.mcap").symlink_to(tmp_path / "secret.mcap")

    async def act(host: Host) -> None:
        listing = (await ask(host, "/api/recordings")).json()
        assert {entry["name"]: entry["torn"] for entry in listing} == {"one.mcap": False, "torn.mcap": True}
        assert not list(aside.iterdir())  # a program that is killed now leaves nothing behind
        assert all(entry["duration_s"] > 2.5 and entry["started"].endswith("Z") for entry in listing)

        for name in ("one.mcap", "torn.mcap"):
            lines = (await ask(host, f"/api/recordings/{name}/events")).text.strip("\n").split("\n")
            events = [json.loads(line) for line in lines]
            kept = Recording.open(folder / name)
            wanted = sum(kept.counts.get(topic, 0) for topic in ("voice", "percept", "turn", "action", "feedback"))
            assert len(events) == wanted > 50
            assert not [event for event in events if event["topic"] in ("audio", "playback", "image")]

        sound = await ask(host, "/api/recordings/one.mcap/sound.wav")
        assert sound.content[:4] == b"RIFF"
        (made,) = aside.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700
        assert sound.headers["content-type"] == "audio/wav"
        channels, rate = struct.unpack_from("<HI", sound.content, 22)
        assert (channels, rate) == (2, 16_000)
        piece = await ask(host, "/api/recordings/one.mcap/sound.wav", headers={"Range": "bytes=1000-1999"})
        assert piece.status_code == 206
        assert piece.content == sound.content[1000:2000]
        assert piece.headers["content-range"].startswith("bytes 1000-1999/")

        shot = await ask(host, "/api/recordings/one.mcap/image", params={"t": "2.0"})
        assert shot.status_code == 200
        assert shot.headers["content-type"] in ("image/jpeg", "image/png")
        images = [p for p in made_up(3.0) if p.topic.name == "image" and p.t <= 2_000_000_000]
        assert shot.content == images[-1].data.data
        assert (await ask(host, "/api/recordings/one.mcap/image", params={"t": "-1"})).status_code == 404
        assert (await ask(host, "/api/recordings/one.mcap/image", params={"t": "x"})).status_code == 400
        assert (await ask(host, "/api/recordings/one.mcap/image", params={"t": "nan"})).status_code in (400, 404)

        whole = await ask(host, "/api/recordings/one.mcap")
        assert whole.content == (folder / "one.mcap").read_bytes()
        assert "attachment" in whole.headers["content-disposition"]

        for name in ("../secret.mcap", "%2e%2e%2fsecret.mcap", "..%5csecret.mcap", "link.mcap", ".one.mcap", "no.mcap",
                     "/etc/passwd", "%00.mcap", "one.mcap%00"):  # fmt: skip
            for rest in ("", "/events", "/sound.wav", "/image?t=1"):
                answer = await ask(host, f"/api/recordings/{name}{rest}")
                assert answer.status_code == 404, (name, rest, answer.status_code)

        async with opened(host.address) as page:
            sent = await ask(host, "/api/recordings?name=one.mcap", "POST", content=whole.content)
            assert sent.json() == {"name": "one-2.mcap"}
            await page.until(lambda page: page.messages("recordings"))
        assert (folder / "one-2.mcap").read_bytes() == whole.content
        for name, content, code in (
            ("../x.mcap", whole.content, 413), ("x.txt", whole.content, 413), ("bad.mcap", b"nothing", 422),
            ("big.mcap", bytes(1_100_000), 413),
        ):  # fmt: skip
            refused = await ask(host, f"/api/recordings?name={name}", "POST", content=content)
            assert refused.status_code == code, name
        await asyncio.sleep(0.1)
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
        assert not (tmp_path / "x.mcap").exists()

    held(act, folder, settings=ConsoleConfig(upload_mb=1))


def test_a_damaged_recording_is_shown_as_far_as_it_goes_and_its_damage_is_an_event(tmp_path: Path) -> None:
    from tests.sessions import made_up, tape

    tape(tmp_path / "one.mcap", made_up(20.0))
    data = bytearray((tmp_path / "one.mcap").read_bytes())
    data[len(data) // 2] ^= 0x55
    (tmp_path / "one.mcap").write_bytes(data)

    async def act(host: Host) -> None:
        lines = (await ask(host, "/api/recordings/one.mcap/events")).text.strip("\n").split("\n")
        events = [json.loads(line) for line in lines]
        assert len(events) > 200
        assert (events[-1]["type"], events[-1]["where"]) == ("Fault", "recording")
        assert events[-1]["at"] == events[-2]["at"]
        assert (await ask(host, "/api/recordings/one.mcap/sound.wav")).status_code == 422

    held(act, tmp_path)


def test_the_recording_that_is_being_written_can_be_looked_at(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address, talking=True) as page:
            await page.speak(np.full(16_000 * 2, 500, np.int16))
            name = page.session["recording"]
            entry = (await ask(host, "/api/recordings")).json()[0]
            assert entry["open"]
            assert entry["name"] == name
            part = await ask(host, f"/api/recordings/{name}")
            assert part.status_code == 200
            assert len(part.content) > 10_000
            assert (await ask(host, f"/api/recordings/{name}/events")).text.count("\n") > 10
            assert (await ask(host, f"/api/recordings/{name}/sound.wav")).status_code == 200

    held(act, tmp_path, record=True)


def test_an_upload_before_anything_was_recorded_makes_the_folder_and_one_that_cannot_be_is_said(tmp_path: Path) -> None:
    from tests.sessions import made_up, tape

    tape(tmp_path / "one.mcap", made_up(1.0))
    content = (tmp_path / "one.mcap").read_bytes()
    folder = tmp_path / "not" / "there"

    async def act(host: Host) -> None:
        sent = await ask(host, "/api/recordings?name=one.mcap", "POST", content=content)
        assert sent.json() == {"name": "one.mcap"}
        shutil.rmtree(tmp_path / "not")
        (tmp_path / "not").write_text("a file")
        refused = await ask(host, "/api/recordings?name=one.mcap", "POST", content=content)
        assert refused.status_code == 422
        assert str(folder) in refused.text

    held(act, folder)


def test_what_cannot_be_recorded_goes_on_without_and_pages_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.send(type="record", on=True)
            notice = await page.until(lambda page: page.messages("notice"), 20)
            assert "cannot be recorded" in notice[0]["message"]
            await page.until(lambda page: page.session["number"] == 2, 20)
            assert page.session["recording"] is None
            await page.send(type="text", text="what time is it")
            await page.until(lambda page: page.of("Typed"))

    held(act, tmp_path / "file" / "recordings")
    with pytest.raises(VisavisError, match="no recordings in the folder"):
        run(Host(config.load(None, LIGHT), recordings=tmp_path / "file" / "recordings", record=True).main())


@pytest.mark.parametrize("hours", [23.0, 25.0, 10**6])
def test_silence_without_end_fills_neither_memory_nor_disk(tmp_path: Path, hours: float) -> None:
    from agent.console.recordings import _heard, _make_sound
    from streams.errors import RecordingError
    from streams.packet import Packet
    from streams.types import Audio
    from tests.sessions import tape

    t = round(hours * 3600 * 10**9)
    tape(tmp_path / "far.mcap", [Packet(AUDIO, t, t, 0, 0, Audio(np.ones(320, np.int16), 16_000, 0))])
    if hours < 24:
        places = [place for _, place, _ in _heard(tmp_path / "far.mcap")]
        assert max(b - a for a, b in pairwise(places)) <= 20 * 10**9
    else:
        with pytest.raises(RecordingError, match="a day is the most"):
            _make_sound(tmp_path / "far.mcap", tmp_path / "far.wav")
        assert not (tmp_path / "far.wav").exists() or (tmp_path / "far.wav").stat().st_size < 1000


def test_long_silences_are_where_they_were(tmp_path: Path) -> None:
    import wave

    from agent.console.recordings import _make_sound
    from streams.packet import Packet
    from streams.types import Audio
    from tests.sessions import tape

    def block(topic: Any, second: int, order: int) -> Any:
        audio = Audio(np.full(16_000, order + 1, np.int16), 16_000, 16_000 * (second - 1))
        return Packet(topic, second * 10**9, second * 10**9, order, order, audio)

    tape(tmp_path / "a.mcap", [block(AUDIO, 1, 0), block(PLAYBACK, 65, 1), block(AUDIO, 200, 2)])
    _make_sound(tmp_path / "a.mcap", tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav"), "rb") as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    expected = np.zeros((200 * 16_000, 2), np.int16)
    expected[:16_000, 0], expected[64 * 16_000 : 65 * 16_000, 1], expected[199 * 16_000 :, 0] = 1, 2, 3
    assert np.array_equal(frames, expected)


# --- the program


def test_cancelled_while_a_session_is_made_nothing_is_left(tmp_path: Path) -> None:
    class Body:
        closed = False

        def close(self) -> None:
            self.closed = True

    begun, go = threading.Event(), threading.Event()
    bodies: list[Body] = []

    def make(settings: Any, sources: Any, taps: Any, started: Any, speaker: Any) -> Any:
        begun.set()
        go.wait(10)
        bodies.append(Body())
        return SimpleNamespace(body=bodies[0])

    async def main() -> None:
        host = Host(config.load(None, LIGHT), recordings=tmp_path / "r", record=True, make=make)
        running = asyncio.get_running_loop().create_task(host.main())
        async with asyncio.timeout(20):
            while not begun.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert list((tmp_path / "r").iterdir())
            running.cancel()
            await asyncio.wait([running])
            go.set()
            while list((tmp_path / "r").iterdir()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert bodies[0].closed

    run(main())


def test_the_settings_are_those_of_the_configuration(tmp_path: Path) -> None:
    settings = config.load(None, [*LIGHT, "console.name=Ada"])
    assert Host(settings, recordings=tmp_path).settings.name == "Ada"


def test_what_is_mounted_may_take_longer_messages_than_the_console(tmp_path: Path) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        message = await receive()
        await send({"type": "websocket.send", "text": str(len(message["bytes"]))})

    async def act(host: Host) -> None:
        netloc, token = where(host.address)
        async with connect(f"ws://{netloc}/v1/realtime?token={token}") as long:
            await long.send(bytes(900_000))
            assert await long.recv() == "900000"
        async with connect(f"ws://{netloc}/ws?token={token}") as page:
            await page.send(bytes(900_000))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await page.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    held(act, tmp_path, mounts={"/v1/realtime": other}, mount_limit=1_000_000)


def test_a_session_that_fails_ends_the_program_and_pages_are_told(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    class Failing:
        name = "failing"
        reads = (PLAYBACK,)

        async def run(self, lane: Any, clock: Any, report: Any) -> None:
            await asyncio.sleep(0.5)
            raise Broken("it broke")

    class More:
        def taps(self) -> list[Any]:
            return [Failing()]

        def ended(self, session: Any) -> None:
            pass

    async def act(host: Host) -> list[Any]:
        async with opened(host.address) as page:
            with pytest.raises(ConnectionError):
                await page.until(lambda page: False, 10)
            return page.told

    told: list[Any] = []

    async def main() -> None:
        async with console(tmp_path, extra=More()) as host:
            told.extend(await act(host))

    with pytest.raises(BaseExceptionGroup) as failed:
        run(main())
    assert failed.group_contains(Broken)
    assert any("it broke" in message["message"] for message in told if message["type"] == "notice")


def test_the_end_is_bounded_in_time_with_pages_that_do_not_answer(tmp_path: Path) -> None:
    async def main() -> float:
        async with console(tmp_path) as host:
            netloc, token = where(host.address)
            _, writer = await asyncio.open_connection(*netloc.split(":"))
            writer.write(
                f"GET /ws?token={token} HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await asyncio.sleep(0.3)
            assert host.room.viewers
            begin = asyncio.get_running_loop().time()
        writer.close()
        return asyncio.get_running_loop().time() - begin

    assert run(main()) < 8


def test_who_is_in_a_hurry_waits_for_nobody(tmp_path: Path) -> None:
    async def main() -> float:
        host = Host(config.load(None, LIGHT), recordings=tmp_path)
        running = asyncio.get_running_loop().create_task(host.main())
        async with asyncio.timeout(20):
            while not host.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with opened(host.address):
            begin = asyncio.get_running_loop().time()
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()
            return asyncio.get_running_loop().time() - begin

    assert run(main()) < 5


def test_other_applications_are_behind_the_same_gate(tmp_path: Path) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        body = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    async def act(host: Host) -> None:
        answer = await ask(host, "/v1/realtime")
        assert (answer.status_code, answer.text) == (200, "/v1/realtime")
        assert "content-security-policy" in answer.headers
        netloc, _ = where(host.address)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{netloc}/v1/realtime")).status_code == 403

    held(act, tmp_path, mounts={"/v1/realtime": other})


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        port = int(where(host.address)[0].split(":")[1])
        for options in ({"port": port}, {"host": "203.0.113.7"}):
            with pytest.raises(VisavisError, match="cannot listen"):
                await Host(host.config, recordings=tmp_path, **options).main()  # type: ignore[arg-type]

    held(act, tmp_path)


def test_it_speaks_tls_and_says_what_is_wrong_with_a_certificate(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with: apt-get install openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(cert),
        *names,
    ]
    subprocess.run([openssl, *made], check=True, capture_output=True)

    async def act(host: Host) -> None:
        assert host.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(host.address.partition("?")[0] + "healthz")).json() == {"ok": True}
        netloc, token = where(host.address)
        secure = {"ssl": context, "origin": f"https://{netloc}"}
        async with connect(f"wss://{netloc}/ws?token={token}", **secure) as socket:  # type: ignore[arg-type]
            assert "welcome" in str(await socket.recv())

    held(act, tmp_path, tls=Tls(str(cert), str(key)))
    with pytest.raises(VisavisError, match="certificate"):
        run(Host(config.load(None, LIGHT), recordings=tmp_path, tls=Tls(str(key), str(cert))).main())
