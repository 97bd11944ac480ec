"""A server that behaves as LeRobot's policy server does, as a program: `python -m tests.lerobot_server --port PORT`.

It unpickles what it is sent by Python's own `pickle`, into classes with the names of LeRobot's. Its policy: row i is
the state plus i/100. It sleeps `--load` seconds when told to load a policy and `--think` at each inference.
"""

import argparse
import dataclasses
import pickle
import queue
import sys
import threading
import types
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from tests.lerobot_pickles import HELPERS, answer


@dataclasses.dataclass
class RemotePolicyConfig:
    policy_type: str
    pretrained_name_or_path: str
    lerobot_features: dict[str, Any]
    actions_per_chunk: int
    device: str = "cpu"
    rename_map: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class TimedObservation:
    timestamp: float
    timestep: int
    observation: dict[str, Any]
    must_go: bool = False


def pretend() -> None:
    """In this process LeRobot's module is there, with these two classes."""
    for name in ("lerobot", "lerobot.async_inference", HELPERS):
        sys.modules[name] = types.ModuleType(name)
    for kind in (RemotePolicyConfig, TimedObservation):
        kind.__module__ = HELPERS
        setattr(sys.modules[HELPERS], kind.__name__, kind)


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value, at, shift, more = value | (data[at] & 127) << shift, at + 1, shift + 7, data[at] & 128
        if not more:
            return value, at


def fields(data: bytes) -> dict[int, Any]:
    """A message of protocol buffers, read without what the client wrote it by."""
    found: dict[int, Any] = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            found[tag >> 3], at = data[at : at + value], at + value
        else:
            found[tag >> 3] = value
    return found


def message(data: bytes) -> bytes:
    """The message with `data` as its first field."""
    size, head = len(data), b"\x0a"
    while size > 127:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return head + bytes([size]) + data


class Server:
    """In the ways that matter: one queue for one observation, which a greeting empties; nothing without a policy."""

    def __init__(self, fps: float = 50, load: float = 0, think: float = 0) -> None:
        self.config: RemotePolicyConfig | None = None
        self.loads = 0
        self.seen: list[TimedObservation] = []
        self._fps, self._load, self._think = fps, load, think
        self._queue: queue.Queue[TimedObservation] = queue.Queue(1)

    def ready(self, _: bytes, __: Any) -> bytes:
        self._queue = queue.Queue(1)
        return b""

    def instruct(self, data: bytes, _: Any) -> bytes:
        config = pickle.loads(fields(data)[1])
        if not isinstance(config, RemotePolicyConfig):
            raise TypeError("Policy specs must be a RemotePolicyConfig.")
        if config.policy_type == "none":
            raise ValueError("Policy type none not supported.")
        threading.Event().wait(self._load)
        self.config, self.loads = config, self.loads + 1
        print(f"loaded {config.pretrained_name_or_path}", flush=True)
        return b""

    def observe(self, parts: Any, _: Any) -> bytes:
        data = b""
        for part in parts:
            found = fields(part)
            data = found[2] if found[1] == 1 else data + found[2]
            if found[1] == 3:
                break
        seen = pickle.loads(data)
        assert isinstance(seen, TimedObservation) and seen.must_go
        self.seen = [*self.seen[-9:], seen]
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put(seen)
        return b""

    def act(self, _: bytes, __: Any) -> bytes:
        try:
            seen = self._queue.get(timeout=2)
        except queue.Empty:
            return b""
        if self.config is None:
            return b""
        threading.Event().wait(self._think)
        names = self.config.lerobot_features["observation.state"]["names"]
        state = np.array([seen.observation[name] for name in names], np.float32)
        rows = state + np.arange(self.config.actions_per_chunk, dtype=np.float32)[:, None] / 100
        return message(answer(rows, seen.timestep, seen.timestamp, 1 / self._fps))


def start(server: Any, port: int = 0, tls: Any = None, **options: Any) -> tuple[grpc.Server, int]:
    """Serve on 127.0.0.1; the port. server: with the four methods of `Server`"""
    calls = {
        "Ready": grpc.unary_unary_rpc_method_handler(server.ready),
        "SendPolicyInstructions": grpc.unary_unary_rpc_method_handler(server.instruct),
        "SendObservations": grpc.stream_unary_rpc_method_handler(server.observe),
        "GetActions": grpc.unary_unary_rpc_method_handler(server.act),
    }
    listening = grpc.server(futures.ThreadPoolExecutor(4), **options)
    listening.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("transport.AsyncInference", calls),))
    at = f"127.0.0.1:{port}"
    port = listening.add_insecure_port(at) if tls is None else listening.add_secure_port(at, tls)
    listening.start()
    return listening, port


def main() -> None:
    top = argparse.ArgumentParser()
    for name, default in (("port", 0), ("fps", 50), ("load", 0), ("think", 0)):
        top.add_argument(f"--{name}", type=float, default=default)
    chosen = top.parse_args()
    pretend()
    listening, port = start(Server(chosen.fps, chosen.load, chosen.think), int(chosen.port))
    print(port, flush=True)
    listening.wait_for_termination()


if __name__ == "__main__":
    main()
