"""The policy of a language model: answers a turn with what the model says, and does what it may of what it wishes.

It is a pure function of packets. The model is asked by an `Ask` and answers in `Delta`s, whichever server is behind it;
so whatever it said can be replayed, with its times, and a cut closes the connection by the same rule that silences the
voice. When the model is gone, the fallback policy (the intents) answers.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Protocol

from policies.llm.answer import Answer, Bell
from policies.llm.breaker import Breaker
from policies.llm.consent import Consent
from policies.llm.drafts import Drafts
from policies.llm.fillers import Backchannels, Fillers
from policies.llm.greeter import Greeter
from policies.llm.lull import Lull
from policies.llm.prompt import Composer
from policies.llm.question import OpenTurn, Round
from policies.llm.reply import Reply
from policies.llm.settings import LlmConfig
from policies.llm.speakable import CONTROLS
from policies.models.pictures import CAMERA
from policies.ports import Policy
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


class Fallback(Policy, Protocol):
    """What answers when the model does not, and tells unasked what became of timers, motions and devices."""

    @property
    def asking(self) -> bool:
        """Whether it has asked a yes-or-no question that is still open."""

    def leave(self, number: int, *, alone: bool = True) -> None:
        """What becomes of action `number` is told by others; with `alone` False by this policy after all."""


class LlmPolicy:
    """A `Policy` (and `Spontaneous`) around a language model.

    consent: what a model may do by itself;  manner: how it behaves, until `Adjusted`
    language: of what it says where the model does not;  wall: wall time of a session time in ns (`Clock.wall`)
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
    ) -> None:
        self.config = config
        self.fallback = fallback
        self.consent = consent
        self.manner = manner or Manner()
        self.language = language
        self.wants_floor = False
        self.drafts = Drafts(config.drafts)
        self.breaker = Breaker(config)
        self.fillers = Fillers(language)
        self.bell = Bell()
        self.now = 0
        self._composer = Composer(config, language, wall, CONTROLS)
        self._scene = Scene()
        self._lull = Lull(language)
        self._backchannels = Backchannels(language)
        self._greeter = Greeter()
        self._sees = False
        self._impulses: list[Action] = []
        self._newest: Answer | None = None
        self._answers: dict[int, Answer] = {}
        self._acted = 0
        self._voiced: dict[int, int] = {}  # turns of what is being said, by number
        self._ends: dict[int, Outcome] = {}  # of calls and motions that a reply waits for
        self._awaited: set[int] = set()
        self._late: set[int] = set()
        self._news = 0  # results that came after their reply was over, and have not been told
        self._excused: int | None = None

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
            case Call(id=number) | Command(id=number):
                self._acted = number
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
        self.wants_floor = self.fallback.wants_floor or self._news > 0 or greets
        self.bell.ring()

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
        elif number in self._awaited:
            self._awaited.discard(number)
            self._ends[number] = outcome
        elif number in self._late:
            self._late.discard(number)
            self._news += 1

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
        if not text or not self.config.drafts.enabled or self.consent.pending or self.breaker.open(self.now):
            return None
        return self.ask(OpenTurn.drafted(waiting.turn, text, waiting.evidence), purpose="draft")

    # --- turns

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port."""
        if turn.reason == "unasked":
            return self._unasked(turn)
        if not turn.text or self.fallback.asking:  # what the fallback asked about is answered to it
            return self.fallback.reply(turn)
        agreed = self.consent.hear(turn)
        return Reply(self, turn).actions() if agreed is None else _each(agreed)

    async def _unasked(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """What the fallback has to tell; then, if there is news for it or somebody to greet, the model."""
        async with aclosing(self.fallback.reply(turn)) as actions:
            async for action in actions:
                yield action
        greets = self.manner.proactivity == "greets" and self._greeter.take(self.now)
        if self._news or greets:
            self._news = 0
            async with aclosing(Reply(self, turn).actions()) as actions:
                async for action in actions:
                    yield action

    # --- what a reply asks of it

    @property
    def newest(self) -> Answer:
        """The answer to the question that was asked last."""
        assert self._newest is not None, "a question is observed before its reply goes on"
        return self._newest

    def settled(self, turn: int) -> bool:
        """Whether all that was said in turns before `turn` is over, and it is known how much of it was heard."""
        return all(each >= turn for each in self._voiced.values())

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """How calls and motions that a reply waits for ended, by number."""
        return self._ends

    def ask(
        self,
        turn: OpenTurn,
        *,
        rounds: Sequence[Round] = (),
        look: bool = False,
        last: bool = False,
        purpose: str = "reply",
    ) -> Ask:
        """What the model is asked in answer to `turn`. Arguments as in `Composer.request`."""
        snapshot, config = self._scene.snapshot(), self.config
        request = self._composer.request(
            snapshot, self.manner, turn, rounds=rounds, pictures=self._sees, look=look, last=last
        )
        shown = self._sees and (look or (self.manner.pictures == "always" and not rounds))
        picture = config.picture_ms * MS if shown else 0
        return Ask(request, picture, "draft" if purpose == "draft" else "reply", turn=turn.turn)

    def offer(self, name: str) -> Offer | None:
        """What the model means by the tool `name`; None if there is none, or it may not be used."""
        return self._composer.tools(self._scene.snapshot(), self.manner, pictures=self._sees).offer(name)

    def await_(self) -> int:
        """The number of the action that was just done; what becomes of it is waited for, and told by the model."""
        self._awaited.add(self._acted)
        self.fallback.leave(self._acted)
        return self._acted

    def leave(self, number: int, *, motion: bool, timer: bool) -> None:
        """The reply waits no longer for action `number`: what becomes of it is told when it is known."""
        self._awaited.discard(number)
        if motion or timer:
            self.fallback.leave(number, alone=False)
        else:
            self._late.add(number)

    def excuse(self) -> bool:
        """Whether it is time to say (again) that the model does not answer."""
        if self._excused is not None and self.now - self._excused < EXCUSE_NS:
            return False
        self._excused = self.now
        return True


async def _each(actions: Sequence[Action]) -> AsyncGenerator[Action, None]:
    for action in actions:
        yield action
