"""What is in sight, in words: how many people, and on which side of the agent. Pure functions of `Face`.

`Watch` steadies what is seen from picture to picture.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from policies import phrasing
from policies.numbers import spell
from streams.clock import SECOND
from streams.types import Face

ASIDE_RAD = 0.2
"""Further from the middle than this (11 degrees) is to the left or the right."""
_PLACES = ("on my left", "in front of me", "on my right")


def place(face: Face) -> str:
    """Where a face is, as the agent would say it of itself."""
    return _PLACES[1 if abs(face.bearing_rad) <= ASIDE_RAD else 0 if face.bearing_rad > 0 else 2]


def people(faces: Sequence[Face]) -> str:
    """How many: "nobody", "one person", "two people"."""
    if not faces:
        return "nobody"
    return "one person" if len(faces) == 1 else f"{spell(len(faces))} people"


def people_placed(faces: Sequence[Face]) -> str:
    """How many and where: "three people, two on my left and one in front of me"."""
    counts = [(sum(place(face) == where for face in faces), where) for where in _PLACES]
    groups = [(number, where) for number, where in counts if number]
    if len(groups) < 2:
        return " ".join([people(faces), *(where for _, where in groups)])
    parts = [f"{spell(number)} {where}" for number, where in groups]
    return f"{people(faces)}, {', '.join(parts[:-1])} and {parts[-1]}"


def blind(age_s: float | None) -> str:
    """Why nothing can be said of what is there. age_s: of the last look, None if there never was one."""
    if age_s is None:
        return "I cannot see: I have no camera."
    return f"I cannot see: my last picture is {phrasing.duration(max(1.0, age_s))} old."


Side: TypeAlias = Literal["left", "middle", "right"]
STEADY_RAD = 0.05
"""How far over the border somebody must be to have changed sides."""
STAYS_S = 1.0
"""Somebody who is missed by the eyes for less than this has not left."""
_SAME_RAD = 0.15


class Person(Struct, frozen=True):
    """Somebody in view.

    face: `Face.id`;  side: of the agent's view, its own left and right;  since_ns, seen_ns: first and last picture
    """

    face: int
    side: Side
    bearing_rad: float
    since_ns: int
    seen_ns: int


class Watch:
    """Follows who is in view, so that neither a missed face nor one on a border flickers.

    people: from left to right
    """

    def __init__(self) -> None:
        self.people: tuple[Person, ...] = ()

    def feed(self, t: int, faces: Sequence[Face]) -> None:
        """The faces in the picture of session time `t` (ns)."""
        known = {person.face: person for person in self.people}
        here = {face.id for face in faces}
        missed = [person for person in self.people if person.face not in here]
        now: list[Person] = []
        for face in faces:
            before = known.get(face.id)
            if before is None:  # found again under another number
                before = next((each for each in missed if abs(each.bearing_rad - face.bearing_rad) < _SAME_RAD), None)
                if before is not None:
                    missed.remove(before)
            side = _side(face.bearing_rad, None if before is None else before.side)
            now.append(Person(face.id, side, face.bearing_rad, t if before is None else before.since_ns, t))
        now += [person for person in missed if t - person.seen_ns < STAYS_S * SECOND]
        self.people = tuple(sorted(now, key=lambda person: (-person.bearing_rad, person.face)))


def _side(bearing_rad: float, before: Side | None) -> Side:
    left = ASIDE_RAD + _over(before, "left")
    right = ASIDE_RAD + _over(before, "right")
    return "left" if bearing_rad > left else "right" if -bearing_rad > right else "middle"


def _over(before: Side | None, side: Side) -> float:
    return 0.0 if before is None else -STEADY_RAD if before == side else STEADY_RAD


def side_of(bearing_rad: float) -> Side:
    """On which side something is."""
    return _side(bearing_rad, None)
