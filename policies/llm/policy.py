"""The policy of a language model: answers a turn with what the model says, and does what it may of what it wishes.

It is a pure function of packets. The model is asked by an `Ask` and answers in `Delta`s, whichever server is behind it;
so whatever it said can be replayed, with its times, and a cut closes the connection by the same rule that silences the
voice. When the model is gone, the fallback policy (the intents) answers.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from policies.endpointing import EndpointingConfig
from policies.errors import ModelUnavailable
from policies.llm.answer import Answer, Bell
from policies.llm.breaker import Breaker
from policies.llm.consent import Consent
from policies.llm.drafts import Drafts
from policies.llm.fillers import Backchannels, Fillers
from policies.llm.greeter import Greeter
from policies.llm.lull import Lull
from policies.llm.promises import Promises
from policies.llm.prompt import Composer
from policies.llm.question import OpenTurn, Round
from policies.llm.reply import Reply
from policies.llm.settings import LlmConfig
from policies.llm.speakable import CONTROLS
from policies.models.pictures import CAMERA
from policies.ports import Policy, urgent
from policies.scene import Scene
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Action,
    Adjusted,
    Ask,
    Call,
    Command,
    Delta,
    Halt,
    Manner,
    Offer,
    Offered,
    Outcome,
    Say,
    TurnCommitted,
    TurnWaiting,
    Voice,
)

EXCUSE_NS = 60 * SECOND
QUESTION_NS = 20 * SECOND
"""How long news waits for the answer to a question."""


class Fallback(Policy, Protocol):
    """What answers when the model does not, and tells unasked what became of timers, motions and devices."""

    @property
    def asking(self) -> bool:
        """Whether it has asked a yes-or-no question that is still open."""

    def awaits(self, turn: TurnCommitted) -> bool:
        """Whether `turn` answers it, plainly and in time. If it does not, the question is void."""
        ...

    def leave(self, number: int, *, alone: bool = True) -> None:
        """What becomes of action `number` is told by others; with `alone` False by this policy after all."""


class LlmPolicy:
    """A `Policy` (and `Spontaneous`) around a language model.

    consent: what a model may do by itself;  manner: how it behaves, until `Adjusted`
    language: of what it says where the model does not;  wall: wall time of a session time in ns (`Clock.wall`)
    endpointing: the session's own, by which it is judged when to ask early
    """

    def __init__(
        self,
        config: LlmConfig,
        fallback: Fallback,
        consent: Consent,
        *,
        manner: Manner | None = None,
        language: str = "en",
        wall: Callable[[int], datetime] | None = None,
        endpointing: EndpointingConfig | None = None,
    ) -> None:
        self.config = config
        self.fallback = fallback
        self.consent = consent
        self.manner = manner or Manner()
        self.language = language
        self.wants_floor = self.urgent = False
        self.drafts = Drafts(config.drafts)
        self.breaker = Breaker(config)
        self.fillers = Fillers(language)
        self.bell = Bell()
        self.now = 0
        self._composer = Composer(config, language, wall, CONTROLS)
        self._scene = Scene()
        self._lull = Lull(language, endpointing)
        self._backchannels = Backchannels(language)
        self._greeter = Greeter()
        self._sees = False
        self._impulses: list[Action] = []
        self._newest: Answer | None = None
        self._answers: dict[int, Answer] = {}
        self.promises = Promises(fallback)
        self._newest_action: Call | Command | None = None
        self._voiced: dict[int, int] = {}  # turns of what is being said, by number
        self._excused: int | None = None
        self._question_ns: int | None = None

    # --- what it takes note of

    def observe(self, packet: Packet[Any]) -> None:
        """As in the port."""
        self.now = max(self.now, packet.at)
        lull = self._lull.feed(packet)
        if lull is not None:
            self._impulses += self.drafts.likely(lull, self._draft, packet.at)
        if isinstance(packet.data, Voice):
            return
        self._scene.observe(packet)
        self.fallback.observe(packet)
        match packet.data:
            case Ask() as ask:
                self._asked(ask)
            case Delta(id=number) as delta if number in self._answers:
                self._answers[number].feed(delta)
            case Outcome() as outcome:
                self._ended(outcome)
            case Call() | Command() as action:
                self._newest_action = action
            case Say(id=number, turn=turn):
                self._voiced[number] = turn
            case Adjusted(manner=manner):
                self.manner = manner
                self.consent.forget()
            case Halt():
                self.consent.forget()
            case Offered(where=where):
                self._sees = self._sees or where == CAMERA
        self._impulses += self.drafts.consider(packet, self._draft)
        self._backchannels.observe(packet)
        self._greeter.observe(packet)
        greets = self.manner.proactivity == "greets" and self._greeter.wants
        waits = self._question_waits()
        self.urgent = urgent(self.fallback)
        self.wants_floor = self.fallback.wants_floor or (
            (greets or self.promises.pressing(self.now)) and not waits and not self.breaker.open(self.now)
        )
        self.bell.ring()

    def _question_waits(self) -> bool:
        """Whether a yes may still come: what the agent says before that would take the question away."""
        if not self.consent.pending:
            self._question_ns = None
        elif self._question_ns is None:
            self._question_ns = self.now
        return self._question_ns is not None and self.now - self._question_ns < QUESTION_NS

    def _asked(self, ask: Ask) -> None:
        self._newest = self._answers[ask.id] = Answer(ask)
        if ask.purpose == "draft":
            self.drafts.asked(ask, self._newest)

    def _ended(self, outcome: Outcome) -> None:
        number = outcome.id
        if outcome.action == "Ask":
            answer = self._answers.pop(number, None)
            if answer is not None:
                answer.end(outcome)
            self.breaker.heed(outcome, self.now)
        elif outcome.action == "Say":
            self._voiced.pop(number, None)
        else:
            self.promises.observe(outcome)

    # --- what it does between turns

    @property
    def deadline(self) -> int | None:
        """As in `Spontaneous`."""
        times = (self.bell.deadline, self._backchannels.deadline)
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: int) -> None:
        """As in `Spontaneous`."""
        self.now = max(self.now, now)
        self.bell.expire(now)
        self._backchannels.expire(now)

    def impulses(self) -> Sequence[Action]:
        """As in `Spontaneous`: drafts asked and withdrawn, and murmurs where the manner has them."""
        actions, self._impulses = self._impulses, []
        murmurs = self._backchannels.take()
        return [*actions, *(murmurs if self.manner.backchannels else ())]

    def _draft(self, waiting: TurnWaiting) -> Ask | None:
        """What would be asked if the turn ended as it is now; None if nothing should be."""
        text = str(waiting.evidence.get("text", ""))
        answers = self.consent.pending or self.fallback.asking  # without the model, perhaps
        if not text or not self.config.drafts.enabled or answers or self.breaker.open(self.now):
            return None
        ended = waiting.until_ns - waiting.wait_ns
        return self.ask(OpenTurn.drafted(waiting.turn, text, waiting.evidence), ended_ns=ended, purpose="draft")

    # --- turns

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port."""
        if turn.reason == "unasked":
            return self._unasked(turn)
        if turn.text and not self.fallback.awaits(turn):  # what the fallback asked about is answered to it
            agreed = self.consent.hear(turn)
            if agreed is None:
                return Reply(self, turn).actions()
            return self._without_draft(self._agreed(agreed))
        return self._without_draft(self.fallback.reply(turn))

    async def _agreed(self, agreed: Sequence[Action]) -> AsyncGenerator[Action, None]:
        """What the person has said yes to. What a tool returns is told when it is known."""
        for action in agreed:
            yield action
            if isinstance(action, Call):
                self.promises.leave(self.promises.begin(self.newest_action))

    async def _without_draft(self, answer: AsyncGenerator[Action, None]) -> AsyncGenerator[Action, None]:
        """An answer that is not the model's: what it was asked early is for nothing."""
        for action in self.drafts.drop("it was answered without the model", self.now):
            yield action
        async with aclosing(answer) as actions:
            async for action in actions:
                yield action

    async def _unasked(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """What the fallback has to tell; then, if there is news for it or somebody to greet, the model."""
        says = 0
        async with aclosing(self.fallback.reply(turn)) as actions:
            async for action in actions:
                says += isinstance(action, Say)
                yield action
        if self.manner.proactivity == "none":  # it was a warning
            return
        greets = self.manner.proactivity == "greets" and self._greeter.take(self.now)
        news = self.promises.news if self.promises.pressing(self.now) else 0
        if not news and not greets:
            return
        reply = Reply(self, turn, says)
        try:
            async with aclosing(reply.actions()) as actions:
                async for action in actions:
                    yield action
            self.promises.told(news)
        except ModelUnavailable:
            self.promises.failed(self.now)
            raise
        except asyncio.CancelledError:
            self.promises.told(news if reply.said else 0)
            raise

    # --- what a reply asks of it

    @property
    def newest(self) -> Answer:
        """The answer to the question that was asked last."""
        assert self._newest is not None, "a question is observed before its reply goes on"
        return self._newest

    def settled(self, turn: int) -> bool:
        """Whether all that was said in turns before `turn` is over, and it is known how much of it was heard."""
        return all(each >= turn for each in self._voiced.values())

    def being_said(self, turn: int) -> int | None:
        """Number of the newest text of `turn` that has not been said to its end; None if there is none."""
        return max((number for number, each in self._voiced.items() if each == turn), default=None)

    @property
    def newest_action(self) -> Call | Command:
        """The call or motion that was done last, as it was stamped."""
        assert self._newest_action is not None, "an action is observed before its reply goes on"
        return self._newest_action

    def ask(
        self,
        turn: OpenTurn,
        *,
        rounds: Sequence[Round] = (),
        look: bool = False,
        ended_ns: int = 0,
        purpose: Literal["reply", "draft"] = "reply",
    ) -> Ask:
        """What the model is asked in answer to `turn`.

        rounds: what it has called in answer so far;  look: it asked for a picture
        ended_ns: when the person stopped speaking, where that is not yet certain
        """
        snapshot, config = self._scene.snapshot(), self.config
        snapshot = replace(snapshot, asked_ns=max(snapshot.asked_ns, ended_ns))
        last = len(rounds) + 1 >= config.rounds_per_turn
        request = self._composer.request(
            snapshot, self.manner, turn, rounds=rounds, pictures=self._sees, look=look, last=last
        )
        shown = self._sees and (look or self.manner.pictures == "always")
        return Ask(request, config.picture_ms * MS if shown else 0, purpose, turn=turn.turn)

    def offer(self, name: str) -> Offer | None:
        """What the model means by the tool `name`; None if there is none, or it may not be used."""
        return self._composer.tools(self._scene.snapshot(), self.manner, pictures=self._sees).offer(name)

    def excuse(self) -> bool:
        """Whether it is time to say (again) that the model does not answer."""
        if self._excused is not None and self.now - self._excused < EXCUSE_NS:
            return False
        self._excused = self.now
        return True
