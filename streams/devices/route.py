"""From which source of the sound server does this process record? PulseAudio may change that without a word.

When the source in use is pulled out, the server moves the streams that record from it to another one: at worst to the
monitor of the loudspeaker, where the agent would hear itself. ALSA and PortAudio see nothing of that; the server's own
tool `pactl` tells. It waits for events, and costs nothing while nothing happens.
"""

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from typing import Any

TRY_AGAIN_S = 1.0
SETTLE_S = 0.05
ANSWER_S = 2.0


async def follow(changed: Callable[[tuple[str, ...]], None]) -> None:
    """Call `changed` with the sources this process records from, now and whenever they may have changed.

    Returns at once where there is no `pactl` (or one that is too old to tell); goes on until it is cancelled, also
    while there is no server.
    """
    while True:
        try:
            watcher = await asyncio.create_subprocess_exec("pactl", "subscribe", stdout=PIPE, stderr=DEVNULL)
        except OSError:
            return
        assert watcher.stdout is not None
        try:
            changed(await sources())
            while line := await watcher.stdout.readline():
                if b" on source" in line:
                    await asyncio.sleep(SETTLE_S)  # one thing that happens is many events
                    changed(await sources())
        finally:
            if watcher.returncode is None:
                watcher.kill()
            await watcher.wait()
        await asyncio.sleep(TRY_AGAIN_S)


async def sources() -> tuple[str, ...]:
    """The names of the sources this process records from, as the sound server has them; () if it does not tell."""
    outputs, known = await asyncio.gather(_ask("source-outputs"), _ask("sources"))
    names = {source.get("index"): source.get("name") for source in known}
    mine = str(os.getpid())
    return tuple(
        str(names.get(output.get("source"), "another source"))
        for output in outputs
        if output.get("properties", {}).get("application.process.id") == mine
    )


async def _ask(what: str) -> list[dict[str, Any]]:
    try:
        asking = await asyncio.create_subprocess_exec("pactl", "-f", "json", "list", what, stdout=PIPE, stderr=DEVNULL)
    except OSError:
        return []
    try:
        async with asyncio.timeout(ANSWER_S):
            answer, _ = await asking.communicate()
        found = json.loads(answer)
    except (TimeoutError, ValueError):
        return []
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
