"""The conversation as the client sees it: items in their order, and the events about them."""

from typing import Any

from agent.realtime.refusals import Refused

MOST = 1000
"""Items that are kept; the oldest are forgotten."""
MOST_TEXT = 1_000_000
"""Characters of the client's own items that are kept."""
LONGEST_TEXT = 2_000
"""Characters of what a person writes at once: it is split and understood on the event loop, for tens of ms."""
LONGEST_OUTPUT = 32_000
"""Characters of a function's result, which may have to be spoken."""

Item = dict[str, Any]
Event = dict[str, Any]


class Conversation:
    """Items in order, newest last. Ids are given here: `item_1`, `item_2`, ..."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._sizes: dict[str, int] = {}  # characters of those that had text when they came
        self._size = 0
        self._count = 0
        self._last: str | None = None

    def new_id(self) -> str:
        """The id of an item to come."""
        self._count += 1
        return f"item_{self._count}"

    @property
    def last(self) -> str | None:
        """Id of the newest item."""
        return self._last

    def add(self, item: Item) -> Event:
        """Put `item` at the end; returns the event that tells it. Raises `Refused` if there is one of its id."""
        if item["id"] in self._items:
            raise Refused("item_exists", f"there is an item {item['id']!r} already", "item.id")
        previous, self._last = self._last, item["id"]
        self._items[item["id"]] = item
        self._sizes[item["id"]] = size = _size(item)
        self._size += size
        while len(self._items) > MOST or (self._size > MOST_TEXT and len(self._items) > 1):
            self._forget(next(iter(self._items)))
        return {"type": "conversation.item.added", "previous_item_id": previous, "item": copied(item)}

    def done(self, item: Item) -> Event:
        """The event that tells that `item` will not change any more."""
        ids = list(self._items)
        place = ids.index(item["id"]) if item["id"] in self._items else 0
        previous = ids[place - 1] if place else None
        return {"type": "conversation.item.done", "previous_item_id": previous, "item": copied(item)}

    def get(self, id: str) -> Item:
        """Item `id`. Raises `Refused`."""
        if id not in self._items:
            raise Refused("item_not_found", f"there is no item {id!r}", "item_id")
        return self._items[id]

    def delete(self, id: str) -> None:
        """Forget item `id`. Raises `Refused`."""
        self.get(id)
        self._forget(id)
        if self._last == id:
            self._last = next(reversed(self._items), None)

    def _forget(self, id: str) -> None:
        del self._items[id]
        self._size -= self._sizes.pop(id)


def copied(item: Item) -> Item:
    """`item` as it is now: it may change after it has been told."""
    parts = {"content": [dict(part) for part in item["content"]]} if "content" in item else {}
    return {name: value for name, value in item.items() if name != "_part"} | parts


def user_text(text: str, id: str) -> Item:
    """What a person wrote."""
    return _message(id, "user", [{"type": "input_text", "text": text}])


def user_speech(transcript: str | None, id: str) -> Item:
    """What a person said."""
    return _message(id, "user", [{"type": "input_audio", "transcript": transcript}])


def agent_message(id: str, part: str) -> Item:
    """What the agent says. part: "output_audio" or "output_text", kept in "_part", which is not told."""
    return _message(id, "assistant", [], "in_progress") | {"_part": part}


def _message(id: str, role: str, content: list[dict[str, Any]], status: str = "completed") -> Item:
    item: Item = {"id": id, "object": "realtime.item", "type": "message", "status": status, "role": role}
    return item | {"content": content}


def function_call(id: str, name: str, call_id: str) -> Item:
    """A function the agent wants called."""
    item: Item = {"id": id, "object": "realtime.item", "type": "function_call", "status": "in_progress", "name": name}
    return item | {"call_id": call_id, "arguments": ""}


def created(item: Item, fallback: str) -> Item:
    """The item that a client wants to add, checked. fallback: its id if the client gave none. Raises `Refused`."""
    id = item.get("id")
    id = id if isinstance(id, str) and 0 < len(id) <= 64 else fallback
    kind = item.get("type")
    if kind == "function_call_output":
        call, output = item.get("call_id"), item.get("output")
        if not isinstance(call, str) or not isinstance(output, str):
            raise Refused("invalid_value", "function_call_output needs the texts call_id and output", "item")
        _bounded(len(output), LONGEST_OUTPUT, "item.output")
        return {"id": id, "object": "realtime.item", "type": kind, "status": "completed", "call_id": call,
                "output": output}  # fmt: skip
    if kind != "message" or item.get("role") not in ("user", "assistant", "system"):
        raise Refused("unsupported_item", f"an item of type {kind!r} and role {item.get('role')!r} is not taken here",
                      "item.type")  # fmt: skip
    content = item.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Refused("invalid_value", "content must be a list of parts", "item.content")
    for place, part in enumerate(content):
        if part.get("type") not in ("input_text", "output_text", "text") or not isinstance(part.get("text"), str):
            raise Refused(
                "unsupported_content",
                f"a part of type {part.get('type')!r} is not taken here: send text as an item, and sound by "
                "input_audio_buffer.append",
                f"item.content[{place}]",
            )
    parts = [{"type": part["type"], "text": part["text"]} for part in content]
    made = _message(id, item["role"], parts)
    if made["role"] == "user":
        _bounded(_size(made), LONGEST_TEXT, "item.content")
    return made


def _size(item: Item) -> int:
    """Characters of what the client sent, with one for each part."""
    return sum(len(part.get("text") or "") + 1 for part in item.get("content", ())) + len(item.get("output", ""))


def _bounded(size: int, most: int, param: str) -> None:
    if size > most:
        raise Refused("text_too_long", f"it has {size} characters, and may have {most}: send less", param)


def text_of(item: Item) -> str:
    """The text of a message."""
    return " ".join(part["text"].strip() for part in item.get("content", ()) if part.get("text")).strip()
