"""A link for as long as a block of a program needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embodied.link.link import Link
from embodied.link.port import LinkError
from streams.errors import DependencyMissing


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[None]:
    """`link` is kept while the block runs, and ends with it. Raises what `Link.run` raises, by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run(), name=link.name or "link")
            yield
            task.cancel()
    except* (LinkError, DependencyMissing) as failed:
        raise failed.exceptions[0] from None
