"""Sessions whose policy is a language model's, on the virtual clock: percepts in, a scripted model, all packets out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from agent import assembly, config
from agent.session import Log, Session
from policies.models.scripted import Script, ScriptedModel
from streams.topics import ACTION, FEEDBACK, IMAGE, PERCEPT, TURN
from streams.types import Ask, Outcome, Played, Say, Typed
from tests.scenes import Percepts

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # so that no minute passes between two sessions
BASE = ["policy.engine=llm", "voice.engine=tones", "speech.engine=none", "turn_end.engine=none", "vad.engine=webrtc"]


class Held:
    """A session that was held: its packets, and what is usually asked of them."""

    def __init__(self, session: Session, log: Log, model: ScriptedModel) -> None:
        self.session, self.log, self.model = session, log, model

    @property
    def packets(self) -> list[Any]:
        return list(self.log.packets)

    def of(self, *kinds: type) -> list[Any]:
        return self.log.of(*kinds)

    def said(self, turn: int | None = None) -> list[str]:
        return [say.text for say in self.of(Say) if turn in (None, say.turn)]

    def heard(self, turn: int) -> str:
        return " ".join(word.text for word in self.of(Played) if word.turn == turn)

    def ends(self, action: str) -> list[Outcome]:
        return [outcome for outcome in self.of(Outcome) if outcome.action == action]

    def asks(self) -> list[Ask]:
        return self.of(Ask)

    def t(self, kind: type, place: int = 0, **fields: Any) -> int:
        """Session time (ns) of a packet of this kind with these fields."""
        found = [
            packet
            for packet in self.log.packets
            if isinstance(packet.data, kind) and all(getattr(packet.data, k) == v for k, v in fields.items())
        ]
        return int(found[place].t)


def hold(
    scene: Sequence[tuple[float, float, Any]],
    script: Script,
    *settings: str,
    tools: Sequence[Callable[..., Any]] = (),
    tail_ms: float = 4000,
    taps: Sequence[Any] = (),
) -> Held:
    """Hold a session of `scene` (see `tests.scenes.Percepts`) with a model that answers by `script`."""
    made: list[ScriptedModel] = []
    loaded = config.load(None, [*BASE, *settings])

    def model(publisher: Any, clock: Any, pictures: Any) -> ScriptedModel:
        made.append(ScriptedModel(script, publisher, clock))
        return made[0]

    log = Log(PERCEPT, TURN, ACTION, FEEDBACK, IMAGE)
    body = assembly.AgentBody(loaded, tools, installed=False, model=model)
    session = assembly.assemble(
        loaded, [Percepts(scene, tail_ms)], taps=[log, *taps], senses=False, body=body, started=NOON
    )  # fmt: skip
    session.run(speed=None)
    return Held(session, log, made[0])


def typed(at_ms: float, text: str) -> tuple[float, float, Typed]:
    """Somebody types."""
    return (at_ms, at_ms, Typed(text))
