"""The physics of the simulated robot: the room of `mujoco_room`, stepped, driven, and sensed. No asyncio, no clock."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embodied.node.mujoco_room import BASE, GRIPPER, GRIPPER_OPEN, JOINTS, LIDAR, REST, ROBOT_GROUP, ROOM, STEP_S
from embodied.robot.decisions import Scan, Velocity
from streams.errors import DependencyMissing

RAYS = 90
FARTHEST_M = 12.0
RAMP = (4.0, 12.0)
"""The motors change the speed of the base by no more than this (m/s², rad/s²), also when they stop by themselves."""
SILENCE_S = 0.2
"""Motors without news for so long stop."""


def mujoco() -> Any:
    """The module. Raises `DependencyMissing`."""
    try:
        import mujoco as module  # noqa: PLC0415 - an extra, and 0.4 s
    except ImportError as error:
        raise DependencyMissing("mujoco", "sim", "the simulated robot with physics") from error
    return module


class Lidar:
    """90 rays all round. `mj_multiRay` got an argument for normals after MuJoCo 3.3: which one is there, is tried."""

    def __init__(self, module: Any, model: Any, data: Any) -> None:
        self._module, self._model, self._data = module, model, data
        self._site, self._body = int(model.site(LIDAR).id), int(model.body("base").id)
        self._groups = np.ones(6, np.uint8)
        self._groups[ROBOT_GROUP] = 0
        self._directions = np.zeros((RAYS, 3))
        self._seen = np.zeros(RAYS, np.int32)
        self._distances = np.zeros(RAYS)
        self._normals: tuple[None, ...] = (None,)
        try:
            self.cast(0.0)
        except TypeError:
            self._normals = ()

    def cast(self, yaw: float) -> NDArray[np.float64]:
        """Distances (m), counted from `yaw` on to the left; infinity where nothing is."""
        angles = yaw + np.arange(RAYS) * (math.tau / RAYS)
        self._directions[:, 0], self._directions[:, 1] = np.cos(angles), np.sin(angles)
        self._module.mj_multiRay(
            self._model, self._data, self._data.site_xpos[self._site], self._directions.ravel(), self._groups, True,
            self._body, self._seen, self._distances, *self._normals, RAYS, FARTHEST_M,
        )  # fmt: skip
        return np.where(self._distances < 0, math.inf, self._distances)


class World:
    """Room and robot. Steps of 5 ms; what was last wished of the motors holds for 200 ms of its time, then they stop.

    rest: where its joints are at first. Raises `DependencyMissing`. steps: made so far, of `STEP_S` each
    """

    def __init__(self, rest: Mapping[str, float] = REST) -> None:
        self.module = module = mujoco()
        self.model = model = module.MjModel.from_xml_string(ROOM)
        self.data = data = module.MjData(model)
        self.steps = 0
        self._wish = Velocity()
        self._speed = np.zeros(3)  # in the robot's own frame, as the motors turn
        self._news = 0  # step of the last wish
        self._place = {name: int(model.joint(name).qposadr[0]) for name in (*BASE, *JOINTS, GRIPPER)}
        self._pace = [int(model.joint(name).dofadr[0]) for name in BASE]
        self._motor = {name: int(model.actuator(name).id) for name in (*BASE, *JOINTS, GRIPPER)}
        self._range = {name: tuple(map(float, model.joint(name).range)) for name in (*JOINTS, GRIPPER)}
        self._chassis, self._floor = int(model.geom("chassis").id), int(model.geom("floor").id)
        for name in JOINTS:
            data.qpos[self._place[name]] = rest.get(name, REST[name])
        self.aim({**REST, **rest})
        module.mj_forward(model, data)
        self._lidar = Lidar(module, model, data)

    # --- motors

    def drive(self, velocity: Velocity) -> None:
        """Let the base go as fast as this, as soon as its motors can."""
        self._wish, self._news = velocity, self.steps

    def aim(self, joints: Mapping[str, float]) -> None:
        """Move joints (rad; the gripper: 0 to 1) there. Names that it does not have are passed over."""
        for name, position in joints.items():
            if name in self._range:
                low, high = self._range[name]
                wish = position * GRIPPER_OPEN / 2 if name == GRIPPER else position
                self.data.ctrl[self._motor[name]] = min(max(wish, low), high)

    def hold(self) -> None:
        """Let every joint stay where it is; the gripper keeps its grip."""
        for name in JOINTS:
            self.data.ctrl[self._motor[name]] = self.data.qpos[self._place[name]]

    def step(self, count: int) -> None:
        """Let `count` steps pass."""
        data, speed, motor = self.data, self._speed, self._motor
        for _ in range(count):
            silent = (self.steps - self._news) * STEP_S > SILENCE_S
            wish = Velocity() if silent else self._wish
            for axis, (goal, ramp) in enumerate(zip((wish.vx, wish.vy, wish.wz), (RAMP[0], RAMP[0], RAMP[1]))):
                most = ramp * STEP_S
                speed[axis] += min(max(goal - speed[axis], -most), most)
            yaw = data.qpos[self._place["base_yaw"]]
            ahead, aside = math.cos(yaw), math.sin(yaw)
            data.ctrl[motor["base_x"]] = ahead * speed[0] - aside * speed[1]
            data.ctrl[motor["base_y"]] = aside * speed[0] + ahead * speed[1]
            data.ctrl[motor["base_yaw"]] = speed[2]
            self.module.mj_step(self.model, data)
            self.steps += 1

    # --- senses

    @property
    def pose(self) -> tuple[float, float, float]:
        """x, y (m), yaw (rad, in ±π) of the base."""
        x, y, yaw = (float(self.data.qpos[self._place[name]]) for name in BASE)
        return x, y, math.remainder(yaw, math.tau)

    @property
    def velocity(self) -> Velocity:
        """Of the base, in its own frame."""
        x, y, turn = (float(self.data.qvel[place]) for place in self._pace)
        yaw = float(self.data.qpos[self._place["base_yaw"]])
        ahead, aside = math.cos(yaw), math.sin(yaw)
        return Velocity(ahead * x + aside * y, ahead * y - aside * x, turn)

    @property
    def joints(self) -> dict[str, float]:
        """Where they are: rad; the gripper: 0 to 1."""
        where = {name: float(self.data.qpos[self._place[name]]) for name in JOINTS}
        return {**where, GRIPPER: 2 * float(self.data.qpos[self._place[GRIPPER]]) / GRIPPER_OPEN}

    def scan(self, t: int) -> Scan:
        """Distances all round from the middle of the base, 14 cm above the floor; the robot itself is not seen."""
        ranges = self._lidar.cast(float(self.data.qpos[self._place["base_yaw"]]))
        return Scan(t, 0.0, math.tau / RAYS, tuple(ranges.tolist()))

    @property
    def bumper(self) -> Literal["", "front", "rear", "any"]:
        """Where the chassis touches something other than the floor."""
        x, y, yaw = self.pose
        pressed: set[Literal["front", "rear", "any"]] = set()
        for contact in self.data.contact[: self.data.ncon]:
            pair = {int(each) for each in contact.geom}
            if self._chassis in pair and self._floor not in pair and contact.dist <= 0:
                aside = math.cos(math.atan2(contact.pos[1] - y, contact.pos[0] - x) - yaw)
                pressed.add("front" if aside > 0.3 else "rear" if aside < -0.3 else "any")
        return "" if not pressed else pressed.pop() if len(pressed) == 1 else "any"
