"""Whether the agent that holds the lease is alive: its heartbeat, and only one that is young."""

from embodied.robot.freshness import Beats
from embodied.robot.messages import AgentConnection, AgentHeartbeat


class Link:
    """To one agent, the holder of the lease. A heartbeat counts if its number rises and what it echoes is young."""

    def __init__(self, agent: str, robot: str, now: int) -> None:
        self.agent, self.alive, self.lost = agent, now, False
        self._robot = robot
        self._session = ""
        self._beat = -1

    def beat(self, message: AgentHeartbeat, beats: Beats, now: int) -> bool:
        """Whether `message` is a sign of life."""
        heard = message.heard.get(self._robot)
        if heard is not None and beats.judge(heard, now) is not None:
            return False
        if message.session == self._session and message.beat <= self._beat:
            return False
        self._session, self._beat = message.session, message.beat
        self.alive, self.lost = now, False
        return True

    def gone(self, message: AgentConnection) -> bool:
        """Whether `message` (its last will, or its goodbye) tells the end of the session that was heard."""
        return message.state != "online" and message.session == self._session

    def silent(self, now: int, most: int) -> bool:
        """Whether it has said nothing for `most` ns; True once for each silence."""
        if self.lost or now - self.alive < most:
            return False
        self.lost = True
        return True
