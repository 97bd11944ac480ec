"""What may be offered of a robot that does not have our deadman: only what stops by itself when we are gone."""

import msgspec

from embodied.node.adapters.mapping import Promise
from embodied.robot.factsheet import MOTION, Capability, Factsheet


def kept(
    factsheet: Factsheet, promise: Promise, *, bounded: frozenset[str] = frozenset()
) -> tuple[Factsheet, tuple[str, ...]]:
    """The factsheet with what `promise` covers, and what has to be said about the rest, in words.

    bounded: names of capabilities that end at a known place by themselves (an order of VDA 5050, not a velocity); for
    them a promised `robot_way_m` is enough, for all other motion only `robot_timeout_ms` is.
    Without a promise motion is left out of the factsheet, so that it is an unknown capability, unless the profile says
    `supervised`: then a person has to say yes to each, at risk 2 at least, and streams stay out in any case.
    """
    capabilities: list[Capability] = []
    warnings: list[str] = []
    for each in factsheet.capabilities:
        covered = promise.robot_timeout_ms is not None or (promise.robot_way_m is not None and each.name in bounded)
        if each.kind not in MOTION or covered:
            capabilities.append(each)
        elif promise.supervised and each.kind == "goal":
            capabilities.append(msgspec.structs.replace(each, risk=max(2, each.risk), confirm="always"))
            warnings.append(
                f"supervised: {each.name} goes on when nobody speaks to the robot; stand by its hardware stop"
            )
        else:
            warnings.append(f"{each.name} is not offered: the profile does not declare safety.robot_timeout_ms")
    return msgspec.structs.replace(factsheet, capabilities=tuple(capabilities)), tuple(warnings)
