"""The demo: a synthesised person talks with the agent, and the whole is recorded, replayed and compared.

It needs no hardware, no account and nothing recorded: the person's voice is made on the spot, by another voice of the
same engine. The session runs in real time on the real event loop with its real threads, and is then replayed on the
virtual clock through the same encoders, turn-taking and policy.
"""

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from agent import assembly, config
from agent.execution import execute, fetch, tell
from agent.outputs import Terminal
from agent.person import Cue, Person
from agent.replay import Replay
from agent.replaying import perform
from agent.session import Log
from agent.view import TerminalView
from embodied.voices.espeak import Espeak, EspeakVoice
from streams import clock
from streams.devices.wav import WavTap
from streams.errors import DependencyMissing
from streams.ports import Tap
from streams.recording import Recorder, Recording
from streams.types import Halt, OverlapCut, OverlapResumed, TurnCommitted

OK, DIFFERENT = 0, 1

NEEDED = {
    "espeakng-loader": "espeakng_loader",
    "av": "av",
    "onnxruntime": "onnxruntime",
    "pocketsphinx": "pocketsphinx",
}

# Speech, an interruption, a backchannel, a motion, and a stop in the middle of it.
SCRIPT = (
    Cue("hello there", after_ms=800),
    Cue("what is five plus nine"),
    Cue("what can you do"),
    Cue("i see", when="over", after_ms=1300),
    Cue("what time is it", when="over", after_ms=3600),
    Cue("go forward two meters"),
    Cue("stop please", when="moving", after_ms=1500),
    Cue("what did you just say", after_ms=1500),
)


def demo(arguments: argparse.Namespace) -> int:
    """`visavis demo`: run it, leave demo.mcap and demo.wav, replay it, say whether it decided the same.

    Exit code 1: it did not, or the conversation did not show all that it was to show (its replay is still of use).
    """
    console = Terminal()
    installed()
    folder = Path(arguments.out)
    settings = config.load()
    settings = fetch(settings, console)
    recording, sound = folder / "demo.mcap", folder / "demo.wav"
    started = clock.wall_now()
    person_voice = EspeakVoice(Espeak(language="en-us+f2", rate_wpm=150))
    person = Person(SCRIPT, person_voice)
    person_voice.close()
    log = Log()
    taps: list[Tap] = [
        person.ears(),
        TerminalView(console),
        Recorder(recording, assembly.header(settings, started)),
        WavTap(sound, "both"),
        log,
    ]
    console.print(
        "A synthesised person talks with the agent. Seconds at the left; the agent's words appear as they are heard.\n"
    )
    session = assembly.assemble(settings, [person], taps=taps, started=started)
    with clock.Stopwatch() as timing:
        ended = execute(session, None if arguments.speed == "max" else 1.0)
    console.print()
    tell(session, log, timing, console)
    if ended:
        console.print(f"\nleft here: {recording}, {sound}", markup=False, soft_wrap=True)
        return ended
    same = replayed(recording, settings, console)
    console.print(
        f"\nleft here: {recording} (the session), {sound} (person left, agent right)\ntry next:",
        markup=False,
        soft_wrap=True,
    )
    for hint, why in (
        (f"replay {recording} --set turns.min_wait_ms=800", "what if it were more patient?"),
        (f"events {recording} --json | head", "the timeline, for tools"),
        ("run --audio your.wav --both-out answer.wav", "your own recording of speech"),
        ("doctor", "what is installed, and what is missing"),
    ):
        console.print(f"  {program()} {hint:48} {why}", markup=False, soft_wrap=True)
    if missing := _missing(log):
        told = f"visavis: the demo did not show {', '.join(missing)}: please report this with {recording}"
        print(told, file=sys.stderr)  # noqa: T201
    return OK if same and not missing else DIFFERENT


def installed() -> None:
    """Everything the demo needs is said at once. Raises `DependencyMissing`."""
    for package, module in NEEDED.items():
        if find_spec(module) is None:
            raise DependencyMissing(package, "default", "the demo")


def program() -> str:
    """How this program is called from here: by its name, or by its path where the shell does not find it."""
    return "visavis" if shutil.which("visavis") else os.path.relpath(sys.argv[0])


def _missing(log: Log) -> list[str]:
    """What the demo promises and did not show."""
    reasons = {cut.reason for cut in log.of(OverlapCut)}
    return [
        name
        for name, there in (
            ("an answered turn", bool(log.of(TurnCommitted))),
            ("an interruption that was yielded to", "interruption" in reasons),
            ("a backchannel that was ignored", bool(log.of(OverlapResumed))),
            ("a stop by reflex", bool(log.of(Halt))),
        )
        if not there
    ]


def replayed(path: Path, settings: config.Config, console: Console) -> bool:
    """Replay the recording at `path`, and say whether it decided the same."""
    recording = Recording.open(path)
    performance = Replay(recording)
    with clock.Stopwatch() as timing:
        session = perform(performance, settings, recording)
    verdict = "the same" if performance.identical else "DIFFERENT"
    console.print(
        f"\nreplayed through the same program in {timing.wall:.1f} s ({session.ended_ns / 1e9 / timing.wall:.0f}x real "
        f"time): {len(performance.replayed)} decisions and actions, {verdict}, bit for bit\n"
        f"sha256 {performance.digest}",
        markup=False,
        soft_wrap=True,
    )
    if performance.first is not None:
        console.print(f"first difference: {performance.first}", markup=False, soft_wrap=True)
    return performance.identical
