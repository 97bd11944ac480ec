"""Which signals end a program in order: Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal is closed."""

import os
import signal
import stat
from collections.abc import Collection


def ending() -> tuple[signal.Signals, ...]:
    """Those that are to be heeded. SIGHUP is not where it is ignored: who says `nohup` wants the program to stay."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def counts(number: int, *, before: bool) -> bool:
    """Whether a signal that came is to be acted upon. before: one had come already

    SIGHUP counts once: kernel and shell both send it when a terminal is closed, and nobody meant "at once". What would
    be told on a terminal that is gone goes nowhere from then on, for to write there is an error.
    """
    if number != signal.SIGHUP:
        return True
    for told in (1, 2):
        if not os.isatty(told) and _is_terminal(told):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, told)
            os.close(nowhere)
    return not before


def over(came: Collection[int]) -> None:
    """The handlers are gone: another SIGHUP is not to tear what is left to be done, such as closing files.

    came: the signals that came
    """
    if signal.SIGHUP in came:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _is_terminal(number: int) -> bool:
    """Also one that is gone, which `isatty` does not tell from a file; the null device does no harm."""
    try:
        return stat.S_ISCHR(os.fstat(number).st_mode)
    except OSError:
        return False  # closed
