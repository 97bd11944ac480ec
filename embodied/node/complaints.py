"""What a driver did wrong, for whoever wrote it: the whole traceback, on the robot's own terminal."""

import sys
import traceback
from typing import TextIO

from embodied.robot.vocabulary import SECOND

AGAIN = 60 * SECOND
KINDS = 256


class Complaints:
    """Writes tracebacks to `out` (stderr); the same mistake, in the same line, once a minute, and how often it was."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._told: dict[tuple[str, str, str], tuple[int, int]] = {}

    def tell(self, where: str, error: BaseException, now: int) -> None:
        """`error` was raised in `where`. Never raises: a terminal that is gone stops no robot."""
        frames = traceback.extract_tb(error.__traceback__)
        kind = (where, type(error).__name__, f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "")
        since, left_out = self._told.get(kind, (-AGAIN, 0))
        if now - since < AGAIN:
            self._told[kind] = (since, left_out + 1)
            return
        if len(self._told) >= KINDS:
            self._told.clear()
        self._told[kind] = (now, 0)
        more = f" (and {left_out} times in the minute before)" if left_out else ""
        try:
            text = "".join(traceback.format_exception(error))
        except Exception:  # noqa: BLE001 - an error of the driver's own that cannot even be shown
            text = f"{type(error).__name__}, which cannot be shown\n"
        self.say(f"{where} went wrong{more}:\n{text}")

    def say(self, what: str) -> None:
        """`what` on a line of its own."""
        try:
            print(what.rstrip("\n"), file=self._out or sys.stderr, flush=True)
        except (OSError, ValueError):
            pass


def one_line(error: object, most: int = 400) -> str:
    """What `error` says, without line breaks, for messages."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - as above
        said = "it cannot say what"
    return said if len(said) <= most else f"{said[: most - 3]}..."


def named(error: BaseException) -> str:
    """The kind of `error`, and what it says, on one line."""
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")
