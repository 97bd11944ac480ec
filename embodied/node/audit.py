"""The audit log: every decision of the guards with its reason, as lines of JSON. What is dropped is counted in it."""

import asyncio
from collections import deque
from datetime import datetime
from pathlib import Path

import msgspec

from embodied.errors import BodyError
from embodied.robot.decisions import Note
from embodied.robot.reports import Diagnostic
from streams.clock import SECOND, Clock

WAITING_MAX = 20_000
EVERY = SECOND // 2
BYTES_MAX = 64 << 20  # then FILE becomes FILE.1, and what was FILE.1 is gone


class AuditFailed(BodyError):
    """The audit log cannot be written: a robot that is to keep one does not start without."""


class AuditLog:
    """Takes notes (call it) and writes them, twice a second, in a thread.

    {"started": wall time, "boot": ...} begins each run; then {"t": ns since then, "guard", "verdict", ...} for each.
    dropped: notes that came faster than they could be written;  failure: why the last try to write failed, or ""
    Its folder must be there: a name that is mistyped must make none.
    Raises `AuditFailed`, here and nowhere later: a full disk does not stop a robot, but `failure` and `diag` tell it.
    """

    def __init__(self, path: Path, clock: Clock, *, boot: str = "", limit: int = BYTES_MAX) -> None:
        self.path, self.dropped, self.failure = path, 0, ""
        self._clock, self._limit = clock, limit
        self._waiting: deque[Note] = deque()
        self._told = 0
        try:
            self._append(_line({"started": _wall(clock.started), "boot": boot}))
        except OSError as error:
            why = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}; make it first"
            raise AuditFailed(f"the audit log {path} cannot be written: {why}.") from error

    def __call__(self, note: Note) -> None:
        """Take a note. Never waits, never raises."""
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        self._waiting.append(note)

    def diagnose(self) -> tuple[Diagnostic, ...]:
        """For `diag`: whether it can be written."""
        return (Diagnostic("audit", 2 if self.failure else 0, self.failure, {"dropped": self.dropped}),)

    async def run(self) -> None:
        """Write until cancelled; then the rest."""
        try:
            while True:
                await self._clock.sleep_until(self._clock.now() + EVERY)
                notes = self._taken()
                if notes or self.dropped != self._told:
                    await asyncio.get_running_loop().run_in_executor(None, self._write, notes)
        finally:
            self.close()

    def close(self) -> None:
        """Write what is left. Idempotent."""
        self._write(self._taken())

    def _taken(self) -> list[Note]:
        notes = list(self._waiting)
        self._waiting.clear()
        return notes

    def _write(self, notes: list[Note]) -> None:
        lines = [_line(msgspec.to_builtins(note)) for note in notes]
        dropped = self.dropped
        if dropped != self._told:
            lines.append(_line({"t": self._clock.now(), "dropped": dropped}))
        if not lines:
            return
        try:
            self._append(b"".join(lines))
            self.failure, self._told = "", dropped
        except OSError as error:
            self.failure = f"{self.path}: {error.strerror}"
            self.dropped += len(notes)

    def _append(self, lines: bytes) -> None:
        if self.path.exists() and self.path.stat().st_size + len(lines) > self._limit:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        with self.path.open("ab") as file:
            file.write(lines)


def _line(body: dict[str, object]) -> bytes:
    return msgspec.json.encode({key: value for key, value in body.items() if value not in ("", None)}) + b"\n"


def _wall(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")
