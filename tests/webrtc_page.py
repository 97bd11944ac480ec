"""A real Chromium that talks with a console over data channels, through a network that delays and loses."""

import asyncio
import contextlib
import json
import random
import shutil
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.console.app import PAGE
from agent.console.host import Host

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--allow-loopback-in-peer-connection"),
]

# Keeps the blocks that the page's microphone made, and what its playback worklet puts out.
KEEP = """
localStorage.setItem("visavis", JSON.stringify({ processing: false }));
globalThis.blocks = [];
globalThis.heard = [];
globalThis.ways = { channel: 0, socket: 0 };
for (const [kind, name] of [[RTCDataChannel, "channel"], [WebSocket, "socket"]]) {
  const send = kind.prototype.send;
  kind.prototype.send = function (data) {
    if (data instanceof ArrayBuffer && new Uint8Array(data)[0] === 1) {
      ways[name] += 1;
      blocks.push([new DataView(data).getUint32(4, true), [...new Int16Array(data, 16)]]);
    }
    return send.call(this, data);
  };
}
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
    const context = this.context;
    context.audioWorklet.addModule("/page/recorder.js").then(() => {
      const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
      recorder.port.onmessage = ({ data }) => heard.push(data);
      connect.call(this, recorder);
    });
  }
  return connect.call(this, to, ...rest);
};
"""
RECORDER = """
class Recorder extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(Array.from(samples, (sample) => Math.round(sample * 32768)));
    return true;
  }
}
registerProcessor("recorder", Recorder);
"""


class Network:
    """What lies between the console and its pages, for datagrams that are not of ICE itself.

    lost: share of them that is lost, each way;  delay_s: each way;  dead: nothing comes through any more
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        from aioice import ice

        self.lost, self.delay_s, self.dead = 0.0, 0.0, False
        self.passed = self.dropped = 0
        self._chance = random.Random(4)
        network, receive, send = self, ice.Connection.data_received, ice.StunProtocol.send_data

        def received(self: Any, data: bytes, component: int) -> None:
            network._carry(lambda: receive(self, data, component))

        async def sent(self: Any, data: bytes, address: tuple[str, int]) -> None:
            network._carry(lambda: self.transport.sendto(data, address) if not self.transport.is_closing() else None)

        assert send is not None
        patch.setattr(ice.Connection, "data_received", received)
        patch.setattr(ice.StunProtocol, "send_data", sent)
        patch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])  # no network is needed

    def _carry(self, go: Any) -> None:
        if self.dead or self._chance.random() < self.lost:
            self.dropped += 1
            return
        self.passed += 1
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, go)
        else:
            go()


class Line:
    """A TCP connection over such a network, as Linux has it: a lost segment stops what is behind it until it is there.

    Where three more of a stream of one every 20 ms tell of a loss it is sent again after a round trip and 60 ms; where
    that is lost, too, after 200 ms. (The kernel's own `netem` is not everywhere; this is kinder than it would be.)
    """

    def __init__(self, lost: float, delay_s: float) -> None:
        self._lost, self._delay = lost, delay_s
        self._chance = random.Random(5)

    @asynccontextmanager
    async def near(self, port: int) -> AsyncIterator[int]:
        """The port of its near end."""
        tasks: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.extend((writer, far_writer))
            async with asyncio.TaskGroup() as group:
                tasks.add(group.create_task(self._carry(reader, far_writer)))
                tasks.add(group.create_task(self._carry(far_reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for task in tasks:
                task.cancel()
            server.close()
            for each in writers:
                each.close()
            await asyncio.sleep(0.05)  # they say so a moment later

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        free = 0.0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                late = self._delay
                for _ in range(0, len(data), 1448):
                    if self._chance.random() < self._lost:
                        late += 0.06 + 2 * self._delay
                        while self._chance.random() < self._lost:
                            late += 0.2
                free = max(free + 1e-5, loop.time() + late)  # timers of one time have no order
                loop.call_at(free, lambda data=data: None if writer.is_closing() else writer.write(data))
        loop.call_at(max(free + 1e-5, loop.time()), writer.close)


class Arrivals:
    """What came to the console's microphone. blocks: by number of block;  waits: s from the end of each, wall time"""

    def __init__(self, host: Host) -> None:
        self.blocks: dict[int, list[int]] = {}
        self.ends: list[tuple[float, float]] = []
        push = host.room.microphone.push

        def pushed(samples: NDArray[np.int16], sequence: int, time_ns: int) -> None:
            self.blocks[sequence] = samples.tolist()
            self.ends.append((time.time(), time_ns / 1e9))
            push(samples, sequence, time_ns)

        host.room.microphone.push = pushed  # type: ignore[method-assign]

    async def latency_ms(self, page: Any, last: int) -> tuple[float, float]:
        """Median and 95th percentile of the last blocks."""
        origin = await page.evaluate("performance.timeOrigin") / 1000
        waits = [arrived - origin - end for arrived, end in self.ends[-last:]]
        return float(np.median(waits) * 1000), float(np.percentile(waits, 95) * 1000)


def with_recorder(folder: Path) -> Path:
    """A folder with the page, and the recorder."""
    page = folder / "page"
    shutil.copytree(PAGE, page)
    (page / "recorder.js").write_text(RECORDER)
    return page


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Any]:
    """The browser, its microphone in a room where nobody speaks. folder: for the murmur there"""
    from playwright.async_api import async_playwright

    murmur = folder / "murmur.wav"
    with wave.open(str(murmur), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(3).normal(0, 12, 48_000 * 5).astype("<i2").tobytes())
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={murmur}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def talking(browser: Any, address: str, way: str) -> AsyncIterator[Any]:
    """A page that talks, its sound going by `way`."""
    context = await browser.new_context()
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    await page.add_init_script(KEEP)
    await page.goto(address)
    await page.click("#talk-big")
    await travels(page, way)
    yield page
    assert not complaints, complaints
    await context.close()


