"""`visavis live`: a conversation through this machine's own microphone, loudspeaker and camera."""

import argparse

from agent import assembly, config, remembered
from agent.execution import OK, RECENT_S, USUAL, Furnishing, Made, fetch, hold
from agent.outputs import Terminal
from streams.clock import Clock
from streams.devices.camera import Camera
from streams.devices.loudspeaker import Loudspeaker
from streams.devices.microphone import Microphone
from streams.devices.sound import backend, choose, list_devices
from streams.ports import Publisher, Source, Speaker


def live(arguments: argparse.Namespace, furnishing: Furnishing = USUAL) -> int:
    """Talk. Devices that are chosen by name are remembered for the next time. Exit codes as `agent.modes.run`.

    furnishing: what is added to the usual session
    Raises `VisavisError` if a device or a model cannot be had; nothing is written then.
    """
    console = Terminal()
    chosen = {name: value for name in remembered.KEYS if (value := getattr(arguments, name)) is not None}
    settings = furnishing.settings(remembered.configured(arguments, chosen))
    if arguments.list_devices:
        console.print(list_devices(settings.microphone.engine), markup=False, soft_wrap=True)
        return OK
    made = Made(arguments.record, arguments.voice_out, arguments.both_out)
    made.check({"--config": arguments.config})
    spoken = settings.robot.speaker and settings.body.motion == "mqtt"  # then this machine's loudspeaker is silent
    found = _found(settings, hears=furnishing.microphone is None, speaks=not spoken)
    chosen = {name: found.get(name, value) for name, value in chosen.items()}
    sees = bool(settings.camera.source) or furnishing.camera is not None
    settings = fetch(settings, console, sees=sees, echoes=furnishing.microphone is None and not spoken)
    sources: list[Source] = [furnishing.microphone or Microphone(settings.microphone), *furnishing.sources]
    if sees:
        sources.append(furnishing.camera or Camera(settings.camera))

    def loudspeaker(publisher: Publisher, clock: Clock, rate: int) -> Speaker:
        return Loudspeaker(publisher, clock, rate, settings.loudspeaker)

    camera = {name: chosen.pop(name) for name in ("camera",) if name in chosen}
    if (file := remembered.remember(chosen)) is not None:
        console.print(f"remembered in {file}", markup=False, soft_wrap=True)
    ended = hold(
        settings, sources,
        assembly.AgentBody(settings, speaker=None if spoken else loudspeaker, moving=furnishing.moving), console,
        made=made, assignments=arguments.set, quiet=arguments.quiet, recent_s=RECENT_S,
    )  # fmt: skip
    remembered.remember(camera)  # only now: whether it can be opened was not known before
    return ended


def _found(settings: config.Config, *, hears: bool, speaks: bool) -> dict[str, str]:
    """The names of the devices that will be used: a number may be another device tomorrow.

    Raises `SourceError` for one that is not there, before anything else is done.
    """
    microphone, loudspeaker = settings.microphone, settings.loudspeaker
    found: dict[str, str] = {}
    if hears:
        found["microphone"] = choose(backend(microphone.engine).devices(), microphone.device, "input").name
    if speaks:
        found["loudspeaker"] = choose(backend(loudspeaker.engine).devices(), loudspeaker.device, "output").name
    return found
