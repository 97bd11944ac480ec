"""The ledger alone: counting, whatever the blocks, the pauses and the cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.ledger import Account, Playout, heard_text
from embodied.ports import Mark
from streams.clock import SECOND

RATE = 16000


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 3)), min_size=1, max_size=40))
def test_every_sample_has_its_time(reports: list[tuple[int, int]]) -> None:
    """Against a table of every sample's time, with pauses between the reports."""
    playout = Playout(RATE)
    times: list[float] = []
    now = 0.0
    for count, pause in reports:
        now += pause * 0.1
        times += [now + (place + 1) / RATE for place in range(count)]
        now += count / RATE
        playout.add(playout.played + count, round(now * SECOND))
    for count in {1, len(times) // 2 or 1, len(times)}:
        assert abs(playout.left(count) - times[count - 1] * SECOND) <= 3000
        assert abs(playout.begun(count - 1) - (times[count - 1] - 1 / RATE) * SECOND) <= 3000


def test_what_is_forgotten_takes_no_room_and_the_rest_stays() -> None:
    playout = Playout(RATE)
    for place in range(1, 1000):
        playout.add(place * 320, place * SECOND)
    playout.forget(998 * 320)
    assert playout.left(998 * 320 + 1) == round(999 * SECOND - 319 * SECOND / RATE)
    assert len(playout._lasts) == 1


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 2000)), max_size=12),
    st.integers(0, 5000),
    st.lists(st.integers(1, 700), max_size=60),
    st.one_of(st.none(), st.integers(0, 30000)),
)
def test_told_words_are_those_whose_last_sample_left(
    words: list[tuple[int, int]], base: int, blocks: list[int], limit: int | None
) -> None:
    account = Account(turn=3, id=9)
    account.base, account.limit = base, limit
    place = 0
    for number, (gap, length) in enumerate(words):
        account.marks.append(Mark(f"w{number}", place + gap, place + gap + length))
        place += gap + length
    playout = Playout(RATE)
    told = []
    for block in np.cumsum(blocks).tolist():
        playout.add(block, round(block * SECOND / RATE))
        told += account.heard(playout)
        reached = playout.played if limit is None else min(playout.played, limit)
        assert [word.text for word in told] == [m.text for m in account.marks if base + m.end <= reached]
        assert account.words(playout.played) == [word.text for word in told]
    for word, mark in zip(told, account.marks):
        assert abs(word.start_ns - (base + mark.start) * SECOND / RATE) <= 3000
        assert abs(word.end_ns - (base + mark.end) * SECOND / RATE) <= 3000
        assert (word.turn, word.id) == (3, 9)
    assert [word.index for word in told] == list(range(len(told)))


def test_heard_text_is_the_text_as_written() -> None:
    text = "“Well,” she said: it's 3:30, don't go go."
    words = ["Well", "she", "said", "it's", "3:30", "don't", "go", "go"]
    assert [heard_text(text, words[:count]) for count in (0, 1, 5, 7, 8)] == [
        "", "“Well", "“Well,” she said: it's 3:30", "“Well,” she said: it's 3:30, don't go",
        "“Well,” she said: it's 3:30, don't go go",
    ]  # fmt: skip
    assert heard_text("one", ["eins", "zwei"]) == "eins zwei"
