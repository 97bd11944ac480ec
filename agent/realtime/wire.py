"""What a client may send: its events, decoded and checked. Fields that are not known are passed over."""

import base64
import binascii
from typing import Any

import msgspec
from msgspec import Struct, field

from agent.realtime.refusals import Refused


class ClientEvent(Struct, frozen=True, kw_only=True):
    """event_id: the client's own name of the event, given back in an `error` about it."""

    event_id: str | None = None


class SessionUpdate(ClientEvent, frozen=True, kw_only=True):
    """`session.update`: settings, those that change."""

    session: dict[str, Any]


class Append(ClientEvent, frozen=True, kw_only=True):
    """`input_audio_buffer.append`. audio: base64 of sound in the input format."""

    audio: str

    def sound(self) -> bytes:
        """The bytes. Raises `Refused`."""
        try:
            return base64.b64decode(self.audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("invalid_value", f"audio is not base64: {error}", "audio") from error


class Commit(ClientEvent, frozen=True, kw_only=True):
    """`input_audio_buffer.commit`."""


class Clear(ClientEvent, frozen=True, kw_only=True):
    """`input_audio_buffer.clear`."""


class ItemCreate(ClientEvent, frozen=True, kw_only=True):
    """`conversation.item.create`."""

    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemTruncate(ClientEvent, frozen=True, kw_only=True):
    """`conversation.item.truncate`: only `audio_end_ms` of the item have been heard."""

    item_id: str
    audio_end_ms: int
    content_index: int = 0


class ItemDelete(ClientEvent, frozen=True, kw_only=True):
    """`conversation.item.delete`."""

    item_id: str


class ItemRetrieve(ClientEvent, frozen=True, kw_only=True):
    """`conversation.item.retrieve`."""

    item_id: str


class ResponseCreate(ClientEvent, frozen=True, kw_only=True):
    """`response.create`."""

    response: dict[str, Any] = field(default_factory=dict)


class ResponseCancel(ClientEvent, frozen=True, kw_only=True):
    """`response.cancel`."""

    response_id: str | None = None


class OutputClear(ClientEvent, frozen=True, kw_only=True):
    """`output_audio_buffer.clear`."""


EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": Clear,
    "conversation.item.create": ItemCreate,
    "conversation.item.truncate": ItemTruncate,
    "conversation.item.delete": ItemDelete,
    "conversation.item.retrieve": ItemRetrieve,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
    "output_audio_buffer.clear": OutputClear,
}


def parse(text: str | bytes) -> tuple[str | None, ClientEvent | Refused]:
    """One message of a client: its event_id, if it has one, and the event or why it is refused."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return None, Refused("invalid_json", f"the message is not JSON: {error}")
    if not isinstance(raw, dict):
        return None, Refused("invalid_event", "the message must be a JSON object with a field `type`")
    event_id = raw.get("event_id")
    if not isinstance(event_id, str):
        event_id = None
        raw.pop("event_id", None)
    kind = raw.get("type")
    known = EVENTS.get(kind) if isinstance(kind, str) else None
    if known is None:
        return event_id, Refused("unknown_event", f"there is no client event {str(kind)[:100]!r} here", "type")
    try:
        return event_id, msgspec.convert(_without_null(raw), known)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        return event_id, Refused("invalid_value", f"{kind}: {error}", where.strip("$.`") or _missing(what))


def _without_null(raw: dict[str, Any]) -> dict[str, Any]:
    """Clients write null for what they leave out."""
    return {name: value for name, value in raw.items() if value is not None}


def _missing(what: str) -> str:
    """The field that a message such as "Object missing required field `audio`" is about."""
    return what.split("`")[1] if what.count("`") == 2 else ""
