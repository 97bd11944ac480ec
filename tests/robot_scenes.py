"""A robot behind its guards, an agent that behaves, and a world that does what it is told: for tests and figures."""

import itertools
import json
import math
from dataclasses import dataclass, field
from typing import Any

from embodied.robot.codec import encode
from embodied.robot.decisions import Begin, Effect, End, Heard, Note, Scan, Sensed, Tell, Velocity
from embodied.robot.factsheet import Capability, Factsheet, Fence, JointLimits, Limits, Tool
from embodied.robot.guarded import Guarded
from embodied.robot.messages import Fresh
from embodied.robot.reports import Happening, Heartbeat, Status
from embodied.robot.settings import GuardSettings
from embodied.robot.topics import agent_topic, robot_topic
from embodied.robot.vocabulary import MS, SECOND

FLEET, ROBOT, BOOT = "f", "r1", "boot-1"
STEP = 20 * MS


def number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


CAPABILITIES = (
    Capability(
        "nav.move", "goal", obj("distance_m", distance_m=number(-20, 20), speed_mps=number(0, 5)), resources=("base",),
        quantities={"distance_m": "distance", "speed_mps": "speed"}, pausable=True, tool=Tool("Drive.", True),
    ),
    Capability(
        "nav.goto", "goal", obj("x", "y", x=number(-50, 50), y=number(-50, 50)), resources=("base",),
        quantities={"x": "x", "y": "y"}, risk=2, tool=Tool("Go there.", True), on_link_loss="continue",
    ),
    Capability("dock", "goal", obj(), resources=("base",), preempt="reject", tool=Tool("Dock.", True)),
    Capability("sweep", "goal", obj(), resources=("base",), preempt="queue", tool=Tool("Sweep.", True)),
    Capability(
        "base.velocity", "stream", obj(vx=number(-5, 5), vy=number(-5, 5), wz=number(-9, 9)), resources=("base",),
        quantities={"vx": "vx", "vy": "vy", "wz": "wz"},
    ),
    Capability("arm.joints", "stream", resources=("arm",), action_features=("j1.pos", "j2.pos")),
    Capability("arm.chunk", "chunk", resources=("arm",), action_features=("j1.pos", "j2.pos")),
    Capability("whole.chunk", "chunk", resources=("base", "arm"), action_features=("x.vel", "theta.vel", "j1.pos")),
    Capability("arm.cut", "goal", obj(), resources=("arm",), risk=3, tool=Tool("Cut.", True)),
    Capability("lamp", "instant", obj("on", on={"type": "boolean"}), risk=0, tool=Tool("Light.", True)),
    Capability("grip", "instant", obj(), resources=("gripper",), risk=1, tool=Tool("Grip.", True)),
)  # fmt: skip


def factsheet(**limits: Any) -> Factsheet:
    joints = {"j1": JointLimits(-1.5, 1.5), "j2": JointLimits(-1.0, 2.0, 1.0)}
    return Factsheet(
        "1.0", 1, BOOT, limits=Limits(joints=joints, **limits), resources=("base", "arm", "gripper"),
        capabilities=CAPABILITIES,
    )  # fmt: skip


SQUARE = Fence(
    ((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)), (((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0)),)
)


