"""The link in virtual time, on the broker in memory: back-off, order, what is promised and what is thrown away."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embodied.link.link import Link
from embodied.link.memory import MemoryBroker, matches
from embodied.link.offset import Offset
from embodied.link.outbox import Lost
from embodied.link.ping import Ping
from embodied.link.port import LinkBroken, LinkError, LinkRefused, Message, Outgoing
from streams.clock import MS, SECOND, Clock, run
from streams.errors import DependencyMissing


class Scene:
    """A broker, links on it, and what they said."""

    def __init__(self, *, delay_ms: float = 0.0) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(self.clock, delay_ms=delay_ms)
        self.heard: dict[str, list[Message]] = {}
        self.lost: list[Lost] = []
        self.changes: list[tuple[int, bool]] = []
        self.troubles: list[tuple[int, LinkError]] = []

    def link(self, name: str, *filters: str, **more: Any) -> Link:
        heard = self.heard.setdefault(name, [])
        more.setdefault("receive", heard.append)
        return Link(
            self.broker.dial(name), self.clock, subscriptions=[(each, 1) for each in filters], lost=self.lost.append,
            changed=lambda up: self.changes.append((self.clock.now(), up)), chance=random.Random(4),
            troubled=lambda error: self.troubles.append((self.clock.now(), error)), name=name, **more,
        )  # fmt: skip

    async def wait(self, ms: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(ms * MS))

    @asynccontextmanager
    async def up(self, *links: Link) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(link.run()) for link in links]
            await self.wait(50)
            yield
            for task in tasks:
                task.cancel()

    def payloads(self, name: str) -> list[bytes]:
        return [message.payload for message in self.heard[name]]


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run(main(), virtual=True)


def one(number: int | str, topic: str = "t", qos: int = 1) -> Outgoing:
    return Outgoing(topic, str(number).encode(), 1 if qos else 0)


def test_it_subscribes_says_hello_and_only_then_sends_what_waits() -> None:
    async def main() -> None:
        scene = Scene(delay_ms=2)
        link = scene.link("a", "back/#", hello=lambda: [one("hello", "hi")])
        assert link.send(one("early"))
        assert not link.send(one("telemetry", qos=0))  # nobody wants to hear later what was so now
        async with scene.up(link):
            assert link.connected
        assert [message.payload for _, message in scene.broker.log] == [b"hello", b"early"]
        assert link.counts.dropped == 1

    virtually(main)


def test_retained_messages_come_to_recalled_and_not_to_subscriptions() -> None:
    async def main() -> None:
        scene = Scene()
        for topic in ("old/a", "kept/b"):
            scene.broker.publish(Outgoing(topic, b"x", 1, True))
        async with scene.up(scene.link("a", "old/#", recalled=[("kept/#", 1)])):
            scene.broker.publish(Outgoing("old/a", b"new", 1, True))
        assert scene.heard["a"] == [Message("kept/b", b"x", True), Message("old/a", b"new", False)]

    virtually(main)


def test_what_a_broken_connection_interrupted_is_sent_again_in_order() -> None:
    async def main() -> None:
        scene = Scene(delay_ms=20)
        a, b = scene.link("a"), scene.link("b", "t")
        async with scene.up(a, b):
            await scene.wait(100)
            for number in range(6):
                assert a.send(one(number))
            await scene.wait(30)  # the first is acknowledged, the second has come, its acknowledgement not
            scene.broker.drop("a")
            await scene.wait(1000)
        came = scene.payloads("b")
        assert [each for at, each in enumerate(came) if each not in came[:at]] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert a.counts.again == 1 and a.counts.reconnects == 1 and not scene.lost

    virtually(main)


def test_a_stop_does_not_wait_for_commands_nor_commands_for_telemetry() -> None:
    async def main() -> None:
        scene = Scene(delay_ms=20)
        a, b = scene.link("a"), scene.link("b", "#")
        async with scene.up(a, b):
            await scene.wait(100)
            for number in range(20):
                a.send(one(number))
                a.send(one(number, f"telemetry/{number}", qos=0))
            await scene.wait(5)
            a.send(one("stop", "estop"), first=True)
            begun = scene.clock.now()
            while b"stop" not in scene.payloads("b"):
                await scene.wait(1)
            assert scene.clock.now() - begun <= 21 * MS  # its way, and no more
            assert len([each for each in scene.heard["b"] if each.topic == "t"]) <= 2

    virtually(main)


def test_of_qos_0_the_newest_of_each_topic_is_sent() -> None:
    async def main() -> None:
        scene = Scene()
        a, b = scene.link("a"), scene.link("b", "#")
        async with scene.up(a, b):
            for number in range(100):
                a.send(one(number, "x" if number % 2 else "y", qos=0))
            await scene.wait(10)
        assert scene.payloads("b") == [b"98", b"99"]
        assert a.counts.replaced == 98

    virtually(main)


def test_a_command_is_not_sent_late_and_that_is_told_in_time() -> None:
    async def main() -> None:
        scene = Scene()
        a, b = scene.link("a"), scene.link("b", "#")
        async with scene.up(a, b):
            scene.broker.hold("a")
            a.send(one("move"), valid_ns=600 * MS)  # on its way, and interrupted
            a.send(one("grip"), valid_ns=600 * MS)
            a.send(one("status"))
            await scene.wait(10)
            scene.broker.up = False
            scene.broker.drop("a")
            scene.broker.release("a")
            await scene.wait(595)
            assert [lost.message.payload for lost in scene.lost] == [b"move", b"grip"]
            scene.broker.start()
            await scene.wait(6000)
        assert scene.payloads("b") == [b"status"]
        assert a.counts.expired == 2

    virtually(main)


def test_what_is_not_to_be_kept_is_not_taken_while_disconnected_and_told_when_it_breaks() -> None:
    async def main() -> None:
        scene = Scene()
        a = scene.link("a")
        assert not a.send(one(1), keep=False)
        async with scene.up(a):
            scene.broker.hold("a")
            assert a.send(one(2), keep=False)
            await scene.wait(10)
            scene.broker.drop("a")
            await scene.wait(10)
        assert [lost.message.payload for lost in scene.lost] == [b"2"] and a.counts.dropped == 2

    virtually(main)


def test_the_outbox_has_an_end_and_what_is_left_at_the_end_is_told() -> None:
    async def main() -> None:
        scene = Scene()
        scene.broker.up = False
        a = scene.link("a", limit=3)
        async with scene.up(a):
            assert [a.send(one(number)) for number in range(5)] == [True, True, True, False, False]
        assert [lost.message.payload for lost in scene.lost] == [b"0", b"1", b"2"]
        assert a.counts.dropped == 5

    virtually(main)


def test_it_tries_for_ever_with_pauses_between_a_fifth_of_a_second_and_five() -> None:
    async def main() -> None:
        scene = Scene()
        scene.broker.up = False
        a = scene.link("a")
        async with scene.up(a):
            await scene.wait(60_000)
            assert not a.connected and "down" in a.why
            tries = [at for at, _ in scene.troubles]
            pauses = [(later - earlier) / SECOND for earlier, later in itertools.pairwise(tries)]
            assert min(pauses) >= 0.2 and max(pauses) <= 5.0 and max(pauses) > 2.5
            assert pauses[0] <= 0.2 and 10 < len(tries) < 40
            assert len(set(pauses[5:])) == len(pauses[5:])  # they differ: many clients do not come back at one instant
            scene.broker.start()
            await scene.wait(5000)
            assert a.connected and a.why == ""

    virtually(main)


def test_a_refusal_ends_it_unless_it_was_let_in_before() -> None:
    async def main() -> None:
        scene = Scene()
        scene.broker.refuse("a", LinkRefused("no such user"))
        with pytest.raises(LinkRefused, match="no such user"):
            await scene.link("a").run()
        scene.broker.refuse("a", None)
        a = scene.link("a")
        async with scene.up(a):
            scene.broker.refuse("a", LinkRefused("no such user"))
            scene.broker.drop("a")
            await scene.wait(60_000)
            assert 5 <= sum(isinstance(error, LinkRefused) for _, error in scene.troubles) <= 15
            scene.broker.refuse("a", None)
            await scene.wait(11_000)
            assert a.connected

    virtually(main)


def test_the_will_comes_when_it_breaks_and_goodbye_when_it_ends() -> None:
    async def main() -> None:
        scene = Scene()
        words = {"will": one("lost", "p"), "hello": lambda: [one("online", "p")], "goodbye": lambda: [one("off", "p")]}
        a, b = scene.link("a", **words), scene.link("b", "p")
        async with scene.up(b):
            async with scene.up(a):
                scene.broker.drop("a")
                await scene.wait(1000)
                a.send(one("last", "p"))
            assert scene.payloads("b") == [b"online", b"lost", b"online", b"last", b"off"]
        assert [up for _, up in scene.changes if _ < 2 * SECOND].count(True) >= 2

    virtually(main)


def test_leaving_takes_a_second_at_most_when_nobody_answers() -> None:
    async def main() -> None:
        scene = Scene()
        a = scene.link("a", goodbye=lambda: [one("off")])
        async with scene.up(a):
            scene.broker.hold("a")
            a.send(one("never"))
            await scene.wait(10)
            begun = scene.clock.now()
        assert scene.clock.now() - begun <= 1 * SECOND
        assert [lost.message.payload for lost in scene.lost] == [b"never"]

    virtually(main)


def test_a_second_client_of_the_same_id_takes_over() -> None:
    async def main() -> None:
        scene = Scene()
        a, twin = scene.link("a"), scene.link("a")
        async with scene.up(a):
            async with scene.up(twin):
                assert "took over" in a.why and not a.connected and twin.connected
            await scene.wait(12_000)
            assert a.connected

    virtually(main)


def test_what_receive_raises_ends_run() -> None:
    async def main() -> None:
        scene = Scene()

        def bug(message: Message) -> None:
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup) as caught:
            async with scene.up(scene.link("a", "t", receive=bug)):
                scene.broker.publish(one(1))
                await scene.wait(1000)
        assert caught.value.subgroup(ZeroDivisionError) is not None

    virtually(main)


def test_pings_say_how_long_the_way_is() -> None:
    async def main() -> None:
        for delay, fine in ((4.0, True), (60.0, False)):
            scene = Scene(delay_ms=delay)
            ping = Ping("agents/a/ping", scene.clock)
            a = scene.link("a", ping.topic, receive=ping.heard)
            async with scene.up(a):
                await scene.wait(500)
                report = await ping.measure(a)
                assert report.p50_ms == pytest.approx(delay) and report.lost == 0
                assert bool(report.warning) != fine and ("set_tcp_nodelay true" in report.warning) != fine
            with pytest.raises(LinkBroken):
                await ping.measure(a)

    virtually(main)


@pytest.mark.parametrize(
    ("pattern", "topic", "met"),
    [
        ("a/+/c", "a/b/c", True), ("a/+", "a", False), ("a/#", "a", True), ("#", "a/b", True), ("+", "a/b", False),
        ("#", "$SYS/x", False), ("$SYS/#", "$SYS/x", True), ("a/b", "a/b/c", False), ("+/+", "/x", True),
    ],
)  # fmt: skip
def test_filters(pattern: str, topic: str, met: bool) -> None:
    assert matches(pattern, topic) == met


def test_offset_finds_the_clock_behind_delays_and_its_drift() -> None:
    chance, offset = random.Random(7), Offset()
    assert offset.estimate() is None
    for beat in range(600):
        theirs = beat * 100
        ours = 5_000.0 + theirs * (1 + 80e-6)  # ms: 5 s ahead, and 80 ppm faster
        offset.heard("b1", theirs, round((ours + 1.0 + chance.expovariate(1 / 3)) * MS))
    found = offset.estimate()
    assert found is not None
    assert found.offset_ms == pytest.approx(5_000 + 59_900 * 80e-6 + 1.0, abs=0.7)
    assert found.drift_ppm == pytest.approx(80, abs=30)
    assert 0.5 < found.jitter_ms < 5
    offset.heard("b2", 10, 100 * SECOND)  # it restarted
    again = offset.estimate()
    assert again is not None and again.offset_ms == pytest.approx(99_990) and again.heartbeats == 1


def test_another_client_that_takes_over_costs_no_message() -> None:
    async def main() -> None:
        scene = Scene()
        link, other = scene.link("a"), scene.link("b", "x")
        async with scene.up(link, other):
            scene.broker.hold("a")
            for n in range(50):
                assert link.send(Outgoing("x", str(n).encode(), 1))
            await scene.wait(5)
            async with scene.broker.dial("a")(None):
                await scene.wait(5)
            scene.broker.release("a")
            assert link.counts.denied == 0 and not scene.lost
            await scene.wait(20_000)
            assert scene.payloads("b") == [str(n).encode() for n in range(50)]

    virtually(main)


def test_what_is_told_while_the_hello_is_on_its_way_comes_after_it() -> None:
    async def main() -> None:
        scene = Scene(delay_ms=100)

        def hello() -> list[Outgoing]:
            scene.clock.call_at(scene.clock.now() + 50 * MS, told)
            return [Outgoing("safety", b"none", 1, True), Outgoing("lease", b"nobody", 1, True)]

        def told() -> None:
            assert not link.connected and link.send(Outgoing("safety", b"latched", 1, True), keep=False)

        link = scene.link("a", hello=hello)
        async with scene.up(link):
            await scene.wait(2000)
            assert scene.broker.retained["safety"].payload == b"latched"

    virtually(main)


def test_a_stop_that_is_said_again_before_it_is_acknowledged_is_the_same() -> None:
    async def main() -> None:
        scene = Scene(delay_ms=400)
        link, other = scene.link("a"), scene.link("b", "#")
        async with scene.up(link, other):
            await scene.wait(3000)
            for _ in range(8):
                assert link.send(Outgoing("stop", b"1", 1), first=True, keep=False, valid_ns=SECOND)
                assert link.send(Outgoing("estop", b"2", 1), first=True, keep=False, valid_ns=SECOND)
                await scene.wait(50)
            await scene.wait(3000)
            assert scene.payloads("b") == [b"1", b"2"] and not scene.lost

    virtually(main)


def test_a_package_that_is_missing_is_said_plainly() -> None:
    async def main() -> None:
        @asynccontextmanager
        async def without(will: Outgoing | None) -> AsyncIterator[Any]:
            raise DependencyMissing("aiomqtt", "robot", "a robot")
            yield

        link = Link(without, Clock(), receive=print, subscriptions=[])
        with pytest.raises(DependencyMissing):
            await link.run()

    virtually(main)
