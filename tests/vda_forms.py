"""The forms of VDA 5050 2.x messages as JSON Schemas: names, types and duties of fields, written down from the tables
of the specification (VDA 5050 2.1.0, sections 6.6 to 6.15; github.com/VDA5050/VDA5050). For `jsonschema`."""

from typing import Any

import jsonschema

TEXT, NUMBER, WHOLE, FLAG = (
    {"type": "string"},
    {"type": "number"},
    {"type": "integer", "minimum": 0},
    {"type": "boolean"},
)
ANGLE = {"type": "number", "minimum": -3.14159265359, "maximum": 3.14159265359}


def form(needed: dict[str, Any], optional: dict[str, Any] | None = None, *, closed: bool = True) -> dict[str, Any]:
    return {
        "type": "object", "properties": {**needed, **(optional or {})}, "required": list(needed),
        "additionalProperties": not closed,
    }  # fmt: skip


def many(item: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least}


def one_of(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


HEADER: dict[str, Any] = {
    "headerId": WHOLE, "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"}, "manufacturer": TEXT,
    "serialNumber": TEXT,
    "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{2,3}Z$"},
}  # fmt: skip
ACTION = form(
    {"actionType": TEXT, "actionId": TEXT, "blockingType": one_of("NONE", "SOFT", "HARD")},
    {"actionDescription": TEXT, "actionParameters": many(form({"key": TEXT, "value": {}}))},
)
POSITION = form(
    {"x": NUMBER, "y": NUMBER, "mapId": TEXT},
    {"theta": ANGLE, "allowedDeviationXY": {"type": "number", "minimum": 0}, "mapDescription": TEXT,
     "allowedDeviationTheta": {"type": "number", "minimum": 0, "maximum": 3.141592654}},
)  # fmt: skip
NODE = form(
    {"nodeId": TEXT, "sequenceId": WHOLE, "released": FLAG, "actions": many(ACTION)},
    {"nodePosition": POSITION, "nodeDescription": TEXT},
)
EDGE = form(
    {"edgeId": TEXT, "sequenceId": WHOLE, "released": FLAG, "startNodeId": TEXT, "endNodeId": TEXT,
     "actions": many(ACTION)},
    {"maxSpeed": NUMBER, "maxRotationSpeed": NUMBER, "orientation": ANGLE, "rotationAllowed": FLAG, "length": NUMBER,
     "direction": TEXT, "edgeDescription": TEXT, "orientationType": one_of("GLOBAL", "TANGENTIAL")},
)  # fmt: skip
ORDER = form(
    {**HEADER, "orderId": TEXT, "orderUpdateId": WHOLE, "nodes": many(NODE, 1), "edges": many(EDGE)},
    {"zoneSetId": TEXT},
)
INSTANT_ACTIONS = form({**HEADER, "actions": many(ACTION)})
CONNECTION = form({**HEADER, "connectionState": one_of("ONLINE", "OFFLINE", "CONNECTIONBROKEN")})
ACTION_STATE = form(
    {"actionId": TEXT, "actionStatus": one_of("WAITING", "INITIALIZING", "RUNNING", "PAUSED", "FINISHED", "FAILED")},
    {"actionType": TEXT, "actionDescription": TEXT, "resultDescription": TEXT},
)
ERROR = form(
    {"errorType": TEXT, "errorLevel": one_of("WARNING", "FATAL")},
    {"errorDescription": TEXT, "errorHint": TEXT,
     "errorReferences": many(form({"referenceKey": TEXT, "referenceValue": TEXT}))},
)  # fmt: skip
AGV_POSITION = form(
    {"x": NUMBER, "y": NUMBER, "theta": ANGLE, "mapId": TEXT, "positionInitialized": FLAG},
    {"localizationScore": NUMBER, "deviationRange": NUMBER, "mapDescription": TEXT},
)
STATE = form(
    {**HEADER, "orderId": TEXT, "orderUpdateId": WHOLE, "lastNodeId": TEXT, "lastNodeSequenceId": WHOLE,
     "driving": FLAG, "nodeStates": many(form({"nodeId": TEXT, "sequenceId": WHOLE, "released": FLAG})),
     "edgeStates": many(form({"edgeId": TEXT, "sequenceId": WHOLE, "released": FLAG})),
     "actionStates": many(ACTION_STATE), "errors": many(ERROR),
     "batteryState": form({"batteryCharge": NUMBER, "charging": FLAG}, {"batteryVoltage": NUMBER, "reach": NUMBER}),
     "operatingMode": one_of("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL", "SERVICE", "TEACHIN"),
     "safetyState": form({"eStop": one_of("AUTOACK", "MANUAL", "REMOTE", "NONE"), "fieldViolation": FLAG})},
    {"agvPosition": AGV_POSITION, "velocity": form({}, {"vx": NUMBER, "vy": NUMBER, "omega": NUMBER}),
     "paused": FLAG, "newBaseRequest": FLAG, "distanceSinceLastNode": NUMBER, "loads": many({}),
     "information": many({})},
)  # fmt: skip
_FORMS = {"order": ORDER, "instantActions": INSTANT_ACTIONS, "connection": CONNECTION, "state": STATE}
FORMS = {kind: jsonschema.Draft202012Validator(form) for kind, form in _FORMS.items()}
