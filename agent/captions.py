"""Captions of a recording: what was really said and heard, as WebVTT or SubRip.

The person's words are those of the turns that were answered; the agent's are those that left the speaker (`Played`), so
what was cut is not there, and a dash says so. Pure but for the command: packets → speeches → cues → text.

WebVTT: W3C Candidate Recommendation, https://www.w3.org/TR/webvtt1/. SubRip has no standard; this is what is common.
How it is cut into cues: `agent/cues.py`.
"""

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agent import outputs
from agent.cues import CUT, SLOW, Speech, Token, Who, cues, width
from agent.errors import ConfigError, OutputError
from agent.events import printable
from agent.outputs import Terminal
from streams.clock import SECOND
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Outcome, Played, Say, SpeechEnded, TurnCommitted, TurnDropped, TurnOpened, Typed, Word, Words

_NOTES = {"backchannel": "(murmured)", "aside": "(to others)", "no_words": "(unclear)"}


# --- the command


def captions(arguments: argparse.Namespace) -> int:
    """`visavis captions REC.mcap [--format vtt|srt] [--out FILE] [--all] [--person NAME] [--agent NAME]`.

    format: where it is not said, by the name of the file, else vtt. Without --out on standard output. A torn recording
    is captioned as far as it goes, which is told on stderr. Raises `RecordingError`, `ConfigError`, `OutputError`.
    """
    outputs.check({"--out": arguments.out}, {"the recording": arguments.recording})
    names: dict[Who, str] = {"person": arguments.person or "Person", "agent": arguments.agent or "Agent"}
    for option, name in names.items():
        if not printable(name).strip():
            raise ConfigError(f"--{option} {name!r}: a speaker must have a name that can be seen")
    recording = Recording.open(arguments.recording)
    if recording.torn:
        why = recording.torn.removeprefix(f"{arguments.recording} ").rstrip(".")
        note = f"{arguments.recording} is torn: {why}; these are the captions up to there"
        Terminal(stderr=True).print(note, markup=False, soft_wrap=True)
    by_name = "srt" if str(arguments.out or "").lower().endswith(".srt") else "vtt"
    said = speeches(recording.packets((PERCEPT, TURN, ACTION, FEEDBACK)), everything=arguments.all)
    text = srt(said, names) if (arguments.format or by_name) == "srt" else vtt(said, names)
    if not arguments.out:
        sys.stdout.write(text)
        return 0
    try:
        Path(arguments.out).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {arguments.out}: {error.strerror or error}") from error
    return 0


# --- packets to speeches


def speeches(packets: Iterable[Packet[Any]], *, everything: bool = False) -> list[Speech]:
    """What was said and heard, in order of its beginning.

    The person: committed turns (typed ones marked) and those that the stop reflex answered; with `everything` also
    backchannels, what was said to others and what nobody understood, marked. The agent's own echo is nobody's speech.
    """
    found: list[Speech] = []
    begun: dict[int, int] = {}
    says: dict[int, Say] = {}
    heard: dict[int, list[Played]] = {}
    cut: set[int] = set()
    typed: list[str] = []
    last, ended = Words(0, "", (), True), 0
    for packet in packets:
        match packet.data:
            case TurnOpened(turn=turn, start_ns=start):
                begun[turn] = start
            case SpeechEnded():
                ended = packet.t
            case Words(final=True) as final:
                last = final
            case TurnCommitted(reason="unasked"):
                pass
            case Typed(text=text):  # also a stop that was typed, which no turn is made of
                typed.append(text)
                found.append(Speech("person", _typed(text, packet.t)))
            case TurnCommitted(reason="typed", text=text, start_ns=start):
                if text not in typed:
                    found.append(Speech("person", _typed(text, start)))
            case TurnCommitted() as committed:
                spoken = committed.words or (Word(committed.text, committed.start_ns, committed.end_ns),)
                note = _NOTES["no_words"] if everything and not committed.text else ""
                found.append(Speech("person", _noted(note, _tokens(spoken), committed.start_ns, committed.end_ns)))
            case TurnDropped(reason=reason, text=text, turn=turn) if reason == "stop" or (
                everything and reason != "echo"
            ):
                start = begun.get(turn, packet.t)
                spoken = last.words if last.text == text and last.words else (Word(text, start, max(start, ended)),)
                found.append(Speech("person", _noted(_NOTES.get(reason, ""), _tokens(spoken), start, ended)))
            case Say(id=number) as say:
                says[number] = say
            case Played(id=number) as played:
                heard.setdefault(number, []).append(played)
            case Outcome(action="Say", id=number, status="cut" | "failed"):
                cut.add(number)
    for number, words in heard.items():
        found.append(Speech("agent", _heard(says[number].text if number in says else "", words, number in cut)))
    return sorted((each for each in found if each.tokens), key=lambda each: (each.tokens[0].start_ns, each.who))


