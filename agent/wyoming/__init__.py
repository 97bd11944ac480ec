"""Home Assistant by the Wyoming protocol: our ear, our voice and our policy as services of its voice assistant.

`serve` runs the server, `wyoming` is the command. The protocol's events come from the package `wyoming`
(https://github.com/OHF-Voice/wyoming, MIT), which is an extra; what each part needs of it is imported when it is used.

    frames.py        events on a socket, with bounds
    requests.py      what a client may ask, checked
    listening.py     speech to text: pooled ears
    speaking.py      text to speech: pooled voices
    dialogue.py      text to answer: the policy and a body without a voice
    conversation.py  a whole spoken conversation on one connection
    connection.py    one client: which event goes where
    server.py        the socket, and what all clients share
    firewall.py      a bug that one client finds ends nothing beside it

Zeroconf is left out: Home Assistant is told host and port by hand (docs/wyoming.md).
"""

import argparse
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent.wyoming.settings import WyomingConfig as WyomingConfig
from streams.errors import DependencyMissing

if TYPE_CHECKING:
    from agent.config import Config

URI = "tcp://127.0.0.1:10300"
"""Where the command serves if nothing else is said."""


async def serve(
    config: "Config", uri: str, announce: Callable[[str], None], settings: WyomingConfig | None = None
) -> None:
    """Serve `config` at `uri` ("tcp://HOST:PORT", port 0 for a free one) until cancelled.

    settings: the bounds, by default those of `config`
    announce: told the address that is really listened at, once clients are welcome
    Raises `DependencyMissing` without the package `wyoming`, `AddressError` for an address that cannot be served, and
    what the parts of `config` raise that cannot be made (`VisavisError`). On cancellation every connection is closed
    and what is being said or done in it ends.
    """
    _installed()
    from agent.wyoming.server import serve as serving  # noqa: PLC0415 - needs the extra

    await serving(config, uri, announce, settings or config.wyoming)


def wyoming(arguments: argparse.Namespace) -> int:
    """`visavis wyoming [--uri URI] [--config FILE] [--set KEY=VALUE]`: serve until Ctrl-C or SIGTERM."""
    _installed()
    from agent.wyoming.server import command  # noqa: PLC0415 - needs the extra

    return command(arguments)


def _installed() -> None:
    if find_spec("wyoming") is None:
        raise DependencyMissing("wyoming", "wyoming", "serving Home Assistant")
    with warnings.catch_warnings():  # before Python 3.13 it uses a module that is deprecated; from then on its own
        warnings.simplefilter("ignore", DeprecationWarning)
        import wyoming.audio  # noqa: F401, PLC0415 - optional
