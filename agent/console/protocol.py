"""What page and server say to each other over the WebSocket; `docs/console.md` says it in words.

Text frames are JSON objects told apart by `type`; binary frames begin with one byte of kind, little-endian. Times of a
page are its `performance.now()` in milliseconds.
"""

import math
import struct
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Struct

from agent.console.settings import IceServer
from policies.llm.settings import PriceConfig
from streams.errors import VisavisError
from streams.types import Manner, Samples

VERSION = 1
TEXT_LIMIT = 64_000
BINARY_LIMIT = 512_000
SOUND, PICTURE = 1, 2

Medium: TypeAlias = Literal["microphone", "camera"]
_FROM_PAGE = struct.Struct("<B3xId")
_SOUND = struct.Struct("<BBHIq")
_PICTURE = struct.Struct("<B3xId")
_INDEX = Meta(ge=-(2**53), le=2**53)
_TIME = Meta(ge=-1e15, le=1e15)
_SPEED = Meta(ge=-1000, le=1000)


class ProtocolError(VisavisError):
    """A page sent what it should not; it is told, and stays."""


# --- from the page


class Take(Struct, tag="take"):
    """It wants to be the one whose microphone, camera or both are used."""

    media: Annotated[list[Medium], Meta(max_length=2)]


class Release(Struct, tag="release"):
    """It gives them back."""

    media: Annotated[list[Medium], Meta(max_length=2)]


class Text(Struct, tag="text"):
    """Somebody wrote to the agent."""

    text: Annotated[str, Meta(max_length=2000)]


class Stop(Struct, tag="stop"):
    """Somebody pressed stop. latch: the other one: robots stay stopped until an operator resets them"""

    latch: bool = False


class Steer(Struct, tag="steer"):
    """Somebody steers a robot, told ten times a second while it lasts; all zero: they let go.

    vx, vy: m/s forward and to the left;  wz: rad/s anticlockwise;  robot: its id, "" = the first
    time: of the page (ms), 0 if it does not say
    """

    vx: Annotated[float, _SPEED] = 0.0
    vy: Annotated[float, _SPEED] = 0.0
    wz: Annotated[float, _SPEED] = 0.0
    robot: Annotated[str, Meta(max_length=64)] = ""
    time: Annotated[float, _TIME] = 0.0


class Mute(Struct, tag="mute"):
    """The microphone is to be silence, or no longer."""

    muted: bool


class Record(Struct, tag="record"):
    """A session that is recorded (or is not) is to begin; this one ends."""

    on: bool


class Adjust(Struct, tag="adjust"):
    """The agent is to behave differently. changes: fields of `streams.types.Manner`, those that become other"""

    changes: Annotated[dict[str, Any], Meta(max_length=len(Manner.__struct_fields__))]


class Played(Struct, tag="played"):
    """index: after the last sample that has left its loudspeaker by `time` (ms)."""

    index: Annotated[int, _INDEX]
    time: Annotated[float, _TIME]


class Flushed(Struct, tag="flushed"):
    """Answer to the flush `id`. index: after the last sample that will have been heard"""

    id: int
    index: Annotated[int, _INDEX]


class Ping(Struct, tag="ping"):
    """Answered by `Pong`."""

    time: float


class Offer(Struct, tag="offer"):
    """It offers a peer connection for sound (RFC 8829); answered by `Answer`, or not at all."""

    sdp: Annotated[str, Meta(max_length=16_000)]


class Missing(Struct, tag="missing"):
    """Frames of the agent's voice did not arrive: they are sent again, over the WebSocket."""

    sequences: Annotated[list[int], Meta(max_length=256)]


FromPage: TypeAlias = (
    Take | Release | Text | Stop | Steer | Mute | Record | Adjust | Played | Flushed | Ping | Offer | Missing
)  # fmt: skip
_decoder: msgspec.json.Decoder[FromPage] = msgspec.json.Decoder(FromPage)


class Block(NamedTuple):
    """A binary frame of a page. data: of a microphone int16[n], of a camera a JPEG"""

    kind: int
    sequence: int
    time_ns: int
    data: bytes

    def samples(self) -> Samples:
        """The sound in it. Raises `ProtocolError`."""
        if len(self.data) % 2 or not 0 < len(self.data) <= 2 * 16_000:
            raise ProtocolError(f"a block of sound has {len(self.data)} bytes: 320 samples of 16 bit have 640.")
        return np.frombuffer(self.data, "<i2").astype(np.int16, copy=False)


def read_text(text: str) -> FromPage:
    """Raises `ProtocolError`."""
    if len(text) > TEXT_LIMIT:
        raise ProtocolError(f"a message of {len(text)} characters is too long: {TEXT_LIMIT} at most.")
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"a message cannot be read: {error}.") from error


