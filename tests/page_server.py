"""A double of the console's server: speaks its protocol from a scripted session, so that the page needs no agent.

Tests start it with `PageServer()`; to look at the page, `python -m tests.page_server` prints an address and plays the
scene again and again (`--events x.ndjson` plays those of a recording instead).
"""

import argparse
import asyncio
import contextlib
import io
import json
import math
import secrets
import struct
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from streams.types import Manner

PAGE = Path(__file__).resolve().parents[1] / "agent" / "console" / "page"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
RATE = 22050
Event = dict[str, Any]

# Keeps what a page renders: `registerProcessor` for tests that compare what was played with what was told.
RECORDER = """
class Recorder extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
"""


class Scene:
    """Events of a conversation, as `visavis events --json` has them, written one after the other."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._ids = self._turns = self._segments = 0

    def put(self, t: float, topic: str, kind: str, /, at: float | None = None, **fields: Any) -> None:
        at = t if at is None else at
        self.events.append({"t": round(t, 6), "topic": topic, "type": kind, **fields, "at": round(at, 6)})

    def person(self, t: float, text: str, *, commit: bool = True, probability: float = 0.9) -> float:
        """Somebody says `text` from `t` on; returns the time of the commit (or of its last sound)."""
        self._turns += 1
        self._segments += 1
        segment, words, end = {"segment": self._segments}, text.split(), t + 0.34 * len(text.split())
        self.put(t, "percept", "SpeechStarted", at=t + 0.07, **segment, decided_ns=ns(t + 0.06))
        self.put(t + 0.07, "turn", "TurnOpened", turn=self._turns, start_ns=ns(t))
        known = {"final": False, "confidence": 0.9, "complete": False, "guess": "", "words": []}
        for count in range(1, len(words) + 1):
            heard = t + 0.34 * count
            part = " ".join(words[:count])
            self.put(heard, "percept", "Words", at=heard + 0.1, **segment, **known | {"text": part})
        self.put(end, "percept", "SpeechEnded", at=end + 0.2, **segment, decided_ns=ns(end + 0.19))
        final = known | {"text": text, "final": True, "complete": True}
        self.put(end + 0.19, "percept", "Words", at=end + 0.21, **segment, **final)
        if not commit:
            return end
        model = {"probability": probability, "silence_ns": 160000000, "model": "smart-turn-v3.2"}
        self.put(end + 0.16, "percept", "TurnEnd", at=end + 0.27, **segment, **model)
        evidence = {"model": 1.9, "sentence": 2.2, "p_model": probability, "text": text}
        waits = {"probability": probability, "wait_ns": 300000000, "until_ns": ns(end + 0.3), "evidence": evidence}
        self.put(end + 0.28, "turn", "TurnWaiting", turn=self._turns, **waits)
        self.commit(end + 0.31, text, t, end, "silence", evidence)
        return end + 0.31

    def commit(self, t: float, text: str, start: float, end: float, reason: str, evidence: Event) -> None:
        span = {"start_ns": ns(start), "end_ns": ns(end), "words": [], "confidence": 0.93, "evidence": evidence}
        how = {"reason": reason, "complete": True, "guess": ""}
        self.put(t, "turn", "TurnCommitted", turn=self._turns, text=text, **span, **how)

    def typed(self, t: float, text: str) -> None:
        self._turns += 1
        self.put(t, "percept", "Typed", text=text)
        self.commit(t + 0.01, text, t, t, "typed", {})

    def agent(self, t: float, text: str, *, cut: int | None = None, pause: tuple[int, float] | None = None) -> float:
        """The agent answers the last turn. cut: after so many words; pause: before which word, and for how long."""
        self._ids += 1
        turn, words, now = self._turns, text.split(), t + 0.03
        ours = {"turn": turn, "id": self._ids}
        self.put(t, "action", "Say", text=text, **ours)
        self.put(now, "feedback", "PlayStarted", at=now + 0.02, **ours)
        for index, word in enumerate(words[:cut]):
            if pause is not None and index == pause[0]:
                self.put(now, "action", "Pause", turn=turn)
                now += pause[1]
                self.put(now, "action", "Resume", turn=turn)
            start, now = now, now + 0.16 + 0.035 * len(word)
            told = {"index": index, "text": word.strip(".,:!?"), "start_ns": ns(start), "end_ns": ns(now)}
            self.put(now, "feedback", "Played", at=now + 0.02, **ours, **told, quality="exact")
        heard = " ".join(words[:cut])
        how = {"status": "done" if cut is None else "cut", "detail": "", "result": heard}
        self.put(now + 0.02, "feedback", "Outcome", **ours, action="Say", name="", **how)
        return now

    def overlap(self, kind: str, t: float, turn: int, reason: str = "", text: str = "") -> None:
        why = {"reason": reason, "text": text, "evidence": {"words": len(text.split()), "p_model": 0.11}}
        self.put(t, "turn", kind, turn=turn, by_turn=self._turns, **({} if kind == "OverlapPaused" else why))

    def drop(self, t: float, reason: str, text: str = "") -> None:
        self.put(t, "turn", "TurnDropped", turn=self._turns, reason=reason, text=text)

    def deed(self, t: float, ended: float, name: str, arguments: Event, status: str, result: Any) -> None:
        self._ids += 1
        ours = {"turn": self._turns, "id": self._ids}
        kind = "Command" if name == "move" else "Call"
        self.put(t, "action", kind, name=name, arguments=arguments, on_cut="cancel", **ours)
        how = {"status": status, "detail": "" if status == "done" else "stopped on the way", "result": result}
        self.put(ended, "feedback", "Outcome", **ours, action=kind, name=name, **how)

    def ask(self, t: float, purpose: str = "reply", *, turn: int | None = None, **more: Any) -> int:
        """A question to the model, as pages are shown it; returns its number."""
        self._ids += 1
        counts = {"messages": 6, "tools": 4, "bytes": 5210}
        ours = {"turn": self._turns if turn is None else turn, "id": self._ids}
        self.put(t, "action", "Ask", picture_ns=0, purpose=purpose, on_cut="cancel", **ours, **counts | more)
        return self._ids

    def answer(
        self, number: int, first: float, last: float, text: str, status: str = "done", error: str = "", **more: Any
    ) -> None:
        """The model's answer to question `number`, from its first piece to its last."""
        asked = next(event for event in self.events if event["type"] == "Ask" and event["id"] == number)
        ours, words = {"turn": asked["turn"], "id": number}, text.split()
        for index, word in enumerate(words):
            t = first + (last - first) * index / max(1, len(words) - 1)
            self.put(t, "feedback", "Delta", **ours, index=index, text=f" {word}", tools=[], sound="")
        counts = {"input_tokens": 1200, "cached_tokens": 200, "output_tokens": len(words), "attempts": 1, "image": None}
        known = {"finish": "stop" if words else "", "model": "qwen3", "retry_after_ms": None, "error": error}
        times = {"first_ms": (first - asked["t"]) * 1000 if words else None, "whole_ms": (last - asked["t"]) * 1000}
        how = {"name": "qwen3", "status": status, "result": known | counts | times, "detail": ""}
        self.put(last + 0.01, "feedback", "Outcome", **ours, action="Ask", **how | more)

    def faces(self, t: float, *ids: int) -> None:
        """Faces side by side in the picture."""
        boxes = ((0.2, 0.06, 0.11, 0.28), (0.7, 0.06, 0.1, 0.27))
        faces = [
            {"id": number, "confidence": 0.94, "landmarks": [], "bearing_rad": 0.1, "elevation_rad": 0.0}
            | dict(zip(("left", "top", "width", "height"), box))
            for number, box in zip(ids, boxes)
        ]
        self.put(t, "percept", "Faces", at=t + 0.02, image=int(t * 5), faces=faces)

    def done(self, *, voice: bool = True) -> list[Event]:
        """All events in the order of publication, numbered, with the voice activity that goes with the speech."""
        starts = [event["t"] for event in self.events if event["type"] == "SpeechStarted"]
        ends = [event["t"] for event in self.events if event["type"] == "SpeechEnded"]
        last = max(event["at"] for event in self.events)
        for hop in range(int(last / 0.032)) if voice else ():
            t = hop * 0.032
            on = any(start - 0.03 <= t <= end for start, end in zip(starts, ends))
            level = 0.8 + 0.15 * math.sin(t * 7) if on else 0.03 + 0.03 * math.sin(t * 3) ** 2
            self.put(t, "voice", "Voice", at=t + 0.01, probability=round(level, 3), speaking=on, level_db=-40.0)
        events = sorted(self.events, key=lambda event: event["at"])
        for order, event in enumerate(events):
            event["order"] = order
        return events


