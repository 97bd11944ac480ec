"""The request to a language model, made of the scene: what was heard, done and seen, and what may be done now.

Pure: the same scene, manner, settings and turn give the same request, to the byte. That is what a draft rests on: it is
taken as the answer if the request at the commit is `equivalent` to the one that was asked before. So nothing in a
request depends on *now*. Ages and the time of day count from the moment at which the person last stopped speaking or
typing (`Snapshot.asked_ns`), which is the same at both; they are told coarsely (`wording.coarse`: a few seconds, tens
of seconds, minutes, hours; the time of day to the minute); and who is in view is told by number and side, steadied
against flicker (`sight.Watch`). What differs then is relevant: other words, an outcome, somebody who came or went.

The order is: system message, the turns so far (`history`; the oldest in short, `condensing`), the person's turn with
what is true now before it, and the calls that were made in answer to this turn, as `tool_calls` and `tool` messages.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from policies.llm import wording
from policies.llm.budget import message_tokens, request_tokens
from policies.llm.condensing import Style, condensed
from policies.llm.history import Limits, Piece, blocks, heard, merged, outcome
from policies.llm.now import now_note
from policies.llm.offers import LOOK, Tools, tools_of
from policies.llm.question import OpenTurn, Round, Used, tool_round
from policies.llm.settings import LlmConfig
from policies.llm.speakable import CONTROLS
from policies.llm.untrusted import compact
from policies.scene import Done, Heard, Snapshot, Spoken
from streams.types import Manner

__all__ = ["LOOK", "Composer", "OpenTurn", "Round", "Used", "equivalent", "request_key", "tool_round"]

_UNASKED = "[Nobody has spoken. You have the floor: say what is worth saying now, or nothing.]"
_PICTURE = "[Here is the picture: what your camera sees now.]"


class Composer(Struct, frozen=True):
    """Makes requests.

    language: of the answers, where the manner names none;  wall: wall time of a session time in ns (`Clock.wall`),
    None: the model is told neither day nor time;  controls: what the model is told of speaking, silence, pace and tone
    """

    config: LlmConfig
    language: str = "en"
    wall: Callable[[int], datetime] | None = None
    controls: str = CONTROLS

    def tools(self, snapshot: Snapshot, manner: Manner, *, pictures: bool = False) -> Tools:
        """What the model may use. pictures: pictures are coming in"""
        if not self.config.tools:
            return Tools(())
        return tools_of(snapshot.offered, manner, look=pictures and manner.pictures == "look")

    def request(
        self,
        snapshot: Snapshot,
        manner: Manner,
        turn: OpenTurn,
        *,
        rounds: Sequence[Round] = (),
        pictures: bool = False,
        look: bool = False,
        last: bool = False,
    ) -> dict[str, Any]:
        """`Ask.request` for `turn`: {"messages", "tools", "tool_choice"}, the latter two where there are any.

        rounds: what the model has called in answer to this turn so far;  pictures: pictures are coming in
        look: the model asked for a picture, which will be attached to the last message;  last: it may call nothing more

        Within `config.context_tokens` (`budget.request_tokens`) whenever that is at least `least` of the same
        arguments; else it is as short as that, and longer than it should be.
        """
        return self._composed(self.config.context_tokens, snapshot, manner, turn, rounds, pictures, look, last)

    def least(
        self,
        snapshot: Snapshot,
        manner: Manner,
        turn: OpenTurn,
        *,
        rounds: Sequence[Round] = (),
        pictures: bool = False,
        look: bool = False,
        last: bool = False,
    ) -> int:
        """Tokens of the shortest request. Arguments as in `request`.

        Where everything is written in Latin letters: at most those of system message and tools and 1200, 40 for each
        pair of name and status among the outcomes, and 200 for each call of the open turn and the two turns before it.
        """
        return request_tokens(self._composed(0, snapshot, manner, turn, rounds, pictures, look, last))

    def _composed(
        self,
        budget: int,
        snapshot: Snapshot,
        manner: Manner,
        turn: OpenTurn,
        rounds: Sequence[Round],
        pictures: bool,
        look: bool,
        last: bool,
    ) -> dict[str, Any]:
        tools = self.tools(snapshot, manner, pictures=pictures)
        system = {"role": "system", "content": self._system(snapshot, manner, tools, pictures)}
        request: dict[str, Any] = {"messages": [system]}
        if tools.tools:
            request["tools"] = tools.schemas
            if last:
                request["tool_choice"] = "none"
        left = budget - request_tokens(request)
        done = _done(snapshot, turn.turn, rounds, tools)
        told = {each.id for each in done.values() if each is not None}
        now = now_note(snapshot, told, self.wall)
        pieces: list[Piece] = []
        newest: list[dict[str, Any]] = []
        for limits, styles in _levels(budget):
            newest = self._newest(snapshot, turn, rounds, done, now, look, limits)
            history = blocks(snapshot, turn.turn, told, limits)
            room = left - sum(map(message_tokens, newest))
            found = condensed(history, snapshot, limits, room, styles)
            if found is not None:
                pieces = found
                break
        messages = merged([*pieces, Piece("user", newest[0]["content"])])
        request["messages"] = [system, *messages, *newest[1:]]
        return request

    def _system(self, snapshot: Snapshot, manner: Manner, tools: Tools, pictures: bool) -> str:
        day = None if self.wall is None else self.wall(snapshot.asked_ns)
        shown = pictures and manner.pictures == "always"
        return wording.system(manner, self.language, self.controls, tools=bool(tools.tools), shown=shown, day=day)

    def _newest(
        self,
        snapshot: Snapshot,
        turn: OpenTurn,
        rounds: Sequence[Round],
        done: Mapping[tuple[int, int], Done | None],
        now: str,
        look: bool,
        limits: Limits,
    ) -> list[dict[str, Any]]:
        """The messages of the open turn: what the person said, and what was called and said in answer so far."""
        here = Heard(turn.turn, turn.text, 1.0, 0, 0, turn.typed, turn.speaker, turn.bearing_rad)
        said = _said(snapshot, turn.turn)
        words = _UNASKED if turn.unasked else heard(here, limits.text)
        lines = [now, words]
        if said and not rounds:
            lines.insert(1, f"[In answer to this you have already said: {' '.join(said)}]")
        messages: list[dict[str, Any]] = [{"role": "user", "content": "\n".join(line for line in lines if line)}]
        before, number = 0, 0
        for place, round_ in enumerate(rounds):
            count = len(said) if round_.said is None else max(before, round_.said)
            calls, answers = [], []
            for index, used in enumerate(round_.used):
                number += 1
                call = {"name": used.name, "arguments": _arguments(used.arguments, limits.arguments)}
                calls.append({"id": f"call{number:05}", "type": "function", "function": call})
                content = _result(used, done[place, index], limits.result)
                answers.append({"role": "tool", "tool_call_id": f"call{number:05}", "content": content})
            texts = " ".join(said[before:count])[: limits.text]
            messages.append({"role": "assistant", "content": texts, "tool_calls": calls})
            messages += answers
            before = count
        if look:
            messages.append({"role": "user", "content": _PICTURE})
        return messages


def _levels(budget: int) -> list[tuple[Limits, tuple[Style, ...]]]:
    """How much is kept of long texts: as much of one turn as may fill a third of the budget, then less and less."""
    return [
        (Limits(max(1000, budget), max(500, budget // 2), 1000), ("lines",)),
        (Limits(800, 250, 200, 2000), ("lines",)),
        (Limits(300, 80, 60, 300, False), ("lines", "brief", "counted")),
    ]


def _done(snapshot: Snapshot, turn: int, rounds: Sequence[Round], tools: Tools) -> dict[tuple[int, int], Done | None]:
    """What the scene knows of each call of the open turn, by round and place: by its id, or else by what it asked."""
    known = {event.id: event for event in snapshot.events if isinstance(event, Done) and event.turn == turn}
    found: dict[tuple[int, int], Done | None] = {}
    for place, round_ in enumerate(rounds):
        for index, used in enumerate(round_.used):
            number = used.action or next((n for n, done in known.items() if _is_same(done, used, tools)), 0)
            found[place, index] = known.pop(number, None)
    return found


def _is_same(done: Done, used: Used, tools: Tools) -> bool:
    if tools.name(done.name, done.kind.lower()) != used.name:
        return False
    return compact(done.arguments) == compact(_object(used.arguments))


def _said(snapshot: Snapshot, turn: int) -> list[str]:
    """What the agent has said in the open turn, with what its voice is about to say."""
    event = next((each for each in snapshot.events if isinstance(each, Spoken) and each.turn == turn), None)
    if event is None:
        return []
    texts = [said.text if said.status else said.meant for said in event.says]
    return [*texts, wording.UNHEARD] if event.unheard else texts


def _object(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def _arguments(text: str, limit: int) -> str:
    """Arguments as a server can read them: always a JSON object, for some of them fail on anything else."""
    arguments = _object(text)
    told = compact(arguments) if arguments is not None else "{}"
    return told if len(told) <= limit else compact({"too_long": f"{len(told)} characters"})


def _result(used: Used, done: Done | None, limit: int) -> str:
    if done is not None and done.status:
        return outcome(done.name, done.status, done.detail, done.result, limit)
    return outcome(used.name, used.status, used.detail, used.result, limit)


def request_key(request: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of `request`: keys sorted, UTF-8, no blanks."""
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()


def equivalent(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two requests ask the very same, so that the answer to one is an answer to the other."""
    return one == other or request_key(one) == request_key(other)
