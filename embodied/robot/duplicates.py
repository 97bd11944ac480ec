"""Which commands were seen: at QoS 1 a message may come twice, and must be carried out once."""

import hashlib
from collections import OrderedDict
from typing import Literal, TypeAlias

from embodied.robot.vocabulary import SECOND

LIFE = 600 * SECOND
MET_MAX = 4096
DONE_MAX = 16384  # more than the rates let through in `LIFE`

_Bodies: TypeAlias = OrderedDict[str, tuple[bytes, int]]


class Seen:
    """The ids of the last ten minutes, and what bytes they came with.

    Of what was merely met, the oldest are forgotten when there are too many: else a flood of nonsense would push out
    what matters. What was accepted is never forgotten early: if there were too many, nothing new would be accepted.
    """

    def __init__(self, life: int = LIFE, met_max: int = MET_MAX, done_max: int = DONE_MAX) -> None:
        self._life, self._met_max, self._done_max = life, met_max, done_max
        self._met: _Bodies = OrderedDict()
        self._done: _Bodies = OrderedDict()

    def meet(self, id: str, payload: bytes, now: int) -> Literal["new", "same", "other"]:
        """Whether `id` is new (and remembered now), came before with the same bytes, or with others."""
        for bodies in (self._met, self._done):
            while bodies and now - next(iter(bodies.values()))[1] > self._life:
                bodies.popitem(last=False)
        body = hashlib.blake2b(payload, digest_size=16).digest()
        known = self._done.get(id) or self._met.get(id)
        if known is not None:
            return "same" if known[0] == body else "other"
        if len(self._met) >= self._met_max:
            self._met.popitem(last=False)
        self._met[id] = (body, now)
        return "new"

    def accept(self, id: str) -> bool:
        """`id`, just met, is carried out. False if there is no room to remember that: then it must not be."""
        if len(self._done) >= self._done_max:
            return False
        self._done[id] = self._met.pop(id)
        return True
