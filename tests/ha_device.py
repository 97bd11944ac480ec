"""A double of devices that announce themselves by Home Assistant's MQTT discovery, over any broker.

The announcements of `IRRIGATION` and `KITCHEN` are the examples of www.home-assistant.io/integrations/mqtt (sections
"Using abbreviations and base topic" and the one after it); `BOX` has the form of its example of device discovery, with
parts that can be asked.
"""

import json
from collections.abc import Callable
from typing import Any

from embodied.link.link import Link
from embodied.link.port import Dial, Message, Outgoing
from streams.clock import Clock

IRRIGATION = (
    "homeassistant/switch/irrigation/config",
    {"~": "homeassistant/switch/irrigation", "name": "garden", "cmd_t": "~/set", "stat_t": "~/state"},
)
KITCHEN = (
    "homeassistant/light/kitchen/config",
    {"~": "homeassistant/light/kitchen", "name": "Kitchen", "unique_id": "kitchen_light", "cmd_t": "~/set",
     "stat_t": "~/state", "schema": "json", "brightness": True},
)  # fmt: skip
BOX = (
    "homeassistant/device/ea334450945afc/config",
    {
        "dev": {"ids": "ea334450945afc", "name": "Kitchen", "mf": "Bla electronics", "mdl": "xya", "sw": "1.0"},
        "o": {"name": "bla2mqtt", "sw": "2.1", "url": "https://bla2mqtt.example.com/support"},
        "~": "box",
        "avty": [{"t": "~/there", "val_tpl": "{{ value_json.state }}"}],
        "cmps": {
            "bell": {"p": "button", "uniq_id": "bell_1", "cmd_t": "~/bell", "pl_prs": "RING"},
            "level": {"p": "number", "uniq_id": "level_1", "cmd_t": "~/level", "stat_t": "~/level/is", "min": 5,
                      "max": 25, "step": 0.5, "cmd_tpl": '{"to": {{ value }}}', "val_tpl": "{{ value_json.is }}"},
            "blind": {"p": "cover", "uniq_id": "blind_1", "cmd_t": "~/blind", "stat_t": "~/blind/is"},
            "robot": {"p": "vacuum", "uniq_id": "robot_1", "cmd_t": "~/robot", "stat_t": "~/robot/is",
                      "sup_feat": ["start", "stop", "return_home", "locate"]},
            "warmth": {"p": "sensor", "uniq_id": "temp01ae_t", "unit_of_meas": "°C", "val_tpl": "{{ value_json.t }}"},
            "gone": {"p": "switch"},
            "clever": {"p": "switch", "uniq_id": "clever_1", "cmd_t": "~/c", "val_tpl": "{{ states('x') | int }}"},
        },
    },
)  # fmt: skip

Answer = Callable[[str, bytes], list[tuple[str, str]]]


def answers(topic: str, payload: bytes) -> list[tuple[str, str]]:
    """What a good device says to a command."""
    text = payload.decode()
    match topic:
        case "homeassistant/switch/irrigation/set":
            return [("homeassistant/switch/irrigation/state", text)]
        case "homeassistant/light/kitchen/set":
            return [("homeassistant/light/kitchen/state", text)]
        case "box/level":
            return [("box/level/is", json.dumps({"is": json.loads(text)["to"]}))]
        case "box/blind":
            return [("box/blind/is", {"OPEN": "opening", "CLOSE": "closing", "STOP": "stopped"}[text])]
        case "box/robot":
            state = {"start": "cleaning", "stop": "idle", "return_to_base": "returning"}[text]
            return [("box/robot/is", json.dumps({"state": state}))]
    return []


class Devices:
    """got: (topic, payload) of all commands;  answer: how they answer, to be exchanged"""

    def __init__(self, dial: Dial, clock: Clock, *announced: tuple[str, dict[str, Any]]) -> None:
        self.got: list[tuple[str, str]] = []
        self.answer: Answer = answers
        self._announced = announced
        topics = [("homeassistant/+/+/set", 1), ("box/+", 1)]
        self.link = Link(dial, clock, receive=self._receive, subscriptions=topics, hello=self._hello, name="devices")

    def say(self, topic: str, text: str, *, retain: bool = False) -> None:
        self.link.send(Outgoing(topic, text.encode(), 1, retain))

    def _hello(self) -> list[Outgoing]:
        there = [Outgoing("box/there", b'{"state": "online"}', 1, True)]
        return [*(Outgoing(topic, json.dumps(body).encode(), 1, True) for topic, body in self._announced), *there]

    def _receive(self, message: Message) -> None:
        if message.topic == "box/there":
            return
        self.got.append((message.topic, message.payload.decode()))
        for topic, text in self.answer(message.topic, message.payload):
            self.say(topic, text)