async def travels(page: Any, way: str, within_s: float = 10.0) -> None:
    """Wait until the page says that its sound goes by `way`."""
    script = """(way) => {
      const names = [...document.querySelectorAll("#figures dt")];
      const value = names.find((each) => each.textContent === "sound travels by")?.nextElementSibling.textContent;
      return value === way && document.getElementById("state-text").textContent === "Talking";
    }"""
    await page.wait_for_function(script, arg=way, timeout=within_s * 1000)


async def figure(page: Any, name: str) -> str:
    """What the page's figures say."""
    script = """(name) => [...document.querySelectorAll("#figures dt")]
      .find((each) => each.textContent === name).nextElementSibling.textContent"""
    return str(await page.evaluate(script, name))


async def heard(page: Any) -> NDArray[np.int16]:
    """What the page's loudspeaker put out."""
    return np.array(json.loads(await page.evaluate("JSON.stringify(heard.flat())")), np.int16)


def unheard(told: NDArray[np.int16], sounded: NDArray[np.int16]) -> int:
    """How much of what is told as heard did not sound: it must be there sample by sample, with silences between."""
    at, place, sound = 0, 0, sounded.astype("<i2").tobytes()
    while at < len(told):
        size = min(1024, len(told) - at, len(sounded) - place)
        same = np.abs(told[at : at + size].astype(int) - sounded[place : place + size]) <= 2  # a fade is rounded
        alike = size if same.all() else int(np.argmin(same))
        at, place = at + alike, place + alike
        if alike == size and size:
            continue
        piece = told[at : at + 64].astype("<i2").tobytes()
        found = sound.find(piece, 2 * place)
        while found % 2 and found >= 0:
            found = sound.find(piece, found + 1)
        if found < 0:
            return len(told) - at
        place = found // 2
    return 0
