"""How a speech-to-speech model is reached, and how long anybody waits for it."""

import ipaddress
import os
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Meta, Struct, field

from policies.errors import PolicyError
from policies.models.secret import shown

Milliseconds: TypeAlias = Annotated[int, Meta(ge=1, le=3_600_000)]
RATE = 24_000
"""Hertz of the sound on the wire, both ways: the one rate that every server of the protocol takes as PCM."""


class RealtimeSetupError(PolicyError):
    """A speech-to-speech model cannot be asked with this configuration."""


class RealtimeModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A model that hears and speaks (OpenAI's Realtime protocol, as generally available).

    url: such as "wss://api.openai.com/v1/realtime";  model: its name there ("" = as the server wishes)
    voice: of the model ("" = the server's own);  key_env: environment variable with the key; it may be unset for
        servers on this machine
    connect_ms: until the connection stands;  first_ms: from the question to the first piece of the answer
    between_ms: between two pieces;  whole_ms: of one answer
    settle_ms: how long a cancelled answer may take to end before the connection is made anew
    backoff_ms, backoff_most_ms: wait before the connection is tried again, the first time and at most
    ping_s: how often it is asked whether it still stands;  renew_min: after so many minutes it is made anew, in a
        pause (servers end their sessions after 60)
    preroll_ms: sound sent from before somebody began to speak;  ring_s: sound that is kept to be sent
    longest_s: of one answer's sound
    calls_per_turn, rounds_per_turn: bounds of the use of tools;  result_ms: how long a result is waited for before the
        model is told that the call is under way
    history: pieces of the conversation that a new connection is told
    broke_off: said where an answer ends in the middle ("" = nothing)
    extra: further fields of the session, as the server knows them, such as {"tracing": "auto"}
    """

    url: str = ""
    model: str = ""
    voice: Annotated[str, Meta(max_length=200)] = ""
    key_env: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] = "VISAVIS_REALTIME_KEY"
    connect_ms: Milliseconds = 5000
    first_ms: Milliseconds = 8000
    between_ms: Milliseconds = 5000
    whole_ms: Milliseconds = 180_000
    settle_ms: Milliseconds = 2000
    backoff_ms: Milliseconds = 500
    backoff_most_ms: Milliseconds = 30_000
    ping_s: Annotated[float, Meta(gt=0, le=3600)] = 20.0
    renew_min: Annotated[float, Meta(gt=0, le=1440)] = 55.0
    preroll_ms: Annotated[int, Meta(ge=0, le=5000)] = 300
    ring_s: Annotated[int, Meta(ge=5, le=600)] = 60
    longest_s: Annotated[int, Meta(ge=5, le=1800)] = 300
    calls_per_turn: Annotated[int, Meta(ge=0, le=100)] = 8
    rounds_per_turn: Annotated[int, Meta(ge=1, le=20)] = 4
    result_ms: Milliseconds = 5000
    history: Annotated[int, Meta(ge=0, le=1000)] = 40
    broke_off: Annotated[str, Meta(max_length=500)] = "Sorry, I lost the thread there."
    extra: dict[str, Any] = field(default_factory=dict)


def address(config: RealtimeModelConfig) -> str:
    """The URL with the model in it. Raises `RealtimeSetupError` for what is no WebSocket's."""
    try:
        parts = urlsplit(config.url)
        good = parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise RealtimeSetupError(
            f"realtime_model.url is {shown(config.url)!r}: it must be such as wss://api.openai.com/v1/realtime."
        )
    query = dict(parse_qsl(parts.query))
    if config.model:
        query["model"] = config.model
    return urlunsplit(parts._replace(query=urlencode(query)))


def key(config: RealtimeModelConfig) -> str:
    """The key, from the environment; "" if none is needed. Raises `RealtimeSetupError` where one is, and is not there.

    Nor is a key sent unencrypted beyond this machine and its own network.
    """
    found = os.environ.get(config.key_env, "") if config.key_env else ""
    parts = urlsplit(config.url)
    near = _near(parts.hostname or "")
    if not found and not near:
        raise RealtimeSetupError(
            f"{parts.hostname} wants a key: put it into the environment variable {config.key_env or 'of key_env'}."
        )
    if found and parts.scheme == "ws" and not near:
        raise RealtimeSetupError(
            f"the key of {config.key_env} would go to {parts.hostname} unencrypted: take wss:// instead of ws://."
        )
    return found


def _near(host: str) -> bool:
    """This machine, or one in the same house."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".localhost", ".home.arpa"))


def session(config: RealtimeModelConfig) -> dict[str, Any]:
    """The settings of every session with the model: turns are ours, so its own detection of them is off."""
    sound = {"type": "audio/pcm", "rate": RATE}
    output: dict[str, Any] = {"format": sound}
    if config.voice:
        output["voice"] = config.voice
    audio = {"input": {"format": sound, "turn_detection": None}, "output": output}
    return {"type": "realtime", "output_modalities": ["audio"], "audio": audio} | config.extra
