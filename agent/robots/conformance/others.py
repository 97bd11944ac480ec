"""Who else has to do with the robot: what somebody else does to it meanwhile says nothing about the robot."""

from collections.abc import Collection

from agent.robots.conformance.diary import Diary
from embodied.robot.reports import LeaseState, Status
from streams.errors import VisavisError


class Disturbed(VisavisError):
    """Somebody else holds the robot's lease, or commands it: who, as far as the robot tells."""


class Others:
    """What `diary` tells of those who are not ours to `robot`. Every look goes on where the last one found nobody.

    names: of our agents;  sessions: with which the ids of our commands begin, those of promises before this one, too
    """

    def __init__(self, diary: Diary, robot: str, names: Collection[str], sessions: Collection[str]) -> None:
        self._diary, self._robot, self._names, self._sessions = diary, robot, names, sessions
        self._looked = 0

    def __call__(self) -> str:
        """Who else there is and what they do, in words; "" if there is nobody. Refused commands of others are nothing.

        The robot's statuses do not tell who sent a command, its lease does.
        """
        for _, lease in self._diary.since(self._looked, LeaseState):
            if lease.holder is not None and lease.holder not in self._names:
                return f"{lease.holder} holds the lease of {self._robot}"
        for _, status in self._diary.since(self._looked, Status):
            if status.state != "rejected" and status.id.rpartition("-")[0] not in self._sessions:
                return f"somebody else commands {self._robot} ({status.name}, id {status.id})"
        if self._diary.entries:
            self._looked = self._diary.entries[-1].t
        return ""
