"""Speaks through the loudspeaker of a robot: `Say` after `Say` as its capability `say`, and accounted for by the word.

The sound is made over there; what comes back is how many words were said whole: {"words": n}, as feedback and result of
the goal. From that alone `PlayStarted`, `Played` and `Outcome` are told, in the same order as by
`embodied.speech.SpeechActuator`, so that the ledger of what was heard is true although nobody here has the samples.
When a word ended is known to a fifth of a second; between two reports the time is shared out by length ("estimated").

There is no PLAYBACK: an echo canceller has nothing to work with, and a robot that also listens has to cancel its own
voice. Only a `say` that the robot declares to be a motion (risk above 0) needs its lease.
"""

import asyncio
from typing import Any, Protocol

from embodied.ledger import heard_text
from embodied.remote.errands import Errand
from embodied.remote.saying import why
from embodied.remote.spoken import Spoken, pieces
from embodied.robot.arguments import Refusal
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.messages import Command
from embodied.robot.vocabulary import Source
from embodied.utterance import say_outcome
from streams.clock import MS, SECOND, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Fault, Feedback, Outcome, PlayStarted, Recovered, Say

READY = SECOND
"""How long a Say waits for the lease, or for the robot to be there."""
STEP = 20 * MS
CUT_WAIT = 600 * MS
"""How long a Say that was cut waits for the robot to tell how far it had come."""
AGAIN = 300 * MS
"""A pause that has not come about by then is asked for once more."""
TRIES, RATE_WAIT = 4, 600 * MS


class Commander(Protocol):
    """What this needs of `embodied.remote.client.RobotClient`; see there."""

    robot: str
    factsheet: Factsheet | None

    def use(self) -> None:
        """The lease is needed."""

    def why_not(self, *, moves: bool) -> str:
        """Why nothing can be asked of the robot now; "" if it can."""

    def propose(
        self, name: str, args: dict[str, Any], source: Source, *, turn: str = "", confirmed: bool = False
    ) -> Command | Refusal:
        """A command ready to be sent."""

    def send(self, command: Command, errand: Errand) -> bool:
        """Send it."""

    def cancel(self, errand: Errand) -> None:
        """End it."""

    def tell(self, name: str, args: dict[str, Any], *, first: bool = False) -> str:
        """Send "pause" or "resume"."""


