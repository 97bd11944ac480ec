"""A robot that exists only in time: a base on a plane, with speeds, accelerations and a way to stop."""

import asyncio
import math
from typing import Any, NamedTuple

from streams.clock import SECOND, Clock
from streams.types import Action, Command, Offer, Outcome


class _Leg(NamedTuple):
    """A straight move (metres) or a turn on the spot (radians) that begins at `began` ns of session time."""

    turns: bool
    amount: float
    speed: float  # highest, per second
    gain: float  # acceleration and deceleration, per second squared
    began: int

    def at(self, t: int) -> tuple[float, float]:
        """How far it has come by `t` (ns), and how fast it is: a trapezoid of speed."""
        whole = abs(self.amount)
        peak = min(self.speed, math.sqrt(whole * self.gain))
        ramp = peak / self.gain
        cruise = whole / peak - ramp if peak else 0.0
        now = max(0.0, (t - self.began) / SECOND)
        if now < ramp:
            return self.gain * now**2 / 2, self.gain * now
        if now < ramp + cruise:
            return peak * (now - ramp / 2), peak
        left = max(0.0, 2 * ramp + cruise - now)
        return whole - self.gain * left**2 / 2, self.gain * left

    def end(self) -> int:
        """When it is done, ns."""
        peak = min(self.speed, math.sqrt(abs(self.amount) * self.gain))
        return self.began + (round((abs(self.amount) / peak + peak / self.gain) * SECOND) if peak else 0)


