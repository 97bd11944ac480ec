"""A spoken conversation of two agents: ours asks, as its speech-to-speech model, the `/v1/realtime` of another.

The person asks, and cuts in once; it is recorded, and replayed without the other. All parts are real, but for the
recogniser of the one who asks, which reads along.
"""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import registry
from agent.assembly import assemble, header
from agent.config import Config, load, reload
from agent.parts import intents
from agent.replay import Replay
from agent.replaying import perform
from agent.session import Log
from policies.models.realtime_link import RealtimeLink
from policies.models.realtime_settings import RealtimeModelConfig
from policies.realtime import RealtimePolicy
from streams import clock as clocks
from streams.audio.resample import Resampler
from streams.clock import wall_now
from streams.devices.files import AudioFile
from streams.packet import Packet
from streams.recording import Recorder, Recording
from streams.topics import PLAYBACK
from streams.types import Ask, Audio, Delta, Fault, Outcome, Played, Say
from tests.composed import Said, compose
from tests.dialogues import parts
from tests.realtime_client import TOKEN, hearing, serving
from tests.realtime_model_server import SpeakingBody

pytest.importorskip("av")
pytest.importorskip("espeakng_loader")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures(parts.__name__)]
__all__ = ["parts"]

PATIENT = RealtimeModelConfig(first_ms=20_000, between_ms=10_000, key_env="A_KEY", model="visavis")


def made(config: Config, wall: Any) -> RealtimePolicy:
    """The policy, as the registry would make it."""
    return RealtimePolicy(PATIENT, intents(config, wall))


class Listening(RealtimeLink):
    """Keeps what the server says.  events: in order, without sound"""

    def __init__(self, config: RealtimeModelConfig) -> None:
        super().__init__(config, Resampler)
        self.events: list[dict[str, Any]] = []

    def heard(self, event: dict[str, Any]) -> None:
        if event["type"] == "conversation.item.truncated":
            self.line.send({"type": "conversation.item.retrieve", "item_id": event["item_id"]})
        if not event["type"].endswith("audio.delta"):
            self.events.append(event)
        super().heard(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["type"] == kind]


def test_a_spoken_conversation_with_a_cut_is_held_recorded_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.BUILT_IN["policies"], "asks", "tests.test_realtime_policy_voice:made")
    monkeypatch.setenv("A_KEY", TOKEN)
    models = os.environ["VISAVIS_MODELS"]
    lines = [Said(2.5, "what can you do"), Said(8.5, "what time is it")]
    sound = compose(tmp_path, lines, length=10.5)
    settings = load(
        assignments=[
            "policy.engine=asks", "voice.engine=tones", "turn_end.engine=none", "speech.engine=score",
            f"speech.jsgf={sound.with_suffix('.json')}", "vad.engine=silero", "echo.engine=none", "faces.engine=none",
        ]
    )  # fmt: skip
    recorded, log = tmp_path / "asked.mcap", Log()

    async def main() -> Listening:
        async with serving(hearing()) as served:
            os.environ["VISAVIS_MODELS"] = models
            link = Listening(msgspec.structs.replace(PATIENT, url=served.socket))
            started: datetime = wall_now()
            recorder = Recorder(recorded, header(settings, started))
            session = assemble(
                settings,
                [AudioFile(sound, block_ms=20, tail_ms=4000)],
                taps=[link, log, recorder],
                started=started,
                body=SpeakingBody(link, [], []),
            )
            async with asyncio.timeout(60):
                await session.main()
            return link

    link = clocks.run(main())
    faults = [(each.where, each.message) for each in log.of(Fault)]
    assert not faults
    cut, whole = [each for each in log.of(Outcome) if each.action == "Ask"]
    assert (cut.status, whole.status) == ("cut", "done"), (cut, whole)
    first, second = log.of(Say)
    words = [each.text for each in log.of(Played) if each.id == first.id]
    said = "".join(each.text for each in log.of(Delta) if each.id == cut.id)
    assert words and [each.strip(",.:") for each in said.split()][: len(words)] == words
    heard_by_server = [each["transcript"] for each in link.of("conversation.item.input_audio_transcription.completed")]
    assert heard_by_server == ["what can you do", "what time is it"], "what we sent was what was said"
    answer = " ".join(each.text for each in log.of(Played) if each.id == second.id)
    assert answer.startswith("It is")

    truncated = link.of("conversation.item.truncated")
    assert len(truncated) == 1
    (item,) = [each["item"] for each in link.of("conversation.item.retrieved")]
    remembered = item["content"][0]["transcript"]
    assert remembered, "the server remembers what was heard"
    assert said.startswith(remembered), "and nothing that was not said"
    assert abs(len(remembered.split()) - len(words)) <= 3, (remembered, words)
    cancelled = link.of("response.done")[0]["response"]
    assert cancelled["status"] == "cancelled"

    recording = Recording.open(recorded)
    played = list(recording.packets((PLAYBACK,)))
    assert np.abs(np.concatenate([packet.data.samples for packet in played]).astype(int)).max() > 1000
    assert len([packet for packet in recording.packets() if isinstance(packet.data, Ask)]) == 2
    for mode in ("percepts", "media"):
        replay = Replay(recording, mode="media" if mode == "media" else "percepts")
        again = Log()
        perform(replay, reload(recording.header.config), recording, [again])
        assert replay.identical and not replay.percepts, replay.first
        assert _told(again) == _told(log)


def _told(log: Log) -> list[Any]:
    """Questions, pieces and words, with their times."""
    return sorted(_line(packet) for packet in log.packets if isinstance(packet.data, Ask | Delta | Say | Played))


def _line(packet: Packet[Any]) -> Any:
    assert not isinstance(packet.data, Audio)
    return packet.t, msgspec.json.encode(packet.data)
