"""A camera above the arm's table: a red lamp on it is where the tool is to go, and nothing else says so. OpenCV draws.

Among other things of other colours, in light that changes; the arm is in the picture, too.
"""

from typing import Any

import numpy as np

from examples.reach.world import LINKS, Floats, tool
from streams.pictures import compress, opencv
from streams.types import Image

WIDTH, HEIGHT = 160, 120  # of the camera
SIZE = (48, 64)  # height and width as the policy sees it
SCALE = 250.0  # pixels of the camera per metre
CORNER = np.array([0.2, -0.32])  # m, of the picture's upper left
LEAST, MOST = np.array([0.32, -0.22]), np.array([0.54, 0.22])  # m: where lamps are put
OTHERS = ((40, 170, 40), (200, 90, 30), (30, 190, 190), (150, 150, 150), (170, 60, 150))  # blue green red


class Table:
    """What lies on the table, drawn anew each time. seed: of what it is"""

    def __init__(self, seed: int) -> None:
        self._random = random = np.random.default_rng(seed)
        self._cv2: Any = opencv("the camera of the example")
        self.place = random.uniform(LEAST, MOST)  # m, of the lamp
        self._wood = random.uniform(40, 140) + random.uniform(-15, 15, 3)
        self._light = random.uniform(0.75, 1.15)
        count = int(random.integers(2, 7))
        self._things = [
            (random.uniform(LEAST - 0.06, MOST + 0.06), int(random.integers(4, 9)), OTHERS[int(random.integers(0, 5))])
            for _ in range(count)
        ]

    def picture(self, joints: Floats) -> Image:
        """As the camera sees it now, as JPEG. joints: rad[6]"""
        cv2, random = self._cv2, self._random
        seen = np.full((HEIGHT, WIDTH, 3), self._wood, np.float32)
        for place, size, colour in self._things:
            cv2.circle(seen, _pixel(place), size, colour, -1, cv2.LINE_AA)
        elbow = LINKS * np.array([np.cos(joints[0]), np.sin(joints[0])])
        for begin, end in ((np.zeros(2), elbow), (elbow, tool(joints))):
            cv2.line(seen, _pixel(begin), _pixel(end), (90, 90, 90), 3, cv2.LINE_AA)
        cv2.circle(seen, _pixel(self.place), 6, (40, 40, 230), -1, cv2.LINE_AA)
        seen = seen * self._light + random.normal(0, 4, seen.shape)
        return compress(np.clip(seen, 0, 255).astype(np.uint8), WIDTH, 85)


def black() -> Image:
    """What a camera with its cover on sees."""
    return compress(np.zeros((HEIGHT, WIDTH, 3), np.uint8), WIDTH, 85)


def _pixel(place: Floats) -> tuple[int, int]:
    across, down = (place[1] - CORNER[1]) * SCALE, (place[0] - CORNER[0]) * SCALE
    return round(float(across)), round(float(down))
