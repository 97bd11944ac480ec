"""Whose turn it is: a state machine over percepts, actions and feedback. No I/O and no clock; its time is its input's.

Feed it every packet with `feed(packet)`; whenever session time reaches `deadline`, call `expire(deadline)`. Both return
the decisions taken, each with its evidence, and nothing else is a decision. What follows from them (replies, cuts) is
the conductor's work.

A person's turn:   opened ─ speaking ⇄ waiting ─ committed (exactly once) | dropped
Over the agent:    paused ─ resumed (backchannel, noise, echo, aside) | cut (interruption, stop)
                   resumed in doubt ─ what was dropped is a turn after all, under a new number: cut | it is not

What is typed is a turn of its own, taken when nobody is in the middle of one, or has been for too long.

Words are bound to turns by the stretch of speech they belong to, that is by audio time, never by arrival. Nothing can
hang: every wait has a bound, and the reason of its end is in the decision.
"""

from collections.abc import Collection
from typing import Any

from policies.endpointing import judge
from policies.overlap import CLEAR, FEW_HOPS, SURE_HOPS, TELLING, Hearing, Milliseconds, Overlap, OverlapConfig
from policies.reflex import nothing_but
from policies.transcript import HOP_NS, Loudness, Room, Stretch, UserTurn, power
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Decision,
    Echo,
    Manner,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnEnd,
    TurnOpened,
    TurnWaiting,
    Typed,
    Voice,
    Words,
)

BACK_HOPS = 7  # voiced hops as loud as usual, by which somebody who spoke aside turns to the agent
ONSET_HOPS = 2  # voiced hops by which it is told that what begins is as soft as what was said aside before
OTHERS_NS = 15 * SECOND  # for so long after something was said aside, more of it is expected
QUIET_DB = 25.0  # so much softer than who speaks to the agent, a room does not spoil words
LEARNT = 0.3  # share of the newest turn in what is taken for the usual loudness; twice that, if it is louder


class TurnConfig(OverlapConfig, frozen=True, forbid_unknown_fields=True):
    """Bounds of turn-taking, in milliseconds; see `EndpointingConfig` for the wait and `OverlapConfig` for overlaps.

    final_grace_ms: how long after the wait the recogniser's final words are waited for
    noise_ms: speech shorter than this in which no word was understood is noise, not a turn
    typed_wait_ms: how long what is typed waits for who is speaking
    """

    final_grace_ms: Milliseconds = 700
    noise_ms: Milliseconds = 450
    typed_wait_ms: Milliseconds = 2000


