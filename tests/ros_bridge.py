"""A double of a robot with ROS 2 behind ika's mqtt_client: nav_msgs/Odometry out and geometry_msgs/Twist in, as JSON.

Its motor controller stops when no velocity has come for `timeout_ms`.
"""

import asyncio
import json
import math

from embodied.link.link import Link
from embodied.link.port import Dial, Message, Outgoing
from streams.clock import MS, SECOND, Clock

STEP = 50 * MS


class Bridge:
    """got: (t in ns, vx, wz) of each velocity;  frozen: nothing goes out or in"""

    def __init__(self, dial: Dial, clock: Clock, *, timeout_ms: int = 500) -> None:
        self.clock, self._timeout = clock, timeout_ms * MS
        self.x = self.y = self.yaw = 0.0
        self.v = self.w = 0.0
        self.got: list[tuple[int, float, float]] = []
        self.frozen = False
        self._last = -SECOND
        will = Outgoing("ros/bridge", b"offline", 0)
        self.link = Link(dial, clock, receive=self._receive, subscriptions=[("ros/cmd_vel", 0)], will=will, name="ros")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self._live())

    def _receive(self, message: Message) -> None:
        body = json.loads(message.payload)
        assert set(body) == {"linear", "angular"} and all(set(each) == {"x", "y", "z"} for each in body.values())
        assert not message.retained
        self.got.append((self.clock.now(), body["linear"]["x"], body["angular"]["z"]))
        if not self.frozen:
            self.v, self.w, self._last = body["linear"]["x"], body["angular"]["z"], self.clock.now()

    async def _live(self) -> None:
        while True:
            if self.clock.now() - self._last > self._timeout:
                self.v = self.w = 0.0
            self.yaw += self.w * STEP / SECOND
            self.x += self.v * math.cos(self.yaw) * STEP / SECOND
            self.y += self.v * math.sin(self.yaw) * STEP / SECOND
            if not self.frozen:
                self._tell()
            await self.clock.sleep_until(self.clock.now() + STEP)

    def _tell(self) -> None:
        turn = {"x": 0.0, "y": 0.0, "z": math.sin(self.yaw / 2), "w": math.cos(self.yaw / 2)}
        body = {
            "header": {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": "odom"}, "child_frame_id": "base_link",
            "pose": {"pose": {"position": {"x": self.x, "y": self.y, "z": 0.0}, "orientation": turn},
                     "covariance": [0.0] * 36},
            "twist": {"twist": {"linear": {"x": self.v, "y": 0.0, "z": 0.0},
                                "angular": {"x": 0.0, "y": 0.0, "z": self.w}}, "covariance": [0.0] * 36},
        }  # fmt: skip
        self.link.send(Outgoing("ros/odom", json.dumps(body).encode()))
