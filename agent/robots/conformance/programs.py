"""How the robot's program is frozen and restarted: by its process id, or by commands of whoever runs it."""

import asyncio
import os
import signal
from pathlib import Path

from agent.robots.conformance.stage import Program
from streams.errors import VisavisError

COMMAND_S = 60.0


class ProgramOut(VisavisError):
    """The robot's program cannot be frozen or restarted as the options say."""


def program(*, pid: str | None, freeze: str | None, thaw: str | None, restart: str | None) -> Program:
    """What the options allow. pid: a number, or a file with one, read anew each time: a restart changes it.

    Raises `ProgramOut` for a pid that is none, and for a freeze without a thaw.
    """
    if bool(freeze) != bool(thaw):
        raise ProgramOut("--freeze-command and --thaw-command belong together: what is frozen must be let go on")
    if pid is not None:
        _signal(pid, 0)  # asks whether it could be done, and does nothing

    async def run(command: str | None) -> None:
        await _shell(command or "")

    async def stop_it(number: int) -> None:
        _signal(pid or "", number)

    freezing = (lambda: run(freeze)) if freeze else (lambda: stop_it(signal.SIGSTOP)) if pid else None
    thawing = (lambda: run(thaw)) if freeze else (lambda: stop_it(signal.SIGCONT)) if pid else None
    return Program((lambda: run(restart)) if restart else None, freezing, thawing)


def _number(pid: str) -> int:
    try:
        number = int(pid if pid.isdigit() else Path(pid).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProgramOut(f"--pid {pid}: give the number of the robot's process, or a file with it ({error})") from error
    if number <= 1 or number == os.getpid():  # 0 and less are groups of processes: this program among them
        raise ProgramOut(f"--pid {pid}: {number} is no process of a robot")
    return number


def _signal(pid: str, number: int) -> None:
    try:
        os.kill(_number(pid), number)
    except (ProcessLookupError, OverflowError) as error:
        raise ProgramOut(f"--pid {pid}: there is no such process; give that of the robot's program") from error
    except PermissionError as error:
        raise ProgramOut(f"--pid {pid}: that process may not be frozen by this user") from error


async def _shell(command: str) -> None:
    """Run it, and wait for its end; what it starts may go on (with its output elsewhere)."""
    process = await asyncio.create_subprocess_shell(
        command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(COMMAND_S):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ProgramOut(
            f"{command!r} was not over after {COMMAND_S:g} s; what it starts must go on without it"
        ) from None
    if code:
        raise ProgramOut(f"{command!r} ended with {code}")
