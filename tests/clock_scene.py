"""A small conversation on the virtual clock, as a program: prints the SHA-256 of every packet, in order.

Twenty seconds of sound at 50 blocks a second and pictures at 30 a second, a detector called on the loop, a slow eye
(100 ms a picture), and an agent whose streaming answers are cut by the next speech. It leans on all that could make
two runs differ: sets of strings, cancelled tasks, timers of one instant, drops.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.bus import Bus, Lane
from streams.clock import MS, SECOND, Clock, run
from streams.packet import Packet
from streams.ports import Emit
from streams.pump import pump
from streams.topics import ACTION, AUDIO, FEEDBACK, IMAGE, PERCEPT, VOICE
from streams.types import Audio, Fault, Hush, Image, Say, SpeechEnded, SpeechStarted, Voice

RATE = 16_000
SEEN = (AUDIO, IMAGE, VOICE, PERCEPT, ACTION, FEEDBACK)
SPOKEN = [(1, 3), (4, 5), (5.5, 6), (9, 12), (12.3, 14), (18, 20)]  # seconds
END = 20 * SECOND


class Detector:
    """Speech is where the sound is loud."""

    name, reads, writes = "detector", (AUDIO,), (VOICE, PERCEPT)

    def __init__(self) -> None:
        self.segment, self.speaking = 0, False

    def cost(self, packet: Packet[Any]) -> int:
        return 0

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        loud = bool(np.abs(packet.data.samples).max() > 1000)
        emits = [Emit(VOICE, packet.t, Voice(float(loud), loud))]
        if loud and not self.speaking:
            self.segment += 1
            emits.append(Emit(PERCEPT, packet.t - 20 * MS, SpeechStarted(self.segment, packet.t)))
        elif self.speaking and not loud:
            emits.append(Emit(PERCEPT, packet.t - 20 * MS, SpeechEnded(self.segment, packet.t)))
        self.speaking = loud
        return emits

    def flush(self) -> Sequence[Emit]:
        return [Emit(PERCEPT, END, SpeechEnded(self.segment, END))] if self.speaking else []

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]


class SlowEye(Detector):
    """Looks at a picture for 100 ms, and says which it was."""

    name, reads, writes = "eye", (IMAGE,), (FEEDBACK,)

    def cost(self, packet: Packet[Any]) -> int:
        return 100 * MS

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        words = {"seen", "a", "picture", packet.data.data.decode()}
        return [Emit(FEEDBACK, packet.t, Fault("eye", str(packet.seq), " ".join(sorted(words))))]

    def flush(self) -> Sequence[Emit]:
        return []


async def microphone(bus: Bus, clock: Clock) -> None:
    for n in range(END // (20 * MS)):
        await clock.sleep_until((n + 1) * 20 * MS)
        loud = any(start <= n / 50 < end for start, end in SPOKEN)
        noise = (np.arange(RATE // 50) * 7919 + n * 104_729) % 18_000 - 9000
        samples = (noise // (1 if loud else 100)).astype(np.int16)
        bus.publish(AUDIO, clock.now(), Audio(samples, RATE, n * RATE // 50))
    bus.close(AUDIO)


async def camera(bus: Bus, clock: Clock) -> None:
    for n in range(END * 30 // SECOND):
        await clock.sleep_until((n + 1) * SECOND // 30)
        bus.publish(IMAGE, clock.now(), Image(str(n).encode(), "jpeg", 640, 480))
    bus.close(IMAGE)


async def answer(bus: Bus, clock: Clock, turn: int) -> None:
    for n in range(20):
        await asyncio.sleep(0.12)
        bus.publish(ACTION, clock.now(), Say(f"word {n}", turn, n))


async def agent(bus: Bus, clock: Clock, lane: Lane) -> None:
    reply: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as replies:
        while (packet := await lane.get()) is not None:
            match packet.data:
                case SpeechStarted(segment=turn) if reply is not None and reply.cancel():
                    bus.publish(ACTION, clock.now(), Hush(turn))
                case SpeechEnded(segment=turn):
                    reply = replies.create_task(answer(bus, clock, turn))
    bus.close(ACTION)


async def tap(lane: Lane) -> str:
    digest = hashlib.sha256()
    async for packet in lane:
        data = packet.data
        what = [data.samples.tobytes()] if isinstance(data, Audio) else data
        digest.update(f"{packet.order} {packet.topic.name} {packet.seq} {packet.t} {packet.at} {what}\n".encode())
    return digest.hexdigest()


async def scene() -> str:
    """SHA-256 of the log, packets published, pictures the log missed, and the session time at the end in ns."""
    clock = Clock()
    bus = Bus(clock)
    with bus.open(*SEEN) as seen, bus.open(PERCEPT) as ear:
        async with asyncio.TaskGroup() as group:
            log = group.create_task(tap(seen))
            acting = group.create_task(agent(bus, clock, ear))
            pumps = [group.create_task(pump(part, bus, clock)) for part in (Detector(), SlowEye())]
            for source in (microphone, camera):
                group.create_task(source(bus, clock))
            await asyncio.wait(pumps)
            bus.close(VOICE, PERCEPT, FEEDBACK)
            await acting
        return f"{log.result()} {bus.order} {seen.dropped} {clock.now()}"


if __name__ == "__main__":
    print(run(scene(), virtual=True))
