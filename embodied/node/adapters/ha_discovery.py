"""What a device says of itself by Home Assistant's MQTT discovery, as entities that can be asked for something. Pure.

Source: www.home-assistant.io/integrations/mqtt (section MQTT discovery: device and single-component discovery,
abbreviations, base topic `~`) and the pages of the MQTT switch, light, button, number, cover and vacuum. Templates are
programs there (Jinja); only `{{ value }}` and `{{ value_json.name }}` are understood here, and what has others is left.
"""

import re
from typing import Any

from msgspec import Struct, field

PLATFORMS = ("switch", "light", "button", "number", "cover", "vacuum")
_LONG = {
    "act_t": "action_topic", "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "bri_cmd_t": "brightness_command_topic", "bri_scl": "brightness_scale",
    "bri_stat_t": "brightness_state_topic", "bri_val_tpl": "brightness_value_template", "cmd_t": "command_topic",
    "cmd_tpl": "command_template", "cmps": "components", "dev": "device", "o": "origin", "p": "platform",
    "pl_avail": "payload_available", "pl_cls": "payload_close", "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off", "pl_on": "payload_on", "pl_open": "payload_open", "pl_prs": "payload_press",
    "pl_ret": "payload_return_to_base", "pl_stop": "payload_stop", "pl_strt": "payload_start", "ret": "retain",
    "stat_clsd": "state_closed", "stat_closing": "state_closing", "stat_off": "state_off", "stat_on": "state_on",
    "stat_open": "state_open", "stat_opening": "state_opening", "stat_stopped": "state_stopped",
    "stat_t": "state_topic", "stat_val_tpl": "state_value_template", "sup_feat": "supported_features", "t": "topic",
    "uniq_id": "unique_id", "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template", "obj_id": "object_id",
}  # fmt: skip
_SHARED = (
    "availability", "availability_mode", "availability_topic", "availability_template", "payload_available",
    "payload_not_available", "command_topic", "state_topic", "qos", "encoding",
)  # fmt: skip
_TEMPLATE = re.compile(r"^\s*\{\{\s*value(?:_json((?:\.\w+|\[['\"][\w ]+['\"]\])+))?\s*\}\}\s*$")
_VALUE = re.compile(r"\{\{\s*value\s*\}\}")
_ENTITIES_MAX, _TEXT_MAX = 200, 400


class Available(Struct, frozen=True):
    """A topic that says whether the device is there. path: in JSON, "" = the payload itself"""

    topic: str
    path: str
    yes: str
    no: str


class Entity(Struct, frozen=True):
    """One thing of a device. ids: by which an allowlist may name it;  path: of its state in JSON, "" = the payload

    config: the whole configuration with long names and whole topics;  left: why it cannot be used, "" = it can
    """

    platform: str
    ids: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    available: tuple[Available, ...] = ()
    left: str = ""

    def text(self, key: str, default: str = "") -> str:
        """A text of the configuration, or `default` if there is none."""
        found = self.config.get(key, default)
        return found[:_TEXT_MAX] if isinstance(found, str) else default

    def number(self, key: str, default: float) -> float:
        """A finite number of the configuration, or `default`."""
        found = self.config.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e15:
            return default
        return float(found)


def discovered(topic: str, body: Any, prefix: str = "homeassistant") -> list[Entity] | None:
    """The entities in a message on a discovery topic; [] takes back what was there; None: it is none. Never raises."""
    parts = topic.split("/")
    if len(parts) not in (4, 5) or parts[0] != prefix or parts[-1] != "config":
        return None
    if not isinstance(body, dict):
        return [] if body == "" else None
    component, object_id = parts[1], parts[-2]
    whole = _long(body)
    if component != "device":
        return [_entity(component, object_id, whole, whole.get("~"))] if component in PLATFORMS else None
    components = whole.get("components")
    if not isinstance(components, dict):
        return None
    found = []
    for key, each in list(components.items())[:_ENTITIES_MAX]:
        own = _long(each) if isinstance(each, dict) else {}
        platform = own.get("platform")
        if platform in PLATFORMS and len(own) > 1:  # a platform alone takes the component back
            shared = {name: whole[name] for name in _SHARED if name in whole}
            found.append(_entity(str(platform), str(key), {**shared, **own}, own.get("~", whole.get("~"))))
    return found


def _long(body: dict[str, Any]) -> dict[str, Any]:
    return {_LONG.get(key, key): value for key, value in body.items() if isinstance(key, str)}


def _entity(platform: str, object_id: str, config: dict[str, Any], base: Any) -> Entity:
    config = {key: _based(key, value, base) for key, value in config.items()}
    ids = [config.get("unique_id"), config.get("object_id"), object_id]
    named = tuple(dict.fromkeys(each for each in ids if isinstance(each, str) and 0 < len(each) <= 128))
    left = ""
    path = _path(config.get("state_value_template" if platform == "light" else "value_template"))
    available = _availability(config, base)
    if path is None:
        left = "its value_template is a program; only {{ value }} and {{ value_json.name }} are understood"
    elif available is None:
        left = "its availability cannot be understood"
    elif re.search(r"\{[{%#]", _VALUE.sub("", _words(config.get("command_template")))):
        left = "its command_template is a program; only {{ value }} is understood"
    for key in ("command_topic", "state_topic", "brightness_command_topic"):
        topic = config.get(key)
        if topic is not None and not _publishable(topic):
            left = f"its {key} is no topic"
    if platform in PLATFORMS and not left and not _publishable(config.get("command_topic")):
        left = "it has no command_topic"
    return Entity(platform, named, config, path or "", available or (), left)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _publishable(topic: Any) -> bool:
    return isinstance(topic, str) and 0 < len(topic) <= _TEXT_MAX and not any(c in topic for c in "+#\0~")


def _based(key: str, value: Any, base: Any) -> Any:
    if key.endswith("topic") and isinstance(value, str) and isinstance(base, str):
        if value.startswith("~"):
            return base + value[1:]
        if value.endswith("~"):
            return value[:-1] + base
    return value


def _path(template: Any) -> str | None:
    """Where the value is, as a path ("" = the payload); None for a template that is a program."""
    if template is None:
        return ""
    found = _TEMPLATE.match(template) if isinstance(template, str) else None
    if found is None:
        return None
    return ".".join(re.findall(r"[\w ]+", found[1] or ""))


def _availability(config: dict[str, Any], base: Any) -> tuple[Available, ...] | None:
    listed = config.get("availability")
    if listed is None:
        topic = config.get("availability_topic")
        listed = (
            [] if topic is None else [{**config, "topic": topic, "value_template": config.get("availability_template")}]
        )
    if not isinstance(listed, list):
        return None
    found: list[Available] = []
    for each in listed[:10]:
        if not isinstance(each, dict):
            return None
        one = {key: _based(key, value, base) for key, value in _long(each).items()}
        path = _path(one.get("value_template"))
        if path is None or not _publishable(one.get("topic")):
            return None
        yes, no = one.get("payload_available", "online"), one.get("payload_not_available", "offline")
        found.append(Available(one["topic"], path, str(yes), str(no)))
    return tuple(found)


def rendered(template: Any, value: str) -> str:
    """A command_template with its value. (What is more than {{ value }} was refused by `discovered`.)"""
    return _VALUE.sub(lambda _: value, template) if isinstance(template, str) else value
