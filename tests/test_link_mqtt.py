"""The link on real brokers: TLS, passwords, access lists, kills, freezes, and what is said when it does not work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from embodied.link.broker import free_port
from embodied.link.link import Link
from embodied.link.outbox import Lost
from embodied.link.port import Dial, LinkBroken, LinkError, LinkRefused, Message, Outgoing
from streams.clock import SECOND, Clock
from tests.brokers import (
    PASSWORD,
    certificates,
    dial_to,
    needs_mosquitto,
    needs_openssl,
    running,
    secured,
    until,
    within,
)

pytestmark = needs_mosquitto


class Ends:
    """A link and what it heard and lost."""

    def __init__(self, dial: Dial, clock: Clock, *filters: str, **more: Any) -> None:
        self.heard: list[Message] = []
        self.lost: list[Lost] = []
        self.link = Link(
            dial, clock, receive=self.heard.append, subscriptions=[(each, 1) for each in filters],
            lost=self.lost.append, **more,
        )  # fmt: skip

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.heard]


@asynccontextmanager
async def up(*ends: Ends) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.link.run()) for each in ends]
        await until(lambda: all(each.link.connected for each in ends))
        yield
        for task in tasks:
            task.cancel()


async def trouble(dial: Dial) -> LinkError:
    """What is said when somebody dials so."""
    try:
        async with dial(None) as connection:
            async for _ in connection.messages():
                pass
    except LinkError as error:
        return error
    raise AssertionError("it connected")


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
def test_both_versions_and_retained_messages(protocol: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with running() as broker:
            first = Ends(dial_to(broker.url, "first", protocol=protocol), clock)
            async with up(first):
                for topic in ("old/a", "kept/b"):
                    first.link.send(
                        Outgoing(topic, b"x", 1, True, {"MessageExpiryInterval": 60, "ContentType": "json"})
                    )
                await until(lambda: not first.link.waiting)
                then = Ends(dial_to(broker.url, "then", protocol=protocol), clock, "old/#", recalled=[("kept/#", 1)])
                async with up(then):
                    assert then.link.version == ("3.1.1" if protocol == "3.1.1" else "5")
                    first.link.send(Outgoing("old/a", b"new", 1, True))
                    await until(lambda: b"new" in then.payloads())
                    old = [] if then.link.version == "5" else [Message("old/a", b"x", True)]  # 3.1.1 cannot say no
                    assert then.heard == [*old, Message("kept/b", b"x", True), Message("old/a", b"new", False)]

    within(15, main())


@needs_openssl
def test_tls_with_client_certificates_and_the_access_list(tmp_path: Path) -> None:
    async def main() -> None:
        clock, files = Clock(), certificates(tmp_path, ["r1", "a1", "op"])
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        other = certificates(stranger, ["a1"])
        lines = secured(tmp_path, robots=["r1"], agents=["a1"], operators=["op"], tls=files, clients=True)
        async with running(config_lines=lines) as broker:
            url = broker.url.replace("mqtt://", "mqtts://")

            def known(name: str, made: dict[str, Path] = files, **more: str) -> Dial:
                own = {"cert": str(made[name]), "key": str(made[f"{name}.key"])}
                return dial_to(url, name, **{"ca": str(files["ca"]), **own, **more})

            robot, agent = Ends(known("r1"), clock, "robot/v1/home/r1/#"), Ends(known("a1"), clock, "robot/v1/home/#")
            operator = Ends(known("op"), clock)
            async with up(robot, agent, operator):
                agent.link.send(Outgoing("robot/v1/home/r1/command/move", b"move", 1))
                agent.link.send(Outgoing("robot/v1/home/r1/estop/reset", b"not mine", 1))
                agent.link.send(Outgoing("robot/v1/home/r1/state", b"forged", 1))
                operator.link.send(Outgoing("robot/v1/home/r1/estop/reset", b"reset", 1))
                robot.link.send(Outgoing("robot/v1/home/agents/a1/reply", b"reply", 1))
                robot.link.send(Outgoing("robot/v1/home/agents/op/reply", b"not for a1", 1))
                robot.link.send(Outgoing("robot/v1/home/r1/state", b"state", 1))
                await until(lambda: len(robot.heard) >= 2 and len(agent.heard) >= 2 and not agent.link.waiting)
                assert sorted(robot.payloads()) == [b"move", b"reset"]
                assert agent.payloads() == [b"reply", b"state"]
                assert agent.link.counts.denied == 2  # MQTT 5 tells; so it is not lost silently
                assert [lost.message.payload for lost in agent.lost] == [b"not mine", b"forged"]
                assert "access list" in agent.lost[0].why
            nobody = await trouble(dial_to(url, "a1", ca=str(files["ca"])))
            assert "wants a certificate of this client" in str(nobody)
            forged = await trouble(known("a1", other))
            assert "certificate of this client" in str(forged)  # TLS 1.3 may end before its alert is read
            untrusted = await trouble(known("a1", ca=str(other["ca"])))
            assert isinstance(untrusted, LinkRefused) and "not trusted" in str(untrusted) and "(ca)" in str(untrusted)
            misnamed = await trouble(dial_to(url.replace("127.0.0.1", "localhost"), "a1", ca=str(files["ca"])))
            assert isinstance(misnamed, LinkRefused) and "not trusted" in str(misnamed)
            missing = await trouble(known("a1", ca=str(tmp_path / "nothing.pem")))
            assert isinstance(missing, LinkRefused) and "nothing.pem" in str(missing)
            plain = await trouble(dial_to(broker.url, "a1"))
            assert isinstance(plain, LinkBroken) and "mqtts://" in str(plain)

    within(20, main())


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_passwords(tmp_path: Path, protocol: str) -> None:
    async def main() -> None:
        lines = secured(tmp_path, robots=["r1"], agents=["a1"])
        async with running(config_lines=lines) as broker:
            url = broker.url.replace("mqtt://", "mqtt://a1@")
            async with up(Ends(dial_to(url, "a1", password=PASSWORD, protocol=protocol), Clock())):
                pass
            for wrong in (
                dial_to(url, "a1", password="wrong", protocol=protocol),
                dial_to(broker.url, "a1", protocol=protocol),
            ):
                link = Ends(wrong, Clock()).link
                with pytest.raises(LinkRefused, match="VISAVIS_MQTT_PASSWORD") as caught:
                    await link.run()
                assert PASSWORD not in str(caught.value)

    within(15, main())


def test_each_way_not_to_connect_is_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        async with running() as broker:

            async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(4096)
                await reader.read(1)
                writer.close()

            server = await asyncio.start_server(mute, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            for url, kind, words in (
                (f"mqtt://127.0.0.1:{free_port()}", LinkBroken, "nothing listens"),
                ("mqtt://no-such-host.invalid", LinkBroken, "no host is called 'no-such-host.invalid'"),
                (broker.url.replace("mqtt:", "mqtts:"), LinkBroken, "write mqtt:// instead of mqtts://"),
                (f"mqtt://127.0.0.1:{port}", LinkBroken, "is it an MQTT broker?"),
            ):
                error = await trouble(dial_to(url, "a", protocol="5"))
                assert type(error).__mro__[:3].count(kind) == 1 and words in str(error), error
                assert "\n" not in str(error)
            server.close()

    within(15, main())


async def _answering(answers: list[bytes]) -> tuple[asyncio.Server, str]:
    """A broker of a few bytes: one answer for each packet that comes, whatever it is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in answers:
            await reader.read(4096)
            writer.write(each)
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ([bytes.fromhex("2003008600")], LinkRefused, "user name or password are wrong"),
        ([bytes.fromhex("2003008900")], LinkBroken, "it is busy"),
        ([bytes.fromhex("2003008a00")], LinkRefused, "banned"),
        ([bytes.fromhex("20020001")], LinkRefused, "does not speak this version"),
        ([bytes.fromhex("2003000000"), bytes.fromhex("900400010087")], LinkRefused, "subscribe to 'secret/#'"),
        ([bytes.fromhex("2003000000"), bytes.fromhex("e0018e")], LinkRefused, "took over"),
        ([bytes.fromhex("2003000000"), bytes.fromhex("e0018b")], LinkBroken, "shutting down"),
        ([bytes.fromhex("ffffffffffffff")], LinkBroken, "before it answered"),
    ],
)
def test_reason_codes(answers: list[bytes], kind: type[LinkError], words: str) -> None:
    async def main() -> None:
        server, url = await _answering(answers)
        errors: list[LinkError] = []
        ends = Ends(dial_to(url, "a", protocol="5"), Clock(), "secret/#", troubled=errors.append)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_ends(ends.link.run))
            await until(lambda: errors)
            task.cancel()
        assert isinstance(errors[0], kind) and words in str(errors[0]), errors[0]
        server.close()

    within(12, main())


