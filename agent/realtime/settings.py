"""The settings of one connection: what `session.update` asks for, what of it is done, and what the client is told.

A session object always says what is in effect. What was asked for and means nothing here is taken without an error
and told in `notes`, a field of our own that other clients pass over.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent.config import Config
from agent.realtime import formats
from agent.realtime.formats import AudioFormat
from agent.realtime.refusals import Refused
from policies.turns import TurnConfig

EAGERNESS = {"low": (450, 3000), "medium": (0, 0), "auto": (0, 0), "high": (220, 800)}
"""Shortest and longest wait in ms; 0 leaves the configured one."""
NEVER_MS = 600_000  # a wait that only a commit ends
_MEANINGLESS = (
    "temperature", "max_output_tokens", "max_response_output_tokens", "prompt", "reasoning", "tracing", "truncation",
    "include", "parallel_tool_calls",
)  # fmt: skip


class Detection(Struct, frozen=True):
    """How the end of a person's turn is found. silence_ms, threshold: None for the configured ones."""

    type: Literal["server_vad", "semantic_vad"] = "semantic_vad"
    silence_ms: int | None = None
    threshold: float | None = None
    eagerness: str = "auto"
    create_response: bool = True


class Settings(Struct, frozen=True):
    """What is in effect. detection: None = the client says when a turn is over.

    modality: how answers are given;  transcribe: whether the client is told what was understood
    """

    model: str = "visavis"
    instructions: str = ""
    modality: Literal["audio", "text"] = "audio"
    hears: AudioFormat = formats.PCM
    speaks: AudioFormat = formats.PCM
    speed: float = 1.0
    detection: Detection | None = Detection()
    transcribe: bool = True
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = "auto"
    notes: tuple[str, ...] = ()

    @property
    def answers_by_itself(self) -> bool:
        """Whether a person's turn is answered without `response.create`."""
        return self.detection is not None and self.detection.create_response


def changed(now: Settings, wanted: dict[str, Any], *, running: bool) -> Settings:
    """`now` with what `session.update` asks for, in the shape of today or of the beta. Raises `Refused`.

    running: the session has begun, so that its ears and its voice stay as they are
    """
    notes: list[str] = []
    kind = wanted.get("type", "realtime")
    if kind != "realtime":
        raise Refused("unsupported_session", f"sessions of type {kind!r} are not offered here", "session.type")
    audio = _table(wanted, "audio", "session")
    hears, speaks = _table(audio, "input", "session.audio"), _table(audio, "output", "session.audio")
    for flat, into, key in (
        ("input_audio_format", hears, "format"),
        ("input_audio_transcription", hears, "transcription"),
        ("input_audio_noise_reduction", hears, "noise_reduction"),
        ("turn_detection", hears, "turn_detection"),
        ("output_audio_format", speaks, "format"),
        ("voice", speaks, "voice"),
        ("speed", speaks, "speed"),
    ):
        if flat in wanted:
            into.setdefault(key, wanted[flat])
    new = now
    if isinstance(text := wanted.get("instructions"), str):
        new = replace(new, instructions=text)
        if text:
            notes.append("instructions are kept and shown; the policy of sentences does not read them")
    modalities = wanted.get("output_modalities", wanted.get("modalities"))
    if modalities is not None:
        new = replace(new, modality=modality(modalities, "session.output_modalities"))
    if hears.get("format") is not None:
        new = replace(new, hears=formats.find(hears["format"], "session.audio.input.format"))
    if speaks.get("format") is not None:
        new = replace(new, speaks=formats.find(speaks["format"], "session.audio.output.format"))
    if "transcription" in hears:
        new = replace(new, transcribe=hears["transcription"] is not None)
    if hears.get("noise_reduction") is not None:
        notes.append("noise_reduction: none is done here")
    if speaks.get("voice") not in (None, "visavis"):
        notes.append("voice: the configured voice speaks, whatever its name")
    new = _speed(new, speaks.get("speed"), notes, running)
    if "turn_detection" in hears:
        new = replace(new, detection=_detection(now, hears["turn_detection"], notes, running))
    if wanted.get("tools") is not None:
        new = replace(new, tools=_tools(wanted["tools"]))
    if wanted.get("tool_choice") not in (None, "auto"):
        notes.append("tool_choice: the policy chooses")
    notes += [f"{name} means nothing here" for name in _MEANINGLESS if wanted.get(name) is not None]
    return replace(new, notes=tuple(notes))


