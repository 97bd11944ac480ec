"""The conductor: feeds the turn-taker and the policy, and turns their decisions into actions.

It is a deterministic function of its input, the packets of VOICE, PERCEPT and FEEDBACK with their times of publication:
- before a packet is looked at, every deadline that lies before it has been dealt with, however late a timer fires;
- what it publishes carries as `t` the logical time of its cause (a packet's `at`, or a deadline), not of the loop;
- a reply runs its next step before the next packet is looked at.
That is why a recording replays to the same decisions, bit for bit, even where the live run's timers jittered.

Knows nothing of devices, models or bodies.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, assert_never

import msgspec

from agent.sparing import Sparing
from policies.errors import PolicyError
from policies.ports import Policy, Spontaneous, urgent
from policies.reflex import Reflex
from policies.turns import TurnTaker
from streams.bus import Lane
from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN, VOICE
from streams.types import (
    Action,
    Adjusted,
    Ask,
    Call,
    Command,
    Decision,
    Declined,
    Fault,
    Halt,
    Hush,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Pause,
    Resume,
    Say,
    SensesEnded,
    Steer,
    Steered,
    StopPressed,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    TurnWaiting,
    Typed,
    Voice,
    Withdraw,
    Words,
)

POLICY = "policy"  # where a `Fault` of the policy is
NOBODY = -1  # the stretch of speech of a stop that nobody spoke
INTERRUPTED = "Interrupted"
"""Error name of the `Fault` by which a session says that it must end now."""
ENDING = "Ending"
"""Error name of the `Fault` by which a session says that somebody ends it: nothing moves any more."""
ENDED = "the session is being ended"
CUT = "interrupted"
"""Reasons of the `Halt`s that follow from these two: nobody said a word."""


def _logical(packet: Packet[Any]) -> Packet[Any]:
    """What the conductor published itself, as of the time of its cause: how late the loop was is nobody's evidence."""
    return msgspec.structs.replace(packet, at=packet.t)


