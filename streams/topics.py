"""The topics: for each its name on the wire, its payload type and what a slow reader loses, declared once."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from streams.types import Action, Audio, Decision, Feedback, Image, Percept, Voice

T = TypeVar("T")


@dataclass(frozen=True)
class Keep:
    """Nothing is ever dropped; a reader that falls `depth` packets behind is faulted with `LaneOverrun`."""

    depth: int


@dataclass(frozen=True)
class Latest:
    """Only the newest `depth` packets are kept for a slow reader; what is dropped is counted."""

    depth: int


@dataclass(frozen=True, eq=False)
class Topic(Generic[T]):
    """A named stream of one payload type (or closed union of types)."""

    name: str
    payload: Any
    queue: Keep | Latest

    def __repr__(self) -> str:
        return f"Topic({self.name})"

    @property
    def types(self) -> tuple[type, ...]:
        """The payload classes that may be published here."""
        return get_args(self.payload) or (self.payload,)


# 3000 blocks of 20 ms are one minute: a reader a minute behind live audio is broken, not slow.
AUDIO: Topic[Audio] = Topic("audio", Audio, Keep(3000))
IMAGE: Topic[Image] = Topic("image", Image, Latest(1))
CLEAN: Topic[Audio] = Topic("clean", Audio, Keep(3000))  # AUDIO without the agent's own voice
PLAYBACK: Topic[Audio] = Topic("playback", Audio, Keep(3000))
VOICE: Topic[Voice] = Topic("voice", Voice, Keep(3000))
PERCEPT: Topic[Percept] = Topic("percept", Percept, Keep(1000))
TURN: Topic[Decision] = Topic("turn", Decision, Keep(1000))
ACTION: Topic[Action] = Topic("action", Action, Keep(1000))
FEEDBACK: Topic[Feedback] = Topic("feedback", Feedback, Keep(1000))

ALL: tuple[Topic[Any], ...] = (AUDIO, IMAGE, CLEAN, PLAYBACK, VOICE, PERCEPT, TURN, ACTION, FEEDBACK)
RECORDED: tuple[Topic[Any], ...] = tuple(topic for topic in ALL if topic is not CLEAN)  # that is computed again
BY_NAME: dict[str, Topic[Any]] = {topic.name: topic for topic in ALL}
