"""A recorded session with a speech-to-speech model replays bit for bit, without a network, with the media it had."""

import asyncio
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
from embodied.toolbox import tool
from policies.models.realtime_link import RealtimeLink
from policies.realtime import RealtimePolicy
from streams import clock as clocks
from streams.audio.resample import Resampler
from streams.clock import wall_now
from streams.recording import Recorder, Recording
from streams.topics import PLAYBACK
from streams.types import Ask, Call, Delta, Fault, Offer, Outcome, Played, Say, Typed
from tests.realtime_client import DEAF
from tests.realtime_model_server import QUICK, Asking, Hand, SpeakingBody, Talk, model_server, saying
from tests.scenes import Percepts
from tests.test_realtime_policy import url

pytest.importorskip("av")
WEATHER = Offer("weather", "The weather.", {"type": "object", "properties": {"place": {"type": "string"}}})


def made(config: Config, wall: Any) -> RealtimePolicy:
    """The policy, as the registry would make it."""
    return RealtimePolicy(QUICK, intents(config, wall))


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN["policies"], "asks", "tests.test_realtime_policy_replay:made")


async def _weather(place: str) -> str:
    """The weather."""
    return f"rain in {place}"


async def calls(talk: Talk) -> None:
    await talk.created()
    await talk.call("weather", '{"place": "Rome"}', pieces=3)
    await talk.done()


async def breaks(talk: Talk) -> None:
    await talk.created()
    await talk.begin()
    await talk.words("I was about to")
    talk.socket.transport.abort()


def test_turns_cuts_tools_and_failures_replay_with_their_times(tmp_path: Path) -> None:
    settings = load(assignments=[*DEAF, "policy.engine=asks", "echo.engine=none", "faces.engine=none"])
    recorded, log = tmp_path / "asked.mcap", Log()
    scripts = [
        saying("one two three four five six seven eight nine ten", gap=0.25), calls, saying("Rain in Rome"), breaks,
    ]  # fmt: skip

    async def refused(talk: Talk) -> None:
        await talk.error("invalid_value", "no", talk.create["event_id"])

    async def main() -> None:
        async with model_server(*scripts, otherwise=refused) as model:
            link = RealtimeLink(msgspec.structs.replace(QUICK, url=url(model)), Resampler)
            hand, started = Hand(level=0), wall_now()
            session = assemble(
                settings,
                [hand],
                taps=[link, log, Recorder(recorded, header(settings, started))],
                started=started,
                body=SpeakingBody(link, [tool(_weather, name="weather")], [WEATHER]),
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(session.main())
                await hand.ready.wait()
                asked = Asking(session, hand, log, link)
                hand.give(Typed("count"))
                await asked.until(lambda data: isinstance(data, Played) and data.index == 2)
                hand.give(Typed("how is the weather"))
                await asked.outcome("Say", 2)
                hand.give(Typed("go on"))
                await asked.outcome("Say", 4)
                hand.give(Typed("what is two plus three"))
                await asked.until(lambda data: isinstance(data, Say) and "five" in data.text)
                await asyncio.sleep(0.3)
                hand.end()
                await running

    clocks.run(main())
    statuses = [each.status for each in log.of(Outcome) if each.action == "Ask"]
    assert statuses == ["cut", "done", "done", "failed", "refused"] and len(log.of(Call)) == 1
    recording = Recording.open(recorded)
    sound = np.concatenate([packet.data.samples for packet in recording.packets((PLAYBACK,))])
    assert np.abs(sound.astype(int)).max() > 1000, "what was heard of the model is in the recording"
    digests = set()
    for mode in ("percepts", "media"):
        replay, again = Replay(recording, mode="media" if mode == "media" else "percepts"), Log()
        perform(replay, reload(recording.header.config), recording, [again])
        assert replay.identical and not replay.percepts, replay.first
        digests.add(replay.digest)
        assert _told(again) == _told(log)
    assert len(digests) == 1


def _told(log: Log) -> list[Any]:
    """Questions, pieces, words and how things ended, with their times."""
    kinds = (Ask, Delta, Say, Played, Outcome, Call, Fault)
    return sorted(
        (packet.t, msgspec.json.encode(packet.data)) for packet in log.packets if isinstance(packet.data, kinds)
    )


def test_in_virtual_time_nobody_is_asked_and_the_fallback_answers() -> None:
    settings = load(assignments=[*DEAF, "policy.engine=asks", "echo.engine=none", "faces.engine=none"])
    link, log = RealtimeLink(msgspec.structs.replace(QUICK, url="ws://127.0.0.1:1/v1/realtime"), Resampler), Log()
    source = Percepts([(100, 100, Typed("what is two plus three"))])
    session = assemble(settings, [source], taps=[link, log], body=SpeakingBody(link, [], []))
    session.run(speed=None)
    (asked,) = [each for each in log.of(Outcome) if each.action == "Ask"]
    assert asked.status == "failed" and "virtual time" in asked.detail
    assert [each.text for each in log.of(Say)] == ["Two plus three is five."]
