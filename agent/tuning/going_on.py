"""Had the person finished when the agent took the turn? Told from what happened next, or not told at all.

Somebody who speaks on within `GOES_ON_NS` of the silence, before the agent has been audible for `BARELY_NS`, does not
answer what the agent says: there has hardly been anything. After `SOON_NS` of it somebody may; between the two it is
told only where the words before were no end ("set a timer for"). What cannot be told from a second request, a
correction or a repetition is left out, too.
"""

from msgspec import Struct

from agent.tuning.conversation import Conversation, PersonTurn
from agent.tuning.likeness import same_request
from agent.tuning.wording import wording
from policies.endpointing import HOLD_WORDS
from policies.templates import plain_words
from streams.clock import MS, SECOND

GOES_ON_NS = 3 * SECOND
BARELY_NS, SOON_NS = 700 * MS, 1500 * MS

OVER = "talked over soon"


class After(Struct, frozen=True):
    """What followed a committed turn.

    verdict: "went_on" (it was cut off), "finished", or "untold";  why: it is not told
    next: the turn with which the person went on;  gap_ns: until that was known to the agent
    """

    verdict: str
    why: str = ""
    next: PersonTurn | None = None
    gap_ns: int | None = None


def after(conversation: Conversation, turn: PersonTurn) -> After:
    """What followed `turn`, which was committed."""
    commit = turn.commit
    if commit is None or commit.reason == "end_of_stream":
        return After("untold", "the recording ends")
    answer = conversation.answers[commit.turn]
    sound = answer.sound_ns
    following = conversation.next_turn(turn)
    seen_until = conversation.ended_ns if following is None else following.start_ns
    heard_ns = 0 if sound is None else max(0, seen_until - sound)
    if following is None or following.start_ns - commit.end_ns > GOES_ON_NS or heard_ns >= SOON_NS:
        if seen_until - commit.end_ns >= GOES_ON_NS or heard_ns >= SOON_NS:
            return After("finished")
        return After("untold", "the recording ends")
    if following.commit is not None and following.commit.reason == "typed":
        return After("untold", "something was typed at once")
    if following.commit is None and not following.dropped:
        return After("untold", "the recording ends")
    if following.dropped == "stop":
        return After("finished") if sound is not None else After("untold", "a stop at once")
    said, before = following.text, commit.text
    language = conversation.language
    if wording(language).corrects(said):
        return After("untold", "a correction at once")
    if same_request(before, said, language) != "other":
        return After("untold", "it was said again at once")
    hold_words = HOLD_WORDS.get(language, "").split()
    words, last = plain_words(said), plain_words(before)[-1:]
    if commit.complete and not (words and words[0] in hold_words):
        return After("untold", "a second sentence at once")
    if heard_ns >= BARELY_NS and not (last and last[0] in hold_words and not commit.complete):
        return After("untold", OVER)
    return After("went_on", next=following, gap_ns=following.opened_at - commit.end_ns)
