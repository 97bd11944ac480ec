"""A robot of one's own: five methods between the guards and the metal. `python examples/own_robot.py mqtt://localhost`,
or, in the folder of this project (in this one: `--driver own_robot:Rover`),

visavis robot --broker mqtt://localhost --robot rover --driver examples.own_robot:Rover --set guards.ranges_needed=false
"""

import contextlib
import math
import secrets
import sys
from collections.abc import Mapping
from typing import Any

from embodied.link.address import Address
from embodied.link.mqtt import dial
from embodied.node.driver import Task
from embodied.node.goals import Goals
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.robot.decisions import Sensed, Velocity
from streams.clock import Clock, run


class Rover:
    """Two wheels that do what they are told, and odometry that believes them."""

    def __init__(self, profile: Profile) -> None:
        self.goals = Goals(profile)  # move, turn, come_back, nav.goto: ready made for whoever has odometry
        self.speed, self.pose, self.sensed_at = Velocity(), (0.0, 0.0, 0.0), 0

    def sense(self, now: int) -> Sensed:
        """Every 20 ms. Read your odometry here; `odom_t` is when it was true (ns): old odometry stops the robot."""
        (x, y, yaw), v, dt = self.pose, self.speed, (now - self.sensed_at) / 1e9
        self.pose = (x + v.vx * math.cos(yaw) * dt, y + v.vx * math.sin(yaw) * dt, yaw + v.wz * dt)
        self.sensed_at = now
        return Sensed(odom_t=now, pose=self.pose, velocity=v)

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        """Every 20 ms. Write to your motor controllers, which must stop by themselves without news for 200 ms."""
        self.speed = velocity

    async def perform(self, task: Task) -> Any:
        """Carry out a command: here by the ready-made goals."""
        return await self.goals.perform(task)

    def brake(self, category: int, why: str) -> None:
        """Stop by your own means, too, if you have any."""

    async def close(self) -> None:
        """Motors off."""
        self.speed = Velocity()


async def main(broker: str) -> None:
    clock = Clock()
    profile = Profile.load("diff-drive", {"guards.ranges_needed": False})  # it has no lidar: only for an empty room
    node = RobotNode(
        profile.factsheet, Rover(profile), dial(Address.parse(broker), client_id="rover"), clock,
        fleet="home", robot="rover", settings=profile.settings, secret=secrets.token_bytes(32),
    )  # fmt: skip
    await node.run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        run(main(sys.argv[1]))
