"""The socket, and what all its clients share."""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from agent import config as configuration
from agent.config import Config
from agent.execution import fetch
from agent.outputs import Terminal
from agent.signals import counts, ending
from agent.wyoming.connection import Connection, Services
from agent.wyoming.dialogue import Dialogues
from agent.wyoming.errors import AddressError, Busy
from agent.wyoming.firewall import alone
from agent.wyoming.frames import LINE, Wire
from agent.wyoming.info import describe
from agent.wyoming.listening import Ears
from agent.wyoming.settings import WyomingConfig
from agent.wyoming.speaking import Voices
from streams import clock as clocks
from streams.clock import Clock

OK = 0


async def serve(config: Config, uri: str, announce: Callable[[str], None], settings: WyomingConfig) -> None:
    """See `agent.wyoming.serve`."""
    host, port = address(uri)
    # Nobody tells when and what a client's loudspeaker plays: a canceller would have nothing to go by.
    config = replace(config, echo=replace(config.echo, engine="none"))
    clock = Clock()
    ears, voices = Ears(config, clock, settings.ears), Voices(config, clock, settings.voices)
    try:
        await voices.prepare()
        if config.speech.engine != "none":
            await ears.prepare()
        async with asyncio.TaskGroup() as group:
            services = Services(
                config=config,
                settings=settings,
                clock=clock,
                info=describe(config, voices.listed),
                ears=ears,
                voices=voices,
                dialogues=Dialogues(config, settings, clock, group),
                conversations=asyncio.Semaphore(settings.conversations),
            )
            await _listen(host, port, Door(services, group), announce)
    except BaseExceptionGroup as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from failed
    finally:
        ears.close()
        voices.close()


class Door:
    """Lets clients in, as many as there is room for. group: where their connections live"""

    def __init__(self, services: Services, group: asyncio.TaskGroup) -> None:
        self._services, self._group = services, group
        self._inside = 0

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has come."""
        self._group.create_task(alone(self._serve(reader, writer), "a client"), name="wyoming connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings = self._services.settings
        wire = Wire(reader, writer, idle_s=settings.idle_s, write_s=settings.write_s)
        if self._inside >= settings.connections:
            try:
                await wire.refuse(Busy(f"{settings.connections} clients are connected already"))
            except (ConnectionError, TimeoutError):
                pass
            finally:
                wire.close()
            return
        self._inside += 1
        try:
            await Connection(self._services, wire).run()
        finally:
            self._inside -= 1


async def _listen(host: str, port: int, door: Door, announce: Callable[[str], None]) -> None:
    try:
        server = await asyncio.start_server(door, host, port, limit=LINE)
    except OSError as error:
        raise AddressError(
            f"cannot serve at tcp://{host}:{port}: {error.strerror or error}. Name another with --uri, port 0 for any."
        ) from error
    try:
        bound = server.sockets[0].getsockname()
        announce(f"tcp://{f'[{host}]' if ':' in host else host}:{bound[1]}")
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()


def address(uri: str) -> tuple[str, int]:
    """Host and port of "tcp://HOST:PORT". Raises `AddressError`."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"--uri {uri}: {error}") from None
    if parts.scheme != "tcp" or not host or port is None:
        raise AddressError(f"--uri {uri}: it must be tcp://HOST:PORT, such as tcp://127.0.0.1:10300")
    return host, port


def command(arguments: argparse.Namespace) -> int:
    """See `agent.wyoming.wyoming`."""
    console = Terminal()
    settings = configuration.load(Path(arguments.config) if arguments.config else None, arguments.set)
    settings = fetch(settings, console)
    ended: list[int] = []

    def announce(uri: str) -> None:
        host, port = address(uri)
        console.print(f"serving Home Assistant (Wyoming) at {uri}", markup=False, soft_wrap=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            note = "anybody who can reach this address can use it: the protocol has no password and no encryption"
            console.print(f"note: {note}", markup=False, soft_wrap=True)
        note = f"Settings > Devices & services > Add integration > Wyoming Protocol: this host, port {port}"
        console.print(f"in Home Assistant: {note}", markup=False, soft_wrap=True)

    async def serving() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int) -> None:
            if not counts(number, before=bool(ended)):
                return
            ended.append(128 + number)
            if task is not None:
                task.cancel()

        for number in ending():
            loop.add_signal_handler(number, end, number)
        await serve(settings, arguments.uri, announce, settings.wyoming)

    try:
        clocks.run(serving())
    except asyncio.CancelledError:
        pass
    return ended[0] if ended else OK
