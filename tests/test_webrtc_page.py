"""Sound over data channels between a real Chromium and the console, on a network that loses some of it."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiortc", reason="sound over WebRTC: pip install 'visavis[webrtc]'")
pytest.importorskip("playwright", reason="the page is tested with Playwright: pip install playwright")
pytest.importorskip("starlette")
if shutil.which("chromium") is None:
    pytest.skip("the page is tested in Chromium: apt-get install chromium", allow_module_level=True)

from agent.console.host import Host
from streams.recording import Recording
from streams.topics import FEEDBACK, PLAYBACK
from streams.types import Fault
from tests.console_page import where
from tests.test_console import held
from tests.webrtc_page import (
    Arrivals,
    Line,
    Network,
    chromium,
    figure,
    heard,
    talking,
    travels,
    unheard,
    with_recorder,
)

pytestmark = pytest.mark.slow
LOST, DELAY_S = 0.05, 0.02
QUESTION = "what is two plus three"
ANSWERED = "#captions .agent.done"


async def ask(page: Any) -> None:
    """A person types, and the agent answers to the end."""
    before = await page.locator(ANSWERED).count()
    await page.fill("#text", QUESTION)
    await page.press("#text", "Enter")
    await page.wait_for_function(
        "([css, count]) => document.querySelectorAll(css).length > count", arg=[ANSWERED, before], timeout=30_000
    )
    await asyncio.sleep(0.3)


async def interrupt(page: Any) -> None:
    """The agent is stopped in the midst of what it says."""
    await page.fill("#text", "what can you do")
    await page.press("#text", "Enter")
    await page.wait_for_selector("#captions .agent.speaking", timeout=10_000)
    await asyncio.sleep(0.7)
    await page.click("#stop")
    await page.wait_for_selector("#captions .agent.cut", timeout=10_000)


def check_heard(folder: Path, sounded: np.ndarray[Any, np.dtype[np.int16]]) -> None:
    """What the recording says was heard left the loudspeaker, all of it, and nothing was told of a wrong player."""
    (path,) = folder.glob("*.mcap")
    recording = Recording.open(path)
    told = np.concatenate([packet.data.samples for packet in recording.packets([PLAYBACK])])
    assert len(told) > 5_000
    assert unheard(told, sounded) == 0
    faults = [packet.data for packet in recording.packets([FEEDBACK]) if isinstance(packet.data, Fault)]
    assert not [fault for fault in faults if fault.where == "speaker"], faults


def test_sound_goes_over_a_data_channel_to_the_sample_and_by_the_socket_when_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)

    async def act(host: Host) -> Any:
        arrivals = Arrivals(host)
        async with chromium(tmp_path) as browser, talking(browser, host.address, "WebRTC") as page:
            await ask(page)
            ways = await page.evaluate("ways")
            assert ways["channel"] > 100
            made = dict(await page.evaluate("blocks"))
            came = {number: samples for number, samples in arrivals.blocks.items() if number in made}
            assert len(came) > 100
            assert all(made[number] == samples for number, samples in came.items())
            assert any(any(samples) for samples in came.values()), "it is not silence"
            assert host.room.microphone.lost == 0
            viewer = next(iter(host.room.viewers.values()))
            assert viewer.voice.by_channel > 20

            before = len(arrivals.blocks)
            network.dead = True
            await travels(page, "WebSocket")
            await asyncio.sleep(1.0)
            network.dead = False
            print("lost when the channel died:", host.room.microphone.lost / 16, "ms")
            assert host.room.microphone.lost <= 16_000
            assert len(arrivals.blocks) > before + 30
            await ask(page)
            return await heard(page)

    check_heard(tmp_path, held(act, tmp_path, "console.transport=webrtc", record=True, page=with_recorder(tmp_path)))


def test_what_is_lost_is_neither_waited_for_nor_told_as_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch)

    async def measured(host: Host, browser: Any, address: str, way: str) -> tuple[float, float, float, Any]:
        arrivals = Arrivals(host)
        async with talking(browser, address, way) as page:
            network.lost, network.delay_s = LOST, DELAY_S
            missing = host.room.microphone.lost
            begun = len(arrivals.blocks)
            if way == "WebRTC":
                await interrupt(page)
            await ask(page)
            await asyncio.sleep(1)
            count = len(arrivals.blocks) - begun
            half, most = await arrivals.latency_ms(page, count)
            share = (host.room.microphone.lost - missing) / 320 / count
            again = await figure(page, "sound: asked for again")
            print(f"{way}: {count} blocks, {share:.2%} missing, {half:.0f}/{most:.0f} ms; voice again {again}")
            sounded = await heard(page)
        network.lost = network.delay_s = 0.0
        return share, half, most, sounded

    async def act(host: Host) -> Any:
        netloc, token = where(host.address)
        line = Line(LOST, DELAY_S)
        async with line.near(int(netloc.rpartition(":")[2])) as port, chromium(tmp_path) as browser:
            lossy = f"http://127.0.0.1:{port}/?token={token}"
            peer = await measured(host, browser, lossy, "WebRTC")
            assert network.dropped > 10
            host.room.peers = None
            socket = await measured(host, browser, lossy, "WebSocket")
        assert peer[0] < 0.04, "less than the network loses"
        assert peer[2] < 2 * socket[2]
        return np.concatenate([peer[3], socket[3]])

    check_heard(tmp_path, held(act, tmp_path, "console.transport=webrtc", record=True, page=with_recorder(tmp_path)))
