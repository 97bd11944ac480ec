"""Whatever bytes come to a robot: python -m benchmarks.robot_fuzz [--messages N] [--chunks N] [--seed S] [--quick]

A robot behind its guards is told messages that are damaged, absurd, old, forged, or quite right, on every topic, and
chunks likewise; in between it drives, is stopped and reset. Counts crashes (anything raised) and violations (a speed, a
joint or a step beyond the limits; motion while it is stopped). Exit status 1 if there was one.
"""

import argparse
import random
import sys
from collections import Counter
from copy import deepcopy
from time import perf_counter
from typing import Any

import msgspec

from embodied.robot.decisions import Heard, Note, Sensed, Tell, Velocity
from embodied.robot.duplicates import LIFE
from embodied.robot.factsheet import Capability, Factsheet, JointLimits, Limits, Tool
from embodied.robot.guarded import Guarded
from embodied.robot.lifecycle import TERMINAL
from embodied.robot.messages import Fresh
from embodied.robot.reports import Heartbeat, Status
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import MS, SECOND

R = "robot/v1/f/r"
TOPICS = (
    f"{R}/command/nav.move", f"{R}/command/lamp", f"{R}/command/cancel", f"{R}/command/query", f"{R}/command/pause",
    f"{R}/command/resume", f"{R}/command/nope", f"{R}/stream/base.velocity", f"{R}/stream/arm.chunk",
    f"{R}/stream/whole.chunk", f"{R}/stream/arm.joints", f"{R}/lease/set", f"{R}/estop/reset",
    "robot/v1/f/agents/a/heartbeat", "robot/v1/f/agents/a/connection", f"{R}/state",
    "robot/v2/f/r/command/stop", "", "#",
)  # fmt: skip
RARE = (f"{R}/estop/set", f"{R}/command/stop")
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53, -(2**63), 10**30, 1e308, -1e308, 5e-324, 0.1, "", "x", "é\u0000", "a" * 300, [],
    {}, [[]], {"x": {"y": [1, {"z": None}]}}, "NaN", "*", "c1", "policy",
)  # fmt: skip
RAW = (
    b"", b"{", b"null", b"[]", b'{"v":NaN}', b'{"v":1e999}', b"\xff\xfe", b"[" * 5000, b'{"a":' * 3000,
    b'{"v":1,"v":1}', b" " * 70_000, b'{"id":"x","from":"a","name":"nav.move"}', b'{"v":1,"id":"x\\ud800"}',
    b"9" * 5000, b'"' + b"a" * 66_000, b'{"":' + b"9" * 900 + b"}",
)  # fmt: skip
ENDS = TERMINAL - {"rejected"}
JOINTS = {"j1": JointLimits(-1.5, 1.5), "j2": JointLimits(-1.0, 2.0, 1.0)}


def robot() -> Guarded:
    """A base with an arm."""
    move = {"type": "object", "properties": {"distance_m": {"type": "number", "minimum": -20, "maximum": 20}}}
    speed = {"type": "number", "minimum": -5, "maximum": 5}
    capabilities = (
        Capability(
            "nav.move", "goal", move, resources=("base",), quantities={"distance_m": "distance"},
            pausable=True, tool=Tool("", True),
        ),
        Capability(
            "base.velocity", "stream", {"type": "object", "properties": {"vx": speed, "wz": speed}},
            resources=("base",), quantities={"vx": "vx", "wz": "wz"},
        ),
        Capability("lamp", "instant", risk=0, tool=Tool("", True)),
        Capability("arm.joints", "stream", resources=("arm",), action_features=("j1.pos", "j2.pos")),
        Capability("arm.chunk", "chunk", resources=("arm",), action_features=("j1.pos", "j2.pos")),
        Capability("whole.chunk", "chunk", resources=("base", "arm"), action_features=("x.vel", "theta.vel", "j1.pos")),
    )  # fmt: skip
    sheet = Factsheet(
        "1.0", 1, "b1", limits=Limits(joints=JOINTS), resources=("base", "arm"), capabilities=capabilities
    )
    # Rates off, so that most of what is sent reaches the guards behind them.
    settings = GuardSettings(ranks={"a": "operator"}, stream_hz=1000, goals_per_s=100, model_goals_per_min=1000)
    return Guarded(sheet, fleet="f", robot="r", secret=b"fuzz", settings=settings)


