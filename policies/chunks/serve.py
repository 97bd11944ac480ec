"""A policy server: `python -m policies.chunks.serve FOLDER --port PORT` serves a package to `remote.RemotePolicy`.

On this machine only (127.0.0.1), to whoever has the token. For another machine there are tunnels: docs/lerobot.md.
`serve` takes any `ChunkPolicy`, so a policy of another library can be served by a few lines in that library's own
environment, which needs of visavis this package only.
"""

import argparse
import asyncio
import hmac
import os
import secrets
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from policies.chunks.description import ChunkSpec, Graph
from policies.chunks.errors import ChunkRefused
from policies.chunks.inference import OnnxPolicy
from policies.chunks.package import Package
from policies.chunks.policy import ChunkPolicy, Observation
from policies.chunks.remote import LEAST_TOKEN, RemoteRefused
from policies.chunks.remote_frames import (
    ACTION,
    MOST_QUESTION,
    PREVIOUS,
    PROTOCOL,
    Answer,
    Question,
    described,
    pack,
    unpack,
)  # fmt: skip
from streams import clock
from streams.errors import DependencyMissing, VisavisError
from streams.worker import Worker

HOST = "127.0.0.1"
TOKEN = "VISAVIS_POLICY_TOKEN"
MOST_CLIENTS = 4
Role: TypeAlias = Literal["policy", "encoder", "step"]


async def serve(policy: ChunkPolicy, token: str, port: int = 0, ready: Callable[[int], object] = print) -> None:
    """Serve `policy` until cancelled: one inference at a time, in a thread. ready: called with the port.

    Raises `RemoteRefused` if the port cannot be had or the token is too short, `PackageError`, `DependencyMissing`.
    """
    if len(token) < LEAST_TOKEN:
        raise RemoteRefused(f"the token of a policy server is at least {LEAST_TOKEN} characters.")
    try:
        from websockets import exceptions  # noqa: PLC0415 - an extra
        from websockets.asyncio import server  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing("websockets", "web", "a policy server") from error
    ours: list[Any] = [PROTOCOL]
    hello = msgspec.json.encode(_whole(policy.spec)).decode()
    worker, clients = Worker(clock.Clock(), "policy-server"), 0

    def admit(connection: Any, request: Any) -> Any:
        """None = welcome. A browser's page says where it is from, and has no business here."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if "Origin" in request.headers or not hmac.compare_digest(given, f"Bearer {token}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n") if clients >= MOST_CLIENTS else None

    async def attend(connection: Any) -> None:
        nonlocal clients
        clients += 1
        try:
            await connection.send(hello)
            async for message in connection:
                await connection.send(await worker.work(0, answered, policy, message))
        except exceptions.ConnectionClosed:
            pass  # the client has gone, as it may
        finally:
            clients -= 1

    try:
        running = server.serve(
            attend, HOST, port, process_request=admit, subprotocols=ours, compression=None,
            max_size=MOST_QUESTION, max_queue=2, server_header=None, ping_interval=None,
        )  # fmt: skip
        async with running as listening:
            ready(listening.sockets[0].getsockname()[1])
            await asyncio.get_running_loop().create_future()
    except OSError as error:
        raise RemoteRefused(f"cannot serve on {HOST}:{port}: {error.strerror or error}.") from error
    finally:
        worker.abandon()


def _whole(spec: ChunkSpec) -> ChunkSpec:
    """`spec` as `policy.json` has to be; a policy that is not of a package has no graphs, and names some all the same.

    Raises `PackageError` if parts of it contradict each other.
    """
    roles: tuple[Role, ...] = ("policy",) if spec.family == "one_pass" else ("encoder", "step")
    none = {role: Graph(f"{role}.onnx", "0" * 64) for role in roles}
    whole = msgspec.structs.replace(spec, graphs=spec.graphs or none)
    whole.check()
    return whole


def answered(policy: ChunkPolicy, message: bytes | str) -> bytes:
    """The answer to one message. Raises what `policy.infer` raises that is no `VisavisError`."""
    number = 0
    try:
        question, arrays = unpack(message, Question)
        number = question.id
        previous = arrays.pop(PREVIOUS, None)
        if previous is not None and (previous.ndim != 2 or previous.shape[1] != len(policy.spec.action.names)):
            raise ChunkRefused("what is planned has other columns than the policy gives.")
        rows = policy.infer(Observation(0, arrays), previous, question.delay, question.stitch)
    except VisavisError as error:
        return pack(Answer(number, str(error)[:400] or "refused"), {})
    found = {ACTION: np.asarray(rows, np.float32)}
    return pack(Answer(number, "", described(found)), found)


def main(argv: list[str] | None = None) -> int:
    """The program. The token is that of the environment (VISAVIS_POLICY_TOKEN), or a new one, which it prints."""
    top = argparse.ArgumentParser(prog="python -m policies.chunks.serve", description="Serves a chunk policy here.")
    top.add_argument("folder", metavar="FOLDER", help="a package: policy.json and its graphs")
    top.add_argument("--port", type=int, required=True, help="0 = any that is free")
    chosen = top.parse_args(argv)
    if not 0 <= chosen.port <= 65535:
        top.error(f"--port {chosen.port}: from 0 to 65535")
    token = os.environ.get(TOKEN, "")
    made = token or secrets.token_urlsafe(24)
    try:
        policy = OnnxPolicy(Package.read(Path(chosen.folder)))

        def ready(port: int) -> None:
            told = "" if token else f"  {TOKEN}={made}"
            print(f"{policy.spec.name}: ws://{HOST}:{port}{told}", flush=True)  # noqa: T201

        clock.run(serve(policy, made, chosen.port, ready), virtual=False)
    except VisavisError as error:
        print(f"policy server: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
