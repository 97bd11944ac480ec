"""Who is who from picture to picture: numbers that last, whatever the detector misses, and are never used again."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock import MS, SECOND
from streams.encoders.tracking import Box, Followed, Tracker, TrackingConfig, overlap

STEP = 100 * MS


def at(x: float, y: float = 0.5, size: float = 0.12, score: float = 0.9) -> Box:
    return Box(x - size / 2, y - size / 2, size, size, score, ((x, y),))


def follow(pictures: Sequence[Sequence[Box]], tracker: Tracker | None = None, step: int = STEP) -> list[list[Followed]]:
    tracker = tracker or Tracker()
    return [tracker.feed(number * step, boxes) for number, boxes in enumerate(pictures)]


def ids(looks: Sequence[Sequence[Followed]]) -> list[list[int]]:
    return [[each.id for each in look] for look in looks]


def test_a_face_counts_from_the_second_look() -> None:
    assert ids(follow([[at(0.5)]] * 3)) == [[], [1], [1]]
    assert ids(follow([[at(0.5)], [], [], [], [], []])) == [[]] * 6  # a flicker


def test_a_missed_look_costs_nothing_and_the_box_goes_on() -> None:
    looks = follow([[at(0.2 + 0.02 * number)] if number not in (5, 6, 7, 8) else [] for number in range(12)])
    assert ids(looks) == [[], *[[1]] * 11]
    assert [each.found for look in looks[1:] for each in look] == [True] * 4 + [False] * 4 + [True] * 3
    assert looks[8][0].box.centre[0] == pytest.approx(0.2 + 0.02 * 8)  # where its speed takes it
    assert looks[8][0].box.landmarks[0][0] == pytest.approx(0.2 + 0.02 * 8)


def test_it_is_gone_after_its_time_and_comes_back_as_another() -> None:
    looks = ids(follow([[at(0.5)]] * 3 + [[]] * 10 + [[at(0.5)]] * 2))
    gone = looks.index([], 1)
    assert gone * STEP - 2 * STEP == 800 * MS  # the first look after 0.7 s without it
    assert looks[-1] == [2]


def test_few_looks_a_second_are_enough() -> None:
    assert ids(follow([[at(0.5)]] * 4 + [[]] * 2 + [[at(0.5)]] * 2, step=SECOND))[3:] == [[1], [1], [], [], [2]]


def test_after_a_long_blindness_nobody_is_known() -> None:
    tracker = Tracker()
    follow([[at(0.5)]] * 3, tracker)
    assert tracker.feed(60 * SECOND, [at(0.5)]) == []
    assert [each.id for each in tracker.feed(60 * SECOND + STEP, [at(0.5)])] == [2]


def test_a_low_score_goes_on_but_never_begins() -> None:
    assert ids(follow([[at(0.5, score=0.6)]] * 3)) == [[]] * 3
    assert ids(follow([[at(0.5)]] * 2 + [[at(0.5, score=0.6)]] * 10)) == [[], *[[1]] * 11]
    assert follow([[at(0.5)]] * 2 + [[at(0.5, score=0.4)]])[-1][0].found is False


def test_two_who_cross_keep_their_numbers() -> None:
    crossing = [[at(0.2 + 0.04 * n, 0.47), at(0.8 - 0.04 * n, 0.53)] for n in range(16)]
    looks = follow(crossing)
    one = {each.id for look in looks[1:] for each in look if each.box.centre[1] < 0.5}
    other = {each.id for look in looks[1:] for each in look if each.box.centre[1] > 0.5}
    assert len(one) == len(other) == 1 and one != other
    assert ids(looks)[1] == [1, 2] and ids(looks)[-1] == [2, 1]  # from left to right


def test_a_new_face_beside_a_known_one_does_not_take_its_number() -> None:
    looks = ids(follow([[at(0.5)]] * 3 + [[at(0.42), at(0.505)]] * 3))
    assert looks[-1] == [2, 1]


def test_another_size_is_another_face() -> None:
    assert ids(follow([[at(0.5, size=0.1)]] * 3 + [[at(0.5, size=0.3)]] * 2))[-1] == [1, 2]


def test_overlap() -> None:
    assert overlap(at(0.5), at(0.5)) == pytest.approx(1)
    assert overlap(at(0.2), at(0.8)) == 0
    assert overlap(Box(0, 0, 2, 1, 1), Box(1, 0, 2, 1, 1)) == pytest.approx(1 / 3)


def test_the_bar_of_a_known_face_is_not_above_that_of_a_new_one() -> None:
    with pytest.raises(ValueError, match="score_known"):
        TrackingConfig(score=0.4, score_known=0.5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_people_who_sit_apart_keep_their_numbers_through_misses(data: st.DataObject) -> None:
    """Anybody may be missed up to 0.5 s at a time, boxes tremble, their order is any."""
    count = data.draw(st.integers(1, 4))
    places = [0.125 + number / 4 for number in range(count)]
    missed = [0] * count
    tracker = Tracker()
    for number in range(25):
        boxes = []
        for place in range(count):
            miss = number > 1 and missed[place] < 5 and data.draw(st.booleans())
            missed[place] = missed[place] + 1 if miss else 0
            if not miss:
                boxes.append(at(places[place] + data.draw(st.floats(-0.01, 0.01))))
        look = tracker.feed(number * STEP, data.draw(st.permutations(boxes)))
        assert [each.id for each in look] == ([] if number == 0 else list(range(1, count + 1)))


boxes = st.builds(at, st.floats(0, 1), st.floats(0, 1), st.floats(0.02, 0.5), st.floats(0.3, 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2000), st.lists(boxes, max_size=5)), max_size=30), st.randoms())
def test_whatever_comes(looks: list[tuple[int, list[Box]]], random: object) -> None:
    """Numbers are unique in a look, are not used again once gone, and do not depend on the order of the boxes."""
    tracker, twin = Tracker(), Tracker()
    t, gone, before, highest = 0, set[int](), set[int](), 0
    for wait, found in looks:
        t += wait * MS
        shuffled = list(found)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        look = tracker.feed(t, found)
        assert look == twin.feed(t, shuffled)
        now = [each.id for each in look]
        assert len(set(now)) == len(now) and not gone & set(now)
        new = set(now) - before
        assert all(each > highest for each in new)
        highest = max([highest, *now])
        gone |= before - set(now)
        before = set(now)
        assert [each.box.centre[0] for each in look] == sorted(each.box.centre[0] for each in look)
        assert sum(each.found for each in look) <= len(found)