def _tokens(words: Iterable[Word]) -> list[Token]:
    """One for each written word; where several share a time, it is divided by their length."""
    tokens: list[Token] = []
    for word in words:
        parts = printable(word.text).split()
        whole, done = sum(map(len, parts)), 0
        span = max(0, word.end_ns - word.start_ns)
        for part in parts:
            begin, done = done, done + len(part)
            tokens.append(Token(part, word.start_ns + span * begin // whole, word.start_ns + span * done // whole))
    return tokens


def _typed(text: str, t: int) -> tuple[Token, ...]:
    """It takes no time to hear, so it is given the time that it takes to read."""
    tokens = _tokens([Word(text, t, t + round(len(text) / SLOW * SECOND))])
    return _noted("(typed)" if tokens else "", tokens, t, t)


def _noted(note: str, tokens: Sequence[Token], start_ns: int, end_ns: int) -> tuple[Token, ...]:
    if not note:
        return tuple(tokens)
    if tokens:
        return (Token(note, tokens[0].start_ns, tokens[0].start_ns), *tokens)
    return (Token(note, start_ns, max(start_ns, end_ns)),)


def _heard(text: str, words: Sequence[Played], cut: bool) -> tuple[Token, ...]:
    """The words that were heard of `text`, as they are written in it, with the punctuation around them."""
    text = printable(text)
    tokens: list[Token] = []
    done = 0
    for word in words:
        plain = printable(word.text)
        place = text.find(plain, done)
        shown = plain
        blank = True
        if place >= 0:
            end = place + len(plain)
            while end < len(text) and unicodedata.category(text[end])[0] in "PS":
                end += 1
            blank = not tokens or text[done].isspace()
            shown, done = text[done:end].strip(), end
        if shown := "\u00a0".join(shown.split()):  # signs of their own between two words belong to the second
            tokens.append(Token(shown, word.start_ns, word.end_ns, blank))
    if cut and tokens:
        tokens[-1] = tokens[-1]._replace(text=tokens[-1].text.rstrip(".,;:!?…") + CUT)
    return tuple(tokens)


# --- cues to text


def vtt(said: Sequence[Speech], names: dict[Who, str]) -> str:
    """WebVTT, each cue in a voice span of its speaker."""
    blocks = ["WEBVTT\n"]
    for number, cue in enumerate(cues(said), 1):
        body = "\n".join(_escaped(line) for line in cue.lines)
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{number}\n{times}\n<v {_escaped(_name(names[cue.who]))}>{body}\n")
    return "\n".join(blocks)


def srt(said: Sequence[Speech], names: dict[Who, str]) -> str:
    """SubRip, the speaker's name before each cue."""
    before: dict[Who, str] = {who: f"{_name(name)}: " for who, name in names.items()}
    blocks = []
    for number, cue in enumerate(cues(said, {who: width(text) for who, text in before.items()}), 1):
        times = f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"
        body = "\n".join(cue.lines)
        blocks.append(f"{number}\n{times}\n{before[cue.who]}{body}\n")
    return "\n".join(blocks)


def _name(name: str) -> str:
    return re.sub(r"\s+", " ", printable(name)).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{ms:03}"