class RobotSpeech:
    """`embodied.ports.Actuator` for `Say`. Says are spoken in the order in which they are performed.

    fence: nothing of turns up to this one is heard from now on;  name_of_say: the capability

    `cut` tells the robot to end it, and the `Say` ends when the robot has told how much was heard, or after 0.6 s with
    what was known. `pause` asks the robot to hold, if its `say` can be paused (else it says the piece under way to its
    end: a sentence or two) and begins nothing new. A robot that does not take a `Say` ends it as "failed", with a
    `Fault` "RobotMute" for the first of them, and `Recovered` when it speaks again. A `Say` that is only sound of a
    model that speaks (no text) cannot be said by a robot, and fails. Cancelling `perform` returns what was heard by
    then.
    """

    name = "speech"
    accepts: tuple[type, ...] = (Say,)

    def __init__(self, client: Commander, publisher: Publisher, clock: Clock, *, name_of_say: str = "say") -> None:
        self.fence = -1
        self._client, self._publisher, self._clock, self._capability = client, publisher, clock, name_of_say
        self._queue: list[Spoken] = []
        self._held: int | None = None  # speech of turns up to this one is paused
        self._news = asyncio.Event()
        self._silent = False  # that it cannot speak has been told

    async def perform(self, action: Action) -> Outcome:
        """Speak a `Say`, and return once it has been heard, or cut."""
        if not isinstance(action, Say):
            raise TypeError(f"speech takes Say, not {type(action).__name__}")
        if action.turn <= self.fence:
            return say_outcome(action, "fenced", "", "its turn had been cut")
        if not action.text.strip():
            if action.source:
                return say_outcome(action, "failed", "", "a robot says text, and this is sound")
            return say_outcome(action, "done", "")
        spoken = Spoken(action)
        self._queue.append(spoken)
        try:
            await self._speak(spoken)
        except asyncio.CancelledError:
            self._drop(spoken)
        finally:
            self._queue.remove(spoken)
            self._news.set()
        return self._outcome(spoken)

    def cut(self, turn: int) -> None:
        """Fence every turn up to `turn`: the robot is told in this very step, what waits is never heard."""
        self.fence = max(self.fence, turn)
        if self._held is not None and self._held <= self.fence:
            self._held = None
        for spoken in self._queue:
            if spoken.say.turn <= self.fence:
                self._drop(spoken)
        self._news.set()

    def pause(self, turn: int) -> None:
        """Ask the robot to hold what it says of turns up to `turn`; nothing more of them is begun."""
        self._held = turn if self._held is None else max(turn, self._held)
        self._hold()

    def resume(self, turn: int) -> None:
        """Go on. A robot may begin the word anew at which it paused."""
        if self._held is not None and self._held <= turn:
            self._held = None
        self._hold()
        self._news.set()

    async def halt(self) -> None:
        """Cut all that is being said or waits, whatever its turn. What is said afterwards is heard."""
        for spoken in self._queue:
            self._drop(spoken)
        self._held = None
        self._news.set()

    async def aclose(self) -> None:
        """End what is being said. Idempotent."""
        await self.halt()

    # --- from text to the robot

    async def _speak(self, spoken: Spoken) -> None:
        for words in pieces(spoken.words):
            while not spoken.cut and (self._queue_head() is not spoken or self._is_held(spoken)):
                self._news.clear()
                await self._news.wait()
            tries = 0
            while not spoken.cut and not spoken.failure:
                tries += 1
                if await self._say(spoken, " ".join(words), tries):
                    break
            if spoken.cut or spoken.failure or spoken.ended:
                return

    async def _say(self, spoken: Spoken, text: str, tries: int) -> bool:
        """Have the robot say `text`. False: it would not yet, try again."""
        if reason := await self._ready(spoken):
            return self._fail(spoken, reason)
        if spoken.cut:
            return True
        # As a policy: wishes of persons are counted by the minute, and the plan of a turn is of motions, not words.
        made = self._client.propose(self._capability, {"text": text}, "policy")
        if isinstance(made, Refusal):
            return self._fail(spoken, why(made.reason, made.detail))
        sheet = self._sheet()
        errand = Errand(made.id, made.name, sheet.timeout_s if sheet else 60.0, self._clock.now(), self._told)
        spoken.begin(errand, len(text.split()))
        try:
            sent = self._client.send(made, errand)
        except Malformed as error:
            return self._fail(spoken, str(error))
        if not sent:
            return self._fail(spoken, why("link_lost"))
        await self._over(spoken, errand)
        return await self._settled(spoken, errand, tries)

    async def _ready(self, spoken: Spoken) -> str:
        """Why it cannot be asked now; "" if it can, or nobody wants it any more."""
        until = self._clock.now() + READY
        while not spoken.cut:
            sheet = self._sheet()
            moves = sheet is not None and sheet.moves
            if moves:
                self._client.use()
            reason = self._client.why_not(moves=moves)
            if not reason and sheet is None:
                return "it has no loudspeaker that can be spoken through"
            if not reason or self._clock.now() >= until:
                return reason
            await self._clock.sleep_until(self._clock.now() + STEP)
        return ""

    async def _over(self, spoken: Spoken, errand: Errand) -> None:
        """Until the robot has told the end; of one that was cut, not for long. The client bounds it."""
        while not errand.over.is_set() and not spoken.cut:
            self._news.clear()
            await self._news.wait()
        if not errand.over.is_set():
            try:
                async with asyncio.timeout_at(self._clock.deadline(self._clock.now() + CUT_WAIT)):
                    await errand.over.wait()
            except TimeoutError:
                pass

    async def _settled(self, spoken: Spoken, errand: Errand, tries: int) -> bool:
        """Take down how it ended. False: it was refused, and another time it may not be."""
        final, spoken.errand = errand.final, None
        if spoken.cut:
            return True
        if final is None:
            return self._fail(spoken, "the robot is not heard" if errand.lost != "wrong_boot" else why("wrong_boot"))
        if final.state == "succeeded":
            if self._silent:
                self._silent = False
                self._publish(Recovered(self.name, f"{self._client.robot} speaks again"))
        elif final.state in ("cancelled", "preempted"):
            spoken.ended = why(final.reason, final.detail) or "the robot was told to end it"
        elif final.state == "rejected" and final.retriable and tries < TRIES:
            await self._clock.sleep_until(self._clock.now() + RATE_WAIT)
            return False
        else:
            return self._fail(spoken, why(final.reason, final.detail))
        return True

    def _fail(self, spoken: Spoken, reason: str) -> bool:
        spoken.failure = f"{self._client.robot} did not say it: {reason}"
        if not self._silent:
            self._silent = True
            self._publish(Fault(self.name, "RobotMute", spoken.failure))
        return True

    # --- what the robot tells

    def _told(self, errand: Errand) -> None:
        """A status came, or the end."""
        spoken = next((each for each in self._queue if each.errand is errand), None)
        if spoken is not None and errand.status is not None:
            now = self._clock.now()
            begun, words = spoken.heard(errand.status, now)
            if begun is not None:
                self._publish(PlayStarted(spoken.say.turn, spoken.say.id), begun)
            for word in words:
                self._publish(word, word.end_ns)
            self._hold()
        if errand.over.is_set():
            self._news.set()

    def _publish(self, data: Feedback, t: int | None = None) -> None:
        self._publisher.publish(FEEDBACK, self._clock.now() if t is None else t, data)

    # --- holding and cutting

    def _hold(self) -> None:
        """Ask for a pause, or its end, where the robot does otherwise; again, if it did not come about."""
        now = self._clock.now()
        for spoken in self._queue:
            errand, sheet = spoken.errand, self._sheet()
            if errand is None or spoken.cut or errand.final is not None or errand.status is None or sheet is None:
                continue
            held, state = self._is_held(spoken), errand.status.state
            wish = "pause" if held and state == "running" else "resume" if not held and state == "paused" else ""
            if wish and sheet.pausable and (wish != spoken.asked[0] or now - spoken.asked[1] >= AGAIN):
                spoken.asked = (wish, now)
                self._client.tell(wish, {"id": errand.id}, first=True)

    def _drop(self, spoken: Spoken) -> None:
        """Nothing more of it is to be heard."""
        if not spoken.cut:
            spoken.cut = True
            if spoken.errand is not None and spoken.errand.final is None:
                self._client.cancel(spoken.errand)
            self._news.set()

    def _is_held(self, spoken: Spoken) -> bool:
        return self._held is not None and spoken.say.turn <= self._held

    def _queue_head(self) -> Spoken | None:
        return next((each for each in self._queue if not each.cut), None)

    def _sheet(self) -> Capability | None:
        sheet = self._client.factsheet
        found = () if sheet is None else sheet.capabilities
        return next((each for each in found if each.name == self._capability and each.kind == "goal"), None)

    def _outcome(self, spoken: Spoken) -> Outcome:
        say, count = spoken.say, spoken.count
        heard = heard_text(say.text, spoken.words[:count])
        if count == len(spoken.words):
            return say_outcome(say, "done", say.text)
        if spoken.failure:
            return say_outcome(say, "failed", heard, spoken.failure)
        if not spoken.cut:
            return say_outcome(say, "cut" if count else "failed", heard, spoken.ended)
        if not count:
            return say_outcome(say, "fenced", "", "nothing of it was heard before the cut")
        return say_outcome(say, "cut", heard)
