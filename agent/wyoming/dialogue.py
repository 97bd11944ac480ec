"""Text to answer: the policy of the configuration with a body that has no voice, one for each conversation.

No turn-taking is needed for texts: each is a turn, typed. What the policy says is the answer, taken as heard once it is
handed over; what it does is carried out by the body of the configuration or refused, and a refusal is told instead of
what the policy announced. There is no way to speak to Home Assistant unasked, so what cannot be done without (a timer
that rings) is refused, and what the policy has to tell later (a motion ended early) comes with the next answer.

A stop word acts when it comes: motions halt and the answer that is being made is cut, before the policy is asked.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from agent import registry
from agent.config import Config
from agent.wyoming.errors import Busy, Refusal
from agent.wyoming.firewall import alone
from agent.wyoming.settings import WyomingConfig
from embodied.body import Body
from embodied.toolbox import Tool, Toolbox, tool
from embodied.utterance import say_outcome
from embodied.voices.words import written_words
from policies.ports import Policy
from policies.reflex import Reflex, stop_words
from policies.sentences import Sentences
from policies.splitting import allowed, split
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock
from streams.topics import ACTION, FEEDBACK, TURN
from streams.types import Action, Call, Command, Halt, Hush, Outcome, Played, PlayStarted, Say, TurnCommitted, Withdraw

COMMAND_MS = 300  # how long a body may take to refuse a motion; carried out, it may take longer
UNASKED = 3  # things the policy may add to one answer
STOPPED = "That was stopped."
FAILED = ("refused", "failed", "timeout")


class Answer(NamedTuple):
    """text: what the policy said;  handled: it understood, and what it wanted done was not refused"""

    text: str
    handled: bool


def reflex(config: Config) -> Reflex:
    """The stop reflex of the configuration, for what is typed."""
    return Reflex(config.reflex.words or stop_words(config.language), language=config.language)


class Dialogue:
    """One conversation in text. Made on the loop; `run` lives as long as it does, `answer` may be called meanwhile.

    asked: how many texts are being answered now, or wait for it
    """

    def __init__(self, config: Config, answer_s: float) -> None:
        """Raises `VisavisError` where policy or body cannot be made."""
        self._clock = Clock()
        self._bus = Bus(self._clock)
        self._limit = round(answer_s * SECOND)
        self.policy: Policy = registry.find("policies", config.policy.engine, "policy.engine")(config, self._clock.wall)
        self._news = asyncio.Event()  # an action has ended, or a text is on the page
        self._page = Page(self._news.set)
        installed = [
            each if isinstance(each, Tool) else tool(each, name=name)
            for name, each in registry.installed("tools").items()
        ]
        actuators: list[Any] = [self._page, Toolbox(installed, self._clock)]
        if config.body.motion != "none":
            make = registry.find("actuators", config.body.motion, "body.motion")
            actuators.append(make(config, self._bus, self._clock))
        self._body = Body(actuators)
        self._actions = self._bus.open(ACTION, reader="body")
        self._feedback = self._bus.open(FEEDBACK, reader="dialogue")
        self._turns = self._ids = 0
        self._refusing = 0  # until when a motion may be refused
        self._outcomes: dict[int, Outcome] = {}
        self._one = asyncio.Lock()
        self._reflex = reflex(config)
        self._answering: asyncio.Timeout | None = None  # the bound of the answer that is being made
        self._stopped = False  # it was cut by a stop word
        self.asked = 0

    async def run(self) -> None:
        """Carry out what is wanted until cancelled; then every motion is halted."""
        with self._actions, self._feedback:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._body.run(self._actions, self._bus, self._clock), name="body")
                    async for packet in self._feedback:
                        self.policy.observe(packet)
                        if isinstance(packet.data, Outcome):
                            self._outcomes[packet.data.id] = packet.data
                            self._news.set()
            finally:
                await self._body.aclose()

    async def answer(self, text: str) -> Answer:
        """What the policy makes of `text`. One after the other; bounded in time. A stop word acts at once: see `stop`.

        Raises `PolicyError` where the policy fails, `Refusal` where it takes too long. Cancelling it cancels the reply.
        """
        self.asked += 1
        try:
            self.stop(text)
            async with self._one:
                return await self._bounded(text)
        finally:
            self.asked -= 1

    def stop(self, text: str) -> None:
        """If `text` is a stop word and no more: halt what moves and cut the answer that is being made, now."""
        word = self._reflex.typed(text)
        if word is None:
            return
        self._act(Halt(word))
        if self._answering is not None and not self._stopped:
            self._stopped = True
            self._act(Hush(self._turns, word))
            self._answering.reschedule(self._clock.deadline(self._clock.now()))

    def _act(self, action: Action) -> None:
        if isinstance(action, Command):
            self._refusing = self._clock.now() + COMMAND_MS * MS
        self.policy.observe(self._bus.publish(ACTION, self._clock.now(), action))

    async def _bounded(self, text: str) -> Answer:
        self._stopped = False
        limit = asyncio.timeout_at(self._clock.deadline(self._clock.now() + self._limit))
        try:
            async with limit:
                self._answering = limit
                try:
                    return await self._answer(text)
                finally:
                    self._answering = None
        except TimeoutError:
            if self._stopped:
                return Answer(STOPPED, False)
            raise Refusal("timeout", f"there was no answer within {self._limit / SECOND:g} s") from None
        finally:
            self._page.drop()
            self._outcomes.clear()

    async def _answer(self, text: str) -> Answer:
        said: list[str] = []
        turn = self._turn(text, "typed")
        actions = await self._reply(turn, said)
        refused = self._refused(actions)
        understood = self._understood(turn, actions)
        if refused and not any(isinstance(each, Withdraw) for each in actions):
            self._page.drop()  # what was announced does not happen, and the policy has not taken it back itself
        said += self._page.deliver(self._bus)
        for _ in range(UNASKED):
            if not self.policy.wants_floor:
                break
            await self._reply(self._turn("", "unasked"), said)
            said += self._page.deliver(self._bus)
        if refused and not said:
            said = [f"That was refused: {refused}."]
        await asyncio.sleep(0)  # the policy is told what was heard before it is asked again
        return Answer(" ".join(said), understood and not refused)

    def _turn(self, text: str, reason: str) -> TurnCommitted:
        self._turns += 1
        now = self._clock.now()
        turn = TurnCommitted(self._turns, text, (), 1.0, now, now, reason)
        self.policy.observe(self._bus.publish(TURN, now, turn))
        return turn

    async def _reply(self, turn: TurnCommitted, said: list[str]) -> list[Action]:
        """All that the policy gives; calls have ended then, and motions have had the time to be refused.

        said: gets the texts that had to be handed over before the reply was whole
        """
        given: list[Action] = []
        async with aclosing(self.policy.reply(turn)) as actions:
            while (action := await self._next(actions, given, said)) is not None:
                stamped = action
                if isinstance(action, Say | Call | Command):
                    self._ids += 1
                    stamped = msgspec.structs.replace(action, turn=turn.turn, id=self._ids)
                given.append(stamped)
                self._act(stamped)
        await self._settled(given)
        says = {each.id for each in given if isinstance(each, Say)}
        taken_back = {each.id for each in given if isinstance(each, Withdraw)} & says
        await self._until(lambda: says - taken_back <= self._page.ids | self._outcomes.keys())
        await self._until(lambda: taken_back <= self._outcomes.keys())
        return given

    async def _next(self, actions: AsyncGenerator[Action, None], given: list[Action], said: list[str]) -> Action | None:
        """The next action, None after the last. A policy that has announced a motion may wait until that was heard, to
        take it back where the motion is refused: so a motion that is not refused in time lets the words be heard."""
        coming = asyncio.ensure_future(anext(actions, None))
        coming.add_done_callback(lambda _: self._news.set())
        try:
            if any(isinstance(each, Command) for each in given):
                await self._settled(given, coming.done)
                if not coming.done() and not self._refused(given):
                    said += self._page.deliver(self._bus)
            return await coming
        finally:
            if coming.cancel():
                await asyncio.wait([coming])

    async def _settled(self, given: list[Action], enough: Callable[[], bool] = lambda: False) -> None:
        """Wait for calls to end, and for motions long enough to be refused; or until `enough()`."""
        calls = {each.id for each in given if isinstance(each, Call)}
        motions = {each.id for each in given if isinstance(each, Command)}
        await self._until(lambda: enough() or calls <= self._outcomes.keys())
        await self._until(lambda: enough() or motions <= self._outcomes.keys(), self._refusing)

    async def _until(self, true: Callable[[], bool], deadline: int | None = None) -> None:
        """Wait until `true()`, or until `deadline` if it has one."""
        try:
            async with asyncio.timeout_at(None if deadline is None else self._clock.deadline(deadline)):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    def _refused(self, actions: list[Action]) -> str:
        """Why the first of them that could not be done was not, "" if there is none."""
        done = (self._outcomes.get(each.id) for each in actions if isinstance(each, Call | Command))
        return next((end.detail or end.status for end in done if end is not None and end.status in FAILED), "")

    def _understood(self, turn: TurnCommitted, actions: list[Action]) -> bool:
        """Whether the answer is one: a policy of sentences apologises for what is none of them, others are believed."""
        if any(not isinstance(each, Say) for each in actions):
            return True
        sentences = getattr(self.policy, "sentences", None)
        if not isinstance(sentences, Sentences):
            return bool(actions)
        return sentences.understand(turn.text) is not None or bool(allowed(split(sentences, turn)))


class Page:
    """`embodied.ports.Actuator` for `Say` where there is nobody to hear: what is said waits until it is handed over."""

    name = "page"
    accepts: tuple[type, ...] = (Say,)

    def __init__(self, written: Callable[[], None]) -> None:
        """written: told whenever there is a text more."""
        self.waiting: list[tuple[Say, asyncio.Future[Outcome]]] = []
        self._written = written
        self._fence = -1  # of turns up to this nothing more is written down

    @property
    def ids(self) -> set[int]:
        """Numbers of the texts that wait."""
        return {say.id for say, _ in self.waiting}

    async def perform(self, action: Action) -> Outcome:
        """Wait until the text is handed over ("done") or taken back ("fenced")."""
        if not isinstance(action, Say):
            raise TypeError(f"a page takes Say, not {type(action).__name__}")
        if action.turn <= self._fence:
            return say_outcome(action, "fenced", "", "its turn had been cut")
        over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting.append((action, over))
        self._written()
        return await over

    def deliver(self, bus: Bus) -> list[str]:
        """Hand over what waits: the texts, in order. Their words count as heard now."""
        now = bus.clock.now()
        texts = []
        for say, over in self.waiting:
            if over.done():  # the policy took it back
                continue
            bus.publish(FEEDBACK, now, PlayStarted(say.turn, say.id))
            for index, word in enumerate(written_words(say.text)):
                bus.publish(FEEDBACK, now, Played(say.turn, say.id, index, word.text, now, now, "estimated"))
            over.set_result(say_outcome(say, "done", say.text))
            texts.append(say.text)
        self.waiting.clear()
        return texts

    def drop(self) -> None:
        """Take back what waits: nobody will read it."""
        for say, over in self.waiting:
            if not over.done():
                over.set_result(say_outcome(say, "fenced", "", "it was taken back before it was handed over"))
        self.waiting.clear()

    def cut(self, turn: int) -> None:
        """Take back what waits, and what still comes, of turns up to `turn`; the rest stays."""
        self._fence = max(self._fence, turn)
        for say, over in self.waiting:
            if say.turn <= turn and not over.done():
                over.set_result(say_outcome(say, "fenced", "", "its turn had been cut"))
        self.waiting = [each for each in self.waiting if each[0].turn > turn]

    def pause(self, turn: int) -> None:
        """Nothing: a page does not sound."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: what stops a motion leaves a text alone."""

    async def aclose(self) -> None:
        """Take back what waits."""
        self.drop()


