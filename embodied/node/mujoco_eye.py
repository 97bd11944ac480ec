"""The camera of the simulated robot: pictures of the room, drawn off-screen in a thread of their own.

Shadows, reflections and multisampling are off: with Mesa's software renderer a picture takes 3 ms instead of 80.
MuJoCo gives the interpreter's lock back while it draws, so the control loop goes on; making the GL context holds it for
about 0.2 s, which is why a driver makes its eye before it goes online.
"""

import asyncio
import importlib
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import BodyError
from embodied.node.mujoco_room import CAMERA, TALL_DEG
from embodied.node.mujoco_world import World
from streams.clock import Clock
from streams.errors import DependencyMissing
from streams.pictures import compress, opencv
from streams.worker import Worker

ADVICE = "install libegl1 and libgl1-mesa-dri (Debian: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri)"


class EyeMissing(BodyError):
    """Nothing can be drawn off-screen here: why, and what to install."""


class Eye:
    """Takes pictures of a world. Made by `Eye.open`; `close` gives the GL context back, in its own thread.

    size: width and height in pixels
    """

    def __init__(self, world: World, clock: Clock, size: tuple[int, int], quality: int) -> None:
        self.size, self._quality = size, quality
        self._world, self._worker = world, Worker(clock, "eye")
        self._data = world.module.MjData(world.model)  # a copy: the physics goes on while this is drawn
        self._pixels: NDArray[np.uint8] = np.empty((size[1], size[0], 3), np.uint8)
        self._window: Any = None

    @classmethod
    async def open(cls, world: World, clock: Clock, *, size: tuple[int, int] = (320, 240), quality: int = 80) -> "Eye":
        """Make the context, which takes 0.1 to 0.9 s. Raises `EyeMissing`."""
        eye = cls(world, clock, size, quality)
        try:
            opencv("the camera of the simulated robot")
            await eye._worker.work(0, eye._make)
        except (EyeMissing, DependencyMissing) as error:
            await eye._worker.aclose()
            raise EyeMissing(str(error)) from error
        return eye

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view."""
        tall = math.radians(TALL_DEG) / 2
        return round(2 * math.degrees(math.atan(math.tan(tall) * self.size[0] / self.size[1])), 1)

    def draw(self) -> "asyncio.Future[bytes]":
        """Begin a picture of what is to be seen now; the future has the JPEG."""
        return self._worker.begin(self._draw, self._world.data.qpos.copy())

    async def close(self) -> None:
        """Give back the context, behind a picture in work. Idempotent, bounded in time."""
        if not self._worker.closed:
            self._worker.begin(self._free)
            await self._worker.aclose()

    # --- in the thread

    def _make(self) -> None:
        module, model = self._world.module, self._world.model
        try:
            if os.environ.get("MUJOCO_GL") == "osmesa":
                from mujoco.osmesa import GLContext  # noqa: PLC0415 - looks for the library as it is imported
            else:
                from mujoco.egl import GLContext  # noqa: PLC0415
            self._window = GLContext(*self.size)
            self._window.make_current()
            self._context = module.MjrContext(model, module.mjtFontScale.mjFONTSCALE_100.value)
            module.mjr_setBuffer(module.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except (ImportError, AttributeError, RuntimeError, OSError, TypeError, _gl_error(), module.FatalError) as error:
            raise EyeMissing(
                f"no picture can be drawn off-screen ({type(error).__name__}: {error}): {ADVICE}"
            ) from error
        self._scene = module.MjvScene(model, 200)
        for flag in (module.mjtRndFlag.mjRND_SHADOW, module.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._options, self._nothing = module.MjvOption(), module.MjvPerturb()
        self._camera = module.MjvCamera()
        self._camera.type = module.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(CAMERA).id

    def _draw(self, positions: NDArray[np.float64]) -> bytes:
        module, model, data = self._world.module, self._world.model, self._data
        data.qpos[:] = positions
        module.mj_kinematics(model, data)
        module.mj_camlight(model, data)
        everything = module.mjtCatBit.mjCAT_ALL.value
        module.mjv_updateScene(model, data, self._options, self._nothing, self._camera, everything, self._scene)
        frame = module.MjrRect(0, 0, *self.size)
        module.mjr_render(frame, self._scene, self._context)
        module.mjr_readPixels(self._pixels, None, frame, self._context)
        upright = np.ascontiguousarray(self._pixels[::-1, :, ::-1])  # OpenGL begins at the bottom, OpenCV with blue
        return compress(upright, self.size[0], self._quality).data

    def _free(self) -> None:
        if self._window is not None:
            self._context.free()
            self._window.free()
            self._window = None


def _gl_error() -> type[Exception]:
    """What PyOpenGL raises. Without a library it may not even be importable."""
    try:
        failure: type[Exception] = importlib.import_module("OpenGL.error").Error
    except (ImportError, AttributeError):
        return ImportError
    return failure
