"""What goes wrong for one client stays with that client."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def alone(work: Coroutine[Any, Any, None], what: str) -> None:
    """Run `work` so that its failure ends nothing beside it: the task group it lives in is that of all clients.

    what: whose work it is, for the message. What a part raises on purpose is told to its client before it gets here, so
    what arrives is a bug: it goes to the event loop's exception handler, which writes it to stderr with its traceback.
    Cancellation passes through.
    """
    try:
        await work
    except Exception as error:  # noqa: BLE001 - a bug that one client finds must not end the service of the others
        message = f"visavis: a bug ended {what} of the Wyoming server; the others go on"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
