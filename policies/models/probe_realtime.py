"""What a speech-to-speech model's server can do, found out by asking it: for `visavis doctor --realtime URL`.

It is asked over the connection of a session (`realtime_line.py`), so that what is found is what a session finds.
"""

import asyncio
import base64
import binascii
from typing import Any

from policies.models.finding import Finding
from policies.models.realtime_line import Line
from policies.models.realtime_settings import RealtimeModelConfig, RealtimeSetupError, address, key
from policies.models.secret import shown
from streams.clock import SECOND, Clock, run
from streams.errors import DependencyMissing

PATIENCE_S = 60.0
"""How long all of it may take."""
SETTINGS_S = 3.0
"""How long the server may take to say which settings hold."""
_MOST = 4096  # events that wait to be looked at
_SLOW_MS = 1500
_SCHEMES = {"http": "ws", "https": "wss"}
_ENDS = ("trouble", "closed", "garbled", "error")
_KEYS = ("invalid_api_key", "authentication", "unauthorized", "permission", "incorrect api key")
Event = dict[str, Any]


def look(config: RealtimeModelConfig, patience_s: float = PATIENCE_S) -> tuple[Finding, ...]:
    """`probe`, from outside any event loop."""
    return run(probe(config, patience_s))


async def probe(config: RealtimeModelConfig, patience_s: float = PATIENCE_S) -> tuple[Finding, ...]:
    """Connect, greet the model, and wait for the first sound of its answer. In real time; `patience_s` at most.

    Raises nothing that a server, an address or a missing package can cause.
    """
    wrong = _unusable(config)
    if wrong is not None:
        return (wrong,)
    try:
        asking = _Asking(config)
    except DependencyMissing as error:
        return (Finding("realtime server", False, str(error), "pip install 'visavis[realtime]'"),)
    limit = asyncio.timeout(patience_s)
    try:
        async with limit, asyncio.TaskGroup() as group:
            keeping = group.create_task(asking.line.keep(asking.clock), name="realtime model")
            try:
                await asking.all()
            finally:
                keeping.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        asking.found(
            "realtime answer", False, f"not all could be asked in {patience_s:g} s", "see to the server's load"
        )
    return tuple(asking.findings)


def _unusable(config: RealtimeModelConfig) -> Finding | None:
    """What is wrong with the address or the key before anybody is asked."""
    try:
        address(config)
    except RealtimeSetupError as error:
        scheme, sign, rest = shown(config.url).partition("://")
        better = f"--realtime {_SCHEMES[scheme]}://{rest}" if sign and scheme in _SCHEMES else ""
        return Finding("realtime server", False, str(error), better or "--realtime wss://... (or ws:// at home)")
    try:
        key(config)
    except RealtimeSetupError as error:
        unsafe = config.url.startswith("ws:") and "unencrypted" in str(error)
        mend = f"--realtime wss{shown(config.url)[2:]}" if unsafe else _export(config)
        return Finding("realtime key", False, str(error), mend)
    return None


def _export(config: RealtimeModelConfig) -> str:
    return f"export {config.key_env}=...   # a key of this server"


