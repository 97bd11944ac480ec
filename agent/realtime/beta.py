"""The names and shapes of the beta of the protocol (header `OpenAI-Beta: realtime=v1`), made of those of today."""

from typing import Any

from agent.realtime.items import Event

_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
_PARTS = {"output_audio": "audio", "output_text": "text"}
_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}


def older(event: Event) -> Event | None:
    """`event` as the beta wrote it; None for one that it did not have."""
    kind = event["type"]
    if kind == "conversation.item.done":
        return None
    event = {**event, "type": _NAMES.get(kind, kind)}
    if "item" in event:
        event["item"] = _item(event["item"])
    if "session" in event:
        event["session"] = _session(event["session"])
    if "response" in event:
        response = event["response"]
        output = [_item(item) for item in response["output"]]
        event["response"] = {**response, "output": output, "modalities": _modalities(response["output_modalities"])}
    return event


def _item(item: dict[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return item
    return {**item, "content": [{**part, "type": _PARTS.get(part["type"], part["type"])} for part in item["content"]]}


def _modalities(now: list[str]) -> list[str]:
    return ["audio", "text"] if "audio" in now else ["text"]


def _session(session: dict[str, Any]) -> dict[str, Any]:
    hears, speaks = session["audio"]["input"], session["audio"]["output"]
    kept = {name: value for name, value in session.items() if name not in ("audio", "type", "output_modalities")}
    return kept | {
        "modalities": _modalities(session["output_modalities"]),
        "voice": speaks["voice"],
        "speed": speaks["speed"],
        "input_audio_format": _FORMATS[hears["format"]["type"]],
        "output_audio_format": _FORMATS[speaks["format"]["type"]],
        "input_audio_transcription": hears["transcription"],
        "turn_detection": hears["turn_detection"],
    }
