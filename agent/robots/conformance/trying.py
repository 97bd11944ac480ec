"""What `visavis conformance` does: connects two clients, one of them through a proxy, asks, tries and reports."""

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

from agent.outputs import Terminal, check
from agent.robots.conformance import report
from agent.robots.conformance.programs import program
from agent.robots.conformance.promises import Promise, Result, promises, whole
from agent.robots.conformance.running import Trial
from agent.robots.conformance.stage import Program, Wire
from agent.robots.conformance.wires import Gate
from agent.signals import counts, ending, over
from embodied.link.address import Address
from embodied.link.keys import read_key
from embodied.link.mqtt import dial
from embodied.link.port import Dial
from embodied.link.proxy import Proxy
from embodied.robot.topics import agent_topic, robot_topic
from streams import clock
from streams.clock import Clock
from streams.errors import VisavisError

OPERATOR_PASSWORD = "VISAVIS_MQTT_OPERATOR_PASSWORD"
OK, BROKEN, ERROR = 0, 1, 2
WARNING = (
    "The robot will move: it drives and turns a little, about {speed:g} m/s, and for half a second as fast "
    "as it can.\n"
    "Clear 1 m around it and keep its emergency stop within reach: what is tried here is how it fails."
)


class ConformanceError(VisavisError):
    """The trial cannot begin: which option is wrong, and what to do."""


def conformance(arguments: argparse.Namespace) -> int:
    """As `agent.robots.conformance.command.conformance`."""
    console = Terminal()
    chosen = _chosen(arguments.only)
    if arguments.list:
        for each in chosen:
            console.print(f"{each.name:22} {each.done} → {each.expected}", markup=False)
        return OK
    if not 0.05 <= arguments.speed <= 1.0:
        raise ConformanceError("--speed: from 0.05 to 1.0 m/s")
    robot_topic(arguments.fleet, arguments.robot, "state")  # raises for ids that are none
    files = ("agent_key", "operator_seal", "operator_key", "ca", "cert", "key")
    check({"--json": arguments.json}, {f"--{each.replace('_', '-')}": getattr(arguments, each) for each in files})
    passing = _named(arguments)
    for agent in (arguments.agent, arguments.operator):
        agent_topic(arguments.fleet, agent, "reply")
    if arguments.agent == arguments.operator:
        raise ConformanceError("--agent and --operator: two different ids are needed")
    meddle = program(
        pid=arguments.pid,
        freeze=arguments.freeze_command,
        thaw=arguments.thaw_command,
        restart=arguments.restart_command,
    )
    if any(each.moves for each in chosen) and not arguments.yes:
        _ask(console, arguments.speed)
    results: list[Result] = []
    ended = "it was interrupted"

    def told(result: Result) -> None:
        results.append(result)
        console.print(report.line(result))

    try:
        ended = clock.run(_try(arguments, chosen, meddle, console, told, passing))
    except VisavisError as error:
        ended = str(error)
        raise
    finally:
        _report(arguments, whole(chosen, results, ended), ended, console)
    if ended:
        raise ConformanceError(ended)
    if any(each.verdict == "failed" for each in results):
        return BROKEN
    if not any(each.verdict == "passed" for each in results):
        raise ConformanceError(f"no promise could be tried on {arguments.fleet}/{arguments.robot}: {results[-1].seen}")
    return OK


def _report(arguments: argparse.Namespace, results: list[Result], ended: str, console: Terminal) -> None:
    if any(each.reached for each in results):
        console.print()
        console.print(report.render(results, console.width))
    if arguments.json:
        report.write_json(results, arguments.json, arguments.robot, arguments.fleet, ended)


