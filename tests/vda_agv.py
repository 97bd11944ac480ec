"""A double of an AGV: speaks VDA 5050 2.1 over any broker, checks each message it gets against the forms of the
specification, drives released edges only, and, like a real one, drives on to the end of its base when nobody is there.

As a program (to be killed): python -m tests.vda_agv mqtt://127.0.0.1:PORT
"""

import asyncio
import json
import math
import sys
from contextlib import suppress
from datetime import UTC
from typing import Any

import jsonschema

from embodied.link.link import Link
from embodied.link.port import Dial, Message, Outgoing
from streams.clock import MS, SECOND, Clock
from tests.vda_forms import FORMS

MANUFACTURER, SERIAL = "example", "0001"
ROOT = f"uagv/v2/{MANUFACTURER}/{SERIAL}"
STEP = 50 * MS
ACTIONS: list[dict[str, Any]] = [
    {"actionType": "beep", "actionScopes": ["INSTANT"], "actionDescription": "Sounds its horn.",
     "actionParameters": [{"key": "times", "valueDataType": "INTEGER", "isOptional": True}]},
    {"actionType": "liftUp", "actionScopes": ["NODE"],
     "actionParameters": [{"key": "height", "valueDataType": "FLOAT"}]},
    {"actionType": "startPause", "actionScopes": ["INSTANT"]},
    {"actionType": "odd", "actionScopes": ["INSTANT"],
     "actionParameters": [{"key": "o", "valueDataType": "OBJECT"}]},
]  # fmt: skip


