"""What is known of one robot: what it told of itself, taken in and told on. Whatever comes, nothing raises."""

from typing import Protocol

from embodied.link.port import LinkError, Message
from embodied.remote.agent_link import AgentLink
from embodied.remote.capabilities import fit
from embodied.remote.errands import Errands
from embodied.remote.leasing import Leasehold
from embodied.remote.stopping import Stopping
from embodied.robot.budget import Budget
from embodied.robot.consent import Consents
from embodied.robot.errors import FactsheetInvalid
from embodied.robot.factsheet import Factsheet, compatible
from embodied.robot.messages import Fresh
from embodied.robot.proposing import Health, Proposer, Watch
from embodied.robot.reports import (
    Connection,
    Happening,
    Heartbeat,
    LeaseState,
    Odometry,
    RobotState,
    Safety,
    Status,
    Telemetry,
)
from embodied.robot.topics import Topic
from embodied.robot.vocabulary import SECOND

FACTSHEETS = SECOND
"""Between two that are read."""
CHANNELS = 32
_GONE = {"offline": "has said goodbye", "lost": "has lost its connection", "sleeping": "sleeps"}
_STILL = 0.02  # m/s and rad/s, of odometry


class Listener(Protocol):
    """Told what is new; on the loop, and may not wait or raise."""

    def attached(self, factsheet: Factsheet) -> None:
        """The robot was found, or told of itself anew; only what can be used is in it."""

    def happened(self, event: Happening) -> None:
        """An event of the robot."""

    def fault(self, error: str, message: str) -> None:
        """Something is wrong; told once."""

    def recovered(self, message: str) -> None:
        """It is right again."""

    def ticked(self, now: int) -> None:
        """Time went on, or something has changed."""


