"""The ports of a body: actuators that carry actions out, and voices that make speech of text."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from streams.types import Action, Outcome, Samples, Steer, Tone


class Mark(NamedTuple):
    """One word of an utterance and the samples in which it sounds (pause before and after left out).

    text: as written in the text that was given;  start, end: sample indices from the start of the utterance
    exact: the voice itself gave the times (False: estimated)
    """

    text: str
    start: int
    end: int
    exact: bool = True


class Chunk(Struct, frozen=True, eq=False):
    """A piece of an utterance, in playing order.

    samples: int16[samples] at the voice's rate;  marks: the words known by now that were not in an earlier chunk
    """

    samples: Samples
    marks: tuple[Mark, ...] = ()


@runtime_checkable
class Voice(Protocol):
    """Makes speech of text. Synchronous: the speech actuator calls it in a thread of its own, all but `close`.

    name: for reports;  rate: Hertz;  cost: declared time in ns until the first chunk, for virtual time
    """

    name: str
    rate: int
    cost: int

    def speak(self, text: str, *, pace: float = 1.0, tone: Tone = "") -> Iterator[Chunk]:
        """The chunks of `text`. Closing the iterator cancels the rest at once. Raises `VoiceError`.

        pace: factor of the usual speed, 0.5 to 2;  tone: how it is to sound. Both are for this text only, and a voice
        that cannot ignores them.
        """

    def close(self) -> None:
        """Give back processes and memory, without waiting for speech in progress. Idempotent.

        May come from another thread during `speak`, whose iterator then ends, soon, with `VoiceError`.
        """


@runtime_checkable
class Sound(Protocol):
    """Speech that another part makes, such as a model that speaks: what `Say.source` names.

    rate: Hertz, the same as the speaker's
    """

    rate: int

    def chunks(self, name: str) -> Iterator[Chunk]:
        """The chunks of the sound `name`, in playing order; called once for each name.

        Synchronous: the speech actuator iterates in the voice's thread. `next` waits until more has come, or the sound
        has ended, or `cancel` was called, and the iterator then ends. Whoever implements it bounds that wait.
        In virtual time it is called on the loop and may not wait: what it gives must be there.
        Raises `VoiceError`, here or from `next`: no sound of that name, or the model that made it failed.
        """

    def cancel(self, name: str) -> None:
        """Nothing more of `name` will be asked for: forget it, and end a wait for it. On the loop, at once, idempotent.

        Unknown names are no error. A `Say` whose turn had been cut before the body saw it is not told here: who makes
        the sound ends it with its own turn.
        """


@runtime_checkable
class Actuator(Protocol):
    """Carries out one kind of action and reports what it really did.

    name: for reports;  accepts: the action classes it takes
    """

    name: str
    accepts: tuple[type, ...]

    async def perform(self, action: Action) -> Outcome:
        """Carry `action` out and say what was *really* done. Expected failures are an `Outcome`, never an exception.

        Cancellation means cut: bring it to rest (speech silent, motion stopped) and return the `Outcome` all the
        same if it can be had without waiting, else re-raise.
        """

    def cut(self, turn: int) -> None:
        """Fence every turn up to `turn`: nothing of it is heard or moves from now on, wherever it is queued."""

    def pause(self, turn: int) -> None:
        """Hold what belongs to turns up to `turn`, keeping the place. Motions do nothing."""

    def resume(self, turn: int) -> None:
        """Go on where `pause` stopped."""

    async def halt(self) -> None:
        """Stop everything now. Idempotent, never raises, bounded in time."""

    async def aclose(self) -> None:
        """Give back devices and processes. Idempotent."""


@runtime_checkable
class Choosy(Protocol):
    """An actuator that takes only some of the actions of a class: by their names, or by the robot they are for."""

    def takes(self, action: Action) -> bool:
        """Whether `action`, of a class it accepts, is for it."""


@runtime_checkable
class Steerable(Protocol):
    """An actuator that can be driven by hand."""

    def steer(self, action: Steer) -> None:
        """Drive so for a fraction of a second, if `action.robot` is it (or ""). Never waits, never raises."""


@runtime_checkable
class Latching(Protocol):
    """An actuator whose robot can be stopped for good."""

    def latch(self, reason: str) -> None:
        """Stop, and stay stopped until an operator resets it. Never waits, never raises; `halt` is called as well."""


@runtime_checkable
class Connected(Protocol):
    """An actuator with something to do in the background, such as keeping a connection."""

    name: str

    async def serve(self) -> None:
        """Run for as long as the body runs; it is cancelled then, before `aclose`. Expected failures are `Fault`s."""


@runtime_checkable
class Leaving(Protocol):
    """An actuator that others may use, too: when a session ends, only what it did itself comes to rest."""

    async def leave(self) -> None:
        """Bring to rest what was asked by this session. In place of `halt` at its end; as bounded, never raises."""