async def _ends(run: Callable[[], Awaitable[None]]) -> None:
    try:
        await run()
    except LinkRefused:
        return


def test_the_broker_is_killed_under_load_and_nothing_is_lost_silently() -> None:
    async def main() -> None:
        clock = Clock()
        async with running() as broker:
            a, b = Ends(dial_to(broker.url, "a"), clock), Ends(dial_to(broker.url, "b"), clock, "load/#")
            taken: list[bytes] = []
            async with up(a, b):
                for number in range(1200):
                    payload = str(number).encode()
                    if a.link.send(Outgoing("load/x", payload, 1)):
                        taken.append(payload)
                    a.link.send(Outgoing("load/telemetry", b"", 0))
                    if number in (300, 700):
                        broker.kill()
                        await until(lambda: not a.link.connected and not b.link.connected)
                        await broker.restart()
                        await until(lambda: b.link.connected)
                    await asyncio.sleep(0.001)
                await until(lambda: not a.link.waiting, 10)
                await asyncio.sleep(0.2)
            came = [each for each in b.payloads() if each]
            new = [each for at, each in enumerate(came) if each not in set(came[:at])]
            assert not a.lost and len(taken) + a.link.counts.dropped >= 1200
            assert new == [each for each in taken if each in set(new)]  # in order, once duplicates are left out
            # what the broker had acknowledged and not delivered when it died is the broker's to lose, and little
            assert len(taken) - len(new) <= 100
            assert a.link.counts.reconnects == 2

    within(25, main())


