"""The envelope of everything on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from streams.topics import Topic

T_co = TypeVar("T_co", covariant=True)


class Packet(Struct, Generic[T_co], frozen=True, gc=False, eq=False):
    """One payload with its times and its place.

    t: when the thing *happened*, ns of session time (for audio: the end of its last sample)
    at: when it was published, ns of session time; never decreases from one packet to the next
    seq: gapless per topic, so a gap at a reader *is* a drop
    order: gapless over the whole bus: the total order that a recording keeps and a replay restores
    """

    topic: Topic[T_co]
    t: int
    at: int
    seq: int
    order: int
    data: T_co
