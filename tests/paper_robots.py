"""A console around a session with robots that exist only in their messages: they tell of themselves on the real bus.

`python -m tests.paper_robots` prints an address and lets one drive about, to look at the page.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent import assembly, config
from agent.config import Config
from agent.console.host import Host
from agent.session import Session
from streams.bus import Lane
from streams.clock import MS, SECOND, Clock, run
from streams.ports import Publisher
from streams.topics import ACTION, FEEDBACK, PERCEPT, Topic
from streams.types import Attached, BodyState, Command, Fault, Halt, Outcome, Progress, Steer

LIGHT = ["vad.engine=webrtc", "turn_end.engine=none", "speech.engine=none", "voice.engine=tones"]
FENCE = ((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0))
OUT = (((1.0, 1.0), (2.0, 1.0), (2.0, 2.0)),)
STEP = 50 * MS


class PaperRobot:
    """A source that tells how a robot stands, and (`tap`) follows what it is told: it is driven, and stops.

    told: every `Steer` and `Halt` that was for it, in order;  speeds: what it says it can do;  there: it is to be found
    say: put feedback of one's own on the bus, from any thread
    """

    writes: tuple[Topic[Any], ...] = (FEEDBACK,)

    def __init__(self, name: str = "robot7", speeds: tuple[float, float] = (0.5, 1.5), there: bool = True) -> None:
        self.name = name
        self.speeds = speeds
        self.told: list[Steer | Halt] = []
        self.state = BodyState(
            name, mode="automatic", holder="agent1", rank="model", pose=(0.0, 0.0, 0.0), battery=0.83
        )
        self.there = there
        self._wish = (0.0, 0.0)
        self._goals: dict[int, tuple[Command, int]] = {}
        self._out: tuple[Publisher, Clock] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def change(self, **fields: Any) -> None:
        """Stand otherwise from now on."""
        kept = {name: getattr(self.state, name) for name in BodyState.__struct_fields__}
        self.state = BodyState(**kept | fields)

    def say(self, data: Any) -> None:
        assert self._loop is not None and self._out is not None
        bus, clock = self._out
        self._loop.call_soon_threadsafe(lambda: bus.publish(FEEDBACK, clock.now(), data))

    def attach(self) -> Attached:
        return Attached(self.name, "diff_drive", "A paper robot", 0.2, FENCE, OUT, self.speeds)

    async def __aenter__(self) -> "PaperRobot":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._out = None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        while not self.there:
            await clock.sleep_until(clock.now() + STEP)
        self._loop, self._out = asyncio.get_running_loop(), (bus, clock)
        bus.publish(FEEDBACK, clock.now(), self.attach())
        tick = 0
        while True:
            self._drive(bus, clock)
            if tick % 4 == 0:
                bus.publish(FEEDBACK, clock.now(), self.state)
            tick += 1
            await clock.sleep_until(clock.now() + STEP)

    def _drive(self, bus: Publisher, clock: Clock) -> None:
        speed, turning = self._wish
        for number, (command, since) in self._goals.items():
            done = min(1.0, (clock.now() - since) / (2 * SECOND))
            speed = 0.5 if command.name == "move" else 0.0
            turning = 0.8 if command.name == "turn" else 0.0
            bus.publish(FEEDBACK, clock.now(), Progress(command.turn, number, command.name, self.name, "running", done))
        if self.state.estop == "latched" or self.state.pose is None:
            speed = turning = 0.0
        if self.state.pose is not None:
            x, y, heading = self.state.pose
            step = speed * STEP / SECOND
            x, y = x + step * math.cos(heading), y + step * math.sin(heading)
            heading = math.remainder(heading + turning * STEP / SECOND, 2 * math.pi)
            self.change(pose=(x, y, heading), speed=(speed, turning))

    # --- what it is told

    @property
    def tap(self) -> "Ear":
        return Ear(self)

    def hear(self, data: Any, clock: Clock) -> None:
        match data:
            case Steer(robot=robot) if robot in ("", self.name):
                self.told.append(data)
                self._wish = (data.vx, data.wz)
            case Halt(latch=latch):
                self.told.append(data)
                self._wish = (0.0, 0.0)
                if latch:
                    self.change(estop="latched")
            case Command(id=number) as command:
                self._goals[number] = (command, clock.now())
                for state in ("sent", "accepted"):
                    self.say(Progress(command.turn, number, command.name, self.name, state))
            case Outcome(action="Command", id=number):
                self._goals.pop(number, None)


class Ear:
    """The tap by which a paper robot is told."""

    name = "paper"
    reads: tuple[Topic[Any], ...] = (ACTION, FEEDBACK, PERCEPT)

    def __init__(self, robot: PaperRobot) -> None:
        self._robot = robot

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        while (packet := await lane.get()) is not None:
            self._robot.hear(packet.data, clock)


def making(*robots: PaperRobot) -> Any:
    """`agent.console.host.MakeSession` of a session that has these robots."""

    def make(chosen: Config, sources: Sequence[Any], taps: Sequence[Any], started: Any, speaker: Any) -> Session:
        body = assembly.AgentBody(chosen, speaker=speaker)
        body.begin()
        heard = [*taps, *(robot.tap for robot in robots)]
        return assembly.assemble(chosen, [*sources, *robots], taps=heard, started=started, body=body)

    return make


def hosted(folder: Path, *robots: PaperRobot, **options: Any) -> Host:
    """A console whose sessions have these robots."""
    return Host(config.load(None, LIGHT), recordings=folder, make=making(*robots), **options)


@contextmanager
def open_room(folder: Path, *robots: PaperRobot, **options: Any) -> Iterator[Host]:
    """The same in a thread of its own, while the context is open."""
    host = hosted(folder, *robots, **options)
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await host.main()

    with ThreadPoolExecutor(1, "console") as thread:
        ended = thread.submit(lambda: run(main()))
        for _ in range(400):
            if host.sessions or ended.done():
                break
            wait([ended], 0.05)
        try:
            assert host.sessions
            yield host
        finally:
            if loops and not ended.done():
                loops[0].call_soon_threadsafe(host.stop, 0.0)
            ended.result(15)


def main() -> None:
    import tempfile

    robots = PaperRobot(), PaperRobot("robot8")
    with tempfile.TemporaryDirectory() as folder, open_room(Path(folder), *robots) as host:
        print(host.address, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
