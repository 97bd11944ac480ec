"""The sound formats of the protocol: 16-bit PCM, and G.711 (ITU-T Rec. G.711) by tables.

Companding is defined by its decoder; the encoder here is the exact inverse: the code whose value lies nearest.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.realtime.refusals import Refused
from streams.types import Samples


class AudioFormat(NamedTuple):
    """How sound is written on the wire.

    type: name of the format;  beta: its name in the beta of the protocol;  rate: Hertz
    decode, encode: between bytes and int16[samples];  width: bytes of a sample
    """

    type: str
    beta: str
    rate: int
    width: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    def described(self) -> dict[str, Any]:
        """As it stands in a session object."""
        return {"type": self.type, "rate": self.rate} if self.type == "audio/pcm" else {"type": self.type}


def _from_pcm(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.int16, copy=False)


def _to_pcm(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


@cache
def _ulaw() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return np.where(code & 0x80, 0x84 - size, size - 0x84).astype(np.int16)


@cache
def _alaw() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    part, step = (code & 0x0F) << 4, (code & 0x70) >> 4
    size = np.where(step == 0, part + 8, (part + 0x108) << np.maximum(step - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)


@cache
def _nearest(table: Callable[[], Samples]) -> NDArray[np.uint8]:
    """For every int16 (from the least on) the code whose value is nearest."""
    values = table().astype(np.int32)
    order = np.argsort(values, kind="stable")
    bounds = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(bounds, np.arange(-32768, 32768))].astype(np.uint8)


def _companded(table: Callable[[], Samples]) -> tuple[Callable[[bytes], Samples], Callable[[Samples], bytes]]:
    def decode(data: bytes) -> Samples:
        sound: Samples = table()[np.frombuffer(data, np.uint8)]
        return sound

    def encode(samples: Samples) -> bytes:
        return _nearest(table)[samples.astype(np.int32) + 32768].tobytes()

    return decode, encode


PCM = AudioFormat("audio/pcm", "pcm16", 24_000, 2, _from_pcm, _to_pcm)
PCM_16K = PCM._replace(rate=16_000)
ULAW = AudioFormat("audio/pcmu", "g711_ulaw", 8_000, 1, *_companded(_ulaw))
ALAW = AudioFormat("audio/pcma", "g711_alaw", 8_000, 1, *_companded(_alaw))
FORMATS = (PCM, PCM_16K, ULAW, ALAW)


def find(value: Any, param: str) -> AudioFormat:
    """The format that `value` names: "pcm16" or {"type": "audio/pcm", "rate": 24000}. Raises `Refused`."""
    if isinstance(value, str):
        for each in FORMATS:
            if value in (each.beta, each.type):
                return each
    if isinstance(value, dict):
        for each in FORMATS:
            if value.get("type") == each.type and value.get("rate") in (None, each.rate):
                return each
    raise Refused(
        "unsupported_format",
        f"{value!r} is no format of sound here: use audio/pcm (24000 or 16000 Hz), audio/pcmu or audio/pcma",
        param,
    )
