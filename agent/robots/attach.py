"""`visavis attach`: a live conversation (or one on a file) whose body is a robot somewhere behind a broker."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from agent import config, parts
from agent.errors import ConfigError
from agent.execution import Furnishing
from agent.outputs import Terminal
from agent.robots import attach_options
from agent.robots.bodies import remote_bodies
from agent.robots.choosing import factsheets
from agent.robots.fitting import named
from agent.robots.policies import load, specs
from agent.robots.senses import OWN, Senses, senses
from agent.robots.sight import check as check_sight
from agent.robots.sight import own_camera
from embodied.ports import Actuator
from embodied.remote.sentences import sentences
from embodied.remote.words import Words
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import ID_PATTERN
from streams import clock
from streams.clock import Clock
from streams.devices.keyboard import Keyboard
from streams.devices.sound import NoDevice
from streams.ports import Publisher, Source

KEYS = "Enter stops the robot; a line is said to the agent."


WITHOUT = "Without sound here: --web (microphone and loudspeaker are the browser's), or --audio FILE."


def attach(arguments: argparse.Namespace) -> int:
    """Find the robots, then talk. Exit codes as `visavis live`.

    Raises `LinkError` where broker or robot are not to be had, before anything is written or moved.
    """
    check(arguments)
    arguments.set = [*attach_options.assignments(arguments), *arguments.set]
    settings = config.load(Path(arguments.config) if arguments.config else None, arguments.set)
    if not settings.robot.url:
        raise ConfigError("robot.url is empty: which broker?")
    console = Terminal()
    Words.load(settings.robot.words)
    skills = () if arguments.web else load(settings.robot)
    described = specs(settings.robot) if arguments.web else [each.spec for each in skills]
    found = clock.run(factsheets(settings.robot), virtual=False)
    for robot, sheet in found.items():
        console.print(told(robot, sheet), markup=False, soft_wrap=True)

    first = next(iter(found))
    if line := named(described, first, found[first]):
        console.print(line, markup=False, soft_wrap=True)
    eyes_ears = senses(settings.robot, first, found[first])
    if not arguments.web:  # whose page may have one
        own = eyes_ears.camera is not None or eyes_ears.camera_url or own_camera(arguments)
        check_sight(described, camera=bool(own) and not arguments.audio)

    def furnish(settings: config.Config) -> config.Config:
        return furnished(settings, found, eyes_ears)

    def moving(publisher: Publisher, clock: Clock) -> Sequence[Actuator]:
        robot = replace(settings.robot, ids=tuple(found))
        return remote_bodies(replace(settings, robot=robot), publisher, clock, eyes_ears.feeds, skills)

    added = Furnishing(furnish, eyes_ears.microphone, eyes_ears.camera, _keyboard(arguments), moving)
    if arguments.audio:
        from agent.modes import run  # noqa: PLC0415 - one of three

        arguments.video, arguments.block_ms, arguments.speed = None, None, "1"
        return run(arguments, Furnishing(furnish, moving=moving))
    if arguments.web and not arguments.list_devices:
        if eyes_ears.feeds or eyes_ears.stream:
            raise ConfigError("--web: the page is camera and microphone; leave out --robot-camera, --robot-microphone")
        from agent.web import web  # noqa: PLC0415

        return web(arguments, added)
    from agent.live import live  # noqa: PLC0415

    try:
        return live(arguments, added)
    except NoDevice as error:
        raise NoDevice(f"{error} {WITHOUT}") from error


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that are wrong by themselves, or do not go together."""
    ids = [("--robot", robot) for robot in arguments.robot]
    ids += [(f"--{name}", value) for name in ("fleet", "agent") if (value := getattr(arguments, name)) is not None]
    for option, given in ids:
        if not (re.fullmatch(ID_PATTERN, given) and len(given) <= 64):
            raise ConfigError(f"{option} {given!r}: an id is 1 to 64 of A-Z a-z 0-9 _ . : -")
    if twice := next((robot for robot in arguments.robot if arguments.robot.count(robot) > 1), None):
        raise ConfigError(f"--robot {twice} is given twice: one robot is attached once")
    if arguments.audio and arguments.web:
        raise ConfigError("--audio does not go with --web: the page is the microphone; leave one of them out")


def told(robot: str, sheet: Factsheet) -> str:
    """A line about a robot that was found."""
    kind = " ".join(part for part in (sheet.robot.vendor, sheet.robot.model) if part) or sheet.robot.kind or "a robot"
    exposed = [each.name for each in sheet.capabilities if each.tool.expose and each.kind in ("goal", "instant")]
    return f"found {robot} ({kind}): {', '.join(exposed) or 'nothing that may be asked for'}"


def _keyboard(arguments: argparse.Namespace) -> tuple[Source, ...]:
    """The keyboard, where somebody sits at a terminal."""
    if arguments.audio or arguments.web or not sys.stdin.isatty():
        return ()
    return (Keyboard(began=lambda: print(KEYS, file=sys.stderr)),)  # noqa: T201


def furnished(settings: config.Config, found: Mapping[str, Factsheet], eyes_ears: Senses = OWN) -> config.Config:
    """`settings` with the robots that were found, and the sentences by which they can be asked for what they can do."""
    if settings.body.motion != "mqtt":
        raise ConfigError(f'body.motion = "{settings.body.motion}": to attach to a robot it has to be "mqtt"')
    words = Words.load(settings.robot.words)
    texts = list(parts.sentences(settings).texts)
    for place, (robot, sheet) in enumerate(found.items()):
        made = sentences(sheet, prefix="" if place == 0 else f"{robot}.", words=words)
        if made:
            texts.append((f"{parts.OF_A_ROBOT}{robot}", made))
    settings = replace(settings, robot=replace(settings.robot, ids=tuple(found)))
    if eyes_ears.fov_deg is not None:
        source = eyes_ears.camera_url or settings.camera.source
        settings = replace(settings, camera=replace(settings.camera, source=source, fov_deg=eyes_ears.fov_deg))
    return replace(settings, policy=replace(settings.policy, texts=tuple(texts)))