@dataclass
class Scene:
    """Robot, driver and world in one. The driver obeys `End` at once unless `stubborn`."""

    sheet: Factsheet = field(default_factory=factsheet)
    settings: GuardSettings = field(default_factory=lambda: GuardSettings(ranks={"op": "operator", "llm": "model"}))
    stubborn: bool = False
    now: int = 5_000 * SECOND
    sensed: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.guarded = Guarded(self.sheet, fleet=FLEET, robot=ROBOT, secret=b"s" * 16, settings=self.settings)
        self.effects: list[Effect] = []
        self.running: list[str] = []
        self.begun: list[str] = []
        self.fresh: Fresh | None = None
        self.x = self.y = self.yaw = 0.0
        self.velocity = Velocity()
        self.joints: dict[str, float] = {"j1": 0.0, "j2": 0.0}
        self.wanted = Velocity()
        self.blind = False
        self.beating = {"a": True}
        self._ids = itertools.count(1)
        self._beats = itertools.count(1)
        self.leases: dict[str, str] = {}
        self.scan: Scan | None = None
        self.do(self.guarded.hello(self.now))
        self.step()

    # --- the world

    def do(self, effects: list[Effect]) -> list[Effect]:
        for each in effects:
            self.effects.append(each)
            match each:
                case Begin(command=command):
                    self.running.append(command.id)
                    self.begun.append(command.id)
                case End(id=id) if not self.stubborn and id in self.running:
                    self.running.remove(id)
                    self.do(self.guarded.finished(id, "cancelled", self.now))
                case Tell(message=Heartbeat(boot=boot, beat=beat)):
                    self.fresh = Fresh(boot, beat)
        return effects

    def step(self, ns: int = STEP) -> Velocity:
        self.now += ns
        if not self.blind:
            self.do(self.guarded.sense(self.reading(), self.now))
        self.do(self.guarded.tick(self.now))
        for agent, on in self.beating.items():
            if on and agent in self.leases:
                self.beat(agent)
        goal = self.running[-1] if self.running else ""
        self.velocity = v = self.guarded.drive(self.now, goal, self.wanted)
        self.joints = self.guarded.joints(self.now) or self.joints
        dt = ns / SECOND
        self.x += (v.vx * math.cos(self.yaw) - v.vy * math.sin(self.yaw)) * dt
        self.y += (v.vx * math.sin(self.yaw) + v.vy * math.cos(self.yaw)) * dt
        self.yaw += v.wz * dt
        return v

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * SECOND / STEP)):
            self.step()

    def reading(self) -> Sensed:
        given: dict[str, Any] = {
            "odom_t": self.now, "pose": (self.x, self.y, self.yaw), "velocity": self.velocity, "joints": self.joints,
            "scan": self.scan,
        }  # fmt: skip
        return Sensed(**{**given, **self.sensed})

    # --- the agents

    def beat(self, agent: str = "a") -> None:
        body = {"session": f"s-{agent}", "beat": next(self._beats), "mono_ms": 0}
        self.hear(agent_topic(FLEET, agent, "heartbeat"), body)

    def hear(self, topic: str, body: Any, *, retained: bool = False) -> list[Effect]:
        payload = body if isinstance(body, bytes) else encode(body)
        return self.do(self.guarded.hear(Heard(topic, payload, retained), self.now))

    def envelope(self, name: str, agent: str = "a", **fields: Any) -> dict[str, Any]:
        body = {
            "v": 1, "id": f"c{next(self._ids)}", "name": name, "from": agent, "args": {},
            "lease": self.leases.get(agent),
            "fresh": self.fresh, "origin": {"source": "policy"}, **fields,
        }  # fmt: skip
        return {key: value for key, value in body.items() if value is not None}

    def send(self, body: dict[str, Any], *, retained: bool = False) -> Status | None:
        """A command; the last status of it in what came back."""
        effects = self.hear(robot_topic(FLEET, ROBOT, "command", body["name"]), body, retained=retained)
        found = [e.message for e in effects if isinstance(e, Tell) and isinstance(e.message, Status)]
        mine = [status for status in found if status.id == body["id"]]
        return mine[-1] if mine else None

    def command(self, name: str, agent: str = "a", **fields: Any) -> Status | None:
        return self.send(self.envelope(name, agent, **fields))

    def stream(self, name: str, args: Any, seq: int, agent: str = "a", **fields: Any) -> Note | None:
        body = self.envelope(name, agent, args=args, seq=seq, **fields)
        effects = self.hear(robot_topic(FLEET, ROBOT, "stream", name), body)
        notes = [e for e in effects if isinstance(e, Note) and e.name == name]
        return notes[-1] if notes else None

    def lease(self, agent: str = "a", op: str = "acquire", rank: str = "policy", **fields: Any) -> Status:
        body = {
            "v": 1, "id": f"l{next(self._ids)}", "from": agent, "op": op, "rank": rank, "fresh": self.fresh,
            "lease": self.leases.get(agent), **fields,
        }  # fmt: skip
        effects = self.hear(robot_topic(FLEET, ROBOT, "lease/set"), {k: v for k, v in body.items() if v is not None})
        answer = next(e.message for e in effects if isinstance(e, Tell) and isinstance(e.message, Status)
                      and e.message.id == body["id"])  # fmt: skip
        if answer.state == "succeeded" and op != "release":
            self.leases[agent] = answer.result["lease"]
        return answer

    def stop(self, payload: bytes = b"{}") -> None:
        self.hear(robot_topic(FLEET, ROBOT, "estop/set"), payload)

    def reset(self, token: str | None = None, **fields: Any) -> None:
        body = {"token": token if token is not None else self.guarded.stop_token, **fields}
        self.hear(robot_topic(FLEET, ROBOT, "estop/reset"), body)

    # --- what came of it

    def statuses(self, id: str) -> list[Status]:
        topic = robot_topic(FLEET, ROBOT, "status")
        told = [e.message for e in self.effects if isinstance(e, Tell) and e.topic == topic]
        return [status for status in told if isinstance(status, Status) and status.id == id]

    def events(self, guard: str) -> list[Happening]:
        told = [e.message for e in self.effects if isinstance(e, Tell)]
        return [event for event in told if isinstance(event, Happening) and guard in event.guard]


def chunk(
    beat: int, rows: list[list[float]], names: tuple[str, ...] = ("j1.pos", "j2.pos"), **fields: Any
) -> dict[str, Any]:
    return {
        "chunk_id": "k1", "t0_beat": beat, "step0": 0, "dt_ms": 20, "names": list(names), "actions": rows, **fields,
    }  # fmt: skip


def text(body: Any) -> bytes:
    return json.dumps(body).encode()
