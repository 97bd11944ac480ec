"""MQTT 5 properties of a message, for brokers and strangers' tools: they repeat the JSON and never replace it."""

import math
from typing import Any

from embodied.robot.messages import Command, Setpoint
from embodied.robot.topics import DELIVERY, Channel


def properties(channel: Channel, message: object = None) -> dict[str, Any]:
    """Names as in paho's `Properties` (CorrelationData: bytes, MessageExpiryInterval: whole seconds, ...).

    The expiry is rounded up to whole seconds, at least one: it cannot stand for `ttl_ms`. Nothing here is needed to
    understand a message, and with MQTT 3.1.1 nothing is sent.
    """
    made: dict[str, Any] = {"ContentType": "application/json", "UserProperty": [("v", "1")]}
    expiry = DELIVERY[channel].expiry_s
    if isinstance(message, Command | Setpoint):
        if message.id:
            made["CorrelationData"] = message.id.encode()
        if isinstance(message, Command) and message.reply_to:
            made["ResponseTopic"] = message.reply_to
        if message.ttl_ms is not None:
            expiry = max(1, math.ceil(message.ttl_ms / 1000))
    if expiry is not None:
        made["MessageExpiryInterval"] = expiry
    return made
