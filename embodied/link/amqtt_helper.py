"""The process in which the embedded broker lives: amqtt, in a virtual environment of its own. Imports nothing of ours.

Started as `ENVIRONMENT/bin/python -I amqtt_helper.py HOST PORT`. MQTT 3.1.1 only; everybody may do everything. It ends
when its standard input ends, so that it never outlives the program that started it.
"""

import asyncio
import contextlib
import sys

from amqtt.broker import Broker


async def main(host: str, port: str) -> None:
    """Serve until standard input ends."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), 2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
