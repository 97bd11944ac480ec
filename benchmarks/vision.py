"""Vision never makes audio late: lateness of VOICE behind the sound, with and without a camera and the face detector.

    python -m benchmarks.vision [FOLDER] [--seconds 5] [--rounds 3]

The default ear (voice activity and the recogniser on the built-in sentences) hears real speech in real time, block by
block; beside it nothing, or a 30 fps camera on the network (in a process of its own) whose pictures show talking faces,
at the default rate and with every picture looked at; then the same beside a busy process on every core. The runs take
turns, `--rounds` times, so that whatever else the machine does falls on all of them alike.
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
from streams.clock import MS, SECOND, Clock, Stopwatch
from streams.devices.camera import Camera, CameraConfig
from streams.devices.files import ArraySource
from streams.encoders import faces, vad
from streams.encoders.recognisers.grammar import GrammarModel
from streams.encoders.speech import SpeechEncoder
from streams.packet import Packet
from streams.pictures import Pixels, compress, decompress, opencv
from streams.ports import Encoder
from streams.pump import pump
from streams.topics import AUDIO, FEEDBACK, IMAGE, PERCEPT, VOICE
from streams.types import Faces, Samples
from tests.cameras import MjpegCamera

BLOCK_MS = 20
FPS = 30.0
HEIGHTS = (60, 45, 40, 35, 30, 25, 20, 16)
KINDS = (
    ("ears alone", 0.0, 0),
    ("with the eyes at their default (10 pictures a second)", 10.0, 480),
    ("with every picture of 30 a second looked at, at full size", FPS, 640),
)


@dataclass
class Figures:
    """What one run showed. All times in ns."""

    late: list[int] = field(default_factory=list)
    faces_late: list[int] = field(default_factory=list)
    pictures: int = 0
    dropped: int = 0
    seen: set[int] = field(default_factory=set)
    cpu: float = 0.0

    def add(self, other: "Figures") -> None:
        """Those of another run of the same kind."""
        self.late += other.late
        self.faces_late += other.faces_late
        self.pictures += other.pictures
        self.dropped += other.dropped
        self.seen |= other.seen
        self.cpu += other.cpu


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


def reach(folder: Path, path: Path) -> None:
    """Print how many of the known faces are found when they are so many pixels high in a picture of 640 x 480."""
    cv2 = opencv("the benchmark")
    full = faces.YuNet(path, 640)
    pictures = [cv2.imread(str(each)) for each in sorted((folder / "faces").glob("*.jpg"))]
    pictures += film(folder)[::75]  # the first of each clip
    print(f"\nfaces found with a score of {faces.FacesConfig().score:g}, by their height in pixels of 640 x 480")
    print("  size " + "".join(f"{height:6}" for height in HEIGHTS))
    for size in (320, 480, 640):
        yunet, counts = faces.YuNet(path, size), list[str]()
        for wanted in HEIGHTS:
            found = there = 0
            for picture in pictures:
                known = full.find(picture, 0.7)
                scale = wanted / (sum(box.height for box in known) / len(known) * picture.shape[0])
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:400, :600]
                canvas = np.full((480, 640, 3), 110, np.uint8)
                canvas[40 : 40 + small.shape[0], 20 : 20 + small.shape[1]] = small
                seen = decompress(compress(canvas, 640, 85), size)
                assert seen is not None
                there += len(known)
                found += min(len(known), len(yunet.find(seen, faces.FacesConfig().score)))
            counts.append(f"{found}/{there}")
        print(f"  {size:4} " + "".join(f"{count:>6}" for count in counts))
    picture = compress(film(folder)[0], 640, 85)
    for size in (320, 480, 640):
        detector = faces.FaceDetector(path, faces.FacesConfig(size=size, rate_hz=60))
        packets = [Packet(IMAGE, number * SECOND, 0, number, number, picture) for number in range(40)]
        times = []
        for packet in packets:
            with Stopwatch() as watch:
                detector.push(packet)
            times.append(watch.wall)
        print(f"  one look at {size}: {spread(times, 'ms', 1000)}")


def tell(name: str, figures: Figures, rounds: int) -> None:
    """Print the runs of one kind."""
    print(f"\n{name}")
    print(f"  audio to VOICE   {spread(figures.late, 'ms', 1 / MS)}")
    if figures.pictures:
        print(f"  picture to Faces {spread(figures.faces_late, 'ms', 1 / MS)}")
        print(f"  pictures {figures.pictures}, dropped {figures.dropped}, faces in one picture {sorted(figures.seen)}")
    print(f"  CPU {100 * figures.cpu / rounds:.0f} % of a core")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(machine("opencv-python-headless", "onnxruntime", "pocketsphinx"))
    sound = speech(arguments.folder, arguments.seconds)
    grammar = GrammarModel(Sentences.load().grammar(stop_words=("stop",)), urgent=("stop",))
    silero, yunet = models.pull(vad.MODEL), models.pull(faces.MODEL)
    reach(arguments.folder, yunet)
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    server = spawning.Process(target=serve, args=(arguments.folder, there), daemon=True)
    server.start()
    address = here.recv()

    def measure(rate_hz: float, size: int) -> Figures:
        ears: list[Encoder] = [vad.SileroVad(silero), SpeechEncoder(grammar.recogniser())]
        eyes = None
        if rate_hz:
            config = faces.FacesConfig(rate_hz=rate_hz, size=size)
            eyes = Camera(CameraConfig(address, rate_hz=rate_hz)), faces.FaceDetector(yunet, config)
        return clocks.run(run(sound, ears, eyes))

    burners = [spawning.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 1)]
    try:
        for beside in ("", ", beside a busy process on every core"):
            if beside:
                for burner in burners:
                    burner.start()
            sums = [Figures() for _ in KINDS]
            for _ in range(arguments.rounds):
                for (_, rate_hz, size), figures in zip(KINDS, sums, strict=True):
                    figures.add(measure(rate_hz, size))
            for (name, _, _), figures in zip(KINDS, sums, strict=True):
                tell(f"{name}{beside}", figures, arguments.rounds)
            print(f"\nload of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    finally:
        for process in (server, *burners):
            if process.pid is not None:
                process.kill()


if __name__ == "__main__":
    main()
