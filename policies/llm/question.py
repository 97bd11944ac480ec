"""What a request is to be made for: the turn that is to be answered, and what the model has called for it so far."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from streams.types import TurnCommitted


class OpenTurn(Struct, frozen=True):
    """The turn that is to be answered, committed or (for a draft) about to be. Fields as in `scene.Heard`.

    unasked: nobody spoke, the agent has the floor
    """

    turn: int
    text: str
    typed: bool = False
    unasked: bool = False
    speaker: str = ""
    bearing_rad: float | None = None

    @classmethod
    def of(cls, turn: TurnCommitted) -> "OpenTurn":
        """The turn as it was committed."""
        drafted = cls.drafted(turn.turn, turn.text, turn.evidence)
        return replace(drafted, typed=turn.reason == "typed", unasked=turn.reason == "unasked")

    @classmethod
    def drafted(cls, turn: int, text: str, evidence: Mapping[str, float | str]) -> "OpenTurn":
        """The turn as it would be committed on this evidence (`TurnWaiting.evidence`)."""
        bearing, speaker = evidence.get("bearing_rad"), str(evidence.get("speaker", ""))
        direction = float(bearing) if isinstance(bearing, float | int) else None
        return cls(turn, text, speaker=speaker, bearing_rad=direction)


class Used(Struct, frozen=True):
    """A tool that the model used in answer to the open turn.

    call: the model's own name of the call;  name: of the tool, as the server knows it;  arguments: JSON text, as the
    model wrote it;  action: id of the `Call` or `Command` that came of it, 0 if none did: what became of that is read
    from the scene, and `status`, `detail` and `result` (as in `Outcome`) count only where the scene does not know it
    """

    call: str
    name: str
    arguments: str
    action: int = 0
    status: str = ""
    detail: str = ""
    result: Any = None


class Round(Struct, frozen=True):
    """One question of the open turn that the model answered with calls.

    said: how many `Say`s of this turn had been given to the voice when the calls were made, fillers included; None: all
    that there were are told before the first round
    """

    used: tuple[Used, ...]
    said: int | None = None


class _Called(Protocol):
    @property
    def call(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> str: ...


def tool_round(
    calls: Sequence[_Called],
    results: Mapping[str, Any],
    *,
    actions: Mapping[str, int] | None = None,
    said: int | None = None,
) -> list[Round]:
    """The round of `calls`, as a list to be added to the rounds before.

    results: by the model's name of the call: a status ("under way"), a status and why ("refused: ..."), or an object
    with status, detail and result;  actions: ids of what came of them, by the same name
    """
    used = []
    for call in calls:
        told = results.get(call.call, "")
        fields = told if isinstance(told, Mapping) else dict(zip(("status", "detail"), str(told).split(": ", 1)))
        used.append(
            Used(
                call.call,
                call.name,
                call.arguments,
                (actions or {}).get(call.call, 0),
                str(fields.get("status", "")),
                str(fields.get("detail", "")),
                fields.get("result"),
            )
        )
    return [Round(tuple(used), said)]
