"""What goes to and fro between a client and LeRobot's policy server: four small messages, with pickles inside.

Names and numbers are those of `lerobot/transport/services.proto` (package `transport`, service `AsyncInference`), and
of `lerobot/async_inference/helpers.py`, as LeRobot 0.4.0 to 0.6.1 publish them. Nothing of LeRobot is needed here: the
messages are described in a pool of their own, and a pickle of an object of theirs is its class's name and its state.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from policies.chunks.lerobot_actions import MODULE

SERVICE = "/transport.AsyncInference/"
PART = 1 << 20
"""Bytes of an observation in one message; the server takes 4 MB at most."""
BEGIN, MIDDLE, END = 1, 2, 3
_FIELDS: dict[str, dict[str, tuple[int, Any]]] = {
    "Empty": {},
    "PolicySetup": {"data": (1, descriptor_pb2.FieldDescriptorProto.TYPE_BYTES)},
    "Observation": {
        # an enumeration of theirs, which is the same on the wire
        "transfer_state": (1, descriptor_pb2.FieldDescriptorProto.TYPE_INT32),
        "data": (2, descriptor_pb2.FieldDescriptorProto.TYPE_BYTES),
    },
    "Actions": {"data": (1, descriptor_pb2.FieldDescriptorProto.TYPE_BYTES)},
}


def _messages() -> Callable[[str], Any]:
    file = descriptor_pb2.FileDescriptorProto(name="lerobot_services.proto", package="transport", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(name=field, number=number, type=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"transport.{name}"))


_made = _messages()
Empty, PolicySetup, Observation, Actions = map(_made, _FIELDS)
METHODS: dict[str, tuple[Any, Any]] = {
    "Ready": (Empty, Empty),
    "SendPolicyInstructions": (PolicySetup, Empty),
    "SendObservations": (Observation, Empty),  # a stream of parts
    "GetActions": (Empty, Actions),
}
"""By name: what is asked and what is answered."""


def pickled(name: str, state: Mapping[str, Any]) -> bytes:
    """A pickle that is an object of the server's class `name` when it reads it. state: its attributes, plain data."""
    # Protocol 3, which has bytes but no frames: so that the state's own pickle can stand in the middle.
    inner = pickle.dumps(dict(state), protocol=3)
    return b"\x80\x03c" + f"{MODULE}\n{name}\n".encode() + b")\x81" + inner[2:-1] + b"b."


def instructions(policy: str, model: str, features: Mapping[str, Any], rows: int, device: str) -> Any:
    """Tells the server which policy to load, and what observations will look like."""
    state = {
        "policy_type": policy, "pretrained_name_or_path": model, "lerobot_features": dict(features),
        "actions_per_chunk": rows, "device": device, "rename_map": {},
    }  # fmt: skip
    return PolicySetup(data=pickled("RemotePolicyConfig", state))


def observed(step: int, time_s: float, raw: Mapping[str, Any]) -> bytes:
    """An observation. must_go: the server would else leave out what resembles the one before."""
    state = {"timestamp": time_s, "timestep": step, "observation": dict(raw), "must_go": True}
    return pickled("TimedObservation", state)


def parts(data: bytes) -> Iterator[Any]:
    """`data` as the messages of one observation."""
    for at in range(0, len(data), PART):
        last = at + PART >= len(data)
        yield Observation(transfer_state=END if last else MIDDLE if at else BEGIN, data=data[at : at + PART])
