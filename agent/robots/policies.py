"""The chunk policies that section `robot` names: packages in folders, and servers that are trusted on purpose.

A file `*.toml` describes a policy on LeRobot's own policy server (docs/lerobot.md).
"""

import os
from pathlib import Path

from agent.errors import ConfigError
from embodied.remote.settings import RobotConfig
from policies.chunks.description import ChunkSpec
from policies.chunks.inference import OnnxPolicy
from policies.chunks.lerobot_file import Served
from policies.chunks.package import Package, read_spec
from policies.chunks.policy import ChunkPolicy

TOKEN = "VISAVIS_POLICY_TOKEN"
"""Environment variable with the token that a policy server wants."""


def load(settings: RobotConfig) -> tuple[ChunkPolicy, ...]:
    """All of them. Reads files and connects: not on an event loop. Raises `PolicyError`, which says what is wrong.

    `ConfigError` for two policies on one server of LeRobot's.
    """
    servers = [Served.read(Path(where)).server for where in settings.skills if described(where)]
    if len(set(servers)) < len(servers):
        raise ConfigError(
            "robot.skills: two policies on one LeRobot server: it has one at a time, and would answer for the one with "
            "the other. Start a server for each."
        )
    return tuple(_one(where, settings) for where in settings.skills)


def specs(settings: RobotConfig) -> tuple[ChunkSpec, ...]:
    """The descriptions, for sessions that load the rest later. Raises `PolicyError`, `ConfigError` for a server."""
    if there := next((where for where in settings.skills if remote(where)), None):
        raise ConfigError(f"robot.skills: {there}: a policy on a server goes with `visavis attach` without --web")
    for where in settings.skills:
        _no_address(where)
    return tuple(read_spec(Path(where)) for where in settings.skills)


def remote(where: str) -> bool:
    """Whether it is the address of a server, or the description of a policy on LeRobot's."""
    return where.startswith(("ws://", "wss://")) or described(where)


def described(where: str) -> bool:
    """Whether it is a file that describes a policy on LeRobot's policy server."""
    return where.endswith(".toml")


def _no_address(where: str) -> None:
    if "://" in where:
        raise ConfigError(
            f"robot.skills: {where}: a policy server is at ws:// or wss://. A policy on LeRobot's own server, at "
            "grpc:// or grpcs://, is described in a file, --skill FILE.toml (docs/lerobot.md)."
        )


def _one(where: str, settings: RobotConfig) -> ChunkPolicy:
    if described(where):
        from policies.chunks.lerobot import LeRobotPolicy  # noqa: PLC0415 - an extra, and seldom

        return LeRobotPolicy(Served.read(Path(where)), allow_remote=settings.allow_remote_policy)
    if not remote(where):
        _no_address(where)
        return OnnxPolicy(Package.read(Path(where)))
    from policies.chunks.remote import RemotePolicy  # noqa: PLC0415 - an extra, and seldom

    return RemotePolicy(where, os.environ.get(TOKEN, ""), allow_remote=settings.allow_remote_policy)
