"""What the core wants done: the rim carries it out."""

from typing import Any, TypeAlias

from msgspec import Struct

from agent.realtime.settings import Settings


class Hear(Struct, frozen=True, eq=False):
    """Sound came from the client, in the input format."""

    data: bytes


class Judge(Struct, frozen=True):
    """The sound held back so far is a whole turn: let it be heard, and judge it at once."""


class Forget(Struct, frozen=True):
    """What was sent and not yet heard is to be dropped."""


class Write(Struct, frozen=True):
    """Somebody wrote `text` to the agent."""

    text: str


class Release(Struct, frozen=True):
    """The policy may answer turn `turn`."""

    turn: int


class StopTalking(Struct, frozen=True):
    """What the agent says and does ends here."""


class Deliver(Struct, frozen=True):
    """The client's result of call `id`."""

    id: int
    result: Any


class Heard(Struct, frozen=True):
    """The client says that it played only this much of what it was sent."""

    milliseconds: int


class Configure(Struct, frozen=True):
    """The settings have changed."""

    settings: Settings


class Begin(Struct, frozen=True):
    """There is something to hear or to answer: the session must run from now on."""


Order: TypeAlias = Hear | Judge | Forget | Write | Release | StopTalking | Deliver | Heard | Configure | Begin
