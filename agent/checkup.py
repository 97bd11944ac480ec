"""What a look of the doctor is made of: a finding, and trying something in a process of its own.

Libraries with native code may not only raise but crash or hang, and whoever looks at them must survive it.
"""

import subprocess
import sys
from importlib.util import find_spec

from msgspec import Struct

PROBE_S = 15.0
"""Patience with a library that is read from a cold disk on a busy machine."""


class Check(Struct, frozen=True):
    """One finding. ok: nothing needs mending;  detail: what was found;  mend: the command that mends or adds it"""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def here(module: str) -> bool:
    """Whether `module` could be imported, as far as one sees without doing it."""
    try:
        return find_spec(module) is not None
    except ValueError:  # it is in `sys.modules`, by nobody's import
        return False


def probe(code: str, patience_s: float | None = None) -> tuple[bool, str]:
    """Run Python `code` in a fresh process: whether it went well, and what it said (or its last line of complaint)."""
    return run(sys.executable, "-c", code, patience_s=patience_s)


def run(*command: str, patience_s: float | None = None) -> tuple[bool, str]:
    """Run a command: whether it went well, and what it said (or its last line of complaint).

    patience_s: None for `PROBE_S`. What takes longer is killed.
    """
    patience_s = PROBE_S if patience_s is None else patience_s
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=patience_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"no answer in {patience_s:g} s"
    except OSError as error:
        return False, error.strerror or str(error)
    if done.returncode:
        complaint = (done.stderr.strip() or done.stdout.strip()).splitlines()
        return False, complaint[-1] if complaint else f"it ended with {done.returncode}"
    return True, done.stdout.strip()
