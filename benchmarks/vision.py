"""Vision never makes audio late: lateness of VOICE behind the sound, with and without a camera and the face detector.

    python -m benchmarks.vision [FOLDER] [--seconds 15]

The default ear (voice activity and the recogniser on the built-in sentences) hears real speech in real time, block by
block; beside it nothing, or a 30 fps camera on the network (in a process of its own) whose pictures show talking faces,
at the default rate and with every picture looked at; then the same beside a busy process on every core.
FOLDER: real recordings (default: `shared/data` beside the checkout). Lateness runs from the instant at which the block
that ends a hop is due to the publication of its `Voice`.
"""

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np

from benchmarks.machine import machine, spread
from benchmarks.speech import DATA, read
from policies.sentences import Sentences
from streams import clock as clocks
from streams import models
from streams.bus import Bus
from streams.clock import MS, Clock, Stopwatch
from streams.devices.camera import Camera, CameraConfig
from streams.devices.files import ArraySource
from streams.encoders import faces, vad
from streams.encoders.recognisers.grammar import GrammarModel
from streams.encoders.speech import SpeechEncoder
from streams.pictures import Pixels, opencv
from streams.ports import Encoder
from streams.pump import pump
from streams.topics import AUDIO, FEEDBACK, IMAGE, PERCEPT, VOICE
from streams.types import Faces, Samples
from tests.cameras import MjpegCamera

BLOCK_MS = 20
FPS = 30.0


@dataclass
class Figures:
    """What one run showed. All times in ns."""

    late: list[int] = field(default_factory=list)
    faces_late: list[int] = field(default_factory=list)
    pictures: int = 0
    dropped: int = 0
    seen: set[int] = field(default_factory=set)
    cpu: float = 0.0


def film(folder: Path) -> list[Pixels]:
    """640 x 480 pictures of talking faces."""
    cv2 = opencv("the benchmark")
    pictures: list[Pixels] = []
    for path in sorted((folder / "av").glob("*.mpg")):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                pixels = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                pictures.append(cv2.resize(pixels, (640, 480)))
    return pictures


def serve(folder: Path, tell: Connection) -> None:
    """A camera in a process of its own, until it is killed."""
    pictures = film(folder)
    with MjpegCamera(FPS, lambda number: pictures[number % len(pictures)]) as camera:
        tell.send(camera.address)
        tell.poll(None)


def burn() -> None:
    """A neighbour that never rests."""
    while True:
        sum(range(10_000))


def speech(folder: Path, seconds: float) -> Samples:
    """Real speech, one sentence after the other."""
    pieces, have = list[Samples](), 0
    paths = sorted(folder.glob("speech/*.[wf]*")) + sorted(folder.glob("commands/*.wav"))
    while have < seconds * 16_000:
        for path in paths:
            pieces.append(read(path))
            have += len(pieces[-1])
    return np.concatenate(pieces)[: round(seconds * 16_000)]


async def run(sound: Samples, ears: Sequence[Encoder], eyes: tuple[Camera, Encoder] | None) -> Figures:
    """One run in real time."""
    figures = Figures()
    if eyes is not None:
        await eyes[0].__aenter__()
    clock = Clock()
    bus = Bus(clock)

    async def note() -> None:
        with bus.open(VOICE, PERCEPT, IMAGE, reader="notes") as lane:
            async for packet in lane:
                if packet.topic is VOICE:
                    due = -(-packet.t // (BLOCK_MS * MS)) * BLOCK_MS * MS
                    figures.late.append(packet.at - due)
                elif packet.topic is IMAGE:
                    figures.pictures += 1
                elif isinstance(packet.data, Faces):
                    figures.faces_late.append(packet.at - packet.t)
                    figures.seen.add(len(packet.data.faces))

    source = ArraySource(sound, block_ms=BLOCK_MS, tail_ms=0)
    with Stopwatch() as watch:
        async with asyncio.TaskGroup() as group:
            group.create_task(note())
            hearing = [group.create_task(pump(encoder, bus, clock)) for encoder in ears]
            looking: list[asyncio.Task[None]] = []
            if eyes is not None:
                looking = [group.create_task(eyes[0].run(bus, clock)), group.create_task(pump(eyes[1], bus, clock))]
            await asyncio.sleep(0)
            async with source:
                await source.run(bus, clock)
            for task in looking:
                task.cancel()
            for topic, encoder in zip((AUDIO, VOICE), hearing, strict=True):  # one follows the other
                bus.close(topic)
                await encoder
            bus.close(PERCEPT, IMAGE, FEEDBACK)
    if eyes is not None:
        await eyes[0].__aexit__()
        lanes = [lane for lane in (*bus.lanes, *bus.retired) if lane.reader == eyes[1].name]
        figures.dropped = eyes[0].dropped + sum(lane.dropped.get("image", 0) for lane in lanes)
    figures.cpu = watch.cpu / watch.wall
    return figures


def tell(name: str, figures: Figures) -> None:
    """Print one run."""
    print(f"\n{name}")
    print(f"  audio to VOICE   {spread(figures.late, 'ms', 1 / MS)}")
    if figures.pictures:
        print(f"  picture to Faces {spread(figures.faces_late, 'ms', 1 / MS)}")
        print(f"  pictures {figures.pictures}, dropped {figures.dropped}, faces in one picture {sorted(figures.seen)}")
    print(f"  CPU {100 * figures.cpu:.0f} % of a core")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    print(machine("opencv-python-headless", "onnxruntime", "pocketsphinx"))
    sound = speech(arguments.folder, arguments.seconds)
    grammar = GrammarModel(Sentences.load().grammar(stop_words=("stop",)), urgent=("stop",))
    silero, yunet = models.pull(vad.MODEL), models.pull(faces.MODEL)
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    server = spawning.Process(target=serve, args=(arguments.folder, there), daemon=True)
    server.start()
    address = here.recv()

    def measure(name: str, rate_hz: float = 0.0, size: int = 480) -> None:
        ears: list[Encoder] = [vad.SileroVad(silero), SpeechEncoder(grammar.recogniser())]
        eyes = None
        if rate_hz:
            config = faces.FacesConfig(rate_hz=rate_hz, size=size)
            eyes = Camera(CameraConfig(address, rate_hz=rate_hz)), faces.FaceDetector(yunet, config)
        tell(name, clocks.run(run(sound, ears, eyes)))

    burners = [spawning.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 1)]
    try:
        for beside in ("", ", beside a busy process on every core"):
            if beside:
                for burner in burners:
                    burner.start()
            measure(f"ears alone{beside}")
            measure(f"with the eyes at their default (10 pictures a second){beside}", 10)
            measure(f"with every picture of 30 a second looked at, at full size{beside}", FPS, 640)
    finally:
        for process in (server, *burners):
            if process.pid is not None:
                process.kill()


if __name__ == "__main__":
    main()
