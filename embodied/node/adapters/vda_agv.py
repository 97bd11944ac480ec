"""An AGV that speaks VDA 5050 2.x, seen from its master control: what it says, and how it is asked. No decisions."""

import math
import secrets
from datetime import UTC
from typing import Any, Literal

from embodied.node.adapters.foreign import Foreign
from embodied.node.adapters.mapping import MISSING, Inlet, walk
from embodied.node.adapters.readings import Readings
from streams.clock import Clock

Topic = Literal["order", "instantActions"]
_ERRORS_MAX = 10
FATAL = ("FATAL", "CRITICAL", "URGENT")  # the last two of 3.0


class Agv:
    """One AGV. root: of its topics, "interface/v2/manufacturer/serial";  version: of the protocol, in headers

    actions_key: what the list in instantActions is called: "actions" by the specification, "instantActions" by some
    state, factsheet: the newest as decoded, {} before;  online: what it last said of its connection, if anything
    """

    def __init__(
        self, clock: Clock, root: str, manufacturer: str, serial: str, *, version: str, actions_key: str,
        inlets: tuple[Inlet, ...],
    ) -> None:  # fmt: skip
        self._clock, self._root = clock, root
        self._header = {"version": version, "manufacturer": manufacturer, "serialNumber": serial}
        self._actions_key = actions_key
        self._numbers: dict[str, int] = {}
        self._asked = 0
        self._name = secrets.token_hex(4)  # an actionId is never used twice, not by the next start either
        self.readings = Readings(inlets)
        self.state: dict[str, Any] = {}
        self.factsheet: dict[str, Any] = {}
        self.online: bool | None = None
        self.foreign: Foreign | None = None

    # --- what it says

    def hear(self, topic: str, body: Any, retained: bool) -> None:
        """A message of its topics, in any form."""
        if not isinstance(body, dict):
            return
        kind = topic.removeprefix(self._root + "/")
        if kind == "connection":
            self.online = body.get("connectionState") == "ONLINE"
            if not self.online:
                self.readings.forget()
        elif kind == "factsheet":
            self.factsheet = body
        elif not retained:  # an old state says nothing of now
            if kind == "state":
                self.state = body
            self.readings.take(topic, body, self._clock.now())

    def silence(self, now: int) -> float:
        """For how long (ns) it has said nothing of itself."""
        return math.inf if self.readings.heard is None else now - self.readings.heard

    @property
    def paused(self) -> bool:
        """Whether it says that it is paused, by whomever."""
        return self.state.get("paused") is True

    @property
    def driving(self) -> bool:
        """Whether it says that it drives or turns."""
        return self.state.get("driving") is True

    @property
    def by_hand(self) -> bool:
        """Whether a person has taken it over: then what it drives is not ours to end."""
        return self.state.get("operatingMode") in ("MANUAL", "SERVICE", "TEACHIN")

    @property
    def reached(self) -> int:
        """The sequenceId of the last node that it has come to, -1 if that is not known."""
        found = self.state.get("lastNodeSequenceId")
        return int(found) if isinstance(found, int | float) and not isinstance(found, bool) else -1

    def has(self, order: str, update: int | None = None) -> bool:
        """Whether it has accepted this order (and this update of it)."""
        if self.state.get("orderId") != order:
            return False
        return update is None or self.state.get("orderUpdateId") == update

    @property
    def idle(self) -> bool:
        """Whether nothing is left of its order, and it stands."""
        return not self.state.get("nodeStates") and not self.state.get("edgeStates") and not self.driving

    def action(self, id: str) -> tuple[str, str]:
        """(actionStatus, resultDescription) of the action `id`, empty before it tells."""
        states = self.state.get("actionStates")
        for each in states if isinstance(states, list) else ():
            if walk(each, "actionId") == id:
                status, said = walk(each, "actionStatus"), walk(each, "resultDescription")
                return status if isinstance(status, str) else "", said[:400] if isinstance(said, str) else ""
        return "", ""

    def refused(self, order: str) -> str:
        """Why it does not want order `order`, or cannot go on with any; empty if it says nothing of the kind."""
        for each in self._errors():
            references = walk(each, "errorReferences")
            about = any(
                walk(one, "referenceValue") == order for one in (references if isinstance(references, list) else ())
            )
            if about or walk(each, "errorLevel") in FATAL:
                return _words(each)
        return ""

    def troubles(self) -> tuple[str, ...]:
        """Its errors and its protective field, in words."""
        found = [_words(each) for each in self._errors()]
        if walk(self.state, "safetyState.fieldViolation") is True:
            found.insert(0, "something is in its protective field")
        return tuple(found)

    def _errors(self) -> list[Any]:
        errors = self.state.get("errors")
        return errors[:_ERRORS_MAX] if isinstance(errors, list) else []

    # --- how it is asked

    def ask(self, kind: str, parameters: list[dict[str, Any]] | None = None, *, first: bool = False) -> str:
        """Send one instant action; its actionId, or "" if there is no link."""
        self._asked += 1
        id = f"{self._name}-{self._asked}-{kind}"
        action = {"actionType": kind, "actionId": id, "blockingType": "NONE", "actionParameters": parameters or []}
        return id if self.send("instantActions", {self._actions_key: [action]}, first=first) else ""

    def send(self, topic: Topic, body: dict[str, Any], *, first: bool = False) -> bool:
        """Send `body` with a header. False: there is no link, and it is not kept."""
        number = self._numbers.get(topic, 0)
        self._numbers[topic] = number + 1
        when = self._clock.wall(self._clock.now()).astimezone(UTC)
        stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 10_000:02d}Z"
        whole = {"headerId": number, "timestamp": stamp, **self._header, **body}
        return self.foreign is not None and self.foreign.send(f"{self._root}/{topic}", whole, first=first)


def inlets_under(root: str, inlets: tuple[Inlet, ...]) -> tuple[Inlet, ...]:
    """Those of a profile, whose topics are the last level only ("state")."""
    return tuple(Inlet(f"{root}/{each.topic}", each.read, each.qos, each.recalled) for each in inlets)


def _words(error: Any) -> str:
    parts = [walk(error, name) for name in ("errorLevel", "errorType", "errorDescription")]
    return ": ".join(part[:150] for part in parts if part is not MISSING and isinstance(part, str)) or "an error"


def speed_limit(factsheet: dict[str, Any]) -> float | None:
    """The AGV's own highest speed (m/s), if its factsheet has one."""
    found = walk(factsheet, "physicalParameters.speedMax")
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found) and found > 0:
        return float(found)
    return None
