"""One client, from its first event to the end of its session: the rim around `Dialogue`, with tasks and time."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

import msgspec

from agent.assembly import assemble
from agent.config import Config
from agent.realtime import orders
from agent.realtime.beta import older
from agent.realtime.body import ClientBody
from agent.realtime.dialogue import Dialogue, refusal
from agent.realtime.items import Event
from agent.realtime.judging import Judging
from agent.realtime.limits import RealtimeConfig
from agent.realtime.microphone import ClientMicrophone
from agent.realtime.orders import Order
from agent.realtime.outbox import Gone, Outbox, Socket, size
from agent.realtime.refusals import Refused
from agent.realtime.settings import Settings, configured, turns
from agent.realtime.watching import Gate, Watcher
from agent.session import Session
from embodied.toolbox import Tool
from streams.clock import SECOND, Clock
from streams.errors import VisavisError
from streams.worker import Worker

TICK_S = 0.25
BEGIN_S = 0.3
"""After this the session begins, if no client event asked for it: so that it is there when somebody speaks."""
END_S = 10.0
"""How long the end of a session is waited for."""
BURST_S = 5
"""Over how many seconds the rate of messages is counted."""


class Connection:
    """Holds the conversation with one client; `run` may be called once. Made inside the running loop.

    name: of the session, for the client;  model: what the client calls the agent
    beta: the client speaks the beta of the protocol;  tools: functions of the agent's own
    """

    def __init__(
        self,
        socket: Socket,
        config: Config,
        limits: RealtimeConfig,
        *,
        name: str = "sess_1",
        model: str = "",
        beta: bool = False,
        tools: Sequence[Tool | Callable[..., object]] = (),
    ) -> None:
        self._socket, self._config, self._limits, self._beta, self._tools = socket, config, limits, beta, tools
        self._clock = Clock()
        self._outbox = Outbox(socket, limits.behind_kib * 1024, limits.stuck_s)
        self._microphone = ClientMicrophone(most_s=limits.backlog_s)
        self._judging = Judging(self._microphone)
        self._watcher = Watcher(self._judging, self._out)
        settings = Settings(model=model or "visavis")
        self._dialogue = self._watcher.dialogue = Dialogue(name, settings, self._microphone.position)
        self._gate: Gate | None = None
        self._body: ClientBody | None = None
        self._session: Session | None = None
        self._talking: asyncio.Task[None] | None = None
        self._closing: tuple[int, str] | None = None
        self._events = 0
        self._tokens = float(limits.messages_per_s * BURST_S)
        self._counted = 0

    async def run(self) -> None:
        """Talk until the client leaves or is dropped; the session is stopped with grace. Cancelling ends it at once.

        Raises what a part of the session raises that is no `VisavisError`.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._receiving = group.create_task(self._receive(), name="realtime receive")
            sending = group.create_task(self._send(), name="realtime send")
            ticking = group.create_task(self._tick(), name="realtime tick")
            self._out(self._dialogue.begin())
            await asyncio.wait({self._receiving})
            ticking.cancel()
            self._outbox.end()
            if self._closing is not None:  # it may still read why
                await asyncio.wait({sending}, timeout=self._limits.stuck_s)
            sending.cancel()
            await self._close_socket()
            await self._end_session()

    def drop(self, code: int, reason: str) -> None:
        """End the connection. code: of RFC 6455, section 7.4.1"""
        if self._closing is None:
            self._closing = (code, reason)
            self._receiving.cancel()

    # --- tasks

    async def _receive(self) -> None:
        limit, count = self._limits.message_kib * 1024, 0
        while True:
            try:
                message = await self._socket.receive()
            except Gone:
                return
            if not self._affordable():
                self._refuse("rate_limit_exceeded", f"more than {self._limits.messages_per_s} messages a second")
                self.drop(1008, "too many messages")
                return
            if isinstance(message, bytes):
                self._refuse("invalid_message", "messages are text: send sound by input_audio_buffer.append")
            elif size(message) > limit:
                self._refuse("message_too_large", f"the message is longer than {self._limits.message_kib} KiB")
            else:
                self._out(self._dialogue.client(message, self._clock.now()))
            count += 1
            if count % 16 == 0:
                await asyncio.sleep(0)  # a client that sends without end does not keep the others waiting

    async def _send(self) -> None:
        if not await self._outbox.run():
            self._outbox.end()
            self.drop(1013, "the client reads nothing")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now()
            self._out(self._dialogue.tick(now))
            if now > BEGIN_S * SECOND:
                self._begin()
            if now > self._limits.minutes * 60 * SECOND:
                self._refuse("session_expired", f"a session lasts {self._limits.minutes:g} minutes at most")
                self.drop(1001, "the session is over")
                return

    async def _talk(self) -> None:
        """The session of this client."""
        config = configured(self._config, self._dialogue.settings)
        worker = Worker(self._clock, "assembly")  # half a second
        make = partial(ClientBody, config, self._tools, self._functions, self._limits.function_s)
        try:
            body = self._body = await worker.work(0, make)
            parts = partial(assemble, config, [self._microphone], taps=[self._watcher], body=body)
            session = self._session = await worker.work(0, parts)
            conductor = session.conductor
            conductor.policy = self._gate = Gate(conductor.policy, self._free, self._watcher.replied)
            self._configure(self._dialogue.settings)
            await session.main()
        except VisavisError as error:
            told = {"type": "server_error", "code": type(error).__name__, "message": str(error)}
            self._tell({"type": "error", "error": told | {"param": None, "event_id": None}})
            self.drop(1011, "the session failed")
        finally:
            worker.abandon()
            if self._body is not None:
                self._body.close()

    async def _end_session(self) -> None:
        if self._talking is None or self._talking.done():
            return
        if self._session is None:
            self._talking.cancel()
        else:
            self._session.stop(self._limits.grace_s)
        _, late = await asyncio.wait({self._talking}, timeout=END_S)
        for task in late:
            task.cancel()

    async def _close_socket(self) -> None:
        if self._closing is not None:
            try:
                async with asyncio.timeout(self._limits.stuck_s):
                    await self._socket.close(*self._closing)
            except (Gone, TimeoutError):
                pass

    # --- small questions

    def _functions(self) -> Collection[str]:
        return self._dialogue.answering.tools

    def _free(self) -> bool:
        return self._dialogue.settings.answers_by_itself

    def _affordable(self) -> bool:
        now, rate = self._clock.now(), self._limits.messages_per_s
        self._tokens = min(rate * BURST_S, self._tokens + (now - self._counted) * rate / SECOND)
        self._counted = now
        self._tokens -= 1
        return self._tokens >= 0

    # --- out

    def _out(self, out: Sequence[Event | Order]) -> None:
        for each in out:
            if isinstance(each, dict):
                self._tell(each)
            else:
                try:
                    self._perform(each)
                except Refused as refused:
                    self._tell(refusal(refused, self._dialogue.event_id))

    def _refuse(self, code: str, why: str) -> None:
        self._tell(refusal(Refused(code, why), None))

    def _tell(self, event: Event) -> None:
        told = older(event) if self._beta else event
        if told is None:
            return
        self._events += 1
        text = msgspec.json.encode({"event_id": f"event_{self._events}", **told}).decode()
        if not self._outbox.put(text):
            self.drop(1013, "the client reads too slowly")

    def _begin(self) -> None:
        if self._talking is None and self._closing is None:
            self._dialogue.running = True
            self._talking = self._group.create_task(self._talk(), name="realtime session")

    def _configure(self, settings: Settings) -> None:
        self._microphone.hold(settings.detection is None)
        if self._body is not None:
            self._body.mute(settings.modality == "text")
        if self._session is not None:
            self._judging.configure(self._session.conductor.turns, turns(self._config.turns, settings))

    def _perform(self, order: Order) -> None:
        microphone, body = self._microphone, self._body
        match order:
            case orders.Begin():
                self._begin()
            case orders.Configure(settings=settings):
                self._configure(settings)
            case orders.Hear(data=data):
                sound = self._dialogue.settings.hears
                microphone.push(sound.decode(data), sound.rate)
            case orders.Judge():
                self._judging.begin()
            case orders.Forget():
                microphone.forget()
            case orders.Write(text=text):
                microphone.write(text)
            case orders.StopTalking():
                microphone.stop()
            case orders.Heard(milliseconds=milliseconds):
                microphone.gauge("heard_ms", milliseconds)
            case orders.Deliver(id=id, result=result) if body is not None:
                body.deliver(id, result)
            case orders.Release(turn=turn) if self._gate is not None:
                self._gate.release(turn)
