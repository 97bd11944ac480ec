"""The body of one connection: the agent's own, with the client's functions in its toolbox, and a voice to be muted."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from agent import registry
from agent.assembly import AgentBody
from agent.config import Config
from embodied.body import Body
from embodied.ports import Chunk, Mark, Voice
from embodied.speech import SpeechActuator
from embodied.toolbox import Tool, Toolbox
from embodied.tools import default_tools
from embodied.voices.words import written_words
from streams.bus import Lane
from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.types import Action, Call, Outcome, Tone


class MuteVoice:
    """`embodied.ports.Voice`: `voice`, or, while `mute`, one sample of silence for each word.

    A text answer is so "heard" as soon as it is sent, and the account of it stays the same.
    """

    def __init__(self, voice: Voice) -> None:
        self.mute = False
        self._voice = voice
        self.name, self.rate, self.cost = voice.name, voice.rate, voice.cost

    def speak(self, text: str, *, pace: float = 1.0, tone: Tone = "") -> Iterator[Chunk]:
        """As in the port."""
        if not self.mute:
            yield from self._voice.speak(text, pace=pace, tone=tone)
            return
        words = written_words(text)
        marks = tuple(Mark(word.text, place, place + 1) for place, word in enumerate(words))
        yield Chunk(np.zeros(max(1, len(words)), np.int16), marks)

    def close(self) -> None:
        """As in the port."""
        self._voice.close()


class ClientTools:
    """`embodied.ports.Actuator` for `Call`: the client's functions, and everything else as the agent's own `toolbox`.

    names: of the client's functions, which go before the agent's own
    A call of one ends as "done" with the result that `deliver` gives, or as "timeout" after `timeout_s`.
    """

    name = "toolbox"
    accepts: tuple[type, ...] = (Call,)

    def __init__(self, toolbox: Toolbox, names: Callable[[], Collection[str]], clock: Clock, timeout_s: float) -> None:
        self._toolbox, self._names, self._clock = toolbox, names, clock
        self._timeout = timeout_s
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def deliver(self, id: int, result: Any) -> None:
        """The client's result of call `id`; one that nobody waits for is dropped."""
        waiting = self._waiting.get(id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    async def perform(self, action: Action) -> Outcome:
        """As in the port. Cancelling a call of the client's function forgets it."""
        if not isinstance(action, Call) or action.name not in self._names():
            return await self._toolbox.perform(action)
        waiting = self._waiting[action.id] = asyncio.get_running_loop().create_future()
        limit = asyncio.timeout_at(self._clock.deadline(self._clock.now() + round(self._timeout * SECOND)))
        try:
            async with limit:
                result = await waiting
        except TimeoutError:
            why = f"the client gave no result of {action.name} within {self._timeout:g} s"
            return Outcome(action.turn, action.id, "Call", action.name, "timeout", why)
        finally:
            del self._waiting[action.id]
        return Outcome(action.turn, action.id, "Call", action.name, "done", "", result)

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels the calls that asked for it (`on_cut`)."""

    def pause(self, turn: int) -> None:
        """Nothing: a call has no place to keep."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: a call is not a motion."""

    async def aclose(self) -> None:
        """Nothing."""
        await self._toolbox.aclose()


class ClientBody(AgentBody):
    """`AgentBody` for a client that has functions of its own.

    names: of these functions, as they are now;  timeout_s: how long the client may take
    mute: nothing is to be heard: answers are text;  tools: as in `AgentBody`
    """

    def __init__(
        self, config: Config, tools: Sequence[Tool | Callable[..., Any]], names: Callable[[], Collection[str]],
        timeout_s: float,
    ) -> None:  # fmt: skip
        super().__init__(config, tools)
        self._names, self._timeout = names, timeout_s
        self._mouth = MuteVoice(self.voice)
        self._client_tools: ClientTools | None = None

    def mute(self, mute: bool) -> None:
        """Whether what is said from now on is text only."""
        self._mouth.mute = mute

    def deliver(self, id: int, result: Any) -> None:
        """The client's result of call `id`."""
        if self._client_tools is not None:
            self._client_tools.deliver(id, result)

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        """See `BodyPort`."""
        speaker = self._speaker(publisher, clock, self.voice.rate)
        speech = SpeechActuator(self._mouth, speaker, publisher, clock)
        toolbox = Toolbox([*default_tools(speech), *self.tools], clock)
        self._client_tools = ClientTools(toolbox, self._names, clock, self._timeout)
        actuators: list[Any] = [speech, self._client_tools]
        if self.config.body.motion != "none":
            make = registry.find("actuators", self.config.body.motion, "body.motion")
            actuators.append(make(self.config, publisher, clock))
        body = Body(actuators)
        async with speaker.device():
            try:
                await body.run(lane, publisher, clock)
            finally:
                await body.aclose()
