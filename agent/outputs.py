"""The files a run will make, looked at before it begins: a run that cannot start must not cost anybody a file.

Knows nothing of what is written to them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from agent.errors import OutputError


class Terminal(Console):
    """A rich console that does not end the program by itself when its reader has gone (`visavis run … | head`).

    Raises `BrokenPipeError` then, which ends the session in order: what is being recorded is completed.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, stderr=stderr)

    def on_broken_pipe(self) -> None:
        """As in `rich.console.Console`."""
        self.quiet = True
        raise BrokenPipeError


def check(outputs: Mapping[str, str | None], inputs: Mapping[str, str | None]) -> None:
    """See that all `outputs` can be made and that none is an input or another output. Changes no file.

    outputs, inputs: option (for the message) to path, None where it was not given. Raises `OutputError`.
    """
    taken = {Path(path).resolve(): option for option, path in inputs.items() if path}
    for option, name in outputs.items():
        if not name:
            continue
        path = Path(name)
        _writable(option, path)
        if path.exists() and not path.is_file():
            continue  # a device or a pipe is nobody's file
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise OutputError(
                f"{option} {name} is the same file as {other}: name another one, it would be overwritten."
            )


def _writable(option: str, path: Path) -> None:
    folder = path.parent
    if path.is_dir():
        reason = "it is a folder; name a file in it"
    elif not folder.exists():
        reason = f"there is no folder {folder}; make it first"
    elif not folder.is_dir():
        reason = f"{folder} is not a folder"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        reason = f"{path if path.exists() else folder} may not be written to"
    else:
        return
    raise OutputError(f"cannot write {option} {path}: {reason}.")