def ns(t: float) -> int:
    return round(t * 1e9)


def scene(*, voice: bool = True) -> list[Event]:
    """A greeting, a tool, a backchannel, noise, an interruption, a stopped motion, a typed turn, a fault: 30 s."""
    it = Scene()
    for tick in range(30 * 5):
        it.faces(0.2 + tick / 5, *((1,) if tick < 60 else (1, 2)))
    t = it.agent(it.person(0.8, "hello there"), "Hi, what can I do for you?")
    t = it.person(t + 0.7, "what is five plus nine")
    it.deed(t, t + 0.05, "calculate", {"sum": "5 + 9"}, "done", 14)
    t = it.agent(t + 0.06, "Five plus nine is fourteen.")
    said = it.person(t + 0.8, "what can you do")
    answer = (
        "You can ask me the time or the date, set a timer, do sums, or tell me to move. For example, say: go forward."
    )
    turn = it._turns
    it.agent(said, answer, cut=14, pause=(5, 0.8))
    paused = next(event["t"] for event in it.events if event["type"] == "Pause")
    it.overlap("OverlapPaused", paused, turn)
    it.person(paused - 0.08, "i see", commit=False)
    it.overlap("OverlapResumed", paused + 0.8, turn, "backchannel", "i see")
    it.drop(paused + 0.8, "backchannel", "i see")
    cut = max(event["t"] for event in it.events if event["type"] == "Played")
    said = it.person(cut - 0.1, "what time is it")
    it.overlap("OverlapPaused", cut, turn)
    it.overlap("OverlapCut", cut + 0.4, turn, "interruption", "what time")
    t = it.agent(said, "It is five fifty seven in the morning.")
    it.person(t + 0.6, "", commit=False)
    it.drop(t + 0.9, "no_words")
    t = it.person(t + 1.2, "go forward two meters")
    moving = it._turns
    it.agent(t, "Going forward two metres.")
    it.put(t + 2.4, "percept", "StopPressed", by="console")
    it.put(t + 2.4, "action", "Halt", reason="stop", turn=0)
    it.deed(t, t + 2.41, "move", {"distance_m": 2.0}, "cut", {"distance_m": 1.03})
    assert it._turns == moving
    it.put(
        t + 3.0, "feedback", "Fault", where="microphone", error="DeviceLost", message="no sound for 0.5 s; reopening"
    )
    it.put(t + 4.2, "feedback", "Recovered", where="microphone", message="after 1.2 s")
    it.put(t + 4.3, "feedback", "Gauge", where="microphone", name="drift_ppm", value=12.4)
    it.typed(t + 4.6, "and how many people are here?")
    it.agent(t + 4.61, "I see two people.")
    return it.done(voice=voice)


