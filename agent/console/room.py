"""Everybody who is connected, whose microphone and camera are used, and what of the session they are shown.

The room stays while sessions come and go: microphone and camera are one for all sessions, the speaker is made anew for
each. All of it runs on the event loop, and nothing waits.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC
from itertools import count
from typing import Any

from agent.console import protocol
from agent.console.behaviour import Behaviour
from agent.console.protocol import Medium, SessionFacts, ToPage
from agent.console.robot import Hands
from agent.console.settings import ConsoleConfig
from agent.console.standing import Standing
from agent.console.viewers import MakePeer, PagePlayer, Viewer
from policies.llm.settings import PriceConfig
from streams.clock import SECOND, Clock
from streams.devices.remote import RemoteCamera, RemoteMicrophone
from streams.devices.remote_speaker import RemoteSpeaker
from streams.packet import Packet
from streams.ports import Publisher
from streams.types import Attached, Halt, Image, Manner

_TOGETHER = 500
"""So many events in one message to somebody who joins late."""
_MOST = 50_000
"""So many events are kept for them, at most."""


class Room:
    """Viewers, devices and history. settings: of the console;  language: of the agent

    record: called when somebody wants the next session recorded, or not
    manner: how the agent behaves to begin with;  price: of the language model's tokens
    peers: makes peer connections for who talks (None: there are none)
    microphone, camera, behaviour, hands: sources of every session;  speaker: of the one that runs
    """

    def __init__(
        self,
        settings: ConsoleConfig,
        language: str,
        record: Callable[[bool], None],
        manner: Manner | None = None,
        price: PriceConfig | None = None,
        peers: MakePeer | None = None,
    ) -> None:
        self.settings = settings
        self.peers = peers
        self.behaviour = Behaviour(manner or Manner())
        self.microphone = RemoteMicrophone()
        self.camera = RemoteCamera(max_hz=settings.image_hz * 2)
        self.hands = Hands(self._let_go)
        self.speaker: RemoteSpeaker | None = None
        self.viewers: dict[int, Viewer] = {}
        self._record = record
        self._price = price
        self._numbers = count(1)
        self._flushes = count(1)
        self._pictures = count()
        self._holders: dict[Medium, Viewer] = {}
        self._player: PagePlayer | None = None
        self._first = 0  # index in the pages of the speaker's sample 0: indices go on from session to session
        self._clock: Clock | None = None
        self._history: deque[tuple[int, bytes]] = deque(maxlen=_MOST)
        self._standing = Standing()
        self._facts = SessionFacts(language=language, echo=settings.echo)

    # --- sessions

    @property
    def facts(self) -> SessionFacts:
        """The session as it is now."""
        talker = self._holders.get("microphone")
        kept = {name: getattr(self._facts, name) for name in SessionFacts.__struct_fields__}
        return SessionFacts(**kept | {
            "now": 0.0 if self._clock is None else self._clock.now() / SECOND,
            "muted": self.microphone.muted,
            "talker": None if talker is None else talker.number,
            "watchers": len(self.viewers),
        })  # fmt: skip

    def begin(self, number: int, clock: Clock, recording: str | None) -> None:
        """A session has begun, with this clock. recording: name of the file it is written to"""
        self._clock = clock
        self._history.clear()
        self._standing.clear()
        self.hands.forget()
        started = clock.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._change(number=number, started=started, recording=recording)
        self.tell()

    def make_speaker(self, publisher: Publisher, clock: Clock, rate: int) -> RemoteSpeaker:
        """The speaker of a session (`agent.assembly.MakeSpeaker`): who talks hears it."""
        if self.speaker is not None:
            self._first += self.speaker.written
        self.speaker = RemoteSpeaker(
            publisher, clock, rate, ahead_ms=self.settings.ahead_ms, numbers=self._flushes
        )  # fmt: skip
        self._player = None
        self._listen()
        self._change(speech_rate=rate)
        self.tell()
        return self.speaker

    def tell(self) -> None:
        """Tell everybody the session as it is."""
        self.broadcast(self.facts)

    def broadcast(self, message: ToPage) -> None:
        """To everybody."""
        text = protocol.text(message)
        for viewer in self.viewers.values():
            viewer.outbox.put(text)

    def show(self, events: list[tuple[int, bytes]]) -> None:
        """Show events (time of publication in ns, JSON) to everybody, and keep them for who joins late."""
        self._history.extend(events)
        oldest = events[-1][0] - self.settings.history_s * SECOND
        while self._history and self._history[0][0] < oldest:
            self._history.popleft()
        text = protocol.events_text([event for _, event in events])
        for viewer in self.viewers.values():
            viewer.outbox.put(text)

    def note(self, packet: Packet[Any], event: tuple[int, bytes]) -> None:
        """Take note of what concerns who joins late, and whoever steers. event: as in `show`"""
        self._standing.note(packet, event)
        if isinstance(packet.data, Attached):
            self.hands.attached(packet.data)
        elif isinstance(packet.data, Halt):
            self.hands.halted()

    def picture(self, packet: Packet[Image]) -> None:
        """Show a picture to everybody but the one whose camera took it."""
        owner = self._holders.get("camera")
        others = [viewer for viewer in self.viewers.values() if viewer is not owner]
        if others and packet.data.format == "jpeg":
            frame = protocol.picture(packet.data.data, next(self._pictures), packet.t / SECOND)
            for viewer in others:
                viewer.outbox.show(frame)

    def _change(self, **facts: object) -> None:
        kept = {name: getattr(self._facts, name) for name in SessionFacts.__struct_fields__}
        self._facts = SessionFacts(**kept | facts)

    # --- coming and going

    def number(self) -> int:
        """Of the next viewer."""
        return next(self._numbers)

    def enter(self, viewer: Viewer) -> None:
        """Somebody is there: welcome, then the last minute."""
        self.viewers[viewer.number] = viewer
        limits = protocol.PageLimits(self.settings.image_hz, self.settings.image_width)
        manner = self.behaviour.manner
        servers = None if self.peers is None else self.settings.ice_servers
        viewer.send(
            protocol.Welcome(viewer.number, self.settings.name, self.facts, limits, manner, self._price, servers)
        )  # fmt: skip
        oldest = self._history[0][0] if self._history else 0
        events = [*self._standing.before(oldest), *(event for _, event in self._history)]
        for place in range(0, len(events), _TOGETHER):
            viewer.outbox.put(protocol.events_text(events[place : place + _TOGETHER]))
        self.tell()

    def leave(self, viewer: Viewer) -> None:
        """Somebody has gone; what they held without giving it back is lost."""
        self.viewers.pop(viewer.number, None)
        self.hands.left(viewer.number)
        held: list[Medium] = [medium for medium, holder in self._holders.items() if holder is viewer]
        why = f"the page whose {{}} was used (viewer {viewer.number}) has gone: {viewer.reason or 'it disconnected'}."
        for medium in held:
            self._give_back(medium, why.format(medium))
        self.tell()

    # --- what pages send

    def heard_text(self, viewer: Viewer, message: protocol.FromPage) -> None:
        """See `agent.console.viewers.Listening`."""
        match message:
            case protocol.Played(index=index, time=time):
                if viewer is self._holders.get("microphone") and self.speaker is not None and index >= self._first:
                    self.speaker.report(index - self._first, round(time * 1e6))
            case protocol.Flushed(id=number, index=index):
                if viewer is self._holders.get("microphone") and self.speaker is not None:
                    self.speaker.flushed(number, index - self._first)
            case protocol.Ping(time=time):
                viewer.lateness(time)
                viewer.send(protocol.Pong(time, self.facts.now))
            case protocol.Take(media=media):
                self._take(viewer, media)
            case protocol.Release(media=media):
                held = [medium for medium in media if self._holders.get(medium) is viewer]
                for medium in held:
                    self._give_back(medium)
                viewer.send(protocol.Released(held))
                self.tell()
            case protocol.Text(text=text):
                self._type(text)
            case protocol.Stop(latch=latch):
                if latch:
                    self.hands.stop()
                else:
                    self.microphone.stop("console")
                self.hands.halted()
            case protocol.Steer() as wish:
                if not (wish.vx or wish.vy or wish.wz) or viewer.steering.spend():  # to let go is never too often
                    self.hands.steer(viewer.number, wish, viewer.lateness(wish.time))
            case protocol.Mute(muted=muted):
                self.microphone.muted = muted
                self.tell()
            case protocol.Record(on=on):
                self._record(on)
            case protocol.Adjust(changes=changes):
                self._adjust(viewer, changes)
            case protocol.Offer(sdp=sdp):
                if viewer is self._holders.get("microphone"):  # else it was given back meanwhile
                    viewer.offer(sdp)
            case protocol.Missing(sequences=sequences):
                viewer.voice.resend(sequences)

    def heard_block(self, viewer: Viewer, block: protocol.Block) -> None:
        """See `agent.console.viewers.Listening`."""
        medium: Medium = "microphone" if block.kind == protocol.SOUND else "camera"
        if self._holders.get(medium) is not viewer:
            raise protocol.ProtocolError(f"the {medium} is not yours: take it first.")
        if medium == "microphone":
            ready = [(block.sequence, block)] if viewer.order is None else viewer.order.put(block.sequence, block)
            for sequence, each in ready:
                self.microphone.push(each.samples(), sequence, each.time_ns)
        else:
            self.camera.push(block.data, block.time_ns)

    def _type(self, text: str) -> None:
        plain = " ".join("".join(each if each.isprintable() else " " for each in text).split())
        if not plain:
            raise protocol.ProtocolError("the text is empty: nothing was said to the agent.")
        self.microphone.type(plain)

    def _let_go(self, viewer: int, reason: str) -> None:
        if viewer in self.viewers:
            self.viewers[viewer].send(protocol.LetGo(reason))

    def _adjust(self, viewer: Viewer, changes: dict[str, Any]) -> None:
        if not viewer.adjustments.spend():
            raise protocol.ProtocolError("the behaviour was not changed: it is being changed too often.")
        changed = self.behaviour.adjust(changes)
        told = protocol.Behaves(self.behaviour.manner, viewer.number)
        if changed:
            self.broadcast(told)
        else:
            viewer.send(told)

    def _take(self, viewer: Viewer, media: list[Medium]) -> None:
        taken: list[Medium] = []
        for medium in dict.fromkeys(media):
            holder = self._holders.setdefault(medium, viewer)
            if holder is not viewer:
                what = "talking" if medium == "microphone" else "showing a camera"
                viewer.send(protocol.Refused(medium, f"somebody else is {what} (viewer {holder.number})"))
                continue
            taken.append(medium)
            if medium == "microphone":
                self.microphone.attach()
                self._listen()
            else:
                self.camera.attach()
        if taken:
            viewer.send(protocol.Taken(taken))
            self.tell()

    def _give_back(self, medium: Medium, lost: str = "") -> None:
        holder = self._holders.pop(medium)
        if medium == "microphone":
            holder.part()
            self.microphone.detach(lost)
            self._player = None
            if self.speaker is not None:
                self.speaker.detach(lost)
        else:
            self.camera.detach(lost)

    def _listen(self) -> None:
        """Who talks hears what the agent says."""
        talker = self._holders.get("microphone")
        if (
            talker is not None
            and self.speaker is not None
            and (self._player is None or self._player.viewer is not talker)
        ):
            self._player = PagePlayer(talker, self._first)
            self.speaker.attach(self._player)
