"""The software stop: anybody sets it, it latches, and an operator's reset only permits new commands.

This is no safety-rated emergency stop (ISO 13850): the robot needs one in hardware.
"""

import hashlib
import hmac

from embodied.robot.messages import EstopReset
from embodied.robot.vocabulary import StopCategory


class Latch:
    """Stopped or not. A token belongs to one latching: a reset that was recorded, or meant an earlier stop, is refused.

    operator_key: if given, a reset has to prove it knows the key (`proof`); else only the broker's rules keep it back
    """

    def __init__(self, secret: bytes, boot: str, category: StopCategory = 2, operator_key: bytes | None = None) -> None:
        self.category: StopCategory = category
        self.latched = False
        self.source = ""
        self.since = 0
        self.token = ""
        self._secret, self._boot, self._key = secret, boot, operator_key
        self._times = 0

    def set(self, source: str, now: int) -> bool:
        """Latch. False if it was latched already: the first source and time stay."""
        if self.latched:
            return False
        self._times += 1
        body = f"estop {self._boot} {self._times}".encode()
        self.token = hmac.new(self._secret, body, hashlib.sha256).hexdigest()[:24]
        self.latched, self.source, self.since = True, source, now
        return True

    def reset(self, wish: EstopReset, *, stands: bool) -> str:
        """Reset, or say why not, in words; empty if it is done. stands: the robot is at rest, as it must be."""
        if not self.latched:
            return "nothing is latched"
        if not hmac.compare_digest(wish.token.encode(), self.token.encode()):
            return "the token is not that of this stop: read it from `safety`"
        if self._key is not None and not hmac.compare_digest(
            (wish.proof or "").encode(), proof(self.token, self._key).encode()
        ):
            return "the proof is not that of the operator's key"
        if not stands:
            return "the robot still moves"
        self.latched, self.token, self.source = False, "", ""
        return ""


def proof(token: str, operator_key: bytes) -> str:
    """What an operator's program sends as `EstopReset.proof`: HMAC-SHA256 of the token."""
    return hmac.new(operator_key, token.encode(), hashlib.sha256).hexdigest()
