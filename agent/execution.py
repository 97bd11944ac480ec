"""Holding a session: its models fetched, its outputs opened, its signals heeded, its figures told."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

from agent import assembly, config, outputs, parts
from agent.assembly import AgentBody
from agent.report import summarise
from agent.report_table import render
from agent.session import Log, Session
from agent.signals import counts, ending, over
from agent.view import TerminalView
from policies.llm.settings import PriceConfig
from streams import clock, models
from streams.devices.wav import WavTap
from streams.errors import ModelMismatch, ModelMissing
from streams.onnx import Model
from streams.ports import Source, Tap
from streams.recording import Recorder

OK, INCOMPLETE = 0, 1
GRACE_S = 2.0
"""Session time that is left to what is being said when somebody ends the session. What moves is halted at once."""
RECENT_S = 600.0
"""A live session may last for days: its report is of the newest part of it."""
SWITCH_S = 0.001
"""How long one thread may keep Python to itself while others wait, in real time: Python's own 5 ms are half a block."""
WITHOUT_FACES = "Or go without looking for faces: --set faces.engine=none"
WITHOUT_MODELS = "Or go without models, hearing worse: --set vad.engine=webrtc --set turn_end.engine=none"
OUTPUTS = (Recorder.name, WavTap.name)


@dataclass(frozen=True)
class Furnishing:
    """What a command adds to a session that is otherwise the usual one.

    settings: done to the configuration when it has been read
    microphone, camera: in place of this machine's own;  sources: besides them
    moving: makes what moves (default: what section `body` says)
    """

    settings: Callable[[config.Config], config.Config] = lambda settings: settings
    microphone: Source | None = None
    camera: Source | None = None
    sources: tuple[Source, ...] = ()
    moving: assembly.MakeMoving | None = None


USUAL = Furnishing()


@dataclass(frozen=True)
class Made:
    """The files a session is to make: paths, None for those that are not asked for."""

    record: str | None = None
    voice_out: str | None = None
    both_out: str | None = None

    def check(self, inputs: dict[str, str | None]) -> None:
        """See that all can be made and none is an input. Raises `OutputError`."""
        options = {"--record": self.record, "--voice-out": self.voice_out, "--both-out": self.both_out}
        outputs.check(options, inputs)

    @property
    def paths(self) -> list[str]:
        """Those that are asked for."""
        return [path for path in (self.record, self.voice_out, self.both_out) if path]


def hold(
    settings: config.Config,
    sources: Sequence[Source],
    body: AgentBody,
    console: Console,
    *,
    made: Made,
    assignments: Sequence[str] = (),
    quiet: bool = False,
    speed: float | None = 1.0,
    recent_s: float | None = None,
) -> int:
    """Hold one session to its end and tell of it. Returns the exit code, as `visavis run` does.

    speed: None for the virtual clock;  recent_s: how much of its end the report is of (None: all of it)
    Nothing is written before everything is seen to work.
    """
    started = clock.wall_now()
    log, taps = Log(recent_s=recent_s), list[Tap]()
    taps += [log] if quiet else [log, TerminalView(console)]

    def opened() -> None:
        if made.record:
            taps.append(Recorder(made.record, assembly.header(settings, started, assignments)))
        if made.voice_out:
            taps.append(WavTap(made.voice_out, "playback"))
        if made.both_out:
            taps.append(WavTap(made.both_out, "both"))

    session = assembly.assemble(settings, sources, taps=taps, started=started, body=body, opened=opened)
    try:
        body.begin()
        with clock.Stopwatch() as timing:
            ended = execute(session, speed)
    finally:
        body.close()
        for tap in taps:
            if isinstance(tap, Recorder):
                tap.close()  # should it never have run
    tell(session, log, timing, console, settings.llm.price)
    console.print(f"models: {'; '.join(_ran_on(session)) or 'none'}", markup=False, soft_wrap=True)
    told = _told(session, made.paths, console)
    return ended or told