class Agv:
    """wrong: what it got that was not in order;  got: (topic, body) of all it got;  knobs: what tests may turn"""

    def __init__(self, dial: Dial, clock: Clock, *, x: float = 0.0, y: float = 0.0) -> None:
        self.clock = clock
        self.x, self.y, self.theta, self.speed = x, y, 0.0, 0.0
        self.order, self.update, self.nodes, self.edges = "", 0, list[dict[str, Any]](), list[dict[str, Any]]()
        self.last_id, self.last_sequence = "", 0
        self.actions: dict[str, dict[str, Any]] = {}
        self.errors: list[dict[str, Any]] = []
        self.paused = self.frozen = self.unchecked = False
        self.estop, self.mode, self.field = "NONE", "AUTOMATIC", False
        self.refuse, self.deaf, self.stuck, self.fails, self.every = "", False, False, set[str](), 0.2
        self.base_max = self.by_hand = 0.0
        self.wrong: list[str] = []
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.initialised = True
        self._numbers: dict[str, int] = {}
        self._due = 0
        will = Outgoing(
            f"{ROOT}/connection", self._pack("connection", {"connectionState": "CONNECTIONBROKEN"}), 1, True
        )
        self.link = Link(
            dial, clock, receive=self.receive, subscriptions=[(f"{ROOT}/order", 0), (f"{ROOT}/instantActions", 0)],
            will=will, hello=self._hello, goodbye=self._goodbye, name="agv",
        )  # fmt: skip

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self.live())

    async def live(self) -> None:
        while True:
            if not self.frozen:
                self._step(STEP / SECOND)
                if self.clock.now() >= self._due:
                    self.tell()
            await self.clock.sleep_until(self.clock.now() + STEP)

    # --- what it hears

    def receive(self, message: Message) -> None:
        kind = message.topic.rsplit("/", 1)[-1]
        body = json.loads(message.payload)
        try:
            FORMS[kind].validate(body)
        except jsonschema.ValidationError as error:
            self.wrong.append(f"{kind}: {error.message}")
            return
        self.got.append((kind, body))
        if self.frozen or self.deaf:
            return
        if kind == "order":
            self._take(body)
        else:
            for action in body["actions"]:
                self._do(action)
        self.tell()

    def _take(self, body: dict[str, Any]) -> None:
        order, update, nodes = body["orderId"], body["orderUpdateId"], body["nodes"]
        reference = [{"referenceKey": "orderId", "referenceValue": order}]
        sequences = [node["sequenceId"] for node in nodes] + [edge["sequenceId"] for edge in body["edges"]]
        if sorted(sequences) != list(range(nodes[0]["sequenceId"], nodes[0]["sequenceId"] + len(sequences))):
            self.wrong.append(f"sequence ids {sequences}")
        for edge, start, end in zip(body["edges"], nodes[:-1], nodes[1:], strict=True):
            if (edge["startNodeId"], edge["endNodeId"]) != (start["nodeId"], end["nodeId"]):
                self.wrong.append("an edge does not join its nodes")
            if edge["released"] != end["released"]:
                self.wrong.append("an edge and its end are not released together")
        if self.refuse:
            self.errors = [{"errorType": self.refuse, "errorLevel": "WARNING", "errorReferences": reference}]
            return
        if order == self.order:
            stitch = self._base_end()
            if update != self.update + 1 or (nodes[0]["nodeId"], nodes[0]["sequenceId"]) != stitch:
                self.wrong.append(f"update {update} begins with {nodes[0]['nodeId']}, the base ends with {stitch}")
                self.errors = [{"errorType": "orderUpdateError", "errorLevel": "WARNING", "errorReferences": reference}]
                return
            self.nodes = [node for node in self.nodes if node["released"]] + nodes[1:]
            self.edges = [edge for edge in self.edges if edge["released"]] + body["edges"]
            self.update = update
        else:
            if self.nodes or self.edges:
                self.wrong.append("a new order before the old one had ended")
            far = math.dist((self.x, self.y), (nodes[0]["nodePosition"]["x"], nodes[0]["nodePosition"]["y"]))
            if far > nodes[0]["nodePosition"].get("allowedDeviationXY", 0):
                self.errors = [{"errorType": "noRouteError", "errorLevel": "WARNING", "errorReferences": reference}]
                return
            self.order, self.update, self.errors = order, update, []
            self.nodes, self.edges = list(nodes), list(body["edges"])
            self.actions = {id: each for id, each in self.actions.items() if each["actionStatus"] == "RUNNING"}
            self._reach()
        ends = [node["nodePosition"] for node in self.nodes if node["released"]]
        if ends:
            self.base_max = max(self.base_max, math.dist((self.x, self.y), (ends[-1]["x"], ends[-1]["y"])))

    def _base_end(self) -> tuple[str, int]:
        released = [node for node in self.nodes if node["released"]]
        if released:
            return released[-1]["nodeId"], released[-1]["sequenceId"]
        return self.last_id, self.last_sequence

    def _do(self, action: dict[str, Any]) -> None:
        kind, id = action["actionType"], action["actionId"]
        status = "FINISHED"
        if kind == "startPause":
            self.paused = True
        elif kind == "stopPause":
            self.paused = False
        elif kind == "cancelOrder":
            if self.nodes or self.edges:
                self.nodes, self.edges = [], []
            else:
                status = "FAILED"
        elif kind in self.fails:
            status = "FAILED"
        self.actions[id] = {"actionId": id, "actionType": kind, "actionStatus": status}

    # --- what it does

    def _step(self, dt: float) -> None:
        self.speed = self.by_hand
        target = next((node for node in self.nodes if node["released"]), None)
        if (
            self.paused
            or self.stuck
            or self.estop != "NONE"
            or self.field
            or self.mode != "AUTOMATIC"
            or target is None
        ):
            return
        at = target["nodePosition"]
        left = math.dist((self.x, self.y), (at["x"], at["y"]))
        pace = min((edge["maxSpeed"] for edge in self.edges[:1]), default=0.5) * dt
        if left > 1e-3:
            self.theta = math.atan2(at["y"] - self.y, at["x"] - self.x)
            go = min(pace, left)
            self.x += (at["x"] - self.x) / left * go
            self.y += (at["y"] - self.y) / left * go
            self.speed = go / dt
        self._reach()

    def _reach(self) -> None:
        while self.nodes and self.nodes[0]["released"]:
            node = self.nodes[0]
            at = node["nodePosition"]
            first = self.edges and self.edges[0]["sequenceId"] > node["sequenceId"] and node["sequenceId"] == 0
            if not first and math.dist((self.x, self.y), (at["x"], at["y"])) > 1e-3:
                return
            self.theta = at.get("theta", self.theta)
            self.last_id, self.last_sequence = node["nodeId"], node["sequenceId"]
            self.nodes.pop(0)
            self.edges = [edge for edge in self.edges if edge["sequenceId"] > node["sequenceId"]]
            for action in node["actions"]:
                status = "FAILED" if action["actionType"] in self.fails else "FINISHED"
                self.actions[action["actionId"]] = {
                    "actionId": action["actionId"], "actionStatus": status, "resultDescription": "as wanted",
                }  # fmt: skip
            self.tell()

    # --- what it says

    def tell(self) -> None:
        self._due = self.clock.now() + round(self.every * SECOND)
        state = {
            "orderId": self.order, "orderUpdateId": self.update, "lastNodeId": self.last_id,
            "lastNodeSequenceId": self.last_sequence, "driving": self.speed > 0, "paused": self.paused,
            "nodeStates": [{key: each[key] for key in ("nodeId", "sequenceId", "released")} for each in self.nodes],
            "edgeStates": [{key: each[key] for key in ("edgeId", "sequenceId", "released")} for each in self.edges],
            "actionStates": list(self.actions.values()), "errors": self.errors, "operatingMode": self.mode,
            "batteryState": {"batteryCharge": 80.5, "charging": False},
            "safetyState": {"eStop": self.estop, "fieldViolation": self.field},
            "agvPosition": {"x": self.x, "y": self.y, "theta": self.theta, "mapId": "hall",
                            "positionInitialized": self.initialised},
            "velocity": {"vx": self.speed, "vy": 0.0, "omega": 0.0},
        }  # fmt: skip
        self.link.send(Outgoing(f"{ROOT}/state", self._pack("state", state)))

    def _hello(self) -> list[Outgoing]:
        sheet = {
            "typeSpecification": {"seriesName": "Double 1"}, "physicalParameters": {"speedMax": 0.4},
            "protocolFeatures": {"agvActions": ACTIONS},
        }  # fmt: skip
        return [
            Outgoing(f"{ROOT}/connection", self._pack("connection", {"connectionState": "ONLINE"}), 1, True),
            Outgoing(f"{ROOT}/factsheet", self._pack("factsheet", sheet), 1, True),
        ]

    def _goodbye(self) -> list[Outgoing]:
        return [Outgoing(f"{ROOT}/connection", self._pack("connection", {"connectionState": "OFFLINE"}), 1, True)]

    def _pack(self, kind: str, body: dict[str, Any]) -> bytes:
        number = self._numbers.get(kind, 0)
        self._numbers[kind] = number + 1
        when = self.clock.wall(self.clock.now()).astimezone(UTC)
        whole = {
            "headerId": number, "timestamp": f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 10_000:02d}Z",
            "version": "2.1.0", "manufacturer": MANUFACTURER, "serialNumber": SERIAL, **body,
        }  # fmt: skip
        if kind in FORMS and not self.unchecked:
            FORMS[kind].validate(whole)
        return json.dumps(whole).encode()


async def main(url: str) -> None:
    from embodied.link.address import Address
    from embodied.link.mqtt import dial

    await Agv(dial(Address.parse(url), client_id="agv"), Clock()).run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
