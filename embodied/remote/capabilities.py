"""A factsheet, as agents use it: cleaned of what is not fit to be used, and as offers to a policy."""

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from embodied.remote.schema import Unfit, is_name, safe
from embodied.remote.words import Words
from embodied.robot.consent import needs_consent
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.vocabulary import RESERVED
from streams.types import Attached, Offer

_MOST = 64
"""Capabilities of one robot that are used; more would not be read by a model, either."""


def fit(factsheet: Factsheet) -> tuple[Factsheet, tuple[str, ...]]:
    """`factsheet` with those capabilities whose schemas can be used, made safe; and what is wrong with the others."""
    kept: list[Capability] = []
    wrong: list[str] = []
    for each in factsheet.capabilities:
        if len(kept) == _MOST:
            wrong.append(f"more than {_MOST} capabilities")
            break
        try:
            if not is_name(each.name):
                raise Unfit("its name is too long to be one")
            params = safe(each.params or {"type": "object"})
            if params.get("type") != "object":
                raise Unfit("params is not of type object")
        except Unfit as error:
            wrong.append(f"{each.name}: {error}")
            continue
        kept.append(replace(each, params=params))
    return replace(factsheet, capabilities=tuple(kept)), tuple(wrong)


def offers(
    factsheet: Factsheet, words: Words, prefix: str = "", agreed: Collection[str] = ()
) -> tuple[Offer, ...]:  # fmt: skip
    """What a policy may ask for: goals and instants that the robot exposes, in its order.

    factsheet: as `fit` made it;  prefix: before each name, for one of several robots
    agreed: capabilities to which a person has said yes in this session: those with `confirm` "first" need no other
    Every description is of `words`. A motion is risky; consent is told where even plain speech needs a yes.
    """
    made: list[Offer] = []
    for each in factsheet.capabilities:
        if each.kind not in ("goal", "instant") or not each.tool.expose or each.name in RESERVED:
            continue
        told = words.of(each.name)
        parameters: dict[str, Any] = {"type": "object", "properties": {}, **each.params}
        parameters["properties"] = {
            name: {**schema, "description": told.arguments[name]} if name in told.arguments else schema
            for name, schema in parameters["properties"].items()
        }
        made.append(
            Offer(
                prefix + each.name, told.description, parameters, "command", risky=each.moves, on_cut=each.on_cut,
                consent=asks(each, agreed),
            )
        )  # fmt: skip
    return tuple(made)


def asks(capability: Capability, agreed: Collection[str] = ()) -> bool:
    """Whether a person's own words are not enough: they must be asked, and say yes."""
    return needs_consent(capability, "speech", agreed_before=capability.name in agreed)


def attached(robot: str, factsheet: Factsheet) -> Attached:
    """What is told of a robot that was found."""
    limits, of = factsheet.limits, factsheet.robot
    fence = limits.geofence
    drives = any("base" in each.resources for each in factsheet.capabilities)
    return Attached(
        robot, _short(of.kind), _short(f"{of.vendor} {of.model}"), limits.radius_m if drives else 0.0,
        fence.polygon or () if fence is not None else (), fence.keep_out if fence is not None else (),
        (limits.v_max, limits.w_max) if drives else (0.0, 0.0),
    )  # fmt: skip


def _short(text: str) -> str:
    """For people's eyes: one line of 60."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:60]
