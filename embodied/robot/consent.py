"""A person's yes, bound to what it was said to: the command's id, name and arguments.

risk 3 always needs it; risk 2 when the wish came by speech, text or sight; what comes from sight alone needs it from
risk 1 on, for a sign or a screen is not a person. `confirm` of a capability can ask for more, never for less.
"""

import hashlib
import hmac
from typing import Any

import msgspec

from embodied.robot.factsheet import Capability
from embodied.robot.vocabulary import SECOND, Source

PATIENCE = 8 * SECOND
WAITING_MAX = 16


def needs_consent(capability: Capability, source: Source, *, agreed_before: bool = False) -> bool:
    """Whether a person must have said yes to this very command. agreed_before: to this capability, in this session."""
    if capability.risk >= 3 or capability.confirm == "always":
        return True
    if source == "vision":
        return capability.risk >= 1
    if source in ("speech", "text"):
        return capability.risk >= 2 or (capability.confirm == "first" and not agreed_before)
    return False


def consent_token(id: str, name: str, args: dict[str, Any], key: bytes = b"") -> str:
    """The `confirm` of a command that was agreed to: HMAC-SHA256 over id, name and arguments, in one fixed order.

    key: shared by agent and robot; without one the token proves that nothing was changed after the yes, not who made it
    """
    body = msgspec.json.encode([id, name, args], order="deterministic")
    return hmac.new(key, body, hashlib.sha256).hexdigest()


class Consents:
    """The agent's side: what waits for a yes, and for how long."""

    def __init__(self, key: bytes = b"", patience: int = PATIENCE) -> None:
        self._key, self._patience = key, patience
        self._waiting: dict[str, tuple[str, dict[str, Any], int]] = {}

    def ask(self, id: str, name: str, args: dict[str, Any], now: int) -> None:
        """A person has been asked about this command at `now`."""
        if len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[id] = (name, args, now)

    def agree(self, id: str, now: int) -> str | None:
        """The token for command `id`, once; None if nobody was asked, or too long ago."""
        found = self._waiting.pop(id, None)
        if found is None or now - found[2] > self._patience:
            return None
        return consent_token(id, found[0], found[1], self._key)

    def refuse(self, id: str = "") -> None:
        """The person said no to `id`, or, without one, to everything."""
        if id:
            self._waiting.pop(id, None)
        else:
            self._waiting.clear()
