"""How each topic is written: schema, encoding, and the exact way there and back.

Sound is `foxglove.RawAudio` and pictures are `foxglove.CompressedImage` (protobuf), which viewers play and show;
everything else is JSON, tagged by "type", with a JSON Schema generated from the payload unions.

What those two well-known schemas have no field for (`Packet.seq`, `Audio.start`, width and height of an `Image`)
follows from the message before, except after a loss or a change. Then a `Place` is written just ahead of the message:
so the way back is exact, and a steady session has one `Place` per topic at most.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from streams.packet import Packet
from streams.topics import ALL, Topic
from streams.types import Audio, Image

SECOND = 1_000_000_000
PCM = "pcm-s16"
"""The name of little-endian int16 samples in `foxglove.RawAudio.format`."""


class Place(Struct, frozen=True, tag=True):
    """Where the next message of `topic` stands, written only if it does not follow on from the one before.

    seq: `Packet.seq` of that message;  start: `Audio.start` of it;  width, height: of the `Image` in it, in pixels
    """

    topic: str
    seq: int = 0
    start: int = 0
    width: int = 0
    height: int = 0


PLACE = "place"
"""Name of the MCAP channel that carries the `Place`s. No topic of the bus."""


def place_of(packet: Packet[Any]) -> Place:
    """Where `packet` stands."""
    data = packet.data
    if type(data) is Audio:
        return Place(packet.topic.name, packet.seq, data.start)
    if type(data) is Image:
        return Place(packet.topic.name, packet.seq, 0, data.width, data.height)
    return Place(packet.topic.name, packet.seq)


def place_after(packet: Packet[Any]) -> Place:
    """Where the next packet of the topic stands if it follows on."""
    data = packet.data
    if type(data) is Audio:
        return Place(packet.topic.name, packet.seq + 1, data.end)
    if type(data) is Image:
        return Place(packet.topic.name, packet.seq + 1, 0, data.width, data.height)
    return Place(packet.topic.name, packet.seq + 1)


class Wire(NamedTuple):
    """One topic as it is in the file.

    encode: payload and the packet's `t` to bytes;  decode: bytes and the message's place to the payload; raises
        `msgspec.DecodeError` or protobuf's `DecodeError` (both `ValueError`) when the bytes are no such message
    """

    topic: str
    schema: str
    schema_encoding: str
    schema_data: bytes
    message_encoding: str
    encode: Callable[[Any, int], bytes]
    decode: Callable[[bytes, Place], Any]


def _stamp(t: int) -> Timestamp:
    return Timestamp(seconds=t // SECOND, nanos=t % SECOND)


def _encode_audio(audio: Audio, t: int) -> bytes:
    begin = t - len(audio.samples) * SECOND // audio.rate
    message = RawAudio(
        timestamp=_stamp(begin),
        data=np.ascontiguousarray(audio.samples, dtype="<i2").tobytes(),
        format=PCM,
        sample_rate=audio.rate,
        number_of_channels=1,
    )
    return bytes(message.SerializeToString())


def _decode_audio(data: bytes, place: Place) -> Audio:
    message = RawAudio.FromString(data)
    if message.format != PCM or message.number_of_channels != 1:
        raise ValueError(f"sound is {message.format!r} with {message.number_of_channels} channels, not mono {PCM!r}")
    return Audio(np.frombuffer(message.data, dtype="<i2"), message.sample_rate, place.start)


def _encode_image(image: Image, t: int) -> bytes:
    message = CompressedImage(timestamp=_stamp(t), frame_id="camera", data=image.data, format=image.format)
    return bytes(message.SerializeToString())


def _decode_image(data: bytes, place: Place) -> Image:
    message = CompressedImage.FromString(data)
    return Image(message.data, message.format, place.width, place.height)


def _descriptor_set(message: Any) -> bytes:
    """The message's own file and all it imports, imports first: what MCAP asks for as a protobuf schema."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            visit(dependency)
        found.setdefault(file.name, file)

    visit(message.DESCRIPTOR.file)
    files = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(files.file.add())
    return bytes(files.SerializeToString())


_json = msgspec.json.Encoder()


def _json_schema(title: str, types: tuple[type, ...]) -> bytes:
    """A JSON Schema of one object out of `types`, told apart by "type". Times stay what they are: integers of ns."""
    references, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for component in components.values():
        component.pop("description", None)  # what they mean is in docs/events.md, and need not be in every recording
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "oneOf": list(references),
        "$defs": components,
    }
    return msgspec.json.encode(schema)


def _json_wire(topic: str, title: str, payload: Any, types: tuple[type, ...]) -> Wire:
    decoder = msgspec.json.Decoder(payload)
    return Wire(
        topic,
        title,
        "jsonschema",
        _json_schema(title, types),
        "json",
        lambda data, t: _json.encode(data),
        lambda data, place: decoder.decode(data),
    )


def _wire(topic: Topic[Any]) -> Wire:
    if topic.payload is Audio:
        schema = _descriptor_set(RawAudio)
        return Wire(topic.name, "foxglove.RawAudio", "protobuf", schema, "protobuf", _encode_audio, _decode_audio)
    if topic.payload is Image:
        schema = _descriptor_set(CompressedImage)
        return Wire(
            topic.name, "foxglove.CompressedImage", "protobuf", schema, "protobuf", _encode_image, _decode_image
        )
    return _json_wire(topic.name, f"visavis.{topic.name.capitalize()}", topic.payload, topic.types)


WIRES: dict[str, Wire] = {topic.name: _wire(topic) for topic in ALL}
"""How each topic of the bus is written, by name."""

PLACE_WIRE = _json_wire(PLACE, "visavis.Place", Place, (Place,))
