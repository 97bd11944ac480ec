"""A conversation told in lines, from its packets: what is over, and what is going on right now. No terminal, no clock.

Lines come in the order of the bus; each has the time at which it was known, and spans where something lasted. The agent
"says" what was heard of it (`Played`), never what was generated.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from rich.text import Text

from agent.conductor import CUT, ENDED, ENDING
from agent.robot_lines import RobotLines
from agent.timings import word_end
from embodied.ledger import heard_text
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Adjusted,
    Ask,
    Call,
    Command,
    Declined,
    Delta,
    Faces,
    Fault,
    Halt,
    Manner,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Played,
    PlayStarted,
    Recovered,
    Say,
    SensesEnded,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnWaiting,
    Typed,
    Withdraw,
    Words,
)

# Blue and yellow are told apart by every common kind of colour blindness; and no meaning is in the colour alone.
PERSON, AGENT, NOTE, ALARM, GREY = "bright_blue", "yellow", "dim", "bold", "dim"
UNHEARD = "dim strike"

_WHY = {
    "no_words": "no words in it",
    "backchannel": "a backchannel",
    "stop": "the stop reflex has answered it",
    "noise": "noise",
    "echo": "the agent's own voice",
    "aside": "said to somebody else",
    "typed": "something was typed",
    "timeout": "nothing more came",
    "interruption": "an interruption",
    "new_turn": "the next turn is answered",
    "max_wait": "the longest wait",
    "no_final": "the recogniser's final words did not come",
    "end_of_stream": "the stream ended",
}
_EVIDENCE = {
    "sentence": "whole sentence",
    "fragment": "part of a sentence",
    "no_words": "no words",
    "answer": "an answer",
}


class Line(NamedTuple):
    """t: session time (ns);  who: "person", "agent", "tool", "body", "fault" or "" for a note;  text: what, styled"""

    t: int
    who: str
    text: Text


class _Saying(Struct):
    """A `Say` on its way to the ears."""

    say: Say
    begun: int | None = None
    words: list[str] = []

    @property
    def heard(self) -> str:
        return heard_text(self.say.text, self.words)


class Narrator:
    """Feed it every packet of PERCEPT, TURN, ACTION and FEEDBACK; it returns the lines that are complete.

    `now` has what is still going on: partial words, the wait, the agent's words so far, running tools.
    """

    def __init__(self) -> None:
        self._t = 0
        self._speaking: Line | None = None
        self._waiting: tuple[int, TurnWaiting] | None = None
        self._onset = 0
        self._talking = False
        self._spans: dict[int, tuple[int, int | None]] = {}  # by stretch of speech: start and end
        self._last_words: Words | None = None
        self._commits: dict[int, tuple[int, int | None]] = {}  # when, and the end of the person's speech
        self._says: dict[int, _Saying] = {}
        self._doing: dict[int, tuple[int, Call | Command]] = {}
        self._paused: tuple[int, int] | None = None  # agent's turn, since when
        self._overlap_onset = 0
        self._people = 0
        self._manner = Manner()
        self._robots = RobotLines()
        self._asked: dict[int, int] = {}  # questions to a model of which nothing has come yet, and since when

    def feed(self, packet: Packet[Any]) -> list[Line]:
        """The lines that this packet completes, oldest first."""
        self._t = max(self._t, packet.at)
        far = self._robots.how_far(packet.data, packet.at) if isinstance(packet.data, Outcome) else ""
        told = self._robots.feed(packet)
        robots = [Line(packet.at, "body", Text(line.text, ALARM if line.alarming else NOTE)) for line in told]
        return [*self._told(packet, far), *robots]

    def _told(self, packet: Packet[Any], far: str) -> list[Line]:
        """As in `feed`. far: how far a robot went, where this is the outcome of its command"""
        match packet.data:
            case SpeechStarted() | SpeechEnded() | Words() as percept:
                return self._percept(percept, packet)
            case Say(id=number) as say:
                self._says[number] = _Saying(say)
            case Call(id=number) | Command(id=number) as action:
                self._doing[number] = (packet.at, action)
            case Halt(reason=reason, latch=latch):
                return [self._halt(reason, packet.at, latch)]
            case PlayStarted(id=number) if number in self._says:
                self._says[number].begun = packet.t
            case Played(id=number, text=text) if number in self._says:
                self._says[number].words.append(text)
            case Ask(id=number):
                self._asked[number] = packet.at
            case Delta(id=number):
                self._asked.pop(number, None)
            case Withdraw(id=number):
                self._asked.pop(number, None)
            case Outcome(action="Ask", id=number) as outcome:
                self._asked.pop(number, None)
                if outcome.status in {"done", "cut", "fenced"}:
                    return []
                return [Line(packet.at, "fault", Text(f"model: {outcome.status}: {outcome.detail}", ALARM))]
            case Outcome() as outcome:
                return self._outcome(outcome, packet.at, far)
            case Declined(name=name, arguments=arguments, reason=reason):
                return [Line(packet.at, "tool", Text(f"{name} {_short(arguments)}: declined: {reason}", NOTE))]
            case Adjusted(manner=manner, by=by):
                before, self._manner = self._manner, manner
                how = ", ".join(f"{name} {_short(value)}" for name, value in _changed(before, manner).items())
                return [Line(packet.at, "", Text(f"behaviour ({by}): {how or 'as it was'}", NOTE))]
            case Typed(text=text):
                return [Line(packet.at, "person", Text().append(text, PERSON).append("  (typed)", NOTE))]
            case Faces(faces=faces):
                return self._seen(len(faces), packet.at)
            case Recovered(where=where, message=message):
                return [Line(packet.at, "", Text(f"{where}: {message or 'is back'}", NOTE))]
            case Fault(error=error) if error == ENDING:
                return []  # nothing is wrong; what it halts is told
            case Fault() as fault:
                return [Line(packet.at, "fault", Text(f"{fault.where}: {fault.error}: {fault.message}", ALARM))]
            case _:
                return self._decision(packet)
        return []

    def finish(self) -> list[Line]:
        """The session is over: what never came to an end."""
        lines = [Line(self._t, "agent", self._utterance(saying, "the session ended")) for saying in self._says.values()]
        lines += [self._deed(action, t, self._t, "no outcome") for t, action in self._doing.values()]
        self._says.clear()
        self._doing.clear()
        self._speaking = self._waiting = None
        return lines

    @property
    def now(self) -> list[Line]:
        """What is going on, to be drawn anew after every packet."""
        lines = []
        for saying in self._says.values():
            if saying.begun is not None:
                lines.append(Line(saying.begun, "agent", self._growing(saying)))
        for t, action in self._doing.values():
            lines.append(Line(t, _actor(action), Text(f"{_spelt(action)}{self._robots.share(action.id)} ...", GREY)))
        lines += [Line(t, "agent", Text("thinking ...", GREY)) for t in self._asked.values()]
        if self._speaking is not None:
            lines.append(self._speaking)
        if self._waiting is not None:
            t, waiting = self._waiting
            lines.append(Line(t, "", Text(_judgement(waiting, "waits"), NOTE)))
        return lines

    # --- the person

    def _percept(self, percept: SpeechStarted | SpeechEnded | Words, packet: Packet[Any]) -> list[Line]:
        match percept:
            case SpeechStarted(segment=segment):
                self._onset, self._talking = packet.t, True
                self._spans[segment] = (packet.t, None)
                self._speaking = Line(packet.t, "person", Text("(speaks)", GREY))
                waiting, self._waiting = self._waiting, None
                if waiting is not None:
                    what = f"the person goes on: {_judgement(waiting[1], 'asked to wait')}"
                    return [Line(packet.at, "", Text(what, NOTE))]
            case SpeechEnded(segment=segment):
                self._talking = False
                self._spans[segment] = (self._spans.get(segment, (packet.t, None))[0], packet.t)
            case Words(final=True, segment=segment):
                self._last_words, self._speaking = percept, None
                start, end = self._spans.pop(segment, (packet.t, None))
                return [Line(packet.at, "person", _said(percept, start, packet.t if end is None else end))]
            case Words():
                self._last_words = percept
                if percept.text:
                    self._speaking = Line(self._onset, "person", Text(percept.text, GREY))
        return []

    def _decision(self, packet: Packet[Any]) -> list[Line]:
        t = packet.at
        match packet.data:
            case TurnWaiting() as waiting:
                self._waiting = (t, waiting)
            case TurnCommitted() as turn:
                return self._committed(turn, t)
            case TurnDropped(turn=number, reason=reason, text=text):
                self._waiting = None
                self._let_go()
                quoted = f' "{text}"' if text else ""
                return [Line(t, "", Text(f"turn {number} dropped: {_WHY.get(reason, reason)}{quoted}", NOTE))]
            case OverlapPaused(turn=turn):
                self._paused = (turn, t)
                self._overlap_onset = max(self._onset, self._commits.get(turn, (0, None))[0])
                return [
                    Line(t, "", Text(f"agent pauses, {_ms(t - self._overlap_onset)} after the person's onset", NOTE))
                ]
            case OverlapResumed(reason=reason, text=text):
                paused, self._paused = self._paused, None
                since = f" after {_ms(t - paused[1])}" if paused else ""
                quoted = f' "{text}"' if text else ""
                return [Line(t, "", Text(f"agent goes on{since}: {_WHY.get(reason, reason)}{quoted}", NOTE))]
            case OverlapCut(reason=reason):
                return [self._cut(reason, t)]
            case SensesEnded():
                return [Line(t, "", Text("the senses have ended", NOTE))]
        return []

    def _committed(self, turn: TurnCommitted, t: int) -> list[Line]:
        lines = []
        self._commits[turn.turn] = (t, None if turn.reason == "unasked" else turn.end_ns)
        waiting, self._waiting = self._waiting, None
        if turn.reason == "unasked":
            return [Line(t, "", Text(f"turn {turn.turn}: the agent takes the floor by itself", NOTE))]
        self._let_go()
        if turn.reason == "no_final" and turn.text:
            lines.append(Line(t, "person", Text(turn.text, PERSON)))
        what = f"turn {turn.turn} taken"
        if waiting is not None:
            what += f": {_judgement(waiting[1], 'waited', t - turn.end_ns)}"
        if turn.reason in _WHY:
            what += f", {_WHY[turn.reason]}"
        return [*lines, Line(t, "", Text(what, NOTE))]

    def _let_go(self) -> None:
        """A turn is over: unless somebody speaks, partial words that no final ones followed are shown no longer."""
        if not self._talking:
            self._speaking = None

    def _seen(self, count: int, t: int) -> list[Line]:
        """Told when it changes, not with every picture."""
        if count == self._people:
            return []
        self._people = count
        what = {0: "nobody", 1: "one face"}.get(count, f"{count} faces")
        return [Line(t, "", Text(f"sees {what}", NOTE))]

    # --- the agent

    def _halt(self, word: str, t: int, latch: bool) -> Line:
        if word == "pressed":
            stop = (
                "EMERGENCY STOP pressed, everything halts until it is reset"
                if latch
                else "STOP pressed, everything halts"
            )
            return Line(t, "", Text(stop, ALARM))
        if word in (ENDED, CUT):
            return Line(t, "", Text(f"STOP: {ENDED}, everything halts", ALARM))
        end = word_end(self._last_words, word) if self._last_words is not None else None
        after = f", {_ms(t - end)} after the word" if end is not None else ""
        return Line(t, "", Text(f'STOP: "{word}" heard, everything halts{after}', ALARM))

    def _cut(self, reason: str, t: int) -> Line:
        paused, self._paused = self._paused, None
        what = "agent cut"
        if paused is not None:
            what += f", {_ms(t - self._overlap_onset)} after the onset, {_ms(t - paused[1])} after the pause"
        return Line(t, "", Text(f"{what}: {_WHY.get(reason, reason) if reason != 'stop' else 'stop'}", ALARM))

    def _outcome(self, outcome: Outcome, t: int, far: str) -> list[Line]:
        if outcome.action == "Say":
            saying = self._says.pop(outcome.id, None)
            return [] if saying is None else [Line(t, "agent", self._utterance(saying, "", outcome, t))]
        began = self._doing.pop(outcome.id, None)
        if began is None:
            return []
        how = outcome.status + (f" ({outcome.detail})" if outcome.detail else "") + far
        if outcome.result is not None:
            how += f" -> {msgspec.json.encode(outcome.result).decode()}"
        return [self._deed(began[1], began[0], t, how)]

    def _utterance(self, saying: _Saying, why: str, outcome: Outcome | None = None, t: int | None = None) -> Text:
        """A whole utterance: what was heard of it, and what was not."""
        whole = saying.say.text
        heard = saying.heard
        if outcome is not None and isinstance(outcome.result, str):
            heard = outcome.result
        elif outcome is not None and outcome.status == "done":
            heard = whole
        text = Text().append(heard, AGENT)
        rest = whole[len(heard) :].strip() if whole.startswith(heard) else ""
        if rest:
            text.append(" [not heard: " if heard else "[not heard: ", NOTE).append(rest, UNHEARD).append("]", NOTE)
        if outcome is not None and outcome.status in {"failed", "refused", "timeout"}:
            text.append(f" {outcome.status}: {outcome.detail}", ALARM)
        if why:
            text.append(f" ({why})", NOTE)
        return text.append(self._span(saying, t), NOTE)

    def _span(self, saying: _Saying, t: int | None) -> str:
        if saying.begun is None or t is None:
            return ""
        span = f"{_s(saying.begun)}-{_s(t)}"
        committed, end = self._commits.get(saying.say.turn, (0, None))
        if end is None:
            return f"  ({span})"
        self._commits[saying.say.turn] = (committed, None)  # told once a turn, with its first sound
        return f"  ({span}, {(saying.begun - end) / SECOND:.2f} s after the person)"

    def _growing(self, saying: _Saying) -> Text:
        heard = saying.heard
        text = Text().append(heard, AGENT)
        if saying.say.text.startswith(heard):
            text.append(saying.say.text[len(heard) :], GREY)
        return text.append(" (paused)", NOTE) if self._paused is not None else text

    def _deed(self, action: Call | Command, began: int, ended: int, how: str) -> Line:
        text = Text(f"{_spelt(action)}: {how}")
        if ended > began:
            text.append(f"  ({_s(began)}-{_s(ended)})", NOTE)
        return Line(ended, _actor(action), text)


def _said(words: Words, start: int, end: int) -> Text:
    span = f"  ({_s(start)}-{_s(end)})" if start < end else ""
    if words.text:
        sure = f", confidence {words.confidence:.2f}" if words.confidence < 0.995 else ""
        return Text().append(words.text, PERSON).append(span[:-1] + sure + ")" if span else "", NOTE)
    nearest = f'(not understood; nearest: "{words.guess}")' if words.guess else "(no words)"
    return Text(nearest, NOTE).append(span, NOTE)


def _judgement(waiting: TurnWaiting, verb: str, wait_ns: int | None = None) -> str:
    """Such as "end of turn 0.93, waits 0.30 s (model 0.88, whole sentence)"."""
    parts: list[str] = []
    for name, value in waiting.evidence.items():
        if name == "p_model":
            parts.insert(0, f"model {value:.2f}")
        elif name == "hold_word":
            last = str(waiting.evidence.get("text", "")).split()[-1:]
            parts.append(f'ends in "{last[0]}"' if last else "hold word")
        elif name in _EVIDENCE:
            parts.append(_EVIDENCE[name])
        elif name not in {"model", "text"}:
            parts.append(f"{name} {value}")
    why = f" ({', '.join(parts)})" if parts else ""
    wait = waiting.wait_ns if wait_ns is None else wait_ns
    return f"end of turn {waiting.probability:.2f}, {verb} {wait / SECOND:.2f} s{why}"


def _spelt(action: Call | Command) -> str:
    arguments = ", ".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in action.arguments.items())
    return f"{action.name}({arguments})"


def _actor(action: Call | Command) -> str:
    return "tool" if isinstance(action, Call) else "body"


def _s(ns: int) -> str:
    return f"{ns / SECOND:.2f}"


def _ms(ns: int) -> str:
    return f"{ns / MS:.0f} ms"


def _changed(before: Manner, after: Manner) -> dict[str, Any]:
    """What is not as it was."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {name: value for name, value in new.items() if value != old[name]}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
