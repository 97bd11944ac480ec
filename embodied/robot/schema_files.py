"""The JSON Schemas of the messages, made from the types: python -m embodied.robot.schema_files DIRECTORY

The files in `embodied/robot/schemas/` are what strangers test their robots against; a test holds them to the types.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from embodied.robot import messages, reports
from embodied.robot.factsheet import Factsheet

TYPES: dict[str, Any] = {
    "command": messages.Command,
    "setpoint": messages.Setpoint,
    "chunk": messages.Chunk,
    "cancel_args": messages.CancelArgs,
    "id_args": messages.IdArgs,
    "lease_set": messages.LeaseSet,
    "estop_set": messages.EstopSet,
    "estop_reset": messages.EstopReset,
    "agent_connection": messages.AgentConnection,
    "agent_heartbeat": messages.AgentHeartbeat,
    "factsheet": Factsheet,
    "connection": reports.Connection,
    "heartbeat": reports.Heartbeat,
    "status": reports.Status,
    "lease": reports.LeaseState,
    "safety": reports.Safety,
    "state": reports.RobotState,
    "event": reports.Happening,
    "diag": list[reports.Diagnostic],
    "odometry": reports.Odometry,
    "telemetry": reports.Telemetry,
}


def schema(name: str) -> dict[str, Any]:
    """The schema of one of `TYPES`, complete in itself."""
    made = msgspec.json.schema(TYPES[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"robot v1: {name}", **made}


def text(name: str) -> str:
    """The file that is published for `name`."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def published(name: str) -> Path:
    """Where the file for `name` lies."""
    return Path(__file__).with_name("schemas") / f"{name}.json"


def main(directory: str) -> None:
    """Write all of them."""
    for name in TYPES:
        (Path(directory) / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