class Aside:
    """Somebody speaks, and not to the agent. Should he turn to it, he is heard.

    number: of the stretch of speech;  loudness: of its newest voiced hops
    ended: it is over, and only its last words are to come: a clear sentence is taken at its word
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = False
        self.loudness = Loudness(BACK_HOPS)


class Doubt:
    """Somebody spoke over the agent, which has gone on, and may be interrupting it.

    speech: what was dropped as a turn, for the time being;  overlap: that the agent has gone on in
    """

    def __init__(self, speech: UserTurn, overlap: Overlap) -> None:
        self.speech = speech
        self.overlap = overlap


class TurnTaker:
    """Decides whose turn it is, from the packets alone; the same packets give the same decisions.

    stop_words: words that the reflex answers (a turn that ends with one gets no other answer)
    language: of backchannels ("uh huh") and of words that hold the turn ("and")
    manner: how patient it is, and what may interrupt the agent; may be replaced at any time
    """

    def __init__(
        self,
        config: TurnConfig | None = None,
        *,
        language: str = "en",
        stop_words: Collection[str] = (),
        manner: Manner | None = None,
    ) -> None:
        self.config = config or TurnConfig()
        self.manner = manner or Manner()
        self._language = language
        self._stop_words = tuple(stop_words)
        self._last_turn = 0
        self._open: UserTurn | None = None
        self._closed: list[UserTurn] = []
        self._overlap: Overlap | None = None
        self._replying: set[int] = set()
        self._saying: dict[int, int] = {}
        self._asked = False
        self._typed: list[tuple[int, str]] = []  # until when it waits at most, and what it is
        self._usual_db: float | None = None  # of speech to the agent
        self._room = Room()
        self._onset = Loudness(ONSET_HOPS + 1)  # of the newest voiced hops
        self._aside: Aside | None = None
        self._doubt: Doubt | None = None
        self._others_ns = 0  # until when somebody who speaks softly is taken for the one who spoke aside

    # --- what others may know

    @property
    def deadline(self) -> int | None:
        """Session time (ns) at which `expire` must be called, None if nothing is waited for."""
        times = [t for turn in self._turns() if (t := self._due(turn)) is not None]
        if self._overlap is not None:
            times.append(self._overlap.next_ns)
        if self._doubt is not None:
            times.append(self._doubt.overlap.next_ns)
        if self._typed:
            times.append(self._typed[0][0])
        return min(times, default=None)

    @property
    def agent_turn(self) -> int | None:
        """The turn the agent is answering or speaking, None if it is silent."""
        return max([*self._replying, *self._saying.values()], default=None)

    @property
    def idle(self) -> bool:
        """Nobody speaks and nothing is being waited for."""
        return self._open is None and self._doubt is None and not self._closed and self.agent_turn is None

    # --- input

    def feed(self, packet: Packet[Any]) -> list[Decision]:
        """Take one packet in (percepts, voice activity, the agent's own actions, feedback); returns what follows."""
        decisions = self._feed(packet)
        return decisions + self._take_typed(packet.at) if self._typed else decisions

    def _feed(self, packet: Packet[Any]) -> list[Decision]:
        now = packet.at
        match packet.data:
            case Voice() as voice:
                return self._voice(voice, packet.t, now)
            case SpeechStarted(segment=number):
                return self._speech_started(number, packet.t, now)
            case SpeechEnded(segment=number, decided_ns=decided):
                return self._speech_ended(number, packet.t, decided, now)
            case Words() as words:
                return self._words(words, now)
            case TurnEnd(segment=number, probability=probability):
                return self._turn_end(number, probability, now)
            case Echo(similarity=similarity):
                return self._echoed(similarity, packet.t, now)
            case Typed(text=text):
                self._typed.append((now + self.config.typed_wait_ms * MS, text))
            case Say(backchannel=True):
                return []  # it is no turn: the person has the floor, and keeps it
            case Say(text=text, turn=turn, id=number):
                return self._say(text, turn, number, packet.t)  # our own: its time is that of its cause
            case Outcome(action="Say", id=number):
                self._saying.pop(number, None)
                return self._agent_ended(now)
        return []

    def expire(self, now: int) -> list[Decision]:
        """Session time has reached `deadline`."""
        decisions: list[Decision] = []
        if self._overlap is not None and now >= self._overlap.next_ns:
            decisions += self._classify(now)
        if self._doubt is not None and now >= self._doubt.overlap.next_ns:
            decisions += self._doubted(self._doubt, now)
        for turn in self._turns():
            if turn is not self._open or self._overlap is None:
                decisions += self._commit_if_due(turn, now)
        return decisions + self._take_typed(now)

    def replied(self, turn: int, now: int) -> list[Decision]:
        """The reply to `turn` has no more actions (it may still be speaking)."""
        self._replying.discard(turn)
        return self._agent_ended(now)

    def stop(self, segment: int, now: int) -> list[Decision]:
        """The reflex heard a stop word in stretch `segment`: the agent's turn ends here, whatever else is said."""
        decisions: list[Decision] = []
        turn = self._turn_of(segment)
        if turn is None and self._doubt is not None and self._doubt.speech.stretch(segment) is not None:
            decisions += self._taken_back(self._doubt)
            turn = self._open
        if turn is not None:
            turn.stopped = True
        agent = self.agent_turn
        if agent is None:
            return decisions
        text = turn.transcript().text if turn else ""
        return decisions + self._cut(agent, turn, "stop", text, now)

    def unasked(self, now: int) -> TurnCommitted | None:
        """A turn for the agent's own wish to speak; None while anybody else has or wants the floor."""
        if not self.idle:
            return None
        self._last_turn += 1
        self._replying.add(self._last_turn)
        return TurnCommitted(self._last_turn, "", (), 1.0, now, now, "unasked")

    def finish(self, now: int) -> list[Decision]:
        """The stream has ended: nobody will speak any more, so whatever is open is decided now."""
        decisions: list[Decision] = []
        self._aside = None
        if self._overlap is not None:
            decisions += self._classify(now, last=True)
        if self._doubt is not None:
            decisions += self._doubted(self._doubt, now, last=True)
            self._aside = None
        for turn in self._turns():
            for stretch in turn.stretches:
                stretch.end_ns = now if stretch.end_ns is None else stretch.end_ns
            decisions += self._commit(turn, "end_of_stream", now)
        return decisions + self._take_typed(now)

    # --- a person's turn

    def _speech_started(self, number: int, start: int, now: int, *, loud: bool = False) -> list[Decision]:
        decisions: list[Decision] = []
        turn = self._open
        expected = turn is None and self._doubt is None and now < self._others_ns
        if not loud and expected and self.agent_turn is not None:
            level = self._onset.level_db(ONSET_HOPS)
            if level is not None and self._usual_db is not None and level < self._usual_db - self.config.aside_db:
                self._aside = Aside(number)  # the one who spoke aside goes on
                return []
        if turn is not None and turn.until_ns is not None and start >= turn.until_ns and self._overlap is None:
            # The silence was long enough: that turn is over and only waits for its words. This is the next one.
            self._closed.append(turn)
            turn = self._open = None
        if turn is None and self._doubt is not None:  # its last words are still to come: it is judged with these
            decisions += self._taken_back(self._doubt)
            turn = self._open
        if turn is None:
            self._last_turn += 1
            turn = self._open = UserTurn(self._last_turn)
            decisions.append(TurnOpened(turn.number, start))
        turn.stretches.append(Stretch(number, start))
        turn.until_ns = None
        return decisions + self._overlap_if_agent_speaks(turn, now)

    def _voice(self, voice: Voice, t: int, now: int) -> list[Decision]:
        """One hop: how loud the speech is, and what follows from that."""
        self._room.hear(voice)
        self._onset.hear(voice, self._room.power)
        if self._doubt is not None:
            self._doubt.overlap.hear(voice, self._room.power)
            newest = self._doubt.speech.stretches[-1]
            if newest.end_ns is None:
                newest.hear(voice, t, self._room.power)
            return self._doubted(self._doubt, now)
        if self._aside is not None and not self._aside.ended:
            return self._heard_aside(self._aside, voice, t, now)
        if self._overlap is not None:
            self._overlap.hear(voice, self._room.power)
        turn = self._open
        if turn is None or turn.stretches[-1].end_ns is not None:
            return []
        turn.stretches[-1].hear(voice, t, self._room.power)
        return self._classify(now) if self._overlap is not None else self._set_aside(turn, now)

    def _heard_aside(self, aside: Aside, voice: Voice, t: int, now: int) -> list[Decision]:
        """One hop of what is not for the agent: does somebody speak up?"""
        aside.loudness.hear(voice, self._room.power)
        self._others_ns = now + OTHERS_NS
        level = aside.loudness.level_db(BACK_HOPS)
        if self._usual_db is None or level is None or level < self._usual_db - self.config.aside_db / 2:
            return []
        self._aside = None
        return self._speech_started(aside.number, t - BACK_HOPS * HOP_NS, now, loud=True)

    def _words_aside(self, words: Words, now: int) -> list[Decision]:
        """What was taken for no concern of the agent turns out to be a clear sentence for it."""
        clear = words.complete and words.confidence >= CLEAR and len(words.words) >= TELLING
        if not words.final or not clear or self._open is not None:
            return []
        self._aside = None
        self._last_turn += 1
        first, last = words.words[0].start_ns, words.words[-1].end_ns
        turn = self._open = UserTurn(self._last_turn, [Stretch(words.segment, first, last, now, words)])
        opened = TurnOpened(turn.number, first)
        return [opened, *self._overlap_if_agent_speaks(turn, now), *self._review(turn, now)]

    def _set_aside(self, turn: UserTurn, now: int) -> list[Decision]:
        """Somebody begins to speak elsewhere while a turn waits for its end: that is no part of it."""
        newest, before = turn.stretches[-1], turn.stretches[:-1]
        level = newest.loudness.level_db(SURE_HOPS)
        spoken = max((each for s in before if (each := s.loudness.level_db()) is not None), default=None)
        if not self.config.aside_db or level is None or spoken is None or level >= spoken - self.config.aside_db:
            return []
        turn.stretches.pop()
        self._aside = Aside(newest.number)
        return self._review(turn, now)

    def _echoed(self, similarity: float, t: int, now: int) -> list[Decision]:
        """The canceller says how much of what is heard is the agent's own voice."""
        turn = self._open if self._doubt is None else self._doubt.speech
        if turn is None or turn.stretches[-1].end_ns is not None:
            return []
        turn.stretches[-1].hear_echo(similarity, t)
        return [] if self._overlap is None else self._classify(now)

    def _speech_ended(self, number: int, end: int, decided: int, now: int) -> list[Decision]:
        if self._aside is not None and self._aside.number == number:
            self._aside.ended = True
        if self._doubt is not None and (doubted := self._doubt.speech.stretch(number)) is not None:
            doubted.end_ns, doubted.decided_ns = end, decided
            return self._doubted(self._doubt, now)
        turn = self._turn_of(number)
        stretch = turn.stretch(number) if turn else None
        if turn is None or stretch is None:
            return []
        stretch.end_ns, stretch.decided_ns = end, decided
        return self._review(turn, now)

    def _words(self, words: Words, now: int) -> list[Decision]:
        turn = self._turn_of(words.segment)
        if turn is None and self._aside is not None and self._aside.number == words.segment:
            return self._words_aside(words, now)
        if self._doubt is not None and (doubted := self._doubt.speech.stretch(words.segment)) is not None:
            doubted.words = words if not doubted.final else doubted.words
            return self._doubted(self._doubt, now)
        stretch = turn.stretch(words.segment) if turn else None
        if turn is None or stretch is None or stretch.final:
            return []
        stretch.words = words
        return self._review(turn, now)

    def _turn_end(self, number: int, probability: float, now: int) -> list[Decision]:
        if self._doubt is not None and (doubted := self._doubt.speech.stretch(number)) is not None:
            doubted.model = probability
            return []
        turn = self._turn_of(number)
        if turn is None or turn.stretches[-1].number != number:
            return []
        turn.stretches[-1].model = probability
        return self._review(turn, now)

    def _review(self, turn: UserTurn, now: int) -> list[Decision]:
        """New evidence on `turn`: decide again."""
        if self._overlap is not None and turn is self._open:
            return self._classify(now)
        if turn.speaking:
            return []
        heard = turn.transcript()
        judgement = judge(
            self.config,
            text=heard.text,
            complete=heard.complete,
            final=turn.final,
            model=turn.stretches[-1].model,
            asked=self._asked,
            language=self._language,
            spoken_ns=turn.spoken_ns,
        )
        until = turn.end_ns + round(judgement.wait_ns * self.manner.patience)
        decisions: list[Decision] = []
        if turn in self._closed:
            until = turn.until_ns or until  # its silence is over; later evidence cannot lengthen it
        elif until != turn.until_ns:
            decisions.append(
                TurnWaiting(turn.number, judgement.probability, until - turn.end_ns, until, judgement.evidence)
            )
        turn.until_ns, turn.evidence = until, judgement.evidence
        turn.grace_ns = max(until, turn.stretches[-1].decided_ns) + self.config.final_grace_ms * MS
        return decisions + self._commit_if_due(turn, now)

    def _due(self, turn: UserTurn) -> int | None:
        """When `turn` is to be committed as things stand: in their order, or the answer to an older one were fenced."""
        if turn.until_ns is None or (turn is self._open and self._overlap is not None):
            return None
        due = turn.until_ns if turn.final else turn.grace_ns
        older = (each.grace_ns for each in self._closed if each.number < turn.number and not each.final)
        return max([due, *older])

    def _commit_if_due(self, turn: UserTurn, now: int) -> list[Decision]:
        due = self._due(turn)
        if due is None or now < due:
            return []
        if not turn.final:
            return self._commit(turn, "no_final", now)
        longest = turn.end_ns + round(self.config.max_wait_ms * MS * self.manner.patience)
        return self._commit(turn, "max_wait" if due >= longest else "silence", now)

    def _commit(self, turn: UserTurn, reason: str, now: int) -> list[Decision]:
        self._forget(turn)
        heard = turn.transcript()
        if turn.stopped and self._ends_in_stop(heard.text):
            return [TurnDropped(turn.number, "stop", heard.text)]
        if turn.is_echo(self.config.echo_similarity):
            return [TurnDropped(turn.number, "echo", heard.text or heard.guess)]
        if not heard.text and (not heard.guess or turn.spoken_ns < self.config.noise_ms * MS):
            return [TurnDropped(turn.number, "no_words", heard.guess)]
        if not heard.text and self._hearing.is_aside(turn):
            return [TurnDropped(turn.number, "aside", heard.guess)]
        decisions: list[Decision] = []
        agent = self.agent_turn
        if agent is not None and self.manner.interruptible == "stop":
            return [TurnDropped(turn.number, "over", heard.text)]
        if agent is not None:  # one reply at a time: what the agent is still saying belongs to an older turn
            decisions += self._cut(agent, turn, "new_turn", heard.text, now)
        level = turn.loudest_db
        if level is not None and (heard.text or self._usual_db is None):
            usual = level if self._usual_db is None else self._usual_db
            self._usual_db = usual + (LEARNT if level < usual else 2 * LEARNT) * (level - usual)
        self._replying.add(turn.number)
        self._asked = False
        decisions.append(
            TurnCommitted(
                turn.number,
                heard.text,
                heard.words,
                heard.confidence,
                turn.start_ns,
                turn.end_ns,
                reason,
                heard.complete,
                heard.guess,
                turn.evidence,
            )
        )
        return decisions

    def _take_typed(self, now: int) -> list[Decision]:
        """What was typed becomes a turn as soon as nobody is in the middle of one."""
        decisions: list[Decision] = []
        if self._typed and now >= self._typed[0][0]:  # somebody talks and talks, or it is noise
            for turn in self._turns():
                self._forget(turn)
                decisions.append(TurnDropped(turn.number, "typed", turn.transcript().text))
            if self._overlap is not None:
                spoken_over = self._overlap.agent
                self._silence(spoken_over)
                decisions.append(OverlapCut(spoken_over, self._last_turn + 1, "typed", self._typed[0][1]))
        while self._typed and not self._turns():
            _, text = self._typed.pop(0)
            self._last_turn += 1
            number, agent = self._last_turn, self.agent_turn
            decisions.append(TurnOpened(number, now))
            if agent is not None:
                self._silence(agent)
                decisions.append(OverlapCut(agent, number, "typed", text))
            self._replying.add(number)
            self._asked = False
            decisions.append(TurnCommitted(number, text, (), 1.0, now, now, "typed"))
        return decisions

    def _ends_in_stop(self, text: str) -> bool:
        """Nothing more was said after the stop word but courtesy: what was asked before it is taken back."""
        words = text.split()
        return not words or any(
            nothing_but(" ".join(words[begin:]), self._stop_words, self._language) for begin in range(len(words))
        )

    # --- over the agent

    def _say(self, text: str, turn: int, number: int, now: int) -> list[Decision]:
        self._saying[number] = turn
        self._asked = text.rstrip().endswith("?")
        speaking = self._open
        if speaking is None or not speaking.speaking:
            return []
        if self._overlap is None and self._hearing.is_aside(speaking, SURE_HOPS):  # as ever: a television
            self._forget(speaking)
            self._aside = Aside(speaking.stretches[-1].number)
            heard = speaking.transcript()
            return [TurnDropped(speaking.number, "aside", heard.text or heard.guess)]
        return self._overlap_if_agent_speaks(speaking, now)

    def _overlap_if_agent_speaks(self, turn: UserTurn, now: int) -> list[Decision]:
        agent = self.agent_turn
        if agent is None or self._overlap is not None or self.manner.interruptible == "stop":
            return []
        self._overlap = Overlap.begin(agent, now, self.config)
        return [OverlapPaused(agent, turn.number)]

    def _agent_ended(self, now: int) -> list[Decision]:
        """If the agent has nothing more to say, there is nothing to speak over: the overlap is an ordinary turn."""
        if self.agent_turn is not None or self._overlap is None:
            return []
        self._overlap = None
        return self._review(self._open, now) if self._open is not None else []

    def _classify(self, now: int, *, last: bool = False) -> list[Decision]:
        """Is the speech over the agent meant for it? `last`: no more evidence will come."""
        overlap, turn = self._overlap, self._open
        if overlap is None or turn is None:
            self._overlap = None
            return []
        hearing = self._hearing
        verdict = overlap.classify(turn, now, hearing=hearing, last=last)
        if verdict == "undecided":
            return []
        heard, evidence = turn.transcript(), hearing.evidence(turn, now)
        if verdict == "interruption":
            return self._cut(overlap.agent, turn, verdict, heard.text or heard.guess, now)
        self._overlap = None
        self._forget(turn)
        if hearing.is_aside(turn, FEW_HOPS):
            self._others_ns = now + OTHERS_NS
        reason: str = verdict
        if verdict == "doubt":
            overlap.doubtful = True
            self._doubt, self._aside = Doubt(turn, overlap), None
            reason = "backchannel" if heard.text else "noise"
        elif turn.speaking and verdict != "echo":
            self._aside = Aside(turn.stretches[-1].number)
        dropped = verdict if verdict in ("echo", "aside") else "backchannel" if heard.text else "no_words"
        return [
            OverlapResumed(overlap.agent, turn.number, reason, heard.text, evidence),
            TurnDropped(turn.number, dropped, heard.text),
        ]

    def _doubted(self, doubt: Doubt, now: int, *, last: bool = False) -> list[Decision]:
        """The agent has gone on: is the speech meant for it after all? `last`: no more evidence will come."""
        speech, hearing = doubt.speech, self._hearing
        verdict = doubt.overlap.classify(speech, now, hearing=hearing, last=last)
        if verdict == "undecided":
            return []
        if verdict == "interruption":
            decisions, agent = self._taken_back(doubt), self.agent_turn
            turn = self._open
            if turn is None:
                return decisions
            if agent is None or self.manner.interruptible == "stop":
                return decisions + self._review(turn, now)
            heard = turn.transcript()
            return decisions + self._cut(agent, turn, verdict, heard.text or heard.guess, now)
        self._doubt = None
        if hearing.is_aside(speech, FEW_HOPS):
            self._others_ns = now + OTHERS_NS
        if speech.speaking and verdict != "echo":
            self._aside = Aside(speech.stretches[-1].number)
        return []

    def _taken_back(self, doubt: Doubt) -> list[Decision]:
        """What was dropped in doubt is a turn again, under a number of its own."""
        self._doubt = None
        self._last_turn += 1
        turn = self._open = UserTurn(self._last_turn, doubt.speech.stretches)
        return [TurnOpened(turn.number, turn.start_ns)]

    @property
    def _hearing(self) -> Hearing:
        quiet = self._usual_db is not None and self._room.power < power(self._usual_db - QUIET_DB)
        return Hearing(self.config, self._language, self._asked, self._usual_db, quiet)

    def _cut(self, agent: int, turn: UserTurn | None, reason: str, text: str, now: int) -> list[Decision]:
        """Turn `agent` of the agent ends here, because of `turn` (None: nobody's in particular)."""
        self._silence(agent)
        evidence = self._hearing.evidence(turn, now) if turn is not None else {}
        by = turn.number if turn is not None else 0
        decisions: list[Decision] = [OverlapCut(agent, by, reason, text, evidence)]
        if turn is not None and turn is self._open:
            decisions += self._review(turn, now)
        return decisions

    def _silence(self, agent: int) -> None:
        """The agent's turns up to `agent` are over, whatever of them is still to come."""
        self._overlap = None
        self._replying = {turn for turn in self._replying if turn > agent}
        self._saying = {number: turn for number, turn in self._saying.items() if turn > agent}

    # --- small things

    def _turns(self) -> list[UserTurn]:
        return [*self._closed, self._open] if self._open is not None else list(self._closed)

    def _turn_of(self, segment: int) -> UserTurn | None:
        return next((turn for turn in self._turns() if turn.stretch(segment) is not None), None)

    def _forget(self, turn: UserTurn) -> None:
        if turn is self._open:
            self._open = None
        elif turn in self._closed:
            self._closed.remove(turn)