def _table(of: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = of.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused("invalid_value", f"{key} must be an object", f"{where}.{key}")
    return dict(value)


def modality(value: Any, param: str) -> Literal["audio", "text"]:
    """ "text" if that is all that is asked for. Raises `Refused`."""
    if not isinstance(value, list) or not value or not set(map(str, value)) <= {"audio", "text"}:
        raise Refused("invalid_value", f'{value!r}: modalities are ["audio"] or ["text"]', param)
    return "audio" if "audio" in value else "text"


def _speed(now: Settings, wanted: Any, notes: list[str], running: bool) -> Settings:
    if wanted is None or wanted == now.speed:
        return now
    if not isinstance(wanted, int | float) or not 0.25 <= wanted <= 1.5:
        raise Refused("invalid_value", f"speed is {wanted!r}: it must be 0.25 to 1.5", "session.audio.output.speed")
    if running:
        notes.append("speed: the voice has begun; it can be chosen in the first session.update only")
        return now
    return replace(now, speed=float(wanted))


def _detection(now: Settings, wanted: Any, notes: list[str], running: bool) -> Detection | None:
    where = "session.audio.input.turn_detection"
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or wanted.get("type", "server_vad") not in ("server_vad", "semantic_vad"):
        raise Refused("invalid_value", "turn_detection is null, or of type server_vad or semantic_vad", where)
    threshold = wanted.get("threshold")
    if threshold is not None and not (isinstance(threshold, int | float) and 0 < threshold < 1):
        raise Refused("invalid_value", f"threshold is {threshold!r}: it must lie between 0 and 1", f"{where}.threshold")
    was = now.detection.threshold if now.detection else None
    if running and threshold != was:
        if threshold is not None:
            notes.append("threshold: the ear has begun; it can be chosen in the first session.update only")
        threshold = was
    silence = wanted.get("silence_duration_ms")
    if silence is not None and not (isinstance(silence, int | float) and 0 <= silence <= 30_000):
        raise Refused("invalid_value", f"silence_duration_ms is {silence!r}", f"{where}.silence_duration_ms")
    eagerness = wanted.get("eagerness") or "auto"
    if eagerness not in EAGERNESS:
        raise Refused("invalid_value", f"eagerness {eagerness!r} is none of {', '.join(EAGERNESS)}", where)
    if wanted.get("interrupt_response") is False:
        notes.append("interrupt_response: the agent always pauses for a person, and goes on if it was not meant")
    if wanted.get("prefix_padding_ms") is not None:
        notes.append("prefix_padding_ms: nothing is cut off, so nothing is padded")
    if wanted.get("idle_timeout_ms") is not None:
        notes.append("idle_timeout_ms: the agent does not ask whether somebody is there")
    kind: Literal["server_vad", "semantic_vad"] = (
        "semantic_vad" if wanted.get("type") == "semantic_vad" else "server_vad"
    )
    return Detection(
        type=kind,
        silence_ms=round(silence) if silence is not None and kind == "server_vad" else None,
        threshold=threshold,
        eagerness=eagerness,
        create_response=wanted.get("create_response") is not False,
    )


def _tools(wanted: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(wanted, list) or len(wanted) > 128:
        raise Refused("invalid_value", "tools must be a list of at most 128 functions", "session.tools")
    for place, each in enumerate(wanted):
        if not isinstance(each, dict) or each.get("type", "function") != "function":
            raise Refused("unsupported_tool", "only tools of type function are offered", f"session.tools[{place}]")
        if not isinstance(each.get("name"), str) or not each["name"]:
            raise Refused("invalid_value", "a tool needs a name", f"session.tools[{place}].name")
    return tuple(wanted)


def configured(config: Config, settings: Settings) -> Config:
    """The configuration of the session for these settings.

    No echo is cancelled, whatever is configured for others: how late a client plays what it is sent is not known here.
    """
    config = replace(config, turns=turns(config.turns, settings), echo=replace(config.echo, engine="none"))
    if settings.detection is not None and settings.detection.threshold is not None:
        threshold = settings.detection.threshold
        off = min(config.vad.threshold_off, max(threshold - 0.15, threshold / 2))
        config = replace(config, vad=replace(config.vad, threshold=threshold, threshold_off=off))
    if settings.speed != 1.0:
        espeak = config.voice.espeak
        words = min(450, max(80, round(espeak.rate_wpm * settings.speed)))
        config = replace(config, voice=replace(config.voice, espeak=replace(espeak, rate_wpm=words)))
    return config


def turns(config: TurnConfig, settings: Settings) -> TurnConfig:
    """The waits for these settings, from the configured ones."""
    detection = settings.detection
    if detection is None:
        return replace(config, min_wait_ms=NEVER_MS, max_wait_ms=NEVER_MS)
    if detection.silence_ms is not None:
        return replace(config, min_wait_ms=detection.silence_ms, max_wait_ms=detection.silence_ms)
    if detection.type == "semantic_vad" and (low := EAGERNESS[detection.eagerness])[0]:
        return replace(config, min_wait_ms=low[0], max_wait_ms=low[1])
    return config


def described(settings: Settings, session: str) -> dict[str, Any]:
    """The session object."""
    detection: dict[str, Any] | None = None
    if (found := settings.detection) is not None:
        detection = {"type": found.type, "create_response": found.create_response, "interrupt_response": True}
        if found.type == "server_vad":
            detection |= {"threshold": found.threshold, "prefix_padding_ms": 0}
            detection |= {"silence_duration_ms": found.silence_ms} if found.silence_ms is not None else {}
        else:
            detection["eagerness"] = found.eagerness
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session,
        "model": settings.model,
        "instructions": settings.instructions,
        "output_modalities": [settings.modality],
        "audio": {
            "input": {
                "format": settings.hears.described(),
                "transcription": {"model": "visavis"} if settings.transcribe else None,
                "noise_reduction": None,
                "turn_detection": detection,
            },
            "output": {"format": settings.speaks.described(), "voice": "visavis", "speed": settings.speed},
        },
        "tools": [msgspec.to_builtins(each) for each in settings.tools],
        "tool_choice": settings.tool_choice,
        "max_output_tokens": "inf",
        "notes": list(settings.notes),
    }
