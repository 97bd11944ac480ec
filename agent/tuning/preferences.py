"""Preference data of recorded conversations: pairs of answers (chosen, rejected), and single answers with a label.

The forms are those that trainers of preferences read (docs/tuning.md): a pair is {"prompt", "chosen", "rejected"}, each
a list of messages (R. Rafailov et al., Direct Preference Optimization, 2023); a single answer is {"prompt",
"completion", "label"} (K. Ethayarajh et al., KTO, 2024). An answer is what was *heard* of it. Nothing is invented:
a pair needs two answers to the same request, of which one was refused and the later one heard to its end and not.
"""

from collections import Counter
from typing import Any

from msgspec import Struct

from agent.tuning.conversation import Answer, Conversation
from agent.tuning.reactions import WITHIN_S, Reaction, heard_of, reactions
from agent.tuning.redaction import names, redact, texts_in
from policies.templates import plain_words
from streams.clock import SECOND
from streams.types import Ask

AHEAD = 3
"""How many answers later the better one may come."""
REMEMBERED = 20
"""Messages of the dialogue before a turn, where no model was asked."""
Record = dict[str, Any]


class Preferences(Struct, frozen=True):
    """Of some recordings. turns: answers of the agent;  paired: those in pairs;  untold: why, and how often."""

    turns: int
    pairs: tuple[Record, ...]
    paired: int
    unpaired: tuple[Record, ...]
    untold: dict[str, int]

    def told(self) -> str:
        """Such as "12 turns: 3 pairs (5 turns), 4 unpaired, 3 not told (2 the recording ends, …)"."""
        left = sum(self.untold.values())
        why = ", ".join(f"{count} {reason}" for reason, count in self.untold.items())
        return (
            f"{_many(self.turns, 'turn')}: {_many(len(self.pairs), 'pair')} ({_many(self.paired, 'turn')}), "
            f"{len(self.unpaired)} unpaired, "
            f"{left} not told" + (f" ({why})" if why else "")
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def preferences(
    conversations: list[Conversation], *, within_s: float = WITHIN_S, redacting: bool = False
) -> Preferences:
    """The pairs and single answers of `conversations`. redacting: without numbers and names"""
    turns, paired = 0, 0
    pairs: list[Record] = []
    singles: list[Record] = []
    untold: Counter[str] = Counter()
    for conversation in conversations:
        found = reactions(conversation, within_s)
        turns += len(found)
        used: set[int] = set()
        new: list[Record] = []
        for place, rejected in enumerate(found):
            chosen = _better(conversation, found[place : place + 1 + AHEAD])
            if chosen is not None:
                new.append(_pair(conversation, rejected, chosen))
                used |= {rejected.turn, chosen.turn}
        pairs += _clean(new, conversation) if redacting else new
        paired += len(used)
        alone = [each for each in found if each.turn not in used]
        untold.update(each.why for each in alone if each.label is None)
        labelled = [_single(conversation, each) for each in alone if each.label is not None]
        singles += _clean(labelled, conversation) if redacting else labelled
    return Preferences(turns, tuple(pairs), paired, tuple(singles), dict(untold.most_common()))


def _better(conversation: Conversation, found: list[Reaction]) -> Reaction | None:
    """The later answer to the same request as the first of `found`, if that was refused and this one was not."""
    first = found[0]
    if first.label is not False:
        return None
    asked = first
    for later in found[1:]:
        if asked.again not in ("same", "rephrased") or not _follows(conversation, asked, later):
            return None
        if later.whole and later.label is not False and later.why not in _NO_ANSWER:
            return later if _words(later) != _words(first) else None
        asked = later
    return None


_NO_ANSWER = frozenset(
    {
        "the person was not understood",
        "the person had not finished",
        "nothing of it was heard",
        "the agent spoke unasked",
    }
)


def _follows(conversation: Conversation, asked: Reaction, later: Reaction) -> bool:
    """Whether `later` answers the very turn in which the request was made again."""
    person = conversation.turns.get(asked.turn)
    following = None if person is None else conversation.next_turn(person)
    return following is not None and following.turn == later.turn


def _words(answer: Reaction) -> tuple[str, ...]:
    """All of it, heard or not: half an answer is no other answer than the whole of it."""
    return plain_words(f"{answer.heard} {answer.unheard}")


def _pair(conversation: Conversation, rejected: Reaction, chosen: Reaction) -> Record:
    asked = _prompt(conversation, conversation.answers[rejected.turn])
    return {
        "prompt": asked,
        "chosen": [{"role": "assistant", "content": chosen.heard}],
        "rejected": [{"role": "assistant", "content": rejected.heard}],
        "metadata": {
            **_where(conversation, rejected),
            "chosen_turn": chosen.turn,
            "chosen_reaction": chosen.name or chosen.why,
            "chosen_request": chosen.text,
            "chosen_start_s": round(chosen.start_s, 3),
            "chosen_end_s": round(chosen.end_s, 3),
        },
    }


def _single(conversation: Conversation, reaction: Reaction) -> Record:
    return {
        "prompt": _prompt(conversation, conversation.answers[reaction.turn]),
        "completion": [{"role": "assistant", "content": reaction.heard}],
        "label": reaction.label,
        "metadata": _where(conversation, reaction),
    }


def _where(conversation: Conversation, reaction: Reaction) -> Record:
    """Where a record comes from, and what it rests on."""
    answer = conversation.answers[reaction.turn]
    ask = _asked(answer)
    generated = "" if ask is None else conversation.deltas.get(ask.id, "")
    return {
        "recording": conversation.digest,
        "turn": reaction.turn,
        "reaction": reaction.name,
        "said": reaction.said,
        "evidence": reaction.evidence,
        "whole": reaction.whole,
        "unheard": reaction.unheard,
        "generated": generated,
        "asked_s": round(answer.asked_at / SECOND, 3),
        "start_s": round(reaction.start_s, 3),
        "end_s": round(reaction.end_s, 3),
    }


def _asked(answer: Answer) -> Ask | None:
    """The question to a model from which the answer came: the last before it began to speak; None if none was asked."""
    asks = [(at, ask) for at, ask in answer.asks if ask.purpose != "summary"]
    before = [ask for at, ask in asks if answer.first_say_at is None or at <= answer.first_say_at]
    return before[-1] if before else None


def _prompt(conversation: Conversation, answer: Answer) -> list[Record]:
    """The messages that the model was given; without a model, the dialogue as it was heard up to the person's turn."""
    ask = _asked(answer)
    messages = ask.request.get("messages") if ask is not None else None
    if isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages):
        return [_text_only(each) for each in messages]
    dialogue: list[Record] = []
    numbers = sorted(number for number in conversation.answers if number < answer.turn)
    for earlier in (conversation.answers[number] for number in numbers[-REMEMBERED:]):
        if earlier.asked.reason != "unasked":
            dialogue.append({"role": "user", "content": earlier.asked.text or earlier.asked.guess})
        if said := _heard_by(earlier, answer.asked_at):
            dialogue.append({"role": "assistant", "content": said})
    dialogue.append({"role": "user", "content": answer.asked.text or answer.asked.guess})
    newest = dialogue[-REMEMBERED:]
    return newest[next(place for place, each in enumerate(newest) if each["role"] == "user") :]


def _heard_by(answer: Answer, at: int) -> str:
    """What had been heard of an answer at `at`."""
    pieces = []
    for say in answer.says:
        outcome = answer.outcomes.get(say.id)
        played = [word for word in answer.played if word.id == say.id and word.end_ns <= at]
        done = outcome is not None and outcome.status == "done" and answer.done_at <= at
        pieces.append(heard_of(say, played, done)[0])
    return " ".join(filter(None, pieces))


def _text_only(message: Record) -> Record:
    """A message without pictures and sound."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [
        part
        if isinstance(part, dict) and part.get("type") in ("text", "refusal")
        else {"type": "text", "text": _LEFT_OUT}
        for part in content
    ]
    return {**message, "content": parts}


_LEFT_OUT = "(a picture or a sound, left out)"


def _clean(records: list[Record], conversation: Conversation) -> list[Record]:
    known = names(text for record in records for text in texts_in(record))
    return [redact(record, known, conversation.language) for record in records]