class Conductor:
    """Runs one conversation. One per session; `run` may be called once."""

    reads = (VOICE, PERCEPT, FEEDBACK)

    def __init__(self, turns: TurnTaker, policy: Policy, reflex: Reflex) -> None:
        self.turns = turns
        self.policy = policy
        self._reflex = reflex
        self._now = 0
        self._ids = 0
        self._replies: dict[int, asyncio.Task[None]] = {}
        self._waiting_for: set[int] = set()
        self._senses_ended = False
        self._told_ended = False
        self._interrupted = False
        self._ending = False
        self._moving: set[int] = set()
        self._latest = -1
        self._spontaneous = policy if isinstance(policy, Spontaneous) else None
        self._sparing = Sparing(policy)
        self._lane: Lane | None = None

    async def run(
        self, lane: Lane, publisher: Publisher, clock: Clock, report: Callable[[Fault], None] = lambda fault: None
    ) -> None:
        """Conduct until the senses have ended (see `finish`) and everything that was begun has been said and done.

        lane: over `reads`;  report: told of expected failures of the policy (`PolicyError`), which are published as
        `Fault`s and end its reply, not the session. Raises what else the policy raises.
        Cancelling it cancels running replies.
        """
        self._lane, self._publisher, self._report = lane, publisher, report
        async with asyncio.TaskGroup() as group:
            self._group = group
            while not (self._told_ended and self._done):
                packet = await lane.get(self._deadline)
                await self._expire(clock.now() if packet is None else packet.at)
                if packet is not None:
                    self._take(packet)
                elif self._senses_ended and not self._told_ended:
                    self._end(clock.now())
                await self._step()
                if lane.ended:
                    break

    def finish(self) -> None:
        """The senses have ended: decide what is open, let what was begun come to its end, then return from `run`."""
        self._senses_ended = True
        self._nudge()

    @property
    def _named(self) -> str:
        return type(self.policy).__name__

    @property
    def _deadline(self) -> int | None:
        """What comes first: the turn-taker's deadline, that of what is spared, or the policy's."""
        over = self._told_ended and not self._replies  # nobody waits for the policy any more
        policy = None if self._spontaneous is None or over else self._spontaneous.deadline
        return min((t for t in (self.turns.deadline, self._sparing.deadline, policy) if t is not None), default=None)

    @property
    def _done(self) -> bool:
        open_ = self.turns.deadline is not None and not self._interrupted
        return not self._replies and not self._waiting_for and not open_

    # --- input

    async def _step(self) -> None:
        """Let replies run their next step before anything else is looked at: so it has the time of its cause."""
        if self._replies:
            await asyncio.sleep(0)
        self._spare_no_more(self._sparing.answered())

    async def _expire(self, until: int) -> None:
        """Deal with every deadline up to `until`, in their order; at one instant the turn-taker comes first."""
        while (deadline := self._deadline) is not None and deadline <= until:
            self._now = max(self._now, deadline)
            if deadline == self._sparing.deadline:
                self._spare_no_more(self._sparing.end())
                continue
            if deadline == self.turns.deadline:
                self._decide(self.turns.expire(deadline))
            elif self._spontaneous is not None:
                self._spontaneous.expire(deadline)
                self._act_on_impulse()
                self._offer_floor()
            await self._step()
            if self._deadline == deadline and deadline != self.turns.deadline:
                raise PolicyError(f"{self._named}.expire({deadline}) left its deadline there: it must lie later then.")

    def _end(self, now: int) -> None:
        """The senses have ended."""
        self._told_ended = True
        self._now = max(self._now, now)
        self._decide([SensesEnded(), *self.turns.finish(self._now)])  # that comes first: a replay is told by it

    def _take(self, packet: Packet[Any]) -> None:
        self._now = packet.at
        match packet.data:
            case Voice():
                if decisions := self.turns.feed(packet):
                    self._decide(decisions)
                if self._spontaneous is not None:  # thirty a second: for who may act on it before a turn is over
                    self._spontaneous.observe(packet)
                    self._act_on_impulse()
                return
            case Outcome(id=number):
                self._waiting_for.discard(number)
                self._moving.discard(number)
            case Words() as words if (stop := self._reflex.feed(words)) is not None:
                self._stop(words.segment, stop.word)
            case Typed(text=text) if (word := self._reflex.typed(text)) is not None:
                self._stop(NOBODY, word)
                self.policy.observe(packet)
                return
            case StopPressed(latch=latch):
                self._stop(NOBODY, "pressed", latch=latch)
            case Steered() as hand if not self._ending:
                self._act(Steer(hand.vx, hand.vy, hand.wz, hand.robot))
            case Adjusted(manner=manner):
                self.turns.manner = manner
            case Fault(error=error) if error == ENDING:
                self._rest()
            case Fault(error=error) if error == INTERRUPTED:
                self._interrupt()
        self._spare_no_more(self._sparing.over(packet.data))
        self._observe(packet)
        self._offer_floor()

    def _observe(self, packet: Packet[Any]) -> None:
        self.policy.observe(packet)
        self._decide(self.turns.feed(packet))
        self._act_on_impulse()

    def _act_on_impulse(self) -> None:
        """What the policy wants done outside its replies."""
        if self._spontaneous is not None and not self._interrupted:
            for action in self._spontaneous.impulses():
                self._act(self._numbered(action))

    def _offer_floor(self) -> None:
        quiet = self.turns.manner.proactivity == "none" and not urgent(self.policy)
        if self.policy.wants_floor and not (self._senses_ended or self._ending or quiet):
            turn = self.turns.unasked(self._now)
            if turn is not None:
                self._decide([turn])

    def _stop(self, segment: int, word: str, *, latch: bool = False) -> None:
        """The reflex: no model is asked. The body stops first, then the voice."""
        decisions = self.turns.stop(segment, self._now)
        self._act(Halt(word, latch=latch))
        self._spare_no_more(self._sparing.end())
        self._decide(decisions)

    def _rest(self) -> None:
        """Somebody ends the session: what moves rests now, for nobody may be able to stop it later. Words have time.

        Nothing is halted where nothing of ours moves: a robot that somebody else drives goes on.
        """
        self._ending = True
        if self._moving:
            self._act(Halt(ENDED))
            self._spare_no_more(self._sparing.end())

    def _interrupt(self) -> None:
        """Whoever ended the session has waited: what is being said and done ends here, and no reply begins any more."""
        self._interrupted = True
        self._act(Halt(CUT))
        self._spare_no_more(self._sparing.end())
        self._cut(self._latest, CUT)

    # --- output

    def _decide(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.policy.observe(_logical(self._publisher.publish(TURN, self._now, decision)))
            self._spare_no_more(self._sparing.over(decision))
            match decision:
                case OverlapPaused(turn=turn):
                    self._act(Pause(turn))
                case OverlapResumed(turn=turn):
                    self._act(Resume(turn))
                case OverlapCut(turn=turn, reason=reason):
                    self._cut(turn, reason, moving=self._sparing.begin(decision, self._now))
                case TurnCommitted():
                    self._reply(decision)
                case TurnOpened() | TurnWaiting() | TurnDropped() | SensesEnded():
                    pass
                case _:
                    assert_never(decision)
        if decisions:
            self._act_on_impulse()

    def _act(self, action: Action) -> None:
        self._observe(_logical(self._publisher.publish(ACTION, self._now, action)))
        if self._ending and isinstance(action, Command):  # read by the body in one go: it never begins
            self._act(Withdraw(action.id, ENDED, action.turn))

    def _spare_no_more(self, cut: OverlapCut | None) -> None:
        """What moves because of the turn that was cut ends as it declared."""
        if cut is not None:
            self._act(Hush(cut.turn, cut.reason))

    def _cut(self, turn: int, reason: str, *, moving: bool = False) -> None:
        """Cancel the replies, then fence their turns at the body: nothing of them is heard or moves from here on.

        moving: what moves goes on for now (`agent.sparing`)
        """
        for number in [number for number in self._replies if number <= turn]:
            self._replies.pop(number).cancel()
        self._act(Hush(turn, reason, moving))

    def _reply(self, turn: TurnCommitted) -> None:
        if self._interrupted:
            return
        self._latest = max(self._latest, turn.turn)
        self._replies[turn.turn] = self._group.create_task(self._answer(turn), name=f"reply {turn.turn}")

    async def _answer(self, turn: TurnCommitted) -> None:
        try:
            reply = self.policy.reply(turn)
            if not isinstance(reply, AsyncGenerator):
                raise PolicyError(f"{self._named}.reply is no async generator: write `async def` and `yield` actions.")
            async with aclosing(reply) as actions:
                async for action in actions:
                    if not isinstance(action, Action):
                        raise PolicyError(f"{self._named} yielded {action!r}: yield actions, such as Say({action!r}).")
                    if turn.turn not in self._replies:  # fenced: the policy may have swallowed its cancellation
                        return
                    self._act(self._stamped(action, turn.turn))
                    self._nudge()
        except PolicyError as error:
            fault = Fault(POLICY, type(error).__name__, str(error))
            self._report(fault)
            self._publisher.publish(FEEDBACK, self._now, fault)
        if self._replies.pop(turn.turn, None) is not None:
            self._decide(self.turns.replied(turn.turn, self._now))
            self._offer_floor()
        self._nudge()

    def _stamped(self, action: Action, turn: int) -> Action:
        """`action` with the turn it belongs to and a number of its own."""
        if isinstance(action, Declined):
            return msgspec.structs.replace(action, turn=turn)
        if not isinstance(action, Say | Call | Command | Ask):
            return action
        return self._numbered(msgspec.structs.replace(action, turn=turn))

    def _numbered(self, action: Action) -> Action:
        if not isinstance(action, Say | Call | Command | Ask):
            return action
        self._ids += 1
        if isinstance(action, Say | Command):  # a timer may have an hour to go, and who asked a model waits for it
            self._waiting_for.add(self._ids)
        if isinstance(action, Command):
            self._moving.add(self._ids)
        return msgspec.structs.replace(action, id=self._ids)

    def _nudge(self) -> None:
        """The turn-taker may have a new deadline, or the conversation may be over: look again."""
        if self._lane is not None:
            self._lane.nudge()
