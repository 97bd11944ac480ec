"""What a client may ask, with the types and bounds of every field: events are checked here and nowhere else."""

from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from wyoming.event import Event

from agent.wyoming.errors import BrokenEvent, Refusal
from streams.types import Samples

R = TypeVar("R", bound=Struct)


class Sound(Struct, frozen=True):
    """`audio-start` and `audio-chunk`: the format of the bytes, whole numbers in little-endian order, interleaved.

    width: bytes of a sample; one byte is unsigned, as in a WAV file
    """

    rate: Annotated[int, Meta(ge=4000, le=192_000)]
    width: Annotated[int, Meta(ge=1, le=4)]
    channels: Annotated[int, Meta(ge=1, le=32)]

    def mono(self, payload: bytes | None) -> Samples:
        """int16[samples] of the bytes, channels mixed down. Raises `BrokenEvent` where a sample is cut in two."""
        data = payload or b""
        if len(data) % (self.width * self.channels):
            raise BrokenEvent(f"audio-chunk: {len(data)} bytes are no whole samples of {self.channels} x {self.width}")
        raw = np.frombuffer(data, np.uint8).reshape(-1, self.width)
        if self.width == 1:
            wide = (raw[:, 0].astype(np.int32) - 128) << 8
        else:  # the two highest bytes are all that int16 can hold
            wide = np.ascontiguousarray(raw[:, -2:]).view("<i2")[:, 0].astype(np.int32)
        mixed: Samples = (wide.reshape(-1, self.channels).sum(axis=1) // self.channels).astype(np.int16)
        return mixed


class Transcription(Struct, frozen=True):
    """`transcribe`. What biases a recogniser (names, terms) is not used: ours listens for its sentences."""

    language: str | None = None


class Sentence(Struct, frozen=True):
    """`transcript` and `recognize`: a text to answer. context: given back with the answer"""

    text: str
    language: str | None = None
    context: dict[str, Any] | None = None

    @property
    def dialogue(self) -> str:
        """Which conversation it belongs to, as Home Assistant names it; "" if it names none."""
        named = (self.context or {}).get("conversation_id")
        return named if isinstance(named, str) else ""


class Which(Struct, frozen=True):
    """Which voice: by name, or else by language."""

    name: str | None = None
    language: str | None = None


class Speech(Struct, frozen=True):
    """`synthesize` and `synthesize-start`."""

    text: str = ""
    voice: Which | None = None
    text_format: str | None = None


class Piece(Struct, frozen=True):
    """`synthesize-chunk`."""

    text: str


class Pipeline(Struct, frozen=True):
    """`run-pipeline`."""

    start_stage: str
    end_stage: str


class Echoed(Struct, frozen=True):
    """`ping`."""

    text: str | None = None


def parse(event: Event, kind: type[R]) -> R:
    """The fields of `event`; others are passed over. Raises `BrokenEvent` with the name of the wrong one."""
    try:
        return msgspec.convert(event.data, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BrokenEvent(f"{event.type}: {error}") from None


def check_text(text: str, most: int) -> str:
    """`text`, if it is not longer than `most` characters. Raises `Refusal`."""
    if len(text) > most:
        raise Refusal("text", f"the text has {len(text)} characters: at most {most} are taken")
    return text


def check_language(language: str | None, ours: str) -> None:
    """Raises `Refusal` unless `language` is ours, whatever the region, or not said."""
    if language and base(language) != base(ours):
        raise Refusal("language", f"the language {language!r} is not understood here, only {ours!r}")


def base(language: str) -> str:
    """ "en" of "en-GB" or "en_US"."""
    return language.replace("_", "-").partition("-")[0].lower()
