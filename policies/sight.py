"""What is in sight, in words: how many people, and on which side of the agent. Pure functions of `Face`."""

from collections.abc import Sequence

from policies import phrasing
from policies.numbers import spell
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
