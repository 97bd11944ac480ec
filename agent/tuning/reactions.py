"""What the person did after (or during) each answer of the agent: told from the packets, or not told.

Rules, in this order, and each with its evidence:
- cut off, or the answer was heard in no part: nothing is said of the answer ("not told")
- "interrupted": an overlap ended it, before `NEARLY` of its words were heard, or a stop did
- a greeting, or a request that was carried out, said again is no refusal ("not told")
- "corrected": the next turn takes something back ("no, I meant ...");  "repeated", "rephrased": it asks the same again
- "thanked": it is nothing but thanks or praise;  "agreed": nothing but a yes, and nothing had been asked
- "waited": it was heard to its end, and the person went on with something else
What follows later than `within_s` after the answer is no reaction to it.
"""

from typing import Any, TypeAlias

from msgspec import Struct, field

from agent.tuning.conversation import Answer, Conversation
from agent.tuning.going_on import OVER, after
from agent.tuning.likeness import Likeness, likeness, same_request
from agent.tuning.wording import wording
from policies.templates import plain_words
from streams.clock import SECOND
from streams.types import Played, Say

NEARLY = 0.85
"""Share of the words from which on an answer that was interrupted may have been heard enough of."""
WITHIN_S = 30.0
Facts: TypeAlias = dict[str, Any]
BAD = frozenset({"interrupted", "corrected", "repeated", "rephrased"})
GOOD = frozenset({"thanked", "agreed", "waited"})


class Reaction(Struct, frozen=True):
    """To one answer. name: one of `BAD` and `GOOD`, "" if it is not told;  why: it is not

    text: what the person had said;  heard, unheard: of the answer;  whole: all of it was heard
    said: with what the person reacted, "" if with nothing;  again: how `said` repeats `text`
    start_s, end_s: of the answer as it was heard
    """

    turn: int
    name: str
    why: str
    text: str
    heard: str
    unheard: str
    whole: bool
    said: str = ""
    again: Likeness = "other"
    evidence: Facts = field(default_factory=dict)
    start_s: float = 0.0
    end_s: float = 0.0

    @property
    def label(self) -> bool | None:
        """Whether the answer was welcome; None if that is not told."""
        return True if self.name in GOOD else False if self.name in BAD else None


def reactions(conversation: Conversation, within_s: float = WITHIN_S) -> list[Reaction]:
    """To every answer of the agent that was begun, in their order."""
    answers = sorted(conversation.answers.values(), key=lambda each: each.turn)
    return [_reaction(conversation, answer, within_s) for answer in answers if answer.says]


def heard_of(say: Say, played: list[Played], done: bool) -> tuple[str, str]:
    """What was heard of `say`, as it is written there, and the rest."""
    if done:
        return say.text, ""
    place = 0
    for word in played:
        found = say.text.find(word.text, place)
        place = found + len(word.text) if found >= 0 else place
    while place and place < len(say.text) and not (say.text[place].isalnum() or say.text[place].isspace()):
        place += 1
    return say.text[:place].strip(), say.text[place:].strip()


