"""A whole session with a robot in virtual time: percepts, policy, body, link, broker, guards, driver, world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from agent import assembly, config
from agent.robots.skills import Skill
from agent.session import Log, Session
from embodied.link.memory import MemoryBroker
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.remote.agent_link import AgentLink
from embodied.remote.body import RobotBody
from embodied.remote.client import RobotClient
from embodied.remote.settings import RobotConfig
from embodied.robot.settings import GuardSettings
from streams.clock import MS, Clock
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Command, Outcome, Say, Typed
from tests.minds import NOON
from tests.scenes import Percepts

BASE = [
    "voice.engine=tones", "speech.engine=none", "turn_end.engine=none", "vad.engine=webrtc", "body.motion=mqtt",
    "robot.url=mqtt://nowhere", 'robot.ids=["r1"]',
]  # fmt: skip


class Hosted:
    """A robot's own program, hosted by the session's body so that it lives in the same virtual time."""

    accepts: tuple[type, ...] = ()

    def __init__(self, node: RobotNode) -> None:
        self.name, self._node = f"program of {node.robot}", node

    async def perform(self, action: Any) -> Outcome:
        raise AssertionError("it accepts nothing")

    async def serve(self) -> None:
        await self._node.run()

    def cut(self, turn: int) -> None: ...

    def pause(self, turn: int) -> None: ...

    def resume(self, turn: int) -> None: ...

    async def halt(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass
class Room:
    """What there is besides the agent. happening: (ms, what to do to it then)"""

    profile: str = "diff-drive"
    changes: dict[str, Any] = field(default_factory=dict)
    robots: tuple[str, ...] = ("r1",)
    delay_ms: float = 2.0
    happening: Sequence[tuple[float, Callable[["Room"], None]]] = ()
    settings: GuardSettings | None = None
    skills: Sequence[Any] = ()  # chunk policies
    agent: RobotConfig = field(default_factory=lambda: RobotConfig(url="mqtt://nowhere", ids=("r1",), find_s=1))

    def __post_init__(self) -> None:
        self.drivers: dict[str, SimulatedRobot] = {}
        self.nodes: dict[str, RobotNode] = {}
        self.clients: dict[str, RobotClient] = {}

    @property
    def robot(self) -> SimulatedRobot:
        return self.drivers[self.robots[0]]

    def moving(self, publisher: Any, clock: Clock) -> list[Any]:
        """What `AgentBody.moving` wants."""
        self.broker = MemoryBroker(clock, delay_ms=self.delay_ms)
        hosts, bodies = [], []
        link = AgentLink(replace(self.agent, ids=self.robots), self.broker.dial("agent1"), clock, session="s-1")
        for place, name in enumerate(self.robots):
            profile = Profile.load(self.profile, self.changes)
            sheet = replace(profile.factsheet, boot=f"boot-{name}")
            self.drivers[name] = SimulatedRobot(profile)
            self.nodes[name] = node = RobotNode(
                sheet, self.drivers[name], self.broker.dial(f"robot-{name}"), clock, fleet="home", robot=name,
                settings=self.settings or profile.settings, secret=b"s" * 32,
            )  # fmt: skip
            hosts.append(Hosted(node))
            self.clients[name] = client = RobotClient(link, name)
            bodies.append(RobotBody(client, publisher, clock, offers_prefix="" if place == 0 else f"{name}."))
        for at_ms, what in self.happening:
            clock.call_at(round(at_ms * MS), what, self)
        first = self.clients[self.robots[0]]
        return [*hosts, *(Skill(policy, first, publisher, clock) for policy in self.skills), *bodies]


class Held:
    """A session that was held."""

    def __init__(self, session: Session, log: Log, room: Room) -> None:
        self.session, self.log, self.room = session, log, room

    def of(self, *kinds: type) -> list[Any]:
        return self.log.of(*kinds)

    def said(self) -> list[str]:
        return [say.text for say in self.of(Say)]

    def ends(self) -> list[Outcome]:
        return [outcome for outcome in self.of(Outcome) if outcome.action == "Command"]

    def commands(self) -> list[Command]:
        return self.of(Command)

    def t(self, kind: type, place: int = 0, **fields: Any) -> float:
        """Session time (s) of a packet of this kind with these fields."""
        found = [
            packet for packet in self.log.packets
            if isinstance(packet.data, kind) and all(getattr(packet.data, k) == v for k, v in fields.items())
        ]  # fmt: skip
        return float(found[place].t / 1e9)


def hold(
    scene: Sequence[tuple[float, float, Any]], room: Room | None = None, *settings: str, tail_ms: float = 4000,
    taps: Sequence[Any] = (), sources: Sequence[Any] = (),
) -> Held:  # fmt: skip
    """Hold a session of `scene` (see `tests.scenes.Percepts`) with the robots of `room`. sources: further ones"""
    room = room or Room()
    loaded = config.load(None, [*BASE, *settings])
    log = Log(PERCEPT, TURN, ACTION, FEEDBACK)
    body = assembly.AgentBody(loaded, installed=False, moving=room.moving)
    session = assembly.assemble(
        loaded, [Percepts(scene, tail_ms), *sources], taps=[log, *taps], senses=False, body=body, started=NOON
    )  # fmt: skip
    session.run(speed=None)
    return Held(session, log, room)


def typed(at_ms: float, text: str) -> tuple[float, float, Typed]:
    """Somebody types."""
    return (at_ms, at_ms, Typed(text))