def tell(
    session: Session, log: Log, timing: clock.Stopwatch, console: Console, price: PriceConfig | None = None
) -> None:
    """Print the report of a session that has ended. price: of the language model's tokens"""
    report = summarise(
        log.packets,
        lanes=session.lanes(),
        faults=session.faults,
        wall_s=timing.wall,
        cpu_s=timing.cpu,
        session_s=session.ended_ns / 1e9,
        price=price,
    )
    console.print(render(report))


def _told(session: Session, made: Sequence[str], console: Console) -> int:
    """Say what was written, and on stderr what was not. Returns the exit code."""
    broken = [fault for fault in session.faults if fault.where in OUTPUTS]
    for fault in broken:
        print(f"visavis: {fault.message}", file=sys.stderr)  # noqa: T201
    for path in made:
        if not any(path in fault.message for fault in broken):
            console.print(f"wrote {path}", markup=False, soft_wrap=True)
    return INCOMPLETE if broken else OK


def _ran_on(session: Session) -> list[str]:
    """Each ONNX model and the provider it ran on, with the reason if a preferred one was not used."""
    found = [(encoder.name, getattr(encoder, "model", None)) for encoder in session.encoders]
    return [
        f"{name} on {model.provider}" + (f" ({model.fallback})" if model.fallback else "")
        for name, model in found
        if isinstance(model, Model)
    ]


class Lasting(Protocol):
    """What can be run and interrupted: a `Session`, or a program that holds several."""

    async def main(self) -> None:
        """Run to the end."""

    def stop(self, grace_s: float | None = None) -> None:
        """As `Session.stop`."""


def execute(session: Lasting, speed: float | None) -> int:
    """Run a session (or what holds several), `speed` None on the virtual clock.

    Returns 0, or 128 + the number of the signal that ended it.

    Ctrl-C, SIGTERM or SIGHUP (`agent.signals`): what moves is halted (and everything with it, as at the word "stop"),
    the sources end; where nothing moves, what is being said has `GRACE_S` to come to its end and is then cut;
    ledger, recording and sound are whole. A second one cancels it all (`KeyboardInterrupt` with that number).
    """
    ended: list[int] = []

    async def interruptible() -> None:
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def pressed(number: int) -> None:
            if not counts(number, before=bool(ended)):
                return
            ended.append(128 + number)
            if len(ended) == 1:
                session.stop(GRACE_S)
                print(f"visavis: ending within {GRACE_S:g} s; once more to end at once", file=sys.stderr)  # noqa: T201
            elif main is not None:
                main.cancel()

        for number in ending():
            loop.add_signal_handler(number, pressed, number)
        await session.main()

    if speed is not None:
        sys.setswitchinterval(SWITCH_S)
    try:
        clock.run(interruptible(), virtual=speed is None, speed=speed)
    except asyncio.CancelledError:
        raise KeyboardInterrupt(ended[0] if ended else 130) from None
    finally:
        over([code - 128 for code in ended])
    return ended[0] if ended else OK


def fetch(settings: config.Config, console: Console, *, sees: bool = False, echoes: bool = False) -> config.Config:
    """Pull the models that `settings` need, with progress where somebody watches. Raises `ModelError`.

    sees: there are pictures to look at;  echoes: the microphone hears the loudspeaker

    Returns the settings with "auto" turned into what it comes to here, so that a recording says what it heard with.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for line in parts.unused(settings):
        say(line)
    settings = parts.settled(settings, say, sees=sees, echoes=echoes)
    for name in parts.models_of(settings):
        try:
            models.find(name)
        except (ModelMissing, ModelMismatch):
            from agent.tools import pull  # noqa: PLC0415 - rarely needed

            try:
                pull(name, console)
            except ModelMissing as error:
                raise ModelMissing(f"{error} {WITHOUT_FACES if name == 'yunet' else WITHOUT_MODELS}") from error
    return settings