def minded() -> Scene:
    """A language model answers: a draft that is taken, one that is not, a tool, a failure, a change of behaviour."""
    it = Scene()
    tools = [{"name": name, "kind": "call", "risky": False} for name in ("set_timer", "calculate", "look")]
    it.put(0.0, "feedback", "Offered", where="toolbox", offers=tools, offered=3)
    said = it.person(0.8, "how do rainbows come about")
    it.answer(it.ask(said - 0.2, "draft"), said + 0.1, said + 0.9, "By rain, and by sun.")
    t = it.agent(said + 0.2, "By rain, and by sun.")
    said = it.person(t + 0.8, "how late is it in ulm")
    draft = it.ask(said - 0.4, "draft")
    it.answer(draft, said - 0.05, said + 0.01, "Ulm is", "cut")
    it.put(said, "action", "Withdraw", id=draft, reason="it was asked something else in the end", turn=it._turns)
    it.answer(it.ask(said + 0.005), said + 0.4, said + 0.5, "")
    it.deed(said + 0.6, said + 0.9, "clock", {"place": "Ulm"}, "done", {"time": "noon"})
    it.answer(it.ask(said + 0.95), said + 1.5, said + 1.8, "It is noon.")
    t = it.agent(said + 1.7, "It is noon.")
    usual = msgspec.to_builtins(Manner())
    it.put(t + 0.8, "percept", "Adjusted", manner=usual | {"patience": 2.0, "verbosity": "brief"}, by="console")
    it.typed(t + 1.2, "tell me a story")
    failed = {"detail": "no token came within 8 s", "error": "first_token"}
    it.answer(it.ask(t + 1.22), t + 5.2, t + 5.2, "", "timeout", **failed)
    t = it.agent(t + 5.3, "I cannot think of one now.")
    it.typed(t + 1.0, "and why not")
    it.ask(t + 1.05)
    it.put(t + 2.4, "percept", "Echo", similarity=0.0, erle_db=0.0, delay_ms=0.0)
    return it