class Known:
    """Robot `robot`, as it was heard over `link`.

    watch: its life;  factsheet: of what can be used, None before it was found or when it cannot be used
    lease: the lease;  errands: what was asked of it;  stopping: its stop
    state, safety, heartbeat, odometry, telemetry: the newest;  rank: as which the agent asks for the lease
    """

    stopping: Stopping

    def __init__(self, link: AgentLink, robot: str) -> None:
        self.link, self.robot = link, robot
        self.agent, self.rank = link.config.agent, link.config.rank
        self.reply_to = link.reply_to
        self.watch = Watch()
        self.factsheet: Factsheet | None = None
        self.proposer: Proposer | None = None
        self.state: RobotState | None = None
        self.safety: Safety | None = None
        self.heartbeat: Heartbeat | None = None
        self.odometry: Odometry | None = None
        self.telemetry: dict[str, Telemetry] = {}
        self.lease = Leasehold(self.agent, link.new_id)
        self.errands = Errands()
        self.rests_since: int | None = None
        self.rests_until = 0
        self._listeners: list[Listener] = []
        self._consents, self._budget = Consents(link.consent_key), Budget()
        self._raw: Factsheet | None = None
        self._waiting: Factsheet | None = None
        self._read_at: int | None = None
        self._odometry_at = 0
        self._stop = ""  # the newest that was answered: what was said before it moves nothing after it,
        self._after: int | None = None  # up to this beat
        self._faults: set[str] = set()
        self._presence = ""

    def listen(self, listener: Listener) -> None:
        """Tell `listener`, too."""
        self._listeners.append(listener)

    # --- how it stands

    @property
    def connected(self) -> bool:
        """Whether the broker is reached; that says nothing of the robot."""
        return self.link.connected

    @property
    def fresh(self) -> Fresh | None:
        """The newest heartbeat."""
        return self.watch.fresh

    @property
    def health(self) -> Health:
        """Whether the robot is heard."""
        return self.watch.health(self._now()) if self.connected else _worse(self.watch.health(self._now()))

    @property
    def gone(self) -> str:
        """How it went away for good, as far as the broker tells, such as "has said goodbye"; "" if it may be there."""
        away = self.connected and self._presence in ("offline", "lost") and self.health == "unknown"
        return _GONE[self._presence] if away else ""

    @property
    def pose(self) -> tuple[float, float, float] | None:
        """x, y (m), heading (rad), if it is known of the last second."""
        found = self.odometry
        old = found is None or self._now() - self._odometry_at > SECOND
        return None if old or found is None else (found.x, found.y, found.yaw)

    # --- told to a person

    def loud(self, error: str, message: str) -> None:
        """Tell a person that something is wrong."""
        for each in self._listeners:
            each.fault(error, message)

    def calm(self, message: str) -> None:
        """Tell that it is right again."""
        for each in self._listeners:
            each.recovered(message)

    # --- Ears

    def hear(self, topic: Topic, message: Message) -> None:
        """See `Ears`."""
        now = self._now()
        match topic.channel:
            case "factsheet":
                if (sheet := self.link.read(message, Factsheet)) is not None:
                    self._waiting = sheet
                    self._read_factsheet(now)
            case "state":
                if (state := self.link.read(message, RobotState)) is not None:
                    self._stated(state, now)
            case "safety":
                if (safety := self.link.read(message, Safety)) is not None:
                    self.safety = safety
                    if not message.retained:
                        self.watch.safety(safety)
            case "lease":
                if (lease := self.link.read(message, LeaseState)) is not None:
                    self._leased(lease)
            case "connection":
                if (connection := self.link.read(message, Connection)) is not None:
                    self.watch.connection(connection)
                    self._presence = connection.state
            case _ if not message.retained:  # nothing else is kept: it is old, or somebody's mischief
                self._news(topic, message, now)
            case _:
                self.link.malformed += 1
        self._tell(now)

    def changed(self, connected: bool) -> None:
        """See `Ears`."""
        if connected:
            self.errands.check()
            self._well("link", "the broker is reached again.")
        self._tell(self._now())

    def troubled(self, error: LinkError) -> None:
        """See `Ears`."""
        self._wrong(type(error).__name__, str(error), "link")

    # --- what came

    def _news(self, topic: Topic, message: Message, now: int) -> None:
        read = self.link.read
        if topic.channel == "heartbeat":
            if (beat := read(message, Heartbeat)) is not None:
                self._beat(beat, now)
        elif topic.channel == "status":
            if (status := read(message, Status)) is not None:
                self._status(status, now)
        elif topic.channel == "event":
            if (event := read(message, Happening)) is not None:
                for each in self._listeners:
                    each.happened(event)
        elif topic.channel == "telemetry" and topic.name == "odom":
            if (odometry := read(message, Odometry)) is not None:
                self._moved(odometry, now)
        elif topic.channel == "telemetry":
            telemetry = read(message, Telemetry)
            if telemetry is not None and (topic.name in self.telemetry or len(self.telemetry) < CHANNELS):
                self.telemetry[topic.name] = telemetry

    def _beat(self, beat: Heartbeat, now: int) -> None:
        before = self.watch.boot
        self.watch.beat(beat, now)
        self.heartbeat = beat
        if self.watch.boot != before:
            self.lease.forget()
            self.telemetry.clear()
            self._after = self.odometry = None
            lost = self.errands.died()
            if before:
                gone = f" {lost} of its commands failed by it." if lost else ""
                self.loud("RobotRestarted", f"{self.robot} has started anew.{gone}")
        self._health(now)

    def _status(self, status: Status, now: int) -> bool:
        self.watch.status(status)
        if self.stopping.heard(status, now):
            if status.id != self._stop and self.watch.fresh is not None:  # each state tells it once more
                self._stop, self._after = status.id, self.watch.fresh.beat + 2
            return True
        return self.errands.heard(status, now)

    def _stated(self, state: RobotState, now: int) -> None:
        if self.watch.boot and state.boot != self.watch.boot:
            return  # the retained one of a robot that has started anew
        self.state = state
        self._leased(state.lease)
        if self.watch.boot:
            for status in state.commands:
                self._status(status, now)

    def _moved(self, odometry: Odometry, now: int) -> None:
        self.odometry, self._odometry_at = odometry, now
        still = max(abs(odometry.vx), abs(odometry.vy), abs(odometry.wz)) < _STILL
        self.rests_until = now
        if not still:
            self.rests_since = None
        elif self.rests_since is None:
            self.rests_since = now

    def _leased(self, lease: LeaseState) -> None:
        taker = self.lease.told(lease)
        if taker:
            self._wrong(
                "LeaseTaken", f"{taker} moves {self.robot} now, as {lease.rank}; we move it again when they let go."
            )
        elif not self.lease.taken:
            self._well("LeaseTaken", f"nobody else moves {self.robot} any more.")

    def _told_lease(self) -> None:
        if self.lease.held:
            self._well("LeaseTaken", f"we may move {self.robot} again.")

    def _read_factsheet(self, now: int) -> None:
        sheet = self._waiting
        if sheet is None or (self._read_at is not None and now - self._read_at < FACTSHEETS and self._raw is not None
                             and sheet.boot == self._raw.boot):  # fmt: skip
            return
        self._waiting = None
        if sheet == self._raw:
            return
        self._raw, self._read_at = sheet, now
        self.factsheet = self.proposer = None
        if not compatible(sheet):
            self._wrong("VersionMismatch", f"{self.robot} speaks {_word(sheet.proto)} of the contract, not 1.x.")
            return
        usable, unfit = fit(sheet)
        try:
            proposer = Proposer(
                usable, fleet=self.link.config.fleet, agent=self.agent, consents=self._consents, budget=self._budget
            )
        except FactsheetInvalid as error:
            self._wrong("FactsheetInvalid", f"{self.robot} cannot be used: {error}")
            return
        proposer.watch = self.watch
        self.factsheet, self.proposer = usable, proposer
        self._well("VersionMismatch", f"{self.robot} speaks the contract's version 1 now.")
        self._well("FactsheetInvalid", f"{self.robot} told of itself anew.")
        if unfit:
            self.loud("CapabilityUnfit", f"{self.robot}: not offered: {'; '.join(unfit)[:300]}.")
        for each in self._listeners:
            each.attached(usable)

    # --- inside

    def _health(self, now: int) -> None:
        if self.watch.health(now) == "unknown":
            if self.watch.fresh is not None:
                open_ = " What became of its commands is not known." if self.errands.open else ""
                how = _GONE.get(self._presence, "has not been heard for two seconds")
                self._wrong("RobotSilent", f"{self.robot} {how}.{open_}")
                self.errands.check()
        elif self.watch.health(now) == "heard":
            self._well("RobotSilent", f"{self.robot} is heard again.")

    def _wrong(self, error: str, message: str, about: str = "") -> None:
        """Told once, until it is well. about: what, if not the error's name says it"""
        if (about or error) not in self._faults:
            self._faults.add(about or error)
            self.loud(error, message)

    def _well(self, about: str, message: str) -> None:
        if about in self._faults:
            self._faults.discard(about)
            self.calm(message)

    def _tell(self, now: int) -> None:
        for each in self._listeners:
            each.ticked(now)

    def _now(self) -> int:
        return self.link.clock.now()


def _worse(health: Health) -> Health:
    """Without a broker nobody is heard."""
    return "suspended" if health == "heard" else health


def _word(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum() or sign in ".-")[:20] or "nothing"