class SimulatedBase:
    """`embodied.ports.Actuator` for `Command`: "move" {"distance_m"}, "turn" {"angle_rad"}, "come_back" {}.

    Starts at x = y = 0 m, heading 0 rad (anticlockwise is positive). Motions are carried out one after the other. One
    that is cut or halted is braked at its deceleration, not frozen: its `Outcome` comes at once and counts the way
    it still rolls, and the next motion begins when it stands. Refuses unknown names and arguments and what is out of
    range.
    """

    name = "base"
    accepts: tuple[type, ...] = (Command,)

    def __init__(self, clock: Clock, *, speed_mps: float = 0.5, gain_mps2: float = 0.5, range_m: float = 10.0) -> None:
        self.x = self.y = self.heading = 0.0
        self._clock = clock
        self._limits = {False: (speed_mps, gain_mps2), True: (1.0, 2.0)}
        self._ranges = {"move": ("distance_m", range_m), "turn": ("angle_rad", 2 * math.pi)}
        self._free = asyncio.Lock()
        self._stands_at = 0
        self._current: Command | None = None
        self._stop = asyncio.Event()
        self._fence = -1
        self._halts = 0

    def offers(self) -> tuple[Offer, ...]:
        """What it can be asked for: exactly what it does not refuse. Every motion is risky, and a cut ends it."""
        told = {
            "move": "Drive straight ahead, or back.",
            "turn": "Turn on the spot.",
            "come_back": "Drive back to where it started, and face as it did then.",
        }
        meaning = {
            "distance_m": "how far, in metres: positive is forward, negative is backward",
            "angle_rad": "how far, in radians: positive is to the left (anticlockwise), negative to the right",
        }
        offers = []
        for name, description in told.items():
            key, limit = self._ranges.get(name, ("", 0.0))
            number = {"type": "number", "minimum": -limit, "maximum": limit, "description": meaning.get(key)}
            parameters = {
                "type": "object",
                "properties": {key: number} if key else {},
                "required": [key] if key else [],
                "additionalProperties": False,
            }
            offers.append(Offer(name, description, parameters, "command", risky=True, on_cut="cancel"))
        return tuple(offers)

    async def perform(self, action: Action) -> Outcome:
        """Carry out a `Command`. Cancelling brakes, and returns how far it really went."""
        if not isinstance(action, Command):
            raise TypeError(f"the base takes Command, not {type(action).__name__}")
        if reason := self._refusal(action):
            return self._ended(action, "refused", reason, {})
        gone = {"distance_m": 0.0, "angle_rad": 0.0}
        halts = self._halts
        try:
            async with self._free:
                await self._clock.sleep_until(self._stands_at)
                if self._halts != halts or (action.turn <= self._fence and action.on_cut == "cancel"):
                    return self._ended(action, "fenced", "stopped before it began", gone)
                self._current = action
                self._stop.clear()
                try:
                    for turns, amount in self._legs(action):
                        if not await self._go(turns, amount, gone):
                            return self._ended(action, "cut", "halted", gone)
                finally:
                    self._current = None
        except asyncio.CancelledError:
            return self._ended(action, "cut", "stopped on the way", gone)
        return self._ended(action, "done", "", gone)

    async def _go(self, turns: bool, amount: float, gone: dict[str, float]) -> bool:
        """Go one leg; False if it was halted. `gone` is added to, however it ends."""
        leg = _Leg(turns, amount, *self._limits[turns], self._clock.now())
        try:
            async with asyncio.timeout_at(self._clock.deadline(leg.end())):
                await self._stop.wait()
        except TimeoutError:
            self._arrive(leg, abs(amount), gone)
            return True
        except asyncio.CancelledError:
            self._brake(leg, gone)
            raise
        self._brake(leg, gone)
        return False

    def _brake(self, leg: _Leg, gone: dict[str, float]) -> None:
        way, speed = leg.at(self._clock.now())
        self._stands_at = self._clock.now() + round(speed / leg.gain * SECOND)
        self._arrive(leg, min(abs(leg.amount), way + speed**2 / (2 * leg.gain)), gone)

    def _arrive(self, leg: _Leg, way: float, gone: dict[str, float]) -> None:
        way = math.copysign(way, leg.amount)
        gone["angle_rad" if leg.turns else "distance_m"] += way
        if leg.turns:
            self.heading = math.remainder(self.heading + way, 2 * math.pi)
        else:
            self.x += way * math.cos(self.heading)
            self.y += way * math.sin(self.heading)

    def _legs(self, command: Command) -> list[tuple[bool, float]]:
        if command.name == "move":
            return [(False, float(command.arguments["distance_m"]))]
        if command.name == "turn":
            return [(True, float(command.arguments["angle_rad"]))]
        bearing = math.atan2(-self.y, -self.x) if math.hypot(self.x, self.y) > 1e-9 else self.heading
        first = math.remainder(bearing - self.heading, 2 * math.pi)
        return [(True, first), (False, math.hypot(self.x, self.y)), (True, math.remainder(-bearing, 2 * math.pi))]

    def _refusal(self, command: Command) -> str:
        if command.name == "come_back":
            wanted: set[str] = set()
        elif command.name in self._ranges:
            wanted = {self._ranges[command.name][0]}
        else:
            return f"this robot cannot {command.name!r}; it can: move, turn, come_back"
        if set(command.arguments) != wanted:
            given = ", ".join(command.arguments) or "nothing"
            return f"{command.name} takes {', '.join(wanted) or 'no arguments'}, not {given}"
        for key, value in command.arguments.items():
            limit = self._ranges[command.name][1]
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= limit:
                return f"{key} = {value!r} is not a number from {-limit:g} to {limit:g}"
        return ""

    def _ended(self, command: Command, status: Any, detail: str, gone: dict[str, float]) -> Outcome:
        result = gone and {**gone, "x_m": self.x, "y_m": self.y, "heading_rad": self.heading}
        return Outcome(
            turn=command.turn, id=command.id, action="Command", name=command.name, status=status, detail=detail,
            result={key: round(value, 6) for key, value in result.items()} or None,
        )  # fmt: skip

    def cut(self, turn: int) -> None:
        """Brake, if the motion under way is of a turn up to `turn` and declared that a cut ends it."""
        self._fence = max(self._fence, turn)
        if self._current and self._current.turn <= turn and self._current.on_cut == "cancel":
            self._stop.set()

    def pause(self, turn: int) -> None:
        """Nothing: only speech is paused."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Brake now, whatever its turn; what waits will not begin."""
        self._halts += 1
        self._stop.set()

    async def aclose(self) -> None:
        """Nothing to give back."""
