"""Events as pages are shown them: what may be large, in short. `visavis events --json` has all of it.

A question to a model holds the whole prompt, an answer comes in dozens of pieces, and a tool may return a book; every
page that is connected would be sent all of that, and who joins late the last minute of it. What is left out is told.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from agent.events import event, seconds
from streams.packet import Packet
from streams.types import Adjusted, Ask, BodyState, Call, Command, Delta, Offer, Offered, Outcome, Progress, Tripped

TEXT = 300
"""Characters of one text."""
WHOLE = 4000
"""Characters of all texts of an event that is shortened."""
ITEMS = 40
DEPTH = 6


def summary(packet: Packet[Any]) -> dict[str, Any]:
    """The event of `packet` (`agent.events.event`), but for:

    - `Ask`: instead of `request`, how many `messages` and `tools` it has, and its `bytes` as JSON
    - `Delta`: instead of `thought`, its length as `thought_characters`; `text` and `tools` shortened
    - `Offered`: of each offer `name`, `kind` and `risky`, the first 40; `offered` is how many there are
    - what a robot says (`BodyState`, `Progress`, `Tripped`), arguments of `Call` and `Command`, `Adjusted.manner`,
      `detail` and `result` of an `Outcome` that is not a `Say`: long texts and long lists shortened, marked with "…"

    What a tool was given or gave that is not JSON is shown as text.
    """
    match packet.data:
        case Ask(request=request) as ask:
            line = _event(packet, msgspec.structs.replace(ask, request={}))
            del line["request"]
            counts = {name: _count(request.get(name)) for name in ("messages", "tools")}
            return line | counts | {"bytes": _size(request)}
        case Delta(thought=thought) as delta:
            line = _event(packet, msgspec.structs.replace(delta, thought=""))
            del line["thought"]
            short = _Shortener()
            line |= {"text": short.of(delta.text), "tools": short.of(line["tools"])}
            return line | ({"thought_characters": len(thought)} if thought else {})
        case Offered(offers=offers) as offered:
            line = _event(packet, msgspec.structs.replace(offered, offers=()))
            return line | {"offers": [_named(offer) for offer in offers[:ITEMS]], "offered": len(offers)}
        case Call() | Command():
            line = _event(packet)
            return line | {"arguments": _Shortener().of(line["arguments"])}
        case Adjusted():
            line = _event(packet)
            return line | {"manner": _Shortener().of(line["manner"])}
        case BodyState() | Progress() | Tripped():
            line, short = _event(packet), _Shortener()
            texts = [name for name, value in line.items() if isinstance(value, str | list | tuple) and name != "pose"]
            return line | {name: short.of(line[name]) for name in texts}
        case Outcome(action=action) if action != "Say":
            line, short = _event(packet), _Shortener()
            return line | {"detail": short.of(line["detail"]), "result": short.of(line["result"])}
    return _event(packet)


def encoded(packet: Packet[Any]) -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(summary(packet), enc_hook=str)


def _event(packet: Packet[Any], data: Any = None) -> dict[str, Any]:
    data = packet.data if data is None else data
    try:
        return event(msgspec.structs.replace(packet, data=data))
    except TypeError:
        fields = {name: getattr(data, name) for name in data.__struct_fields__}
        line = {"t": seconds(packet.t), "topic": packet.topic.name, "type": type(data).__name__, **fields}
        return line | {"at": seconds(packet.at), "order": packet.order}


def _named(offer: Offer) -> dict[str, Any]:
    return {"name": offer.name[:TEXT], "kind": offer.kind, "risky": offer.risky}


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else 0


def _size(request: dict[str, Any]) -> int:
    return len(msgspec.json.encode(request, enc_hook=str))


class _Shortener:
    """Shortens values of JSON; `WHOLE` characters are shared by all it is given."""

    def __init__(self) -> None:
        self._left = WHOLE

    def of(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, bool | int | float):
            self._left -= 5
            return value
        if isinstance(value, dict | list | tuple) and depth >= DEPTH:
            return "…"
        if isinstance(value, dict):
            kept = {self._text(str(name)): self.of(each, depth + 1) for name, each in self._some(value.items())}
            return kept | ({"…": f"{len(value) - len(kept)} more"} if len(kept) < len(value) else {})
        if isinstance(value, list | tuple):
            some = [self.of(each, depth + 1) for each in self._some(value)]
            return [*some, f"… {len(value) - len(some)} more"] if len(some) < len(value) else some
        return self._text(value if isinstance(value, str) else str(value))

    def _some(self, items: Iterable[Any]) -> Iterator[Any]:
        """The first of `items`, as long as there is room for them."""
        for item in islice(items, ITEMS):
            if self._left <= 0:
                return
            yield item

    def _text(self, text: str) -> str:
        room = max(0, min(TEXT, self._left))
        self._left -= min(len(text), room) + 2
        return text if len(text) <= room else f"{text[:room]}… ({len(text)} characters)"
