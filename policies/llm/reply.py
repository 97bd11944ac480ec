"""One reply: what is said and done in answer to one turn, from the first question to the model to its last."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from policies.errors import ModelUnavailable
from policies.llm.answer import Answer, ToolCall
from policies.llm.offers import BY_MODEL, LOOK, STOP
from policies.llm.phrases import phrases
from policies.llm.promises import TIMER
from policies.llm.question import OpenTurn, Round, tool_round
from policies.llm.speakable import Piece, Speakable
from policies.llm.topics import touches
from streams.clock import MS
from streams.types import Action, Call, Command, Declined, Halt, Outcome, Say, TurnCommitted, Withdraw

if TYPE_CHECKING:
    from policies.llm.policy import LlmPolicy

FILLER_MS = 900
CALL_MS = 6000
"""How long the answer waits for the result of a tool: what comes later is told later."""
COMMAND_MS = 300
"""A motion is not waited for: only whether it was refused at once."""
SETTLE_MS = 250
"""How long a question waits for the loudspeaker to tell what was heard of an answer that has just been cut."""
UNDER_WAY = "under way"
REFUSED = "refused: "
NO_MOTION = "the motion that it announced is not made"
SIGNS = 6
"""Characters of speech for each token that an answer may have: more is not said, whatever a server sends."""


class Reply:
    """The answer to `turn`. Reads and rings nothing but `policy`.

    says: how many texts of this turn have been given to the voice already
    said: the model has said something
    """

    def __init__(self, policy: "LlmPolicy", turn: TurnCommitted, says: int = 0) -> None:
        self.said = False
        self._policy = policy
        self._turn = turn
        self._unasked = turn.reason == "unasked"
        self._phrases = phrases(policy.language)
        self._speech = Speakable(policy.language)
        self._acted: list[Outcome | None] = []  # what became of calls; None: not known
        self._moved = False
        self._silent = self._hushed = False  # nothing more is wanted of the answer; the model wants nothing said
        self._says, self._signs = says, 0
        self._rounds: list[Round] = []
        self._calls = 0
        self._looks = False

    async def actions(self) -> AsyncGenerator[Action, None]:
        """Ask, speak, call, and ask again with the results, until the model has nothing more to do."""
        policy, turn = self._policy, self._turn
        if policy.breaker.open(policy.now):
            for action in policy.drafts.drop("the model has failed", policy.now):
                yield action
            async with aclosing(self._fall_back("it failed several times, and is left alone for a while")) as actions:
                async for action in actions:
                    yield action
            return
        until = policy.now + SETTLE_MS * MS
        while policy.now < until and not policy.settled(turn.turn):
            await policy.bell.wait(until)
        for number in range(policy.config.rounds_per_turn):
            ask = policy.ask(OpenTurn.of(turn), rounds=self._rounds, look=self._looks)
            answer, undone = policy.drafts.settle(turn, ask, policy.now) if number == 0 else (None, [])
            for action in undone:
                yield action
            if answer is None:
                yield ask
                answer = policy.newest
            before = self._says
            async with aclosing(self._speak(answer)) as says:
                async for say in says:
                    yield say
            if self._silent:
                if not answer.over:
                    yield Withdraw(answer.ask.id, "it went on, and nothing more of it is said")
                return
            if not answer.whole:
                if any(call.name == STOP for call in answer.calls):  # to stop is safe, whatever was to follow
                    yield Halt(BY_MODEL)
                async with aclosing(self._broken(answer)) as actions:
                    async for action in actions:
                        yield action
                return
            if not answer.calls or number + 1 == policy.config.rounds_per_turn:
                for call in answer.calls:
                    if call.name == STOP:
                        yield Halt(BY_MODEL)
                        continue
                    yield Declined(call.name, call.arguments, f"it has called tools {number} times in this turn")
                if text := self._for_silence():
                    yield self._say(Piece(text))
                return
            announced = policy.being_said(turn.turn) if self._says > before else None
            async with aclosing(self._do(answer, announced)) as actions:
                async for action in actions:
                    yield action
            if policy.consent.pending:
                return  # the question has been put: the person has the floor

    def _for_silence(self) -> str:
        """What is said where the model has said nothing, and not that it wants to be silent."""
        if self.said or self._hushed or self._unasked or (self._moved and not self._acted):
            return ""
        if not self._acted:
            return self._phrases.nothing
        worked = all(outcome is None or outcome.status == "done" for outcome in self._acted)
        return self._phrases.done if worked else self._phrases.failed

    # --- speaking

    async def _speak(self, answer: Answer) -> AsyncGenerator[Action, None]:
        policy = self._policy
        fills = policy.manner.fillers and not self.said and not self._unasked
        slow = policy.now + FILLER_MS * MS if fills else None
        came = False
        while True:
            text = answer.take()
            came = came or bool(text)
            pieces = [*self._speech.push(text)]
            if answer.over and answer.whole:
                pieces += self._speech.finish()
            for piece in pieces:
                if piece.silence:  # it says nothing more, but may still call something
                    self._hushed = True
                if piece.text and touches(piece.text, policy.manner.forbidden_topics):
                    self._silent = True
                    yield self._say(Piece(self._phrases.rather_not))
                    return
                if piece.text:
                    self.said = True
                    self._signs += len(piece.text)
                    yield self._say(piece)
                if self._signs > SIGNS * policy.config.output_tokens:
                    self._silent = True  # a server that heeds no bound
                    return
            if answer.over:
                if answer.whole:
                    self._speech = Speakable(policy.language)
                return
            if slow is not None and policy.now >= slow:
                slow = None
                if not came and (filler := policy.fillers.next(policy.now)):
                    yield self._say(Piece(filler))
            await policy.bell.wait(slow)

    async def _broken(self, answer: Answer) -> AsyncGenerator[Action, None]:
        """It failed, or was cut off by the server."""
        outcome = answer.outcome
        why = outcome.detail if outcome is not None else ""
        if not self.said and not self._acted and not self._moved:
            async with aclosing(self._fall_back(why)) as actions:
                async for action in actions:
                    yield action
            return
        yield self._say(Piece(self._phrases.lost))
        raise ModelUnavailable(f"the language model broke off in the middle of its answer: {why}")

    async def _fall_back(self, why: str) -> AsyncGenerator[Action, None]:
        """What is answered without the model. Unasked, nothing is: the fallback has told its own already."""
        policy = self._policy
        if self._unasked:
            raise ModelUnavailable(f"the language model did not say what it was given the floor for: {why}")
        if policy.excuse():
            yield self._say(Piece(self._phrases.unavailable))
        async with aclosing(policy.fallback.reply(self._turn)) as actions:
            async for action in actions:
                yield action
        raise ModelUnavailable(f"the language model did not answer, the fallback did in its place: {why}")

    def _say(self, piece: Piece) -> Say:
        self._says += 1
        return Say(piece.text, pace=piece.pace, tone=piece.tone)

    # --- doing

    async def _do(self, answer: Answer, announced: int | None) -> AsyncGenerator[Action, None]:
        """Carry out the calls of an answer, side by side, and keep their results for the next question.

        announced: what was said last before them, and is not over: taken back if a motion among them is not to be
        """
        policy, promises = self._policy, self._policy.promises
        results: dict[str, Any] = {}
        waited: dict[str, int] = {}
        questions: list[str] = []
        calls = answer.calls
        begun: list[Call | Command] = []
        try:
            for call in calls:
                if call.name == STOP:
                    yield Halt(BY_MODEL)
                    self._acted.append(None)
                    results[call.call] = "done"
                    continue
                action = self._action(call, results, questions)
                if action is None and str(results.get(call.call, "")).startswith(REFUSED):
                    yield Declined(call.name, call.arguments, str(results[call.call])[len(REFUSED) :])
                if action is not None:
                    yield action
                    begun.append(action)
                    waited[call.call] = promises.begin(policy.newest_action)
            self._moved = self._moved or any(isinstance(action, Command) for action in begun)
            said = self._says
            moving = {call.call for call in calls if self._moves(call)}
            if announced is not None and moving - waited.keys():
                yield Withdraw(announced, NO_MOTION)
                announced = None
            for question in questions:
                yield self._say(Piece(question))
            long = any(isinstance(action, Call) and action.name != TIMER for action in begun)
            until = policy.now + (CALL_MS if long else COMMAND_MS) * MS
            while policy.now < until and any(promises.open(number) for number in waited.values()):
                await policy.bell.wait(until)
            if announced is not None and any(promises.in_vain(waited[name]) for name in moving):
                yield Withdraw(announced, NO_MOTION)
            for action, (name, number) in zip(begun, waited.items()):
                outcome = promises.take(number)
                results[name] = UNDER_WAY if outcome is None else _result(outcome)
                if isinstance(action, Call):
                    self._acted.append(outcome)
        finally:
            for number in waited.values():  # those of a reply that was cut
                promises.leave(number)
        self._rounds += tool_round(calls, results, actions=waited, said=said)

    def _moves(self, call: ToolCall) -> bool:
        offer = self._policy.offer(call.name)
        return offer is not None and offer.kind == "command"

    def _action(self, call: ToolCall, results: dict[str, Any], questions: list[str]) -> Call | Command | None:
        """The action that a call asks for; where there is none, why is its result."""
        policy = self._policy
        self._calls += 1
        if self._calls > policy.config.calls_per_turn:
            results[call.call] = f"{REFUSED}at most {policy.config.calls_per_turn} calls in one turn"
            return None
        offer = policy.offer(call.name)
        if offer is None:
            results[call.call] = f"{REFUSED}there is no tool named {call.name!r}, or it may not be used"
            return None
        if offer.name == LOOK == call.name:
            self._looks = True
            results[call.call] = "the picture is attached to the last message"
            return None
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except msgspec.MsgspecError as error:
            results[call.call] = f"{REFUSED}the arguments are not a JSON object: {error}"
            return None
        action: Call | Command = Call(offer.name, arguments, offer.on_cut)
        if offer.kind == "command":
            origin: Literal["text", "speech"] = "text" if self._turn.reason == "typed" else "speech"
            action = Command(offer.name, arguments, origin, self._turn.confidence, offer.on_cut)
        verdict = policy.consent.weigh(offer, action, self._turn)
        if verdict.does == "do":
            return action
        if verdict.does == "ask":
            questions.append(verdict.say)
            results[call.call] = "not done: the person is being asked for a yes"
        else:
            results[call.call] = f"{REFUSED}{verdict.say}"
        return None


def _result(outcome: Outcome) -> Any:
    if outcome.status == "done":
        return {"status": "done", "result": outcome.result}
    return {"status": outcome.status, "detail": outcome.detail, "result": outcome.result}
