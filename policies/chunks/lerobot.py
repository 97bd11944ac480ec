"""A policy on LeRobot's own policy server (`lerobot.async_inference.policy_server`), as any other `ChunkPolicy`.

OFF unless it is allowed by name. What the server answers moves a robot, and what the robot sees goes to the server; see
docs/lerobot.md. What it answers is a pickle, which is read but not executed (`lerobot_actions.py`). Whatever the server
does ends as a `ChunkRefused`, in bounded time, and the arm holds.
"""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from policies.chunks import lerobot_wire as wire
from policies.chunks.description import ChunkSpec
from policies.chunks.errors import ChunkRefused
from policies.chunks.lerobot_actions import most_bytes, read_chunk
from policies.chunks.lerobot_file import Between, Served
from policies.chunks.policy import Observation, Stitch
from policies.chunks.remote import OPEN_S, PAUSES_S, Address, RemoteRefused, in_a_loop
from policies.chunks.scaling import Floats
from streams.errors import DependencyMissing

T = TypeVar("T")


class LeRobotPolicy:
    """`policies.chunks.policy.ChunkPolicy` of a policy that LeRobot's policy server loads and runs.

    Made, used and closed off the event loop: each call blocks, `served.patience_s` at most and up to 0.5 s more of
    waiting after failures in a row (making it: 5 s, and `load_s` for the policy).

    served: which policy, and where;  allow_remote: must be True. It says that somebody has decided to let this server
    move the robot. One client at a time: the server forgets the one before, and its policy.
    Raises `RemoteRefused` if it is not allowed or the server cannot be used, `PackageError`, `DependencyMissing`.
    """

    def __init__(self, served: Served, *, allow_remote: bool = False) -> None:
        if allow_remote is not True:
            raise RemoteRefused(
                f"a policy on LeRobot's server ({served.address}) is off: it would see what the robot sees and move "
                "it. If you trust that server as you trust this program: allow_remote=True "
                "(--allow-remote-policy at `visavis attach`)."
            )
        try:
            import grpc  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise DependencyMissing("grpcio", "lerobot", "a policy on LeRobot's server") from error
        self._grpc, self._served, self._spec = grpc, served, served.spec()
        self._between = Between(served)
        self._channel = self._connected()
        self._calls = {
            name: (self._channel.stream_unary if name == "SendObservations" else self._channel.unary_unary)(
                wire.SERVICE + name, request_serializer=asked.SerializeToString,
                response_deserializer=answered.FromString,
            )
            for name, (asked, answered) in wire.METHODS.items()
        }  # fmt: skip
        self._setup = wire.instructions(
            served.policy, served.model, self._between.features(), served.rows, served.device
        )
        self._steps = itertools.count(1)
        self._loading: Any = None  # the server loads the policy: a call under way
        self._lost, self._stale = True, False  # it may not have the policy (any more);  something old may be on its way
        self._misses = self._nothings = 0
        self._closed, self._lock = threading.Event(), threading.Lock()
        try:
            with self._lock:
                self._attempt(min(OPEN_S, served.load_s), self._greeted)
                self._attempt(served.load_s, self._load)
        except ChunkRefused as error:
            self.close()
            raise RemoteRefused(str(error)) from error

    @property
    def spec(self) -> ChunkSpec:
        """As in `ChunkPolicy`; what the description says."""
        return self._spec

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        """As in `ChunkPolicy`; `previous`, `delay` and `stitch` mean nothing to this server."""
        raw = self._between.raw(observation.values)
        with self._lock:
            if self._misses and self._closed.wait(PAUSES_S[min(self._misses, len(PAUSES_S)) - 1]):
                raise ChunkRefused("the connection to the policy server has been closed.")
            return self._attempt(
                self._served.patience_s, lambda left: self._ask(self._awaited(left), observation.t / 1e9, raw)
            )

    def close(self) -> None:
        """Let the connection go, and end a call under way. Idempotent."""
        self._closed.set()
        self._channel.close()

    def _connected(self) -> Any:
        """A channel that tries nothing by itself, and goes nowhere but to the address."""
        to, grpc = Address.parse(self._served.address, ("grpc", "grpcs")), self._grpc
        options = [
            ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: small answers cannot become large
            ("grpc.max_receive_message_length", most_bytes(self._served.rows, len(self._spec.action.names)) + 64),
            ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.min_reconnect_backoff_ms", round(1000 * OPEN_S)),  # which is how long to wait for a connection
        ]  # fmt: skip
        host = f"[{to.host}]" if ":" in to.host else to.host
        if not to.secure:
            return grpc.insecure_channel(f"{'ipv6' if ':' in host else 'ipv4'}:{host}:{to.port}", options)
        try:
            trusted = Path(self._served.ca).read_bytes() if self._served.ca else None
        except OSError as error:
            raise RemoteRefused(f"{self._served.ca} cannot be read: {error.strerror}.") from error
        return grpc.secure_channel(f"dns:///{host}:{to.port}", grpc.ssl_channel_credentials(trusted), options)

    # --- one attempt, which is bounded by gRPC's deadlines

    def _attempt(self, seconds: float, what: Callable[[float], T]) -> T:
        """What `what` gives within `seconds`, which it is told. Raises `ChunkRefused` for whatever goes wrong."""
        if in_a_loop():
            raise ChunkRefused("a policy on a server is asked in a thread; in virtual time there is no server.")
        grpc = self._grpc
        try:
            found = what(seconds)
        except ChunkRefused as error:
            why, self._stale = str(error).rstrip("."), True
        except grpc.RpcError as error:
            code, self._stale = error.code(), True
            self._lost |= code == grpc.StatusCode.UNAVAILABLE
            told = "".join(each if each.isprintable() else " " for each in (error.details() or "")[:200]).rstrip(".")
            late = code == grpc.StatusCode.DEADLINE_EXCEEDED
            why = f"no answer within {seconds:g} s" if late else f"{code.name}: {told}"
        except (grpc.FutureCancelledError, ValueError) as error:  # it was closed meanwhile
            why = " ".join(str(error).split())[:200] or "it was closed"
        else:
            self._misses = 0
            return found
        self._misses += 1
        raise ChunkRefused(f"LeRobot's policy server {self._served.address}: {why}.")

    def _load(self, seconds: float) -> None:
        """At first: here one waits until the policy is there."""
        self._calls["SendPolicyInstructions"].future(self._setup, timeout=seconds).result()
        self._lost = False

    def _awaited(self, seconds: float) -> float:
        """Have the server ready for a question; what is left of `seconds`."""
        left = seconds
        if self._loading is None and (self._lost or self._stale):
            left = self._greeted(left)
        if self._loading is None and self._lost:
            self._loading = self._calls["SendPolicyInstructions"].future(self._setup, timeout=self._served.load_s)
            self._lost = False
        if self._loading is not None:
            try:
                self._loading.result(timeout=left / 2)
            except self._grpc.FutureTimeoutError:
                raise ChunkRefused("it is loading the policy again") from None
            except self._grpc.RpcError:
                self._loading, self._lost = None, True
                raise
            self._loading = None
            left /= 2
        return left

    def _greeted(self, seconds: float) -> float:
        """Have it forget what was asked before; what is left of `seconds`."""
        call = self._calls["Ready"].future(wire.Empty(), timeout=seconds)
        call.result()
        self._stale = False
        return max(0.001, min(seconds, float(call.time_remaining())))

    def _ask(self, seconds: float, time_s: float, raw: dict[str, Any]) -> Floats:
        step = next(self._steps)
        # Both at once, as LeRobot's own client does: the server waits for the observation before it answers.
        sending = self._calls["SendObservations"].future(wire.parts(wire.observed(step, time_s, raw)), timeout=seconds)
        asking = self._calls["GetActions"].future(wire.Empty(), timeout=seconds)
        try:
            sending.result()
            data = asking.result().data
        finally:
            sending.cancel()
            asking.cancel()
        if not data:  # nothing came in its time, its policy failed, or it was begun anew and has none
            self._nothings += 1
            self._lost = self._nothings & (self._nothings - 1) == 0 or self._nothings % 64 == 0  # but not every time
            raise ChunkRefused("it gives nothing; its own log says why")
        self._nothings = 0
        return self._between.rows(*read_chunk(data, step, self._served.rows, len(self._spec.action.names)))
