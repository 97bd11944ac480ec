"""Whether a message may have what it asks for: one question after the other, the first no is the answer."""

import math
from collections.abc import Mapping

from embodied.robot.arguments import Arguments, Refusal
from embodied.robot.consent import consent_token, needs_consent
from embodied.robot.decisions import Sensed
from embodied.robot.estop import Latch
from embodied.robot.factsheet import MOTION, Capability, Factsheet
from embodied.robot.freshness import Beats
from embodied.robot.leases import Desk
from embodied.robot.messages import Command, Setpoint
from embodied.robot.params import Params
from embodied.robot.rates import Rate
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import RANKS, Mode, Rank, Source

BASE = "base"  # the resource whose speed `Guarded.drive` gives
_INSTANTS_PER_S = 20


class Gate:
    """The questions, in this order: stop, freshness, mode, rate, lease, exposure, arguments, limits, fence, consent."""

    def __init__(
        self, factsheet: Factsheet, settings: GuardSettings, params: Mapping[str, Params], latch: Latch, beats: Beats,
        desk: Desk,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._latch, self._beats, self._desk = latch, beats, desk
        self._arguments = Arguments(factsheet, params)
        self._streams = Rate(math.ceil(settings.stream_hz * 1.2), 1.0)
        self._goals = Rate(settings.goals_per_s, 1.0)
        self._instants = Rate(_INSTANTS_PER_S, 1.0)
        self._model = Rate(settings.model_goals_per_min, 60.0)
        self._agreed: set[str] = set()

    def refusal(self, message: Command | Setpoint, capability: Capability, sensed: Sensed, now: int) -> Refusal | None:
        """None if `message` may be carried out."""
        if capability.moves and (found := self._may_move(message, sensed, now)):
            return found
        held = self._desk.holds(message.sender, message.lease, now)
        if not self._in_rate(message, capability, now, held=held):
            return Refusal("rate", "rate", "too often; wait and ask again")
        if capability.moves and not held:
            return Refusal("lease", "no_lease", "acquire the lease first")
        source = self.source(message, held=held)
        by_person = source in ("speech", "text", "vision")
        if by_person and not capability.tool.expose:
            return Refusal("expose", "not_exposed", f"{capability.name} is not for wishes from {source}")
        if capability.kind != "chunk" and (found := self._arguments.refusal(message.args, capability, sensed)):
            return found
        return self._consent(message, capability, source)

    def source(self, message: Command | Setpoint, *, held: bool) -> Source:
        """Where the wish came from, as far as that is believed: rights above text need the rank for it."""
        claimed: Source = (
            message.origin.source if message.origin else "policy" if isinstance(message, Setpoint) else "text"
        )
        rank: Rank = self._desk.current.rank if held and self._desk.current else "model"
        if claimed == "operator" and RANKS.index(rank) < RANKS.index("teleop"):
            return "text"
        if claimed == "policy" and RANKS.index(rank) < RANKS.index("policy"):
            return "text"
        return claimed

    def _may_move(self, message: Command | Setpoint, sensed: Sensed, now: int) -> Refusal | None:
        if self._latch.latched:
            return Refusal("estop", "estop_latched", f"stopped by {self._latch.source}; an operator has to reset it")
        if reason := self._beats.judge(message.fresh, now):
            return Refusal("freshness", reason, "echo the newest heartbeat of this robot in `fresh`")
        rank: Rank = self._desk.current.rank if self._desk.current else "model"
        if not mode_allows(sensed.mode, rank):
            return Refusal("mode", "mode", f"the robot is in mode {sensed.mode}")
        return None

    def _in_rate(self, message: Command | Setpoint, capability: Capability, now: int, *, held: bool) -> bool:
        """held: `message` has the lease: who may not move it must not use up the wishes of who may"""
        if capability.kind in ("stream", "chunk"):
            return self._streams.take(f"{message.sender} {capability.name}", now)
        if capability.kind == "instant" or not capability.moves:
            return self._instants.take(message.sender, now)
        if not self._goals.take(message.sender, now):
            return False
        claimed = message.origin.source if message.origin else "text"
        by_person = claimed in ("speech", "text", "vision")
        return not (by_person and held) or self._model.take("", now)

    def _consent(self, message: Command | Setpoint, capability: Capability, source: Source) -> Refusal | None:
        if self._settings.consent == "off":
            return None
        if not needs_consent(capability, source, agreed_before=capability.name in self._agreed):
            return None
        if isinstance(message, Command):
            token = consent_token(message.id, message.name, message.args, self._settings.consent_key)
            if message.confirm == token:
                self._agreed.add(capability.name)
                return None
        elif source == "operator":
            return None
        return Refusal(
            "consent", "needs_confirm", "a person must say yes to just this; then send a new command with it"
        )


def mode_allows(mode: Mode, rank: Rank) -> bool:
    """Whether a writer of this rank may move a robot in this mode: by hand means by a person's hand."""
    if mode == "manual":
        return RANKS.index(rank) >= RANKS.index("teleop")
    return mode == "automatic"


def uses_base(capability: Capability) -> bool:
    """Whether it moves the base."""
    return capability.kind in MOTION and BASE in capability.resources
