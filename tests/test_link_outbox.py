"""The outbox: nothing overtakes, nothing is lost without a word, and it has an end."""

from hypothesis import given
from hypothesis import strategies as st

from embodied.link.outbox import LANES, Newest, Outbox
from embodied.link.port import Outgoing


def message(number: int, topic: str = "t") -> Outgoing:
    return Outgoing(topic, str(number).encode(), 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.booleans(), st.booleans(), st.none() | st.integers(0, 20)),
        st.tuples(st.just("write"), st.sampled_from(LANES), st.booleans(), st.none()),
        st.tuples(st.just("broke"), st.none(), st.none(), st.none()),
        st.tuples(st.just("time"), st.none(), st.none(), st.integers(1, 10)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 6))
def test_each_message_is_acknowledged_or_told_as_lost_and_none_overtakes(steps: list[tuple], limit: int) -> None:
    outbox, now, number = Outbox(limit), 0, 0
    accepted: dict[bytes, tuple[bool, int | None]] = {}
    told: list[bytes] = []
    first_sent: dict[str, list[int]] = {lane: [] for lane in LANES}
    acknowledged: dict[str, list[int]] = {lane: [] for lane in LANES}
    for kind, a, b, c in steps:
        if kind == "add":
            number += 1
            until = None if c is None else now + c
            if outbox.add(message(number), first=a, keep=b, until=until):
                accepted[str(number).encode()] = (b, until)
        elif kind == "write":
            told += [lost.message.payload for lost in outbox.expire(now)]
            waiting = outbox.peek(a)
            if waiting is not None:
                assert waiting.until is None or waiting.until >= now  # nothing late is sent
                sent = int(waiting.message.payload)
                if sent not in first_sent[a]:
                    first_sent[a].append(sent)
                if b:  # acknowledged; else the connection was slow, and it is still at the head
                    outbox.pop(a, waiting.number)
                    acknowledged[a].append(sent)
                else:
                    assert outbox.peek(a) == waiting
        elif kind == "broke":
            lost = [each.message.payload for each in outbox.broke()]
            assert not any(accepted[payload][0] for payload in lost)
            assert all(each.keep for each in outbox)
            told += lost
        else:
            now += c
        assert len(outbox) <= 2 * limit
    told += [lost.message.payload for lost in outbox.close()]
    for lane in LANES:
        assert first_sent[lane] == sorted(first_sent[lane])
        assert acknowledged[lane] == sorted(acknowledged[lane])
    done = [str(each).encode() for lane in LANES for each in acknowledged[lane]]
    assert sorted(done + told) == sorted(accepted)  # each exactly once: acknowledged or told


def test_a_full_lane_refuses_and_does_not_throw_away() -> None:
    outbox = Outbox(2)
    assert [outbox.add(message(each)) for each in range(3)] == [True, True, False]
    assert outbox.add(message(9), first=True)  # a stop has its own place
    assert [each.message.payload for each in outbox] == [b"9", b"0", b"1"]


def test_what_is_on_its_way_does_not_expire() -> None:
    outbox = Outbox()
    outbox.add(message(1), until=5)
    waiting = outbox.peek("then")
    assert waiting is not None
    assert outbox.expire(6, {waiting.number}) == []
    assert [lost.message for lost in outbox.expire(6)] == [message(1)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())), st.integers(1, 4))
def test_only_the_newest_of_a_topic_is_kept_and_no_topic_starves(steps: list[tuple[int, bool]], limit: int) -> None:
    newest, model = Newest(limit), dict[str, Outgoing]()
    for number, (topic, put) in enumerate(steps):
        if put:
            new = message(number, str(topic))
            answer = newest.put(new)
            assert (answer == "full") == (new.topic not in model and len(model) >= limit)
            if answer != "full":
                model[new.topic] = new
        else:
            taken = newest.take()
            assert taken == (model.pop(next(iter(model))) if model else None)
        assert len(newest) == len(model) <= limit
    assert newest.clear() == len(model)