class _Asking:
    """The questions, one after the other, and what was told of each. A `realtime_line.Listener`."""

    def __init__(self, config: RealtimeModelConfig) -> None:
        self.config = config
        self.clock = Clock()
        self.findings: list[Finding] = []
        self.url = shown(config.url)
        self._events: asyncio.Queue[Event] = asyncio.Queue(_MOST)
        self.line = Line(config, self)

    def found(self, name: str, ok: bool, detail: str, mend: str = "") -> None:
        self.findings.append(Finding(name, ok, self.line.masked(detail), mend))

    async def all(self) -> None:
        if await self._stands() and await self._session() and await self._settings():
            await self._answers()

    # --- the questions

    async def _stands(self) -> bool:
        """Whether a connection can be had."""
        seen = await self._next(("opened",), self.config.connect_ms / 1000 + 1)
        if seen.get("type") == "opened":
            return True
        told = f"{self.url}: {seen.get('why') or 'no answer'}"
        status = self.line.status
        mend = "start the server, or give another --realtime URL"
        if status in (401, 403):
            self.found("realtime key", False, told, _export(self.config))
            return False
        if status == 404:
            mend = "see to the path (mostly /v1/realtime) and to --model NAME"
        elif status:
            mend = "see to the path (mostly /v1/realtime) and to the account"
        elif "SSL" in told:
            mend = "ws:// in place of wss://, if the server does not encrypt; else see to its certificate"
        elif "HTTP" in told:
            mend = "see whether it is the right port: no WebSocket is there"
        self.found("realtime server", False, told, mend)
        return False

    async def _session(self) -> bool:
        """Whether the server speaks the protocol."""
        seconds = self.config.first_ms / 1000
        seen = await self._next(("session.created",), seconds)
        if seen.get("type") == "session.created":
            session = seen.get("session")
            model = session.get("model") if isinstance(session, dict) else None
            named = f", with {self.line.redacted(model)}" if isinstance(model, str) and model else ""
            self.found("realtime server", True, f"{self.url} is there{named}")
            return True
        why = self._why(seen) or f"it is a WebSocket, and tells of no session in {seconds:g} s (no session.created)"
        mend = "see whether it is a server of the Realtime protocol: its path is mostly /v1/realtime; and --model NAME"
        self._refused("realtime server", f"{self.url}: {why}", seen, mend)
        return False

    async def _settings(self) -> bool:
        """Whether it takes the session's settings: our turns, our format of sound, the voice."""
        seen = await self._next(("session.updated",), SETTINGS_S)
        if not seen:
            self.found("realtime settings", True, f"it did not say in {SETTINGS_S:g} s that it takes them")
            return True
        if seen["type"] != "session.updated":
            mend = "see to realtime_model.voice and realtime_model.extra"
            self._refused("realtime settings", self._why(seen), seen, mend)
            return False
        if _detects(seen):
            self.found("realtime settings", False, "it ends turns by itself, though it was asked not to",
                       "take a server that heeds turn_detection = null")  # fmt: skip
        else:
            self.found("realtime settings", True, "it takes them, and leaves the turns to us")
        return True

    async def _answers(self) -> None:
        """Whether it speaks, and how soon."""
        config, began = self.config, self.clock.now()
        content = [{"type": "input_text", "text": "Hello!"}]
        self.line.send({"type": "conversation.item.create", "event_id": "ask 0 item",
                        "item": {"type": "message", "role": "user", "content": content}})  # fmt: skip
        self.line.send({"type": "response.create", "event_id": "ask 0 create", "response": {}})
        ends = ("response.output_audio.delta", "response.done")
        seen = await self._next(ends, config.first_ms / 1000)
        if not seen:
            self.found("realtime answer", False, f"nothing is heard of an answer in {config.first_ms} ms "
                       "(realtime_model.first_ms)", "see to the server's load, or take another model")  # fmt: skip
        elif seen["type"] == "response.output_audio.delta":
            first = (self.clock.now() - began) * 1000 / SECOND
            if not _is_sound(seen.get("delta")):
                self.found("realtime answer", False, "its sound is not PCM of 16 bits", "take another server")
                return
            slow = first > min(_SLOW_MS, config.first_ms)
            told = f"first sound after {first:.0f} ms{'; people wait for that' if slow else ''}"
            self.found("realtime answer", True, told, "a model that is nearer, or smaller" if slow else "")
            self.line.send({"type": "response.cancel"})
        else:
            self._refused("realtime answer", self._why(seen), seen, "see the log of the server, and the account")

    # --- what the server said

    async def _next(self, kinds: tuple[str, ...], seconds: float) -> Event:
        """The next event of `kinds`, or one that ends the hope of it; {} after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await self._events.get()
                    if event["type"] in (*kinds, *_ENDS):
                        return event
        except TimeoutError:
            return {}

    def _refused(self, name: str, told: str, event: Event, mend: str) -> None:
        """A problem, which may be that of the key."""
        words = str(event.get("error") or event.get("why") or "").lower()
        if any(word in words for word in _KEYS):
            name, mend = "realtime key", _export(self.config)
        self.found(name, False, told, mend)

    def _why(self, event: Event) -> str:
        if "why" in event:
            return str(event["why"])
        if event.get("type") == "error":
            error = event.get("error")
            words = error.get("message") or error.get("code") if isinstance(error, dict) else error
            return f"it tells of an error: {self.line.redacted(str(words or 'no reason'))}"
        response = event.get("response")
        if not isinstance(response, dict):
            return ""
        details = response.get("status_details")
        wrong = details.get("error") if isinstance(details, dict) else None
        words = wrong.get("message") if isinstance(wrong, dict) else None
        status = self.line.redacted(str(response.get("status")))
        return f"its answer ended as {status}, without sound: {self.line.redacted(str(words or 'no reason was given'))}"

    def _put(self, event: Event) -> None:
        if not self._events.full():
            self._events.put_nowait(event)

    def opened(self) -> None:
        """See `Listener`."""
        self._put({"type": "opened"})

    def closed(self, why: str) -> None:
        """See `Listener`."""
        self._put({"type": "closed", "why": why})

    def heard(self, event: Event) -> None:
        """See `Listener`."""
        self._put({key: value for key, value in event.items() if key != "why"})

    def garbled(self, why: str) -> None:
        """See `Listener`."""
        self._put({"type": "garbled", "why": why})

    def trouble(self, message: str) -> None:
        """See `Listener`."""
        self._put({"type": "trouble", "why": message})

    def well(self) -> None:
        """See `Listener`."""


def _detects(event: Event) -> bool:
    """Whether the server says that it ends turns itself."""
    place: Any = event
    for name in ("session", "audio", "input"):
        place = place.get(name) if isinstance(place, dict) else None
    return isinstance(place, dict) and place.get("turn_detection") is not None


def _is_sound(data: Any) -> bool:
    try:
        return isinstance(data, str) and len(base64.b64decode(data, validate=True)) % 2 == 0
    except (binascii.Error, ValueError):
        return False
