"""Which commands were seen: at QoS 1 a message may come twice, and must be carried out once."""

import hashlib
from collections import OrderedDict
from typing import Literal

from embodied.robot.vocabulary import SECOND

LIFE = 600 * SECOND
MANY = 4096


class Seen:
    """The ids of the last ten minutes, 4096 at most, and what bytes they came with.

    Should more come, the oldest are forgotten; such a message that came again would fail by its old heartbeat.
    """

    def __init__(self, life: int = LIFE, many: int = MANY) -> None:
        self._life, self._many = life, many
        self._bodies: OrderedDict[str, tuple[bytes, int]] = OrderedDict()

    def meet(self, id: str, payload: bytes, now: int) -> Literal["new", "same", "other"]:
        """Whether `id` is new (and remembered now), came before with the same bytes, or with others."""
        while self._bodies and (
            len(self._bodies) >= self._many or now - next(iter(self._bodies.values()))[1] > self._life
        ):
            self._bodies.popitem(last=False)
        body = hashlib.blake2b(payload, digest_size=16).digest()
        known = self._bodies.get(id)
        if known is None:
            self._bodies[id] = (body, now)
            return "new"
        return "same" if known[0] == body else "other"

    def __len__(self) -> int:
        return len(self._bodies)
