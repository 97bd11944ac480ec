"""The policy of a language model: answers a turn with what the model says, and does what it may of what it wishes.

It is a pure function of packets. The model is asked by an `Ask` and answers in `Delta`s, whichever server is behind it;
so whatever it said can be replayed, with its times, and a cut closes the connection by the same rule that silences the
voice. When the model is gone, the fallback policy (the intents) answers.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from msgspec.structs import replace

from policies.llm.answer import Answer, Bell
from policies.llm.breaker import Breaker
from policies.llm.consent import Consent
from policies.llm.drafts import Drafts
from policies.llm.fillers import Backchannels
from policies.llm.prompt import Composer
from policies.llm.reply import Reply
from policies.llm.settings import LlmConfig
from policies.ports import Policy
from policies.scene import Scene
from streams.packet import Packet
from streams.types import (
    Action,
    Adjusted,
    Ask,
    Delta,
    Halt,
    Manner,
    Offer,
    Offered,
    Outcome,
    TurnCommitted,
)


class LlmPolicy:
    """A `Policy` (and `Spontaneous`) around a language model.

    fallback: answers when the model cannot, and tells unasked what became of timers, motions and devices
    composer: makes a request of the scene;  consent: what a model may do by itself
    manner: how it behaves, until `Adjusted`
    """

    def __init__(
        self, config: LlmConfig, fallback: Policy, composer: Composer, consent: Consent, manner: Manner | None = None
    ) -> None:
        self.config = config
        self.fallback = fallback
        self.manner = manner or Manner()
        self.drafts = Drafts(config.drafts)
        self.breaker = Breaker(config)
        self.bell = Bell()
        self.consent = consent
        self.now = 0
        self.offers: dict[str, Offer] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.answers: dict[int, Answer] = {}
        self._composer = composer
        self._scene = Scene()
        self._backchannels = Backchannels()
        self._offered: dict[str, tuple[Offer, ...]] = {}
        self._impulses: list[Action] = []
        self._drafting = 0  # the turn whose draft is being asked
        self._latest: Ask | None = None

    # --- what it takes note of

    @property
    def wants_floor(self) -> bool:
        """What is told unasked is the fallback's."""
        return self.fallback.wants_floor

    def observe(self, packet: Packet[Any]) -> None:
        """As in the port."""
        self.now = max(self.now, packet.at)
        self._scene.observe(packet)
        self.fallback.observe(packet)
        match packet.data:
            case Ask() as ask:
                self._asked(ask)
            case Delta(id=number) as delta if number in self.answers:
                self.answers[number].feed(delta)
            case Outcome() as outcome:
                self._ended(outcome)
            case Adjusted(manner=manner):
                self.manner = manner
            case Halt():
                self.consent.forget()
            case Offered(where=where, offers=offers):
                self._offered[where] = offers
                self.offers = {each.name: each for known in self._offered.values() for each in known}
        self._impulses += self.drafts.consider(packet, self._draft)
        if self.manner.backchannels:
            self._backchannels.observe(packet)
        self.bell.ring()

    def _asked(self, ask: Ask) -> None:
        answer = Answer(ask)
        self.answers[ask.id] = answer
        if ask.purpose == "draft":
            self.drafts.asked(ask, answer)

    def _ended(self, outcome: Outcome) -> None:
        if outcome.action == "Ask":
            answer = self.answers.pop(outcome.id, None)
            if answer is not None:
                answer.end(outcome)
            self.breaker.heed(outcome, self.now)
        elif outcome.action in ("Call", "Command"):
            self.outcomes[outcome.id] = outcome

    # --- what it does between turns

    @property
    def deadline(self) -> int | None:
        """As in `Spontaneous`."""
        times = (self.bell.deadline, self._backchannels.deadline if self.manner.backchannels else None)
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: int) -> None:
        """As in `Spontaneous`."""
        self.now = max(self.now, now)
        self.bell.expire(now)
        self._backchannels.expire(now)

    def impulses(self) -> Sequence[Action]:
        """As in `Spontaneous`: drafts asked and withdrawn, and murmurs."""
        actions, self._impulses = self._impulses, []
        return [*actions, *self._backchannels.take()]

    def _draft(self, turn: int, text: str) -> Ask | None:
        """What would be asked if `turn` ended now with `text`."""
        config = self.config
        if not config.drafts.enabled or self.breaker.open(self.now) or self.consent.pending:
            return None
        return replace(self.request(turn, text, typed=False), purpose="draft", turn=turn)

    # --- turns

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port."""
        if turn.reason == "unasked" or not turn.text:
            return self.fallback.reply(turn)
        agreed = self.consent.hear(turn)
        if agreed is not None:
            return _each(agreed)
        return Reply(self, turn).actions()

    def request(self, turn: int, text: str, *, typed: bool, rounds: Sequence[dict[str, Any]] = ()) -> Ask:
        """What the model is asked in answer to `text`; rounds: messages of this turn's earlier questions."""
        raise NotImplementedError


async def _each(actions: Sequence[Action]) -> AsyncGenerator[Action, None]:
    for action in actions:
        yield action