class Fuzz:
    """One run: same seed, same messages."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.guarded, self.now = robot(), SECOND
        self.fresh, self.lease, self.token = Fresh("b1", 0), "", ""
        self.verdicts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.begun: dict[str, int] = {}
        self.ended: dict[str, set[int]] = {}
        self.base, self.joints = Velocity(), {"j1": 0.0, "j2": 0.0}
        self.seq = self.stopped_at = 0
        self.recorded: list[Heard] = []
        self.limits = Limits()

    def message(self, *, chunks: bool) -> Heard:
        """The next one."""
        rng = self.rng
        if self.recorded and rng.random() < 0.05:
            return rng.choice(self.recorded)
        if not chunks and rng.random() < 0.1:
            return Heard(rng.choice(TOPICS), rng.choice(RAW))
        topic = rng.choice(TOPICS[8:10] if chunks else TOPICS)
        if not chunks and rng.random() < 0.0005:
            topic = rng.choice(RARE)
        body = self.body(topic)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            self.spoil(body)
        payload = msgspec.json.encode(body)
        if rng.random() < 0.1 and payload:
            cut = bytearray(payload)
            cut[rng.randrange(len(cut))] = rng.randrange(256)
            payload = bytes(cut[: rng.randrange(len(cut) + 1)] if rng.random() < 0.3 else cut)
        return Heard(topic, payload, rng.random() < 0.02)

    def body(self, topic: str) -> dict[str, Any]:
        """What would be right on `topic`, with wild numbers."""
        rng, name = self.rng, topic.rsplit("/", 1)[-1]
        fresh = self.fresh if rng.random() < 0.9 else Fresh("b1", rng.randrange(200))
        self.seq += 1
        body: dict[str, Any] = {
            "v": 1,
            "id": f"c{self.seq}",
            "name": name,
            "from": "a",
            "fresh": fresh,
            "lease": self.lease,
        }
        if topic.endswith("estop/reset"):
            return {"token": self.token}
        if topic.endswith("lease/set"):
            del body["name"]
            return {
                **body,
                "op": rng.choice(("acquire", "renew", "release")),
                "rank": rng.choice(("policy", "operator")),
            }
        if "/agents/" in topic:
            return {"session": "s", "beat": self.seq, "heard": {"r": fresh}, "state": "online"}
        body["origin"] = {"source": rng.choice(("policy", "policy", "operator", "operator", "speech", "vision"))}
        wild = 10 ** rng.uniform(-3, 3)
        if "/stream/" in topic:
            body["seq"] = self.seq
            body["args"] = {"vx": rng.gauss(0, wild), "wz": rng.gauss(0, wild)}
            if name == "arm.joints":
                body["args"] = {"j1.pos": rng.gauss(0, wild), "j2.pos": rng.gauss(0, wild)}
            if name.endswith("chunk"):
                body["args"] = self.chunk(name)
        elif name == "nav.move":
            body["args"] = {"distance_m": rng.gauss(0, 8)}
        elif name in ("cancel", "query", "pause", "resume"):
            body["args"] = {
                "target" if name == "cancel" else "id": rng.choice(("*", f"c{self.seq - rng.randrange(40)}"))
            }
        return body

    def chunk(self, name: str) -> dict[str, Any]:
        """Rows that are sometimes within the limits."""
        rng = self.rng
        names = ("j1.pos", "j2.pos") if name == "arm.chunk" else ("x.vel", "theta.vel", "j1.pos")
        wide = rng.choice((0.3, 0.9, 0.9, 5.0, 1e6))
        rows = [[rng.uniform(-wide, wide) for _ in names] for _ in range(rng.choice((1, 2, 8, 8, 16, 70)))]
        step0 = rng.choice((0, 0, 1, 5, 40, 10**15))
        beat = max(0, self.fresh.beat - rng.choice((0, 0, 1, 3, 300)))
        return {"chunk_id": f"k{self.seq}", "t0_beat": beat, "step0": step0, "names": names,
                "dt_ms": rng.choice((20, 20, 1, 5.5, 1000)), "actions": rows}  # fmt: skip

    def spoil(self, body: dict[str, Any]) -> None:
        """Something odd somewhere."""
        rng, inner = self.rng, body
        while isinstance(inner.get("args"), dict) and inner["args"] and rng.random() < 0.5:
            inner = inner["args"]
        key = rng.choice([*inner, "extra"])
        if rng.random() < 0.2:
            inner.pop(key, None)
        else:
            inner[key] = deepcopy(rng.choice(ODD))

    def hear(self, heard: Heard) -> None:
        """One message, and what became of it."""
        self.take(self.guarded.hear(heard, self.now))
        if self.rng.random() < 0.02:
            self.recorded.append(heard)
            del self.recorded[:-200]

    def take(self, effects: list[Any]) -> None:
        """Follow what the guards decided."""
        for each in effects:
            match each:
                case Note(verdict=verdict, reason=reason):
                    self.verdicts[f"{verdict} {reason or ''}".strip()] += 1
                case Tell(message=Heartbeat(boot=boot, beat=beat)):
                    self.fresh = Fresh(boot, beat)
                case Tell(topic=topic, message=Status() as status):
                    if status.name == "lease.acquire" and status.result:
                        self.lease = status.result["lease"]
                    if topic.endswith("/status") and status.state in ENDS:
                        self.ended.setdefault(status.id, set()).add(status.seq)
                case _:
                    self.driver(each)
        if self.guarded.stop_token and not self.token:
            self.stopped_at = self.now
        self.token = self.guarded.stop_token

    def driver(self, effect: Any) -> None:
        """A driver that obeys."""
        match type(effect).__name__:
            case "Begin":
                before = self.begun.get(effect.command.id)
                self.begun[effect.command.id] = self.now
                if effect.command.name == "lamp" and self.rng.random() < 0.9:
                    self.take(self.guarded.finished(effect.command.id, "succeeded", self.now))
                if before is not None and self.now - before <= LIFE:
                    self.violations.append(f"{effect.command.id} was begun twice")
            case "End":
                self.take(self.guarded.finished(effect.id, "cancelled", self.now))

    def step(self) -> None:
        """20 ms go by; what comes out is held against the limits."""
        self.now += 20 * MS
        sensed = Sensed(odom_t=self.now, pose=(0.0, 0.0, 0.0), velocity=self.base, joints=self.joints)
        self.take(self.guarded.sense(sensed, self.now))
        self.take(self.guarded.tick(self.now))
        base, joints = self.guarded.drive(self.now), self.guarded.joints(self.now)
        limits, dt, near = self.limits, 0.02, 1e-9
        wrong = [
            abs(base.vx) > limits.v_max + near,
            abs(base.wz) > limits.w_max + near,
            abs(base.vx) - abs(self.base.vx) > limits.a_max * dt + near,
            abs(base.vx - self.base.vx) > limits.brake * dt + near,
            abs(base.wz) - abs(self.base.wz) > limits.alpha_max * dt + near,
            bool(self.token) and self.now - self.stopped_at > 280 * MS and not base.still,
            bool(self.token) and joints != self.joints,
        ]
        for name, at in joints.items():
            wrong.append(not JOINTS[name].min - near <= at <= JOINTS[name].max + near)
            wrong.append(abs(at - self.joints[name]) > JOINTS[name].v_max * dt + near)
        if any(wrong):
            self.violations.append(f"{wrong} {self.base} {base} {joints}")
        self.base, self.joints = base, joints

    def agent(self) -> None:
        """An agent that behaves, so that not everything is refused for want of a lease."""
        if self.token and self.rng.random() < 0.3:
            self.take(
                self.guarded.hear(Heard(f"{R}/estop/reset", msgspec.json.encode({"token": self.token})), self.now)
            )
        self.seq += 1
        wish = {"v": 1, "id": f"l{self.seq}", "from": "a", "op": "acquire", "rank": "operator", "fresh": self.fresh}
        beat = {"session": "s", "beat": self.seq}
        self.take(self.guarded.hear(Heard(f"{R}/lease/set", msgspec.json.encode(wish)), self.now))
        self.take(self.guarded.hear(Heard("robot/v1/f/agents/a/heartbeat", msgspec.json.encode(beat)), self.now))


def fuzz(count: int, seed: int, *, chunks: bool = False) -> Fuzz:
    """`count` messages, four in each control step. A crash is raised."""
    run = Fuzz(seed)
    for n in range(count):
        if n % 4 == 0:
            run.step()
        if n % 40 == 0:
            run.agent()
        run.hear(run.message(chunks=chunks))
    return run


def main() -> int:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="2,000 of each")
    given = parser.parse_args()
    wrong = 0
    for what, asked in (("messages", given.messages), ("chunks", given.chunks)):
        count = min(asked, 2000) if given.quick else asked
        began = perf_counter()
        run = fuzz(count, given.seed, chunks=what == "chunks")
        took = perf_counter() - began
        wrongs = len(run.violations)
        print(f"{count:,} {what}: 0 crashes, {wrongs} violations; {count / took:,.0f}/s, their making included")
        print("  " + ", ".join(f"{verdict} {many:,}" for verdict, many in run.verdicts.most_common(14)))
        for each in run.violations[:5]:
            print("  violation:", each)
        wrong += len(run.violations)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