def read_binary(data: bytes) -> Block:
    """Raises `ProtocolError`."""
    if len(data) < _FROM_PAGE.size:
        raise ProtocolError(f"a binary frame of {len(data)} bytes is too short for its head of {_FROM_PAGE.size}.")
    kind, sequence, time_ms = _FROM_PAGE.unpack_from(data)
    if kind not in (SOUND, PICTURE):
        raise ProtocolError(f"a binary frame of kind {kind}: there are {SOUND} (sound) and {PICTURE} (picture).")
    if not math.isfinite(time_ms) or abs(time_ms) > 1e12:
        raise ProtocolError(f"a binary frame has the time {time_ms}: it must be that of performance.now().")
    return Block(kind, sequence, round(time_ms * 1e6), data[_FROM_PAGE.size :])


# --- to the page


class SessionFacts(Struct, frozen=True, tag="session"):
    """The session as it is.

    number: of the session since the program began;  started: wall time of its beginning;  now: session time, s
    recording: name of the file being written;  speech_rate: Hertz of the agent's voice
    talker: viewer whose microphone is used;  watchers: how many pages are connected
    """

    number: int = 0
    started: str = ""
    now: float = 0.0
    recording: str | None = None
    speech_rate: int = 0
    muted: bool = False
    talker: int | None = None
    watchers: int = 0
    language: str = "en"
    echo: str = "browser"


class PageLimits(Struct, frozen=True):
    """What a page is asked to keep to."""

    image_hz: float
    image_width: int


class Behaves(Struct, frozen=True, tag="manner"):
    """How the agent behaves from now on. by: the viewer who changed it"""

    manner: Manner
    by: int


class Welcome(Struct, frozen=True, tag="welcome"):
    """The first message. price: of a million tokens of the language model, None if it is not known

    ice_servers: a peer connection for sound is welcome, with these; None: it is not
    """

    viewer: int
    name: str
    session: SessionFacts
    limits: PageLimits
    manner: Manner
    price: PriceConfig | None = None
    ice_servers: tuple[IceServer, ...] | None = None
    protocol: int = VERSION


class Taken(Struct, frozen=True, tag="taken"):
    """What was wanted is given."""

    media: list[Medium]


class Refused(Struct, frozen=True, tag="refused"):
    """What was wanted is not given, and why."""

    what: Medium
    reason: str


class Released(Struct, frozen=True, tag="released"):
    """It is not theirs any more. reason: "" if they gave it back"""

    media: list[Medium]
    reason: str = ""


class LetGo(Struct, frozen=True, tag="let_go"):
    """What they steer rests, and does so until they let go and press again. reason: why"""

    reason: str


class PausePlaying(Struct, frozen=True, tag="pause"):
    """Hold what is queued."""


class ResumePlaying(Struct, frozen=True, tag="resume"):
    """Go on from the very sample that was next."""


class FlushPlaying(Struct, frozen=True, tag="flush"):
    """Drop what is queued; answered by `Flushed`.

    epoch, sequence: of the frames that are to be played then, and number of the first; all before it are void
    """

    id: int
    epoch: int = 0
    sequence: int = 0


class Skip(Struct, frozen=True, tag="skip"):
    """Frames of the agent's voice before `sequence` are void, and those to be played have this epoch."""

    epoch: int
    sequence: int


class Sent(Struct, frozen=True, tag="sent"):
    """All frames of the agent's voice before `sequence` have been sent: what is not there then is late, or lost."""

    sequence: int


class Answer(Struct, frozen=True, tag="answer"):
    """The answer to `Offer`."""

    sdp: str


class Error(Struct, frozen=True, tag="error"):
    """Something that was sent was wrong."""

    message: str


class Notice(Struct, frozen=True, tag="notice"):
    """For people."""

    message: str


class RecordingsChanged(Struct, frozen=True, tag="recordings"):
    """The list of recordings is another now."""


class Pong(Struct, frozen=True, tag="pong"):
    """now: session time, s"""

    time: float
    now: float


ToPage: TypeAlias = (
    Welcome | SessionFacts | Taken | Refused | Released | PausePlaying | ResumePlaying | FlushPlaying | Error | Notice
    | RecordingsChanged | Pong | Behaves | Skip | Sent | Answer | LetGo
)  # fmt: skip


def text(message: ToPage) -> str:
    """As a text frame."""
    return msgspec.json.encode(message).decode()


def events_text(events: list[bytes]) -> str:
    """Encoded events as one text frame."""
    return '{"type":"events","events":[' + b",".join(events).decode() + "]}"


def sound(samples: Samples, rate: int, sequence: int, index: int, epoch: int = 0) -> bytes:
    """A binary frame of sound to play. epoch: 0 to 255, another one after each flush"""
    return _SOUND.pack(SOUND, epoch, rate, sequence & 0xFFFFFFFF, index) + samples.astype("<i2", copy=False).tobytes()


def picture(data: bytes, sequence: int, t: float) -> bytes:
    """A binary frame with a picture. t: session time, s"""
    return _PICTURE.pack(PICTURE, sequence & 0xFFFFFFFF, t) + data