def _named(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Put the ids into `arguments` that were not given. Returns those that are of this run alone.

    Two trials under one id throw each other off the broker. Who has a name there, or a key, is known by a fixed id.
    """
    mine = secrets.token_hex(3)
    known = arguments.user or "@" in arguments.url or arguments.cert
    passing = []
    for option, key, fixed in (
        ("agent", arguments.agent_key, "agent1"),
        ("operator", arguments.operator_seal, "operator1"),
    ):
        if getattr(arguments, option) is None:
            alone = not (known or key or (option == "operator" and arguments.operator_user))
            setattr(arguments, option, f"{option}-{mine}" if alone else fixed)
            passing += [getattr(arguments, option)] * alone
    return tuple(passing)


def _chosen(only: list[str]) -> list[Promise]:
    every = promises()
    for name in only:
        if not any(each.name.startswith(name) for each in every):
            raise ConformanceError(f"--only {name}: there is no such promise; --list names them all")
    return [each for each in every if not only or any(each.name.startswith(name) for name in only)]


def _ask(console: Terminal, speed: float) -> None:
    console.print(WARNING.format(speed=speed), style="bold")
    if not sys.stdin.isatty():
        raise ConformanceError("nobody is here to say that the room is clear: give --yes if it is")
    if input("Is the room clear? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConformanceError("nothing was tried")


def _address(arguments: argparse.Namespace, user: str, password: str | None) -> Address:
    scheme, sign, rest = arguments.url.partition("://")
    url = f"{scheme}://{user}@{rest.rpartition('@')[2]}" if user and sign else arguments.url
    return Address.parse(
        url, password=password, protocol=arguments.protocol, ca=arguments.ca, cert=arguments.cert, key=arguments.key
    )


def _key(file: str | None, option: str) -> bytes:
    return read_key(file, option) if file else b""


async def _try(
    arguments: argparse.Namespace, chosen: list[Promise], meddle: Program, console: Terminal,
    told: Callable[[Result], None], passing: tuple[str, ...],
) -> str:  # fmt: skip
    """Returns why it came to no end, or ""."""
    time = Clock()
    # That much is under way at once is what is tried here: nobody need be warned of it.
    logging.getLogger("mqtt").addFilter(lambda record: "pending" not in record.getMessage())
    ours = _address(arguments, arguments.user, None)
    second = _address(arguments, arguments.operator_user or arguments.user, os.environ.get(OPERATOR_PASSWORD))
    async with _spoilt(ours, arguments.agent, time) as (through, wire):
        trial = Trial(
            (through, arguments.agent, _key(arguments.agent_key, "--agent-key")),
            (dial(second, client_id=arguments.operator), arguments.operator,
             _key(arguments.operator_seal, "--operator-seal")),
            wire, time, fleet=arguments.fleet, robot=arguments.robot, program=meddle,
            operator_key=_key(arguments.operator_key, "--operator-key"), speed=arguments.speed, rank=arguments.rank,
            spare=dial(second, client_id=f"{arguments.operator}-{secrets.token_hex(3)}"), passing=passing,
        )  # fmt: skip
        with _terminated():
            await trial.run(chosen, told)
    if trial.latched:
        console.print("\nThe robot is still stopped, and was not reset: visavis stop --reset", style="bold")
    return trial.ended


@contextlib.asynccontextmanager
async def _spoilt(address: Address, agent: str, time: Clock) -> AsyncIterator[tuple[Dial, Wire]]:
    """How the agent dials, on a way that can be spoilt: through a proxy, or, with TLS, in this program."""
    if address.tls:
        gate = Gate(dial(address, client_id=agent))
        yield gate.dial, gate
        return
    async with Proxy(address.host, address.port, time) as proxy:
        yield dial(replace(address, host="127.0.0.1", port=proxy.port), client_id=agent), proxy


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM and SIGHUP as Ctrl-C: the robot is left standing in either case."""
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    signalled: list[int] = []

    def end(number: int) -> None:
        if not counts(number, before=bool(signalled)):
            return
        signalled.append(number)
        if own is not None:
            own.cancel()

    heeded = [number for number in ending() if number != signal.SIGINT]
    for number in heeded:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if signalled:
            raise KeyboardInterrupt(128 + signalled[0]) from None
        raise
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
        over(signalled)
