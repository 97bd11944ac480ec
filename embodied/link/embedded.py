"""A broker for who has none: amqtt, installed once in a virtual environment of its own below the user's cache folder.

Of its own, because amqtt pins a version of websockets that others here cannot use. It speaks MQTT 3.1.1 only, has no
access list, and is meant for a demo on one machine.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from embodied.link.port import LinkError

AMQTT = "0.12.1"
INSTALL_S = 300.0
HELPER = Path(__file__).with_name("amqtt_helper.py")


class BrokerFailed(LinkError):
    """A broker could not be installed or started: why, and what to do."""


def cache_folder() -> Path:
    """Where the environment is kept: `$XDG_CACHE_HOME/visavis`, or `~/.cache/visavis`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "visavis"


async def environment(cache: Path | None = None) -> Path:
    """The Python of the environment with amqtt; it is made the first time (about 10 s, 60 MB). Raises `BrokerFailed`.

    It is built beside its place and then moved there, so that it is whole or not there, whoever else does the same.
    Cancelled, or if it fails, nothing stays behind.
    """
    folder = cache or cache_folder()
    place = folder / f"amqtt-{AMQTT}-python{sys.version_info.major}.{sys.version_info.minor}"
    python = place / "bin" / "python"
    if python.exists():
        return python
    building: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="amqtt-", dir=folder))
        await _ran(sys.executable, "-m", "venv", str(building))
        pip = (str(building / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        await _ran(*pip, f"amqtt=={AMQTT}")
        with suppress(OSError):  # somebody else was faster: theirs is as good
            building.rename(place)
    except OSError as error:
        raise BrokerFailed(f"the embedded broker cannot be put into {folder}: {error.strerror or error}") from None
    finally:
        if building is not None and building.exists():
            shutil.rmtree(building, ignore_errors=True)
    return python


async def _ran(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(INSTALL_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise BrokerFailed(f"installing the embedded broker took longer than {INSTALL_S:.0f} s: {_INSTEAD}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise BrokerFailed(f"the embedded broker cannot be installed ({last[0]:.200}): {_INSTEAD}")


_INSTEAD = "install mosquitto instead (Debian: apt install mosquitto), or name a broker with --broker"
