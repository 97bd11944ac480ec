"""The ways to run an agent: on a file as if live, and on a recording."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agent import assembly, config, outputs, parts
from agent.errors import ReplayEnded
from agent.outputs import Terminal
from agent.replay import Difference, Replay
from agent.report import summarise
from agent.report_table import render
from agent.session import Log, Session
from agent.view import TerminalView
from streams import clock, models
from streams.devices.files import AudioFile
from streams.devices.wav import WavTap
from streams.errors import ModelMismatch, ModelMissing
from streams.onnx import Model
from streams.ports import Source, Tap
from streams.recording import Recorder, Recording

OK, DIFFERENT, INCOMPLETE = 0, 1, 1
GRACE_S = 2.0
"""Session time that is left to what is being said and done when somebody ends the session."""
WITHOUT_MODELS = "Or go without models, hearing worse: --set vad.engine=webrtc --set turn_end.engine=none"
OUTPUTS = (Recorder.name, WavTap.name)


def run(arguments: argparse.Namespace) -> int:
    """`visavis run`: any audio file through the default pipeline, on the virtual clock or in real time.

    Everything that may be wrong is looked at before the first output is opened: a run that fails to start leaves the
    files of the last one as they were. Exit code 1: the conversation was held, but an output could not be completed;
    128 and the number of the signal, if one ended it.
    """
    console = Terminal()
    made = {"--record": arguments.record, "--voice-out": arguments.voice_out, "--both-out": arguments.both_out}
    outputs.check(made, {"--audio": arguments.audio, "--config": arguments.config})
    assignments = list(arguments.set)
    if arguments.block_ms is not None:
        assignments.append(f"audio.block_ms={arguments.block_ms}")
    settings = config.load(Path(arguments.config) if arguments.config else None, assignments)
    source = AudioFile(arguments.audio, block_ms=settings.audio.block_ms, tail_ms=settings.audio.tail_ms)
    clock.run(_opens(source))
    settings = fetch(settings, console)
    started = clock.wall_now()
    body = assembly.AgentBody(settings)
    log, taps = Log(), list[Tap]()
    session = assembly.assemble(settings, [source], taps=taps, started=started, body=body)
    try:
        body.begin()
        taps += [log] if arguments.quiet else [log, TerminalView(console)]
        if arguments.record:
            taps.append(Recorder(arguments.record, assembly.header(settings, started, assignments)))
        if arguments.voice_out:
            taps.append(WavTap(arguments.voice_out, "playback"))
        if arguments.both_out:
            taps.append(WavTap(arguments.both_out, "both"))
        with clock.Stopwatch() as timing:
            ended = execute(session, None if arguments.speed == "max" else 1.0)
    finally:
        body.close()
    tell(session, log, timing, console)
    console.print(f"models: {'; '.join(_ran_on(session)) or 'none'}", markup=False, soft_wrap=True)
    told = _told(session, list(filter(None, made.values())), console)
    return ended or told


def tell(session: Session, log: Log, timing: clock.Stopwatch, console: Console) -> None:
    """Print the report of a session that has ended."""
    report = summarise(
        log.packets,
        lanes=session.lanes(),
        faults=session.faults,
        wall_s=timing.wall,
        cpu_s=timing.cpu,
        session_s=session.ended_ns / 1e9,
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


async def _opens(source: Source) -> None:
    """Raises `VisavisError` if `source` cannot be opened."""
    async with source:
        pass


def replay(arguments: argparse.Namespace) -> int:
    """`visavis replay`: a recording through the real encoders and policy; identical, or different where."""
    console = Terminal()
    recording = Recording.open(arguments.recording)
    if recording.torn:
        console.print(
            f"{arguments.recording} is torn: {recording.torn}; replaying what is whole", markup=False, soft_wrap=True
        )
    if lost := recording.header.extra.get("lost"):
        note = f"{arguments.recording} lost {len(lost)} piece(s) to damage: what is decided after them may differ"
        console.print(note, markup=False, soft_wrap=True)
    settings = config.reload(
        recording.header.config, arguments.set, lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    for line in parts.changed(settings):
        console.print(line, markup=False, soft_wrap=True)
    keys = {assignment.partition("=")[0].strip() for assignment in arguments.set}
    changed = {key.partition(".")[0] for key in keys}
    what_if = bool(changed) and not arguments.check
    if arguments.mode == "media":
        settings = fetch(settings, console)
    performance = Replay(
        recording,
        mode=arguments.mode,
        shadow=assembly.AgentBody(settings, installed=False) if what_if else None,  # a what-if must change nothing
        free=bool(changed & config.OF_THE_SENSES or keys & config.KEYS_OF_THE_SENSES),
        embodied=bool(changed & config.OF_THE_BODY),
    )
    taps: list[Tap] = [TerminalView(console)] if arguments.show else []
    with clock.Stopwatch() as timing:
        perform(performance, settings, recording, taps, None if arguments.speed == "max" else 1.0)
    seconds = performance.replayed[-1].at / 1e9 if performance.replayed else 0.0
    console.print(
        f"replayed {seconds:.1f} s from {arguments.mode} in {timing.wall:.2f} s"
        f" ({seconds / timing.wall:.0f}x real time), {len(performance.replayed)} decisions and actions",
        markup=False,
        soft_wrap=True,
    )
    for difference in performance.percepts[:10]:
        console.print(f"percept differs: {_difference(difference)}", markup=False, soft_wrap=True)
    for assignment in _idle(arguments.set, arguments.mode, arguments.check):
        console.print(assignment, markup=False, soft_wrap=True)
    if performance.identical and not performance.expected and not performance.replayed:
        console.print("nothing to compare: the recording holds no decision or action, and the replay made none")
        return OK
    if performance.identical:
        if performance.torn:
            console.print(f"up to {seconds:.3f} s, where the recording ends in the middle:", soft_wrap=True)
        console.print(f"identical: sha256 {performance.digest}", markup=False, soft_wrap=True)
        return OK
    if what_if:
        console.print(f"what if {', '.join(arguments.set)}:", markup=False, soft_wrap=True)
        for line in performance.compare():
            console.print(line, markup=False, soft_wrap=True)
        return OK
    first = performance.first
    assert first is not None
    console.print(f"different: {_difference(first)}", markup=False, soft_wrap=True)
    return DIFFERENT


def _idle(assignments: Sequence[str], mode: str, check: bool) -> list[str]:
    """A line for each what-if that this replay cannot answer, whatever its value."""
    told = []
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        section = key.partition(".")[0]
        if section == "audio":
            told.append(f"{key} changes nothing here: the blocks of sound are the recorded ones")
        elif section in config.OF_THE_SENSES - {"language"} and mode == "percepts":
            told.append(
                f"{key} changes nothing here: percepts are the recorded ones (--from media computes them again)"
            )
        elif section in config.OF_THE_BODY and check:
            told.append(f"{key} changes nothing here: with --check what the body did is the recorded")
    return told


def perform(
    performance: Replay,
    settings: config.Config,
    recording: Recording,
    taps: Sequence[Tap] = (),
    speed: float | None = None,
) -> Session:
    """Run one replay to its end, or to its first difference. Returns the session it ran in."""
    session = assembly.assemble(
        settings,
        [performance],
        taps=taps,
        started=recording.header.started,
        senses=performance.mode == "media",
        body=performance.body,
        desk=performance.desk,
    )
    try:
        session.run(speed=speed, virtual=True)
    except ReplayEnded:
        pass
    return session


def execute(session: Session, speed: float | None) -> int:
    """Run a session, `speed` None on the virtual clock. Returns 0, or 128 + the number of the signal that ended it.

    Ctrl-C or SIGTERM: the sources end, what is being said and done has `GRACE_S` to come to its end and is then cut;
    ledger, recording and sound are whole. A second one cancels it all (`KeyboardInterrupt` with that number).
    """
    ended: list[int] = []

    async def interruptible() -> None:
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def pressed(number: int) -> None:
            ended.append(128 + number)
            if len(ended) == 1:
                print(f"visavis: ending within {GRACE_S:g} s; once more to end at once", file=sys.stderr)  # noqa: T201
                session.stop(GRACE_S)
            elif main is not None:
                main.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, pressed, number)
        await session.main()

    try:
        clock.run(interruptible(), virtual=speed is None, speed=speed)
    except asyncio.CancelledError:
        raise KeyboardInterrupt(ended[0] if ended else 130) from None
    return ended[0] if ended else OK


def fetch(settings: config.Config, console: Console) -> config.Config:
    """Pull the models that `settings` need, with progress where somebody watches. Raises `ModelError`.

    Returns the settings with "auto" turned into what it comes to here, so that a recording says what it heard with.
    """
    settings = parts.settled(settings, lambda line: console.print(line, markup=False, soft_wrap=True))
    for name in parts.models_of(settings):
        try:
            models.find(name)
        except (ModelMissing, ModelMismatch):
            from agent.tools import pull  # noqa: PLC0415 - rarely needed

            try:
                pull(name, console)
            except ModelMissing as error:
                raise ModelMissing(f"{error} {WITHOUT_MODELS}") from error
    return settings


def _difference(difference: Difference) -> str:
    return f"recorded {_line(difference.recorded)}, replayed {_line(difference.replayed)}"


def _line(line: tuple[str, int, Any] | None) -> str:
    if line is None:
        return "nothing"
    topic, t, data = line
    return f"{t / 1e9:.3f} s {topic} {data}"
