"""`visavis live --web`: the conversation in a browser, with the console, and the Realtime endpoint beside it."""

import argparse
import os
import re
from pathlib import Path

from agent.errors import ConfigError
from agent.execution import USUAL, Furnishing, execute, fetch
from agent.outputs import Terminal
from agent.remembered import configured

TOKEN = "VISAVIS_TOKEN"
"""Environment variable with the token that pages must know; without it there is a new one for each start."""
SPARE = 65_536  # bytes by which a message may be too long and is still refused in words
LEAST = 16  # characters of a token that nobody guesses


def web(arguments: argparse.Namespace, furnishing: Furnishing = USUAL) -> int:
    """Serve until Ctrl-C. Returns 128 + the number of the signal that ended it.

    furnishing: of what is added to the usual session, its settings
    Raises `VisavisError`: a port that is taken, a model or a package that cannot be had, a token that is too short.
    """
    from agent.console.host import Host
    from agent.console.security import new_token
    from agent.console.server import Tls
    from agent.realtime.app import PATH, application

    console = Terminal()
    native = ("record", "voice_out", "both_out", "microphone", "loudspeaker", "camera")
    if given := [f"--{name.replace('_', '-')}" for name in native if getattr(arguments, name) is not None]:
        raise ConfigError(f"{given[0]} does not go with --web: the page chooses devices, and when to record")
    if not 0 <= arguments.port <= 65535:
        raise ConfigError(f"--port {arguments.port}: a port is a number from 0 (any free one) to 65535")
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise ConfigError("--tls-cert and --tls-key belong together: give both, or none")
    token = os.environ.get(TOKEN)
    if token is not None and (len(token) < LEAST or not re.fullmatch(r"[A-Za-z0-9._~-]*", token)):
        raise ConfigError(
            f"{TOKEN} has {len(token)} characters: it must have {LEAST} at least, letters, digits and . _ ~ - only, "
            "or be unset"
        )
    token = token or new_token()
    settings = furnishing.settings(configured(arguments, {}))
    settings = fetch(settings, console, sees=True, echoes=settings.console.echo == "agent")
    recordings = Path(arguments.recordings) if arguments.recordings else default_recordings()
    if recordings.exists() and not recordings.is_dir():
        raise ConfigError(f"--recordings {recordings}: it is no folder; name one, or one that can be made")

    def announce(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    host = Host(
        settings,
        recordings=recordings,
        host=arguments.host,
        port=arguments.port,
        token=token,
        tls=Tls(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None,
        announce=announce,
        assignments=arguments.set,
        mounts={PATH: application(settings, token, settings.realtime)},
        mount_limit=settings.realtime.message_kib * 1024 + SPARE,
    )
    return execute(host, 1.0)


def default_recordings() -> Path:
    """Where recordings lie if nobody says where: `$XDG_DATA_HOME/visavis/recordings`, else below `~/.local/share`."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "visavis" / "recordings"
