"""The tools of a request, from what components offer: under names that servers take, in an order that stays.

A name that a server would refuse (it takes `^[a-zA-Z0-9_-]{1,64}$`) becomes one like it, and where two would be the
same, one that ends with a digest of the real one; `Tools.offer` leads back. Descriptions come from wherever the tool
does (an MCP server may write anything), so they are cleaned and bounded like all that others wrote.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from policies.llm.untrusted import plain
from streams.types import Manner, Offer, Offered

LOOK = "look"
"""The tool by which a model asks for the newest picture. It is carried out by the policy, which attaches it."""

STOP = "stop"
"""The tool by which a model stops all that moves. The policy carries it out as a spoken stop is: by a `Halt`. It is
safe, so it needs no yes, counts for no bound, and works where it is not offered. No other tool has this name."""

BY_MODEL = "the model"
"""The reason of such a `Halt`."""

_ALLOWED = re.compile(r"[^a-zA-Z0-9_-]")
_DESCRIPTION = 1000  # characters
_SCHEMA = 6000
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
_LOOK = Offer(LOOK, "Look: you are shown the newest picture of your camera. Use it when asked what is there.", _NOTHING)
STOPPING = Offer(
    STOP,
    "Stop everything that moves, at once. Use it whenever a motion is not wanted any more; nobody is asked.",
    _NOTHING,
)


class Tool(Struct, frozen=True):
    """One tool: its name for the server, what it stands for, and how it is told to the server."""

    name: str
    offer: Offer
    schema: dict[str, Any]


class Tools(Struct, frozen=True):
    """All tools of a request."""

    tools: tuple[Tool, ...]

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """As a request has them."""
        return [tool.schema for tool in self.tools]

    def offer(self, name: str) -> Offer | None:
        """What the server's `name` stands for; None if no such tool was offered (or it is forbidden)."""
        return next((tool.offer for tool in self.tools if tool.name == name), None)

    def name(self, offered: str, kind: str) -> str:
        """The server's name of the tool (kind "call") or motion ("command") `offered`, also if it is gone by now."""
        for tool in self.tools:
            if tool.offer.name == offered and tool.offer.kind == kind:
                return tool.name
        return valid_name(offered)


def tools_of(offered: Sequence[Offered], manner: Manner, *, look: bool) -> Tools:
    """What the model may use: everything offered but what is forbidden, by component and then as offered.

    look: pictures come in, and the model may ask for one
    """
    looking = look and LOOK not in manner.forbidden_tools
    tools = [Tool(LOOK, _LOOK, _schema(LOOK, _LOOK))] if looking else []
    moving = any(offer.kind == "command" for each in offered for offer in each.offers)
    if moving and STOP not in manner.forbidden_tools:
        tools.append(Tool(STOP, STOPPING, _schema(STOP, STOPPING)))
    offers = [(each.where, offer) for each in sorted(offered, key=lambda each: each.where) for offer in each.offers]
    as_they_are = {offer.name for _, offer in offers if valid_name(offer.name) == offer.name}
    taken = {LOOK, STOP}
    for where, offer in offers:
        name = valid_name(offer.name)
        if name in taken or (name != offer.name and name in as_they_are):
            name = _digested(name, f"{where}\0{offer.kind}\0{offer.name}")
        if name in taken or {offer.name, name} & set(manner.forbidden_tools):
            continue
        taken.add(name)
        tools.append(Tool(name, offer, _schema(name, offer)))
    return Tools(tuple(tools))


def valid_name(name: str) -> str:
    """`name` if a server takes it, else one like it."""
    return _ALLOWED.sub("_", name)[:64] or "_"


def _digested(valid: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:8]
    return f"{valid[:55]}_{digest}"


def _schema(name: str, offer: Offer) -> dict[str, Any]:
    told = plain(offer.description, _DESCRIPTION)
    if offer.kind == "command":
        told += " (A motion of your body: it is asked for, and may be refused.)"
    if offer.risky:
        told += " (Call it when it is wanted: the person is asked for a yes where one is needed.)"
    return {
        "type": "function",
        "function": {"name": name, "description": told.strip(), "parameters": _parameters(offer.parameters)},
    }


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    for cleaned in (_cleaned(schema, True), _cleaned(schema, False)):
        if isinstance(cleaned, dict) and len(msgspec.json.encode(cleaned)) <= _SCHEMA:
            return {**_NOTHING, **cleaned}
    return _NOTHING


def _cleaned(value: Any, told: bool) -> Any:
    """`value` with its texts cleaned. told: with the descriptions in it"""
    if isinstance(value, dict):
        return {
            str(key): _cleaned(each, told)
            for key, each in value.items()
            if told or not (key in ("description", "title") and isinstance(each, str))
        }
    if isinstance(value, list | tuple):
        return [_cleaned(each, told) for each in value]
    return plain(value, _DESCRIPTION) if isinstance(value, str) else value
