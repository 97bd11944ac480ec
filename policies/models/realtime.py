"""A speech-to-speech model as an actuator for `Ask`: OpenAI's Realtime protocol, as generally available.

Turns are taken by us: the server's own detection is off. What a person said is sent while it is said and committed when
the turn is; the answer's words come back as `Delta`s, and its sound goes to the speech actuator by name.
"""

import asyncio
from typing import Any

from policies.models.realtime_exchange import Exchange, result
from policies.models.realtime_heard import Sounds
from policies.models.realtime_link import RealtimeLink
from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.types import Action, Ask, Outcome

KIND = "realtime"
_LAG = 25  # looks at the microphone, 20 ms apart: its last block may be behind the end of the turn


class RealtimeModel:
    """`embodied.ports.Actuator` for `Ask`. Made inside the running loop, for one session.

    link: a tap of the same session;  sounds: where the sound of answers goes

    One question is answered at a time; another waits. A question that cannot be answered ends as "failed", "timeout"
    or "refused", with the kind of error in its `Answered`. Cancelling it cancels the answer at the server at once; what
    still comes of it is dropped.
    """

    accepts: tuple[type, ...] = (Ask,)

    def __init__(self, link: RealtimeLink, publisher: Publisher, clock: Clock, sounds: Sounds) -> None:
        self.name = link.config.model or KIND
        self._link, self._publisher, self._clock, self._sounds = link, publisher, clock, sounds
        self._one = asyncio.Lock()
        link.publisher, link.clock_now, link.heard_of.sounds = publisher, clock.now, sounds

    async def perform(self, action: Action) -> Outcome:
        """Ask. Returns when the answer is whole (its sound may have yet to be heard), has failed, or is cut."""
        if not isinstance(action, Ask):
            raise TypeError(f"a model takes Ask, not {type(action).__name__}")
        if action.request.get("kind") != KIND:
            return self._outcome(action, "refused", "it answers what is spoken, not a request for text")
        if self._clock.virtual:
            return self._outcome(action, "failed", "there is no server in virtual time")
        link = self._link
        exchange = Exchange(action, link.config, self._publisher, self._clock, self._sounds, link.heard_of)
        try:
            async with self._one:
                await self._ask(exchange)
        except asyncio.CancelledError:
            exchange.cancel()
            return self._outcome(action, "cut", "nobody wanted it any more", exchange)
        finally:
            link.let_go(exchange)
        if not exchange.error:
            return self._outcome(action, "done", "", exchange)
        late = exchange.error in ("first_token", "between_tokens")
        status = "timeout" if late else "refused" if exchange.error == "refused" else "failed"
        return self._outcome(action, status, link.line.masked(exchange.detail), exchange)

    async def _ask(self, exchange: Exchange) -> None:
        config, link, clock = self._link.config, self._link, self._clock
        if not await link.line.stand(config.connect_ms / 1000):
            exchange.fail("connect", link.line.trouble or f"there is no connection after {config.connect_ms} ms")
            return
        if not await link.calm(config.settle_ms / 1000):
            link.line.renew(f"an answer that was cancelled did not end within {config.settle_ms} ms")
            if not await link.line.stand(config.connect_ms / 1000):
                exchange.fail("closed", link.line.trouble or "it would not end the answer before this one")
                return
        await self._caught_up(exchange.ask.request.get("audio") or ())
        try:
            async with asyncio.timeout(config.whole_ms / 1000), asyncio.timeout(config.first_ms / 1000) as patience:

                def progress() -> None:
                    if not patience.expired():
                        patience.reschedule(clock.deadline(clock.now() + config.between_ms * MS))

                link.ask(exchange, progress)
                await asyncio.wait([exchange.over])  # it stays as it is when the wait ends early
        except TimeoutError:
            if not patience.expired():
                exchange.fail("too_long", f"its answer took longer than {config.whole_ms} ms")
            elif exchange.begun:
                exchange.fail("between_tokens", f"it said nothing more for {config.between_ms} ms")
            else:
                exchange.fail("first_token", f"it did not begin to answer within {config.first_ms} ms")

    async def _caught_up(self, span: Any) -> None:
        for _ in range(_LAG if span else 0):
            if self._link.ear.now >= span[1]:
                return
            await asyncio.sleep(0.02)

    def _outcome(self, ask: Ask, status: Any, detail: str, exchange: Exchange | None = None) -> Outcome:
        answered = None if exchange is None else result(exchange.answered())
        return Outcome(
            turn=ask.turn, id=ask.id, action="Ask", name=self.name, status=status, detail=detail, result=answered
        )

    def cut(self, turn: int) -> None:
        """The body cancels what is asked; there is nothing else."""

    def pause(self, turn: int) -> None:
        """The server goes on: what it says waits to be heard."""

    def resume(self, turn: int) -> None:
        """Nothing was held."""

    async def halt(self) -> None:
        """A model moves nothing."""

    async def aclose(self) -> None:
        """The link closes the connection, when the session ends. Idempotent."""
        self._link.publisher = None