def test_a_frozen_broker_is_noticed_within_one_and_a_half_keepalives() -> None:
    async def main() -> None:
        clock = Clock()
        async with running() as broker:
            a = Ends(dial_to(broker.url, "a", keepalive_s=2), clock)
            async with up(a):
                await asyncio.sleep(0.3)
                broker.freeze()
                begun = clock.now()
                await until(lambda: not a.link.connected, 6)
                took = (clock.now() - begun) / SECOND
                broker.thaw()
                assert took <= 3.0 + 0.3, took
                assert "does not answer" in a.link.why
                await until(lambda: a.link.connected, 8)

    within(20, main())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_same_client_id_takes_over(protocol: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with running() as broker:
            errors: list[LinkError] = []
            first = Ends(dial_to(broker.url, "a", protocol=protocol), clock, troubled=errors.append)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(first.link.run())
                await until(lambda: first.link.connected)
                async with dial_to(broker.url, "a", protocol=protocol)(None):
                    await until(lambda: errors)
                    assert "another client" in str(errors[0])  # a broker that gives the reason: test_reason_codes
                    task.cancel()

    within(12, main())


def test_the_will_is_published_when_a_connection_is_cut_and_not_after_goodbye() -> None:
    async def main() -> None:
        clock = Clock()
        async with running() as broker:
            watch = Ends(dial_to(broker.url, "watch"), clock, "p")
            async with up(watch):
                will = Outgoing("p", b"lost", 1, True, {"ContentType": "application/json"})
                ends = Ends(
                    dial_to(broker.url, "a"), clock, will=will, goodbye=lambda: [Outgoing("p", b"off", 1, True)]
                )
                async with up(ends):
                    pass
                await until(lambda: watch.heard)
                await asyncio.sleep(0.1)
                assert watch.payloads() == [b"off"]
                async with dial_to(broker.url, "b")(will) as session:
                    session._open.abandon()  # type: ignore[attr-defined]
                await until(lambda: watch.payloads() == [b"off", b"lost"])

    within(12, main())


def test_cancelled_while_it_connects_it_lets_go_of_everything() -> None:
    async def main() -> None:
        server, url = await _answering([])
        for pause in (0.0, 0.01, 0.05):
            before = len(asyncio.all_tasks())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(pause):
                    await Ends(dial_to(url, "a"), Clock()).link.run()
            await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) <= before + 3  # the server's own
        server.close()

    within(12, main())
