"""What an AGV can do besides driving: the actions of its VDA 5050 factsheet, as capabilities. Pure.

Source: VDA 5050 2.1, section 6.15 (`protocolFeatures.agvActions`); 3.0 calls them `mobileRobotActions`.
"""

import re
from typing import Annotated, Any

from msgspec import Meta, Struct

from embodied.node.adapters.mapping import walk
from embodied.robot.factsheet import Capability, Tool
from embodied.robot.vocabulary import NAME_PATTERN, Confirm

# What the adapter itself uses, or what would change the AGV under its feet.
KEPT_BACK = frozenset({
    "startPause", "stopPause", "cancelOrder", "stateRequest", "factsheetRequest", "initPosition", "logReport",
    "enableMap", "downloadMap", "deleteMap", "updateCertificate", "trigger", "retry", "skipRetry", "startHibernation",
    "stopHibernation", "shutdown", "clearInstantActions", "clearZoneActions",
})  # fmt: skip
_TYPES = {"BOOL": "boolean", "NUMBER": "number", "INTEGER": "integer", "FLOAT": "number", "STRING": "string"}
_ACTIONS_MAX, _PARAMETERS_MAX = 64, 32


class ActionRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner says of one action. Without a rule: risk 2, not for people's and models' wishes.

    resource: which it uses; "base" keeps the AGV from being driven meanwhile
    """

    risk: Annotated[int, Meta(ge=0, le=3)] = 2
    expose: bool = False
    confirm: Confirm = "never"
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    resource: str = "base"


class AgvAction(Struct, frozen=True):
    """An action that can be asked for. kind: its actionType;  instant: by instantActions, else in an order"""

    kind: str
    instant: bool
    capability: Capability


def actions_of(factsheet: Any, rules: dict[str, ActionRule]) -> dict[str, AgvAction]:
    """By capability name. factsheet: decoded JSON from an AGV, of any form: what is not understood is passed over."""
    listed = walk(factsheet, "protocolFeatures.agvActions")
    if not isinstance(listed, list):
        listed = walk(factsheet, "protocolFeatures.mobileRobotActions")
    found: dict[str, AgvAction] = {}
    for each in listed[:_ACTIONS_MAX] if isinstance(listed, list) else ():
        action = _action(each, rules)
        if action is not None:
            found.setdefault(action.capability.name, action)
    return found


def _action(each: Any, rules: dict[str, ActionRule]) -> AgvAction | None:
    kind, scopes = walk(each, "actionType"), walk(each, "actionScopes")
    if not isinstance(kind, str) or kind in KEPT_BACK or not isinstance(scopes, list):
        return None
    name = "agv." + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    instant = "INSTANT" in scopes
    if not re.match(NAME_PATTERN, name) or len(name) > 64 or not (instant or "NODE" in scopes):
        return None
    params = _params(walk(each, "actionParameters"))
    if params is None:
        return None
    rule = rules.get(kind, ActionRule())
    said = walk(each, "actionDescription")
    capability = Capability(
        name, "goal", params, resources=(rule.resource,), risk=rule.risk, confirm=rule.confirm,
        timeout_s=rule.timeout_s, preempt="reject",
        tool=Tool(said[:400] if isinstance(said, str) else "", rule.expose),
    )  # fmt: skip
    return AgvAction(kind, instant, capability)


def _params(listed: Any) -> dict[str, Any] | None:
    """As a JSON Schema; None if a parameter that is needed has a type which cannot be checked."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for each in listed[:_PARAMETERS_MAX] if isinstance(listed, list) else ():
        key, kind, optional = walk(each, "key"), walk(each, "valueDataType"), walk(each, "isOptional") is True
        schema = _TYPES.get(kind) if isinstance(kind, str) else None
        if not isinstance(key, str) or len(key) > 64 or schema is None:
            if optional:
                continue
            return None
        properties[key] = {"type": schema, "maxLength": 400} if schema == "string" else {"type": schema}
        if not optional:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required}


def parameters(args: dict[str, Any]) -> list[dict[str, Any]]:
    """`args` as actionParameters."""
    return [{"key": key, "value": value} for key, value in args.items()]
