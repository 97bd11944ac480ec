"""What a robot's program tells beside its guards: telemetry, how its parts are, what is wrong with them."""

from collections.abc import Mapping
from typing import Any

from embodied.node.complaints import Complaints, named
from embodied.node.driver import Diagnosed, Driver
from embodied.node.senses import Sense
from embodied.node.telemetry import Channels
from embodied.node.voice import Voice
from embodied.robot.decisions import Sensed, Tell
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Diagnostic
from embodied.robot.topics import robot_topic
from embodied.robot.vocabulary import MS, SECOND
from streams.clock import Clock
from streams.errors import VisavisError

LATE = 200 * MS  # ns after which motor controllers stop by themselves


class Reporting:
    """Of one robot. An error in it is told, and stops nothing.

    parts: the driver, the audit log: those that are `Diagnosed` are asked once a second how they are
    late: how many steps came more than 200 ms after their time;  late_most: the longest since the last `diag`, ns
    """

    def __init__(
        self, voice: Voice, complaints: Complaints, clock: Clock, factsheet: Factsheet, driver: Driver, *, fleet: str,
        robot: str,
    ) -> None:  # fmt: skip
        self.late = self.late_most = 0
        self._voice, self._complaints, self._clock = voice, complaints, clock
        self._channels = Channels(factsheet, fleet, robot, driver)
        self._diag = robot_topic(fleet, robot, "diag")
        self._diag_due = 0
        self._trouble_due: dict[str, int] = {}

    def step(self, late: int) -> None:
        """A step of the loop begins, `late` ns after its time."""
        self.late_most = max(self.late_most, late)
        self.late += late > LATE

    def report(self, sensed: Sensed, now: int, *, tasks: int, parts: tuple[Any, ...]) -> None:
        """Telemetry that is due, and once a second how the parts are. tasks: that are under way"""
        try:
            if self._voice.link.connected:
                for tell in self._channels.told(sensed, now):
                    self._voice.tell(tell)
            if now >= self._diag_due:
                self._diag_due = now + SECOND
                self._diagnose(tasks, parts)
        except Exception as error:  # noqa: BLE001 - a driver's `channels` or `diagnose`
            self._complaints.tell("where the driver reports", error, now)
            self.trouble("report", f"the driver failed where it reports: {named(error)}", now)

    def trouble(self, kind: str, detail: str, now: int) -> None:
        """Tell of a fault, of each kind (what is before a colon) at most once a second."""
        if now >= self._trouble_due.get(kind.partition(":")[0], 0):
            self._trouble_due[kind.partition(":")[0]] = now + SECOND
            self._voice.event("warning", detail)

    async def sense(self, sense: Sense) -> None:
        """Publish what a camera or microphone has to tell, until cancelled or until it fails."""

        def publish(channel: str, values: Mapping[str, Any]) -> None:
            if self._voice.link.connected:
                self._voice.tell(self._channels.values(channel, values, self._clock.now()))

        try:
            await sense.run(publish, self._clock)
        except VisavisError as error:
            self._voice.event("warning", f"a sense is gone: {error}")

    def _diagnose(self, tasks: int, parts: tuple[Any, ...]) -> None:
        late = self.late_most / MS
        self.late_most = 0
        loop = Diagnostic(
            "loop", 1 if late > LATE / MS else 0, f"late by {late:.0f} ms" if late > LATE / MS else "in time",
            {"late_ms": round(late, 1), "late_times": self.late, "tasks": tasks, "unsaid": self._voice.unsaid},
        )  # fmt: skip
        told = [loop]
        for part in parts:
            if isinstance(part, Diagnosed):
                told.extend(part.diagnose())
        self._voice.tell(Tell(self._diag, told, 0))
