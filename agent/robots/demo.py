"""`visavis demo --robot`: a broker, a simulated robot in a process of its own, an agent, and a person who speaks to it.

Everything between the person's voice and the robot's motors is what a real robot would have: recogniser, turn-taking,
policy, MQTT, guards. The session is recorded and replayed; the replay moves nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from agent import assembly, config
from agent.demo import DIFFERENT, OK, installed, program, replayed
from agent.execution import execute, fetch, tell
from agent.outputs import Terminal
from agent.person import Cue, Person
from agent.robots.attach import furnished, told
from agent.robots.choosing import factsheets
from agent.robots.map_tap import MapTap
from agent.session import Log, Session
from agent.view import TerminalView
from embodied.link.broker import Broker, dying_with_us, running
from embodied.voices.espeak import Espeak, EspeakVoice
from streams import clock
from streams.devices.wav import WavTap
from streams.errors import DependencyMissing
from streams.ports import Tap
from streams.recording import Recorder
from streams.types import Attached, Command, Halt, Outcome

ROBOT = "demo"
LEAVE_S = 3.0  # how long the robot's program may take to say goodbye

# A way, a turn that is taken back in the middle, a stop in the middle of a way, and home.
SCRIPT = (
    Cue("hello there", after_ms=800),
    Cue("go forward one meter"),
    Cue("turn around"),
    Cue("no the other way", when="moving", after_ms=500),
    Cue("go forward two meters"),
    Cue("stop please", when="moving", after_ms=1800),
    Cue("come back", after_ms=1200),
)


class Stage:
    """Broker, robot and session, from the curtain to the end: what `execute` runs.

    session: of the agent, once it is made;  shown: it came to its end, and was not interrupted
    """

    def __init__(self, console: Console, folder: Path, *, keep: bool) -> None:
        self.console, self.keep = console, keep
        self.recording, self.sound = folder / "robot-demo.mcap", folder / "robot-demo.wav"
        self.settings = fetch(config.load(), console)
        self.log = Log()
        self.session: Session | None = None
        self.shown = False
        self.timing = clock.Stopwatch()
        self._leaving = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    async def main(self) -> None:
        """Run to the end. Raises `VisavisError` if broker, robot or agent cannot be started."""
        self._starting = asyncio.current_task()
        async with running() as broker, robot(broker):
            self.console.print(f"broker: {broker.words}", markup=False, soft_wrap=True)
            section = replace(self.settings.robot, url=broker.url, ids=(ROBOT,))
            body = replace(self.settings.body, motion="mqtt")
            settings = replace(self.settings, robot=section, body=body)
            found = await factsheets(section)
            self.console.print(told(ROBOT, found[ROBOT]), markup=False, soft_wrap=True)
            self.settings = furnished(settings, found)
            self._starting = None  # a thread opens files now, and cannot be left alone with them
            session = await asyncio.to_thread(self._assembled)
            if self._leaving.is_set():
                self.recorder.close()
                return
            self.session = session
            with self.timing:
                await self.session.main()
            self.shown = not self._leaving.is_set()
            if self.keep and self.shown:
                self._invite(broker)
                await self._leaving.wait()

    def stop(self, grace_s: float | None = None) -> None:
        """As `Session.stop`. Before there is a session: everything that was started ends at once."""
        self._leaving.set()
        if self.session is not None:
            self.session.stop(grace_s)
        elif self._starting is not None:
            self._starting.cancel()

    def _assembled(self) -> Session:
        started = clock.wall_now()
        voice = EspeakVoice(Espeak(language="en-us+f2", rate_wpm=150))
        person = Person(SCRIPT, voice)
        voice.close()
        self.recorder = Recorder(self.recording, assembly.header(self.settings, started))
        taps: list[Tap] = [
            person.ears(), TerminalView(self.console), MapTap(self.console), self.log, self.recorder,
            WavTap(self.sound, "both"),
        ]  # fmt: skip
        return assembly.assemble(self.settings, [person], taps=taps, started=started)

    def _invite(self, broker: Broker) -> None:
        self.console.print(
            f"\nThe robot stays until Ctrl-C. Talk to it, see it and steer it from another terminal:\n"
            f"  {program()} attach {broker.url} --robot {ROBOT} --web\n"
            f"  {program()} conformance {broker.url} --robot {ROBOT}",
            markup=False, soft_wrap=True,
        )  # fmt: skip


@asynccontextmanager
async def robot(broker: Broker) -> AsyncIterator[None]:
    """The simulated robot, in a process and a session of its own: Ctrl-C at the terminal ends it by us, in order."""
    process = await asyncio.create_subprocess_exec(
        *dying_with_us("TERM"), sys.executable, "-m", "agent.cli", "robot",
        "--broker", broker.url, "--robot", ROBOT, "--profile", "diff-drive",
        "--set", "guards.ranks={agent1: teleop}",  # it may be steered by hand from the agent's console
        stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(LEAVE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def demo(arguments: argparse.Namespace) -> int:
    """Run it, leave robot-demo.mcap and robot-demo.wav, replay it, say whether it decided the same.

    Exit code 1: it did not, or the robot did not do all that it was to show; 130: interrupted.
    """
    console = Terminal()
    installed()
    if find_spec("aiomqtt") is None:
        raise DependencyMissing("aiomqtt", "robot", "the demo with a robot")
    console.print(
        "A synthesised person speaks to an agent, which moves a simulated robot over MQTT. Seconds at the left.\n"
    )
    stage: list[Stage] = []

    class Curtain:
        """Makes the stage inside the loop that it runs in."""

        async def main(self) -> None:
            stage.append(Stage(console, Path(arguments.out), keep=arguments.keep))
            await stage[0].main()

        def stop(self, grace_s: float | None = None) -> None:
            if stage:
                stage[0].stop(grace_s)

    ended = execute(Curtain(), 1.0)
    played = stage[0]
    if played.session is None:
        return ended
    console.print()
    tell(played.session, played.log, played.timing, console)
    if not played.shown:
        console.print(f"\nleft here: {played.recording}, {played.sound}", markup=False, soft_wrap=True)
        return ended
    same = replayed(played.recording, played.settings, console)
    console.print(f"\nleft here: {played.recording}, {played.sound}", markup=False, soft_wrap=True)
    console.print(f"the robot itself:  {program()} demo --robot --keep", markup=False, soft_wrap=True)
    if missing := not_shown(played.log):
        told_ = f"visavis: the demo did not show {', '.join(missing)}: please report this with {played.recording}"
        print(told_, file=sys.stderr)  # noqa: T201
    return OK if same and not missing else DIFFERENT


def not_shown(log: Log) -> list[str]:
    """What the demo promises and did not show."""
    ends = {outcome.id: outcome for outcome in log.of(Outcome) if outcome.action == "Command"}
    asked = {command.name for command in log.of(Command) if command.id in ends}
    done = {outcome.name for outcome in ends.values() if outcome.status == "done"}
    return [
        name
        for name, there in (
            ("a robot that was attached", bool(log.of(Attached))),
            ("a motion that came to its end", "move" in done),
            ("a motion that was taken back", any(each.status == "cut" for each in ends.values())),
            ("a stop by reflex", bool(log.of(Halt))),
            ("the way home", "come_back" in asked & done),
        )
        if not there
    ]
