"""What the simulated robot with physics costs: steps, lidar, pictures, and control steps that come late, in real time.

python -m benchmarks.mujoco_body [--seconds 40]
"""

import argparse
import asyncio
import statistics
from time import perf_counter

from embodied.node.mujoco_body import MujocoBody
from embodied.node.mujoco_eye import Eye, EyeMissing
from embodied.node.mujoco_world import World
from embodied.node.profile import Profile
from embodied.robot.decisions import Velocity
from streams.clock import MS, SECOND, Clock, Stopwatch

STEP = 20 * MS
LATE = 10 * MS
SIZES = ((160, 120), (320, 240), (640, 480))


def row(what: str, here: str, contract: str) -> None:
    """A line of the table."""
    print(f"{what:<50}{here:>38}   {contract}")


def physics() -> None:
    """Steps and scans. Steps by CPU time too: the machine may be busy with something else."""
    world = World()
    with Stopwatch() as watch:
        for _ in range(1000):
            world.drive(Velocity(vx=0.3, wz=0.2))
            world.step(4)
    here = f"{4000 / watch.cpu:,.0f} ({4000 / watch.wall:,.0f} by the wall)"
    row("physics, 5 ms steps a CPU second", here, "58,000-63,000 (arm and cube)")
    times = []
    for _ in range(2000):
        begun = perf_counter()
        world.scan(0)
        times.append(perf_counter() - begun)
    row("lidar, 90 rays, as a Scan (median)", f"{statistics.median(times) * 1e6:.0f} µs", "34 µs (mj_multiRay alone)")


async def pictures() -> None:
    """Of three sizes, from being asked for to the JPEG."""
    clock = Clock()
    for size, told in zip(SIZES, ("2.3 ms", "3.8 ms", "14.6 ms")):
        begun = clock.now()
        try:
            eye = await Eye.open(World(), clock, size=size)
        except EyeMissing as missing:
            row("pictures", "none", str(missing))
            return
        made = (clock.now() - begun) / SECOND
        times = []
        for _ in range(40):
            begun = clock.now()
            await eye.draw()
            times.append((clock.now() - begun) / MS)
        await eye.close()
        what = f"picture {size[0]}x{size[1]} as JPEG (median)"
        here = f"{statistics.median(times):.1f} ms; context {made:.2f} s"
        row(what, here, f"{told} without JPEG; context 0.1-0.9 s")


async def real_time(seconds: float) -> None:
    """The loop of a node without its guards: sense, telemetry at 5 Hz, actuate, each 20 ms; and one with nothing in it.

    In turns of four seconds, so that what else the machine does meets all of them.
    """
    clock, profile = Clock(), Profile.load("mujoco")
    bodies: dict[str, MujocoBody | None] = {"with nothing to do": None, "without camera": MujocoBody(profile, World())}
    try:
        world = World()
        bodies["with camera"] = MujocoBody(profile, world, eye=await Eye.open(world, clock))
    except EyeMissing as missing:
        print(missing)
    late: dict[str, list[int]] = {name: [] for name in bodies}
    pictures = 0
    for _ in range(max(1, round(seconds / 4))):
        for name, body in bodies.items():
            pictures += await turn(clock, body, late[name])
    for name, body in bodies.items():
        many, p99 = sum(each > LATE for each in late[name]), sorted(late[name])[len(late[name]) * 99 // 100] / MS
        here = f"{many}, p99 {p99:.1f} ms, max {max(late[name]) / MS:.0f} ms"
        row(f"late (> 10 ms) of {len(late[name])}, {name}", here, "0-4 of 2000, max 29 ms (with MQTT)")
        if body is not None:
            await body.close()
    row("pictures a second", f"{pictures * 50 / len(late['with nothing to do']):.1f}", "")


async def turn(clock: Clock, body: MujocoBody | None, late: list[int]) -> int:
    """Four seconds of a loop; returns how many pictures came."""
    due, newest, pictures = clock.now(), None, 0
    for n in range(200):
        due = max(due, clock.now() - SECOND) + STEP
        await clock.sleep_until(due)
        late.append(clock.now() - due)
        if body is not None:
            body.sense(clock.now())
            if n % 10 == 0:
                before, newest = newest, body.channels(clock.now()).get("camera.front")
                pictures += newest is not before
            body.actuate(Velocity(vx=0.1, wz=0.5), {}, clock.now())
    return pictures


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0)
    seconds = parser.parse_args().seconds
    row("", "here", "contract")
    physics()
    asyncio.run(pictures())
    asyncio.run(real_time(seconds))


if __name__ == "__main__":
    main()