def tone(duration: float) -> bytes:
    """A stereo WAV at 16 kHz with the person left and the agent right: two soft tones, a second of each in turn."""
    t = np.arange(round(duration * 16000)) / 16000
    left = np.sin(2 * np.pi * 220 * t) * (t % 2 < 1)
    right = np.sin(2 * np.pi * 330 * t) * (t % 2 >= 1)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((np.stack([left, right], 1) * 3000).astype("<i2").tobytes())
    return file.getvalue()


def picture() -> bytes:
    """A small JPEG with something in it."""
    import cv2

    image = np.zeros((240, 320, 3), np.uint8)
    image[:, :, 0] = np.linspace(40, 160, 320)
    image[:, :, 2] = np.linspace(160, 40, 240)[:, None]
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


class PageServer:
    """The server in a thread of its own, on a free port. What pages sent is in `messages`, `microphone`, `camera`."""

    def __init__(self, *, events: list[Event] | None = None, port: int = 0, picture: bytes = b"") -> None:
        self.token = secrets.token_urlsafe(8)
        self.number = 1
        self.muted = False
        self.recording: str | None = None
        self.manner = msgspec.to_builtins(Manner())
        self.refuses = ""  # why a change of the behaviour is refused
        self.price: dict[str, float] | None = None
        self.talker: int | None = None
        self.silent = False  # does not answer "take"
        self.messages: list[dict[str, Any]] = []
        self.microphone: list[tuple[int, float, bytes]] = []
        self.camera: list[tuple[int, float, bytes]] = []
        self.uploaded: dict[str, bytes] = {}
        self.connections = 0
        self.recorded = scene() if events is None else events
        self.sound = tone(self.recorded[-1]["at"] + 0.5)
        self.picture = picture
        self._port = port
        self._viewers: dict[int, WebSocket] = {}
        self._started = time.monotonic()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/?token={self.token}"

    @property
    def now(self) -> float:
        return time.monotonic() - self._started

    # --- life

    def start(self) -> None:
        routes = [
            Route("/", self._index),
            Route("/healthz", lambda _: JSONResponse({"ok": True}, headers=HEADERS)),
            Route("/page/recorder.js", lambda _: Response(RECORDER, media_type="text/javascript", headers=HEADERS)),
            Mount("/page", StaticFiles(directory=PAGE)),
            Route("/api/recordings", self._recordings, methods=["GET", "POST"]),
            Route("/api/recordings/{name}", self._download),
            Route("/api/recordings/{name}/{part}", self._part),
            WebSocketRoute("/ws", self._socket),
        ]
        app = Starlette(routes=routes)
        config = uvicorn.Config(app, port=self._port, log_level="error", ws="websockets-sansio", lifespan="off")
        server = self._server = uvicorn.Server(config)

        def serve() -> None:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(server.serve())

        self._thread = threading.Thread(target=serve, name="page server")
        self._thread.start()
        until(lambda: server.started, "the server to start")
        self._port = server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        assert self._server is not None and self._thread is not None
        self.hang_up()
        self._server.should_exit = True
        self._thread.join(10)
        self._viewers.clear()
        self.talker = None

    def hang_up(self) -> None:
        """Cut every connection, as a lost network does."""
        for viewer in list(self._viewers):
            with contextlib.suppress(WebSocketDisconnect):  # the page may have left by itself meanwhile
                self._run(self._viewers[viewer].close(1001))

    # --- what a test says to the pages

    def send(self, message: dict[str, Any] | bytes, viewer: int | None = None) -> None:
        for number, socket in list(self._viewers.items()):
            if viewer in (None, number):
                whole = socket.send_bytes(message) if isinstance(message, bytes) else socket.send_json(message)
                self._run(whole)

    def say(self, samples: np.ndarray[Any, Any], index: int, sequence: int) -> None:
        head = struct.pack("<BxHIq", 1, RATE, sequence, index)
        self.send(head + samples.astype("<i2").tobytes(), self.talker)

    def show(self, jpeg: bytes, sequence: int = 0) -> None:
        self.send(struct.pack("<B3xId", 2, sequence, self.now) + jpeg)

    def tell(self, events: list[Event]) -> None:
        self.send({"type": "events", "events": events})

    def begin(self, number: int | None = None) -> None:
        """A new session begins now."""
        self.number = self.number + 1 if number is None else number
        self._started = time.monotonic()
        self.send(self.session())

    def session(self) -> dict[str, Any]:
        return {
            "type": "session",
            "number": self.number,
            "started": "2026-11-21T10:00:00Z",
            "now": self.now,
            "recording": self.recording,
            "speech_rate": RATE,
            "muted": self.muted,
            "talker": self.talker,
            "watchers": len(self._viewers),
            "language": "en",
            "echo": "browser",
        }

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    def _run(self, what: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(what, self._loop).result(5)

    # --- HTTP

    def _known(self, request: Request | WebSocket) -> bool:
        return request.query_params.get("token") == self.token

    def _no(self) -> Response:
        return PlainTextResponse("Open the address that the server printed.", 403, headers=HEADERS)

    async def _index(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers=HEADERS) if self._known(request) else self._no()

    async def _recordings(self, request: Request) -> Response:
        if not self._known(request):
            return self._no()
        if request.method == "POST":
            name = request.query_params["name"]
            body = await request.body()
            if not body.startswith(b"\x89MCAP"):
                return PlainTextResponse("this is not an MCAP file", 400, headers=HEADERS)
            self.uploaded[name] = body
            return JSONResponse({"name": name}, headers=HEADERS)
        told = {"duration_s": self.recorded[-1]["at"], "started": "2026-11-21T10:00:00Z", "open": False}
        names = ["2026-11-21T10-00-00.mcap", *self.uploaded]
        return JSONResponse([{"name": name, "bytes": 4_812_345} | told for name in names], headers=HEADERS)

    async def _download(self, request: Request) -> Response:
        return Response(b"\x89MCAP", headers=HEADERS) if self._known(request) else self._no()

    async def _part(self, request: Request) -> Response:
        if not self._known(request):
            return self._no()
        match request.path_params["part"]:
            case "events":
                seen = [{"t": tick / 5, "topic": "image", "type": "Image", "at": tick / 5} for tick in range(150)]
                told = seen + self.recorded if self.picture else self.recorded
                text = "".join(json.dumps(event) + "\n" for event in told)
                return Response(text, media_type="application/x-ndjson", headers=HEADERS)
            case "sound.wav":
                return ranged(self.sound, request.headers.get("range"))
            case "image" if self.picture:
                return Response(self.picture, media_type="image/jpeg", headers=HEADERS)
        return PlainTextResponse("none", 404, headers=HEADERS)

    # --- WebSocket

    async def _socket(self, socket: WebSocket) -> None:
        if not self._known(socket):
            await socket.close()
            return
        await socket.accept()
        self.connections += 1
        viewer = self.connections
        self._viewers[viewer] = socket
        limits = {"image_hz": 5, "image_width": 640}
        welcome = {"type": "welcome", "protocol": 1, "viewer": viewer, "name": "visavis", "limits": limits}
        welcome |= {"manner": self.manner, "price": self.price}
        try:
            await socket.send_json(welcome | {"session": self.session()})
            while True:
                got = await socket.receive()
                if got["type"] == "websocket.disconnect":
                    break
                if got.get("bytes") is not None:
                    self._frame(got["bytes"])
                else:
                    await self._message(json.loads(got["text"]), viewer, socket)
        except WebSocketDisconnect:
            pass
        finally:
            self._viewers.pop(viewer, None)
            if self.talker == viewer:
                self.talker = None

    def _frame(self, data: bytes) -> None:
        kind, sequence, at = struct.unpack_from("<B3xId", data)
        (self.microphone if kind == 1 else self.camera).append((sequence, at, data[16:]))

    async def _message(self, message: dict[str, Any], viewer: int, socket: WebSocket) -> None:
        self.messages.append(message)
        match message["type"]:
            case "ping":
                await socket.send_json({"type": "pong", "time": message["time"], "now": self.now})
                return
            case "take" if self.silent:
                return
            case "take" if self.talker not in (None, viewer):
                reason = f"somebody else is talking (viewer {self.talker})"
                await socket.send_json({"type": "refused", "what": "microphone", "reason": reason})
                return
            case "take":
                if "microphone" in message["media"]:
                    self.talker = viewer
                await socket.send_json({"type": "taken", "media": message["media"]})
            case "release":
                if "microphone" in message["media"]:
                    self.talker = None
                await socket.send_json({"type": "released", "media": message["media"], "reason": ""})
            case "adjust" if self.refuses:
                await socket.send_json({"type": "error", "message": self.refuses})
                return
            case "adjust":
                self.manner |= message["changes"]
                for each in list(self._viewers.values()):
                    await each.send_json({"type": "manner", "manner": self.manner, "by": viewer})
                return
            case "mute":
                self.muted = message["muted"]
            case "record":
                self.recording = "2026-11-21T10-00-00.mcap" if message["on"] else None
                self.number += 1
                self._started = time.monotonic()
            case _:
                return
        for each in list(self._viewers.values()):
            await each.send_json(self.session())


def ranged(body: bytes, asked: str | None) -> Response:
    """`body`, or the part of it that was asked for, so that <audio> can seek."""
    headers = HEADERS | {"Accept-Ranges": "bytes"}
    if not asked:
        return Response(body, media_type="audio/wav", headers=headers)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), int(last) if last else len(body) - 1
    headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
    return Response(body[start : end + 1], 206, media_type="audio/wav", headers=headers)


def until(true: Callable[[], Any], what: str, timeout: float = 10.0) -> None:
    """Wait until `true()`; fails, saying for `what`, after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"waited {timeout} s in vain for {what}"
        time.sleep(0.01)


@contextmanager
def serving(**options: Any) -> Iterator[PageServer]:
    server = PageServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def live(server: PageServer, events: list[Event], end: float = math.inf) -> None:
    """Tell `events` as they happen, from the beginning of a new session to its time `end`."""
    server.begin()
    told = 0
    while told < len(events) and server.now < end:
        due = told
        while due < len(events) and events[due]["at"] <= server.now:
            due += 1
        if due > told:
            server.tell(events[told:due])
            told = due
        if server.picture and server.now % 0.4 < 0.05:
            server.show(server.picture)
        time.sleep(0.04)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, help="NDJSON of `visavis events --json`")
    parser.add_argument("--picture", type=Path, help="a JPEG")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    events = None if given.events is None else [json.loads(line) for line in given.events.read_text().splitlines()]
    shown = b"" if given.picture is None else given.picture.read_bytes()
    with serving(events=events, port=given.port, picture=shown) as server:
        print(server.address, flush=True)
        while True:
            live(server, server.recorded)


if __name__ == "__main__":
    main()
