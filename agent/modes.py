"""The ways to run an agent: on a file as if live, and live."""

import argparse
from pathlib import Path

from agent import assembly, config, parts
from agent.errors import ConfigError
from agent.execution import USUAL, Furnishing, Made, fetch, hold
from agent.outputs import Terminal
from streams import clock
from streams.devices.files import AudioFile
from streams.devices.video import VideoFile
from streams.ports import Source


def run(arguments: argparse.Namespace, furnishing: Furnishing = USUAL) -> int:
    """`visavis run`: any audio or video file through the default pipeline, on the virtual clock or in real time.

    furnishing: what is added to the usual session
    Everything that may be wrong is looked at before the first output is opened: a run that fails to start leaves the
    files of the last one as they were. Exit code 1: the conversation was held, but an output could not be completed;
    128 and the number of the signal, if one ended it.
    """
    console = Terminal()
    made = Made(arguments.record, arguments.voice_out, arguments.both_out)
    made.check({"--audio": arguments.audio, "--video": arguments.video, "--config": arguments.config})
    assignments = list(arguments.set)
    if arguments.block_ms is not None:
        assignments.append(f"audio.block_ms={arguments.block_ms}")
    settings = furnishing.settings(config.load(Path(arguments.config) if arguments.config else None, assignments))
    speed = arguments.speed or ("1" if parts.needs_real_time(settings) else "max")
    if speed == "max" and parts.needs_real_time(settings):
        what = "a model" if parts.has_model(settings) else "a server of tools" if settings.mcp.servers else "a robot"
        raise ConfigError(f"--speed max does not go with {what}: that takes real time; leave --speed out")
    audio, camera = settings.audio, settings.camera
    source: Source
    if arguments.video:
        source = VideoFile(
            arguments.video, rate_hz=camera.rate_hz, width=camera.width, quality=camera.quality,
            block_ms=audio.block_ms, tail_ms=audio.tail_ms,
        )  # fmt: skip
    else:
        source = AudioFile(arguments.audio, block_ms=audio.block_ms, tail_ms=audio.tail_ms)
    clock.run(_opens(source))
    settings = fetch(settings, console, sees=bool(arguments.video))
    return hold(
        settings, [source, *furnishing.sources], assembly.AgentBody(settings, moving=furnishing.moving), console,
        made=made, assignments=assignments, quiet=arguments.quiet, speed=None if speed == "max" else 1.0,
    )  # fmt: skip


async def _opens(source: Source) -> None:
    """Raises `VisavisError` if `source` cannot be opened."""
    async with source:
        pass