def _reaction(conversation: Conversation, answer: Answer, within_s: float) -> Reaction:
    pieces = [_piece(answer, say) for say in answer.says]
    heard = " ".join(text for text, _ in pieces if text)
    unheard = " ".join(rest for _, rest in pieces if rest)
    statuses = {outcome.status for outcome in answer.outcomes.values()}
    whole = statuses == {"done"} and len(answer.outcomes) == len(answer.says)
    start = answer.asked_at if answer.sound_ns is None else answer.sound_ns
    end = max([start, *(word.end_ns for word in answer.played)])
    if whole and not answer.played:
        end = max(end, answer.done_at)
    words, missed = len(heard.split()), len(unheard.split())
    evidence: Facts = {"heard_words": words, "said_words": words + missed}
    base = Reaction(
        answer.turn, "", "", answer.asked.text, heard, unheard, whole, start_s=start / SECOND, end_s=end / SECOND
    )

    def told(
        name: str, why: str = "", said: str = "", again: Likeness = "other", more: Facts | None = None
    ) -> Reaction:
        return Reaction(
            base.turn,
            name,
            why,
            base.text,
            heard,
            unheard,
            whole,
            said,
            again,
            {**evidence, **(more or {})},
            base.start_s,
            base.end_s,
        )

    person = conversation.turns.get(answer.turn)
    if answer.asked.reason == "unasked":
        return told("", "the agent spoke unasked")
    followed = None if person is None else after(conversation, person)
    if followed is not None and followed.verdict == "went_on":
        return told("", "the person had not finished")
    if not base.text:
        return told("", "the person was not understood")
    if not heard:
        return told("", "nothing of it was heard")
    language, lists = conversation.language, wording(conversation.language)
    following = None if person is None else conversation.next_turn(person)
    said = "" if following is None else following.text
    again = same_request(base.text, said, language)
    alike: Facts = {"similarity": round(likeness(base.text, said, language), 3)}
    cut = answer.cut
    if again in ("same", "rephrased") and lists.greets(said):
        return told("", "a greeting again", said)
    if again in ("same", "rephrased") and answer.acted and whole:
        return told("", "asked again for what was done", said)
    if cut is not None and not whole:
        into: Facts = {"reason": cut.reason, "into_s": round((answer.cut_at - start) / SECOND, 3)}
        if lists.corrects(said):
            return told("corrected", said=said, again=_again(conversation, base.text, said), more=into)
        if again in ("same", "rephrased"):
            return told(_repeated(again), said=said, again=again, more={**into, **alike})
        if cut.reason != "stop" and words / max(1, words + missed) >= NEARLY:
            return told("", "it was interrupted near its end", said, again, more=into)
        if followed is not None and followed.why == OVER and cut.reason != "stop":
            return told("", "the person may not have finished", said, again, more=into)
        return told("interrupted", said=said or cut.text, again=again, more=into)
    if not whole:
        return told("", "it broke off by itself" if answer.outcomes else "the recording ends")
    if following is None:
        quiet_s = (conversation.ended_ns - end) / SECOND
        return told("", "nobody said anything more" if quiet_s >= within_s else "the recording ends")
    since = (following.start_ns - end) / SECOND
    if since > within_s:
        return told("", "what came next came much later")
    if following.commit is None and following.dropped != "over":
        return told("", "the recording ends" if not following.dropped else "a stop, or nothing clear, came next")
    if not plain_words(said) or (following.commit is not None and not following.commit.text):
        return told("", "what came next was not understood")
    near: Facts = {"after_s": round(since, 3)}
    if lists.corrects(said):
        return told("corrected", said=said, again=_again(conversation, base.text, said), more=near)
    if again in ("same", "rephrased"):
        return told(_repeated(again), said=said, again=again, more={**near, **alike})
    if again == "changed":
        return told("", "a like request with another number or direction", said, again, more=near)
    if lists.thanks(said):
        return told("thanked", said=said, more=near)
    if lists.agrees(said):
        if answer.says[-1].text.rstrip().endswith("?"):
            return told("", "a yes to a question", said, more=near)
        return told("agreed", said=said, more=near)
    return told("waited", said=said, more=near)


def _piece(answer: Answer, say: Say) -> tuple[str, str]:
    outcome = answer.outcomes.get(say.id)
    played = [word for word in answer.played if word.id == say.id]
    return heard_of(say, played, outcome is not None and outcome.status == "done")


def _again(conversation: Conversation, text: str, said: str) -> Likeness:
    """How what follows a correction's opening repeats `text`."""
    rest = plain_words(said)[wording(conversation.language).opening(said) :]
    return same_request(text, " ".join(rest), conversation.language)


def _repeated(again: Likeness) -> str:
    return "repeated" if again == "same" else "rephrased"
