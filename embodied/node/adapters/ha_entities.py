"""What can be asked of an entity, and how to know that it was done. Pure. Source: see `ha_discovery.py`."""

import json
import math
from typing import Annotated, Any

from msgspec import Meta, Struct

from embodied.node.adapters.ha_discovery import Entity, rendered
from embodied.robot.factsheet import Capability, Tool
from embodied.robot.vocabulary import Confirm, Name

Wanted = tuple[str, ...]


class EntityRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner lets agents do with one entity. name: of the capability, after the platform ("switch.NAME")

    risk: if another than usual (0 for lamps and switches, 2 for what moves);  words: for people
    self_stopping: it moves, and its maker has seen to it that it stops at people and obstacles; else it is not offered
    """

    name: Name
    risk: Annotated[int, Meta(ge=0, le=3)] | None = None
    expose: bool = True
    confirm: Confirm = "never"
    words: str = ""
    self_stopping: bool = False


class Ask(Struct, frozen=True):
    """One capability of an entity. payload: what to send, "" = made of the arguments;  wanted: states that end it well

    An empty `wanted` is a state that depends on the arguments, or none at all.
    """

    entity: Entity
    capability: Capability
    payload: str = ""
    wanted: Wanted = ()


_STEP_SLACK = 1e-6


def asks(entity: Entity, rule: EntityRule) -> list[Ask]:
    """All that can be asked of it."""
    text = entity.text
    params: dict[str, Any]
    match entity.platform:
        case "switch":
            return [_ask(entity, rule, "", {"on": {"type": "boolean"}}, ["on"], 0)]
        case "light":
            params = {"on": {"type": "boolean"}}
            if _brightness(entity):
                params["brightness"] = {"type": "number", "minimum": 0, "maximum": 1}
            return [_ask(entity, rule, "", params, ["on"], 0)]
        case "button":
            return [_ask(entity, rule, "", {}, [], 1, text("payload_press", "PRESS"))]
        case "number":
            low, high, _ = span(entity)
            params = {"value": {"type": "number", "minimum": low, "maximum": high}}
            return [_ask(entity, rule, "", params, ["value"], 1)]
        case "cover":
            said = {key: text(f"state_{key}", key) for key in ("open", "opening", "closed", "closing", "stopped")}
            opens, closes = (said["opening"], said["open"]), (said["closing"], said["closed"])
            moves = [
                _ask(entity, rule, ".open", {}, [], 2, text("payload_open", "OPEN"), opens),
                _ask(entity, rule, ".close", {}, [], 2, text("payload_close", "CLOSE"), closes),
            ]
            rests = (said["stopped"], said["open"], said["closed"])
            stop = _ask(entity, rule, ".stop", {}, [], 0, text("payload_stop", "STOP"), rests)
            return [*(moves if rule.self_stopping else []), stop]
        case "vacuum":
            can = entity.config.get("supported_features", ["start", "stop", "return_home"])
            can = can if isinstance(can, list) else [can]
            made = []
            if rule.self_stopping and "start" in can:
                made.append(_ask(entity, rule, ".start", {}, [], 2, text("payload_start", "start"), ("cleaning",)))
            if rule.self_stopping and "return_home" in can:
                home = text("payload_return_to_base", "return_to_base")
                made.append(_ask(entity, rule, ".return", {}, [], 2, home, ("returning", "docked")))
            if "stop" in can:
                stop_states = ("idle", "paused", "docked")
                made.append(_ask(entity, rule, ".stop", {}, [], 0, text("payload_stop", "stop"), stop_states))
            return made
    return []


def _ask(
    entity: Entity, rule: EntityRule, suffix: str, properties: dict[str, Any], required: list[str], risk: int,
    payload: str = "", wanted: Wanted = (),
) -> Ask:  # fmt: skip
    name = f"{entity.platform}.{rule.name}"
    risk = risk if rule.risk is None or suffix == ".stop" else rule.risk
    capability = Capability(
        f"{name}{suffix}", "instant", {"type": "object", "properties": properties, "required": required},
        resources=(name,), risk=risk, confirm="never" if suffix == ".stop" else rule.confirm, timeout_s=10.0,
        idempotent=entity.platform != "button", on_cut="finish", tool=Tool(rule.words[:400], rule.expose),
    )  # fmt: skip
    return Ask(entity, capability, payload, wanted)


def span(entity: Entity) -> tuple[float, float, float]:
    """Of a number: lowest, highest, step. Home Assistant's defaults are 1, 100 and 1."""
    low, high = entity.number("min", 1.0), entity.number("max", 100.0)
    step = entity.number("step", 1.0)
    return (low, high, step if step > 0 else 1.0) if low < high else (1.0, 100.0, 1.0)


def order(ask: Ask, args: dict[str, Any]) -> tuple[list[tuple[str, str]], Wanted | float]:
    """([(topic, payload), ...] to send, the states (or the number) that end it well). Raises ValueError in words."""
    entity = ask.entity
    topic, text = entity.text("command_topic"), entity.text
    if ask.payload:
        return [(topic, ask.payload)], ask.wanted
    if entity.platform == "number":
        low, _, step = span(entity)
        value = float(args["value"])
        steps = (value - low) / step
        if abs(steps - round(steps)) > max(_STEP_SLACK, abs(steps) * 1e-9):
            raise ValueError(f"{value:g} is no step of {step:g} from {low:g} on")
        whole = round(value) if float(value).is_integer() else value
        return [(topic, rendered(entity.config.get("command_template"), f"{whole}"))], value
    on = bool(args["on"])
    payload = text("payload_on", "ON") if on else text("payload_off", "OFF")
    wanted = text("state_on", payload) if on else text("state_off", payload)
    if entity.platform == "light" and entity.config.get("schema") == "json":
        body: dict[str, Any] = {"state": "ON" if on else "OFF"}
        if on and "brightness" in args and _brightness(entity):
            body["brightness"] = round(args["brightness"] * entity.number("brightness_scale", 255))
        return [(topic, json.dumps(body))], (body["state"],)
    sent = [(topic, rendered(entity.config.get("command_template"), payload))]
    dimmer = text("brightness_command_topic")
    if on and dimmer and "brightness" in args:
        sent.append((dimmer, f"{round(args['brightness'] * entity.number('brightness_scale', 255))}"))
    return sent, (wanted,)


def met(state: Any, wanted: Wanted | float) -> bool:
    """Whether a state, as it was said, is what was wanted."""
    if isinstance(wanted, float):
        try:
            return not isinstance(state, bool) and math.isclose(float(state), wanted, rel_tol=1e-6, abs_tol=1e-6)
        except (TypeError, ValueError, OverflowError):
            return False
    said = state if isinstance(state, str) else str(state) if isinstance(state, int | float) else ""
    said = said.lower() if isinstance(state, bool) else said  # "true" was sent, and read as JSON
    return said in wanted


def _brightness(entity: Entity) -> bool:
    return bool(entity.text("brightness_command_topic")) or entity.config.get("brightness") is True