class Dialogues:
    """The conversations of a server by name, the newest last: Home Assistant comes back with a name, on a new socket.

    group: where they live
    """

    def __init__(self, config: Config, settings: WyomingConfig, clock: Clock, group: asyncio.TaskGroup) -> None:
        self._config, self._settings, self._clock, self._group = config, settings, clock, group
        self._open: OrderedDict[str, tuple[Dialogue, asyncio.Task[None], int]] = OrderedDict()
        self._reflex = reflex(config)

    def stops(self, text: str) -> bool:
        """Whether `text` is a stop word and no more, for which nobody waits."""
        return self._reflex.typed(text) is not None

    async def answer(self, name: str, text: str) -> Answer:
        """As `Dialogue.answer`, in the conversation `name`.

        Raises `Busy` where it is in the middle of an answer, unless `text` is to stop that.
        """
        if name in self._open:
            dialogue, task, _ = self._open.pop(name)
            self._open[name] = (dialogue, task, self._clock.now())
            if dialogue.asked and not self.stops(text):
                raise Busy("this conversation is being answered already")
        else:
            self._forget()
            dialogue = Dialogue(self._config, self._settings.answer_s)
            living = alone(self._live(name, dialogue), f"dialogue {name[:40]!r}")
            task = self._group.create_task(living, name=f"dialogue {name[:40]}")
            self._open[name] = (dialogue, task, self._clock.now())
        return await dialogue.answer(text)

    async def _live(self, name: str, dialogue: Dialogue) -> None:
        """One that ends by itself is broken: the next text begins another."""
        try:
            await dialogue.run()
        finally:
            if name in self._open and self._open[name][0] is dialogue:
                self._open.pop(name)

    def end(self, name: str) -> None:
        """Forget it; what still moves in it is halted. One that does not exist is none."""
        if name in self._open:
            _, task, _ = self._open.pop(name)
            task.cancel()

    def _forget(self) -> None:
        old = self._clock.now() - round(self._settings.dialogue_s * SECOND)
        for name, (dialogue, _, used) in list(self._open.items()):
            full = len(self._open) >= self._settings.dialogues
            if (used < old or full) and not dialogue.asked:
                self.end(name)
