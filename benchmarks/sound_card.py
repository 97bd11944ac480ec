"""From the loudspeaker to the microphone on a sound card of software: how late, how sure, and what it costs.

The loudspeaker says noise for some seconds; the microphone hears the sound card's monitor of it. Told are, over all
samples: from being taken by the device to the packet of the microphone that has it (app to app); how far what the
loudspeaker said about when it would sound is from what the microphone said about when it came (clock: what an echo
canceller has to find); how often the sound broke (missing, or silence in between). CPU is that of this process.

    python -m benchmarks.sound_card [--seconds 8] [--burners 1]
"""

import argparse
import asyncio
import multiprocessing
from typing import Any

import numpy as np

from streams import clock as clocks
from streams.bus import Bus
from streams.clock import MS, Clock, Stopwatch
from streams.devices.loudspeaker import Loudspeaker, LoudspeakerConfig
from streams.devices.microphone import Microphone, MicrophoneConfig
from streams.devices.sound import Engine
from streams.topics import AUDIO, FEEDBACK, PLAYBACK
from streams.types import Fault
from tests.sound_card import Samples, SoundCard

RATE = 16_000
ENGINES: list[Engine] = ["sounddevice", "pyaudio", "miniaudio"]
SPEAKER = {"sounddevice": "virtspk", "pyaudio": "virtspk", "miniaudio": "Speaker"}
EAR = {"sounddevice": "spkmon", "pyaudio": "spkmon", "miniaudio": "Monitor of Speaker"}
SETTINGS = [(20, 40), (10, 20), (10, 30), (5, 20)]  # ms: period, latency
FIRST = 400


async def converse(
    engine: Engine, period: int, latency: int, said: Samples
) -> tuple[list[Any], list[Any], list[Any], float]:
    """Packets of the loudspeaker, of the microphone, and faults, and the share of a core it took."""
    clock = Clock()
    bus = Bus(clock)
    speaker = Loudspeaker(bus, clock, RATE, LoudspeakerConfig(engine, SPEAKER[engine], period, latency))
    microphone = Microphone(MicrophoneConfig(engine, EAR[engine], period, latency, block_ms=10))
    packets: list[Any] = []
    with bus.open(PLAYBACK, AUDIO, FEEDBACK, reader="benchmark") as lane:
        async with speaker.device(), microphone, asyncio.TaskGroup() as group:
            running = group.create_task(microphone.run(bus, clock))
            await asyncio.sleep(1)
            speaker.write(said)
            with Stopwatch() as watch:
                while speaker.played < len(said):
                    await asyncio.sleep(0.25)
                    while (packet := lane.take()) is not None:
                        packets.append(packet)
            await asyncio.sleep(0.5)
            running.cancel()
        while (packet := lane.take()) is not None:
            packets.append(packet)
    played, heard = ([each for each in packets if each.topic is topic] for topic in (PLAYBACK, AUDIO))
    return played, heard, [each.data for each in packets if isinstance(each.data, Fault)], watch.cpu / watch.wall


def times(packets: list[Any]) -> tuple[Samples, Any, Any]:
    """The samples of all packets, and for each when its packet was published, and when it itself was there (ns)."""
    samples = np.concatenate([packet.data.samples for packet in packets])
    at = np.concatenate([np.full(len(packet.data.samples), packet.at) for packet in packets])
    there = np.concatenate([packet.t - np.arange(len(packet.data.samples) - 1, -1, -1) * 62_500 for packet in packets])
    return samples, at, there


def matches(said: Samples, heard: Samples) -> tuple[list[tuple[int, int, int]], int]:
    """Where pieces of `said` are in `heard`: (place said, place heard, length), and how often it broke."""
    raw, found, place, after = heard.tobytes(), [], 0, 0
    while place + FIRST <= len(said):
        at = raw.find(said[place : place + 32].tobytes(), 2 * after)
        if at < 0 or at % 2:
            place += 32
            continue
        begin = at // 2
        length = min(len(said) - place, len(heard) - begin)
        differ = np.flatnonzero(said[place : place + length] != heard[begin : begin + length])
        run = int(differ[0]) if len(differ) else length
        found.append((place, begin, run))
        place, after = place + max(run, 32), begin + run
    return found, max(0, len(found) - 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--burners", type=int, default=0, help="processes that only burn CPU beside it")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    options = parser.parse_args()
    values = np.random.default_rng(1).integers(-8000, 8000, round(options.seconds * RATE))
    said = values.astype(np.int16)
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(options.burners)]
    for burner in burners:
        burner.start()
    print(f"{'engine':12} period latency | app to app p50   p95   max ms | clock p50  spread ms | broke faults | CPU %")
    try:
        with SoundCard(RATE, 1) as card, card.here():
            for engine in options.engine or ENGINES:
                for period, latency in SETTINGS:
                    played, heard, faults, cpu = clocks.run(converse(engine, period, latency, said))
                    share = f"{len(faults):>6} | {100 * cpu:5.1f}"
                    print(f"{engine:12} {period:>6} {latency:>7} | {row(said, played, heard)} {share}")
    finally:
        for burner in burners:
            burner.kill()


def row(said: Samples, played: list[Any], heard: list[Any]) -> str:
    """The figures of one run."""
    _, taken, sounds = times(played)
    samples, came, there = times(heard)
    found, broke = matches(said, samples)
    if not found:
        return "nothing was heard"
    late = np.concatenate([came[b : b + n] - taken[a : a + n] for a, b, n in found]) / MS
    clock = np.concatenate([there[b : b + n] - sounds[a : a + n] for a, b, n in found]) / MS
    spread = np.percentile(clock, 99) - np.percentile(clock, 1)
    p50, p95 = np.percentile(late, [50, 95])
    return f"{p50:14.1f} {p95:5.1f} {late.max():8.1f} | {np.median(clock):9.1f} {spread:9.1f}  | {broke:>5}"


def _burn() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
