"""The broker of our own: mosquitto, or amqtt in an environment of its own; addresses; access lists."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embodied.link import broker as brokers
from embodied.link.acl import access
from embodied.link.acl import main as print_access
from embodied.link.address import PASSWORD, Address
from embodied.link.broker import free_port
from embodied.link.embedded import AMQTT, BrokerFailed, environment
from embodied.link.link import Link
from embodied.link.port import LinkRefused, Message, Outgoing
from embodied.robot.errors import ContractError
from streams.clock import Clock
from tests.brokers import dial_to, needs_mosquitto, running, until, within


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "tls"),
    [
        ("mqtt://robots.local", "robots.local", 1883, "", False), ("mqtts://b", "b", 8883, "", True),
        ("mqtt://me@10.0.0.1:1884/", "10.0.0.1", 1884, "me", False), ("mqtt://[::1]:99", "::1", 99, "", False),
        (" mqtts://a%40b@host:1 ", "host", 1, "a@b", True),
    ],
)  # fmt: skip
def test_addresses(url: str, host: str, port: int, user: str, tls: bool) -> None:
    address = Address.parse(url, password="secret")
    assert (address.host, address.port, address.user, address.tls) == (host, port, user, tls)
    assert "secret" not in str(address) + repr(address)
    assert Address.parse(str(Address("::1", 5))).host == "::1"


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "from there")
    assert Address.parse("mqtt://me@host").password == "from there"
    assert Address.parse("mqtt://host").password is None


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("http://host", {}, "write mqtt://"), ("host:1883", {}, "write mqtt://"), ("mqtt://", {}, "names no host"),
        ("mqtt://me:pw@host", {}, "VISAVIS_MQTT_PASSWORD"), ("mqtt://host:0", {}, "port 0"),
        ("mqtt://host:99999", {}, "cannot be read"), ("mqtt://host/topic", {}, "after the host"),
        ("mqtt://host", {"ca": "x.pem"}, "write mqtts://"), ("mqtts://host", {"key": "x.pem"}, "give cert"),
        ("mqtt://host", {"protocol": "4"}, "auto, 5 or 3.1.1"), ("mqtt://ho st", {}, "names no host"),
        ("", {}, "write mqtt://"),
    ],
)  # fmt: skip
def test_addresses_that_are_none_say_what_to_write(url: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(LinkRefused) as caught:
        Address.parse(url, **options)
    assert words in str(caught.value) and "pw" not in str(caught.value)


def test_access_lists_name_each_once_and_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = access("home", ["r1"], ["a1"], ["op"])
    resets = [line for line in lines if "write" in line and "estop/reset" in line]
    assert len(resets) == 1 and lines.index(resets[0]) > lines.index("user op")
    assert sum("write robot/v1/home/r1/estop/set" in line for line in lines) == 2
    with pytest.raises(ContractError, match="twice"):
        access("home", ["x"], ["x"])
    assert (
        print_access(["--robot", "r1", "--agent", "a1"]) == 0 and "use_username_as_clientid" in capsys.readouterr().out
    )
    assert print_access(["--robot", "no good"]) == 2


@needs_mosquitto
def test_mosquitto_listens_here_only_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running() as broker:
            assert broker.kind == "mosquitto" and str(broker.port) in broker.words
            assert broker.process.returncode is None
            log = broker._log
        assert broker.process.returncode is not None and not log.parent.exists()
        with pytest.raises(BrokerFailed, match="no_such_option"):
            async with running(config_lines=["no_such_option 1"]):
                pass

    within(15, main())


@needs_mosquitto
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv: apt install util-linux")
def test_mosquitto_ends_with_a_program_that_is_killed() -> None:
    program = (
        "import asyncio\nfrom embodied.link.broker import running\nasync def main():\n"
        "    async with running() as broker:\n        print(broker.port, flush=True)\n        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert within(5, brokers._listens(port))
        process.kill()

    async def gone() -> bool:
        await asyncio.sleep(0.5)
        return not await brokers._listens(port)

    assert within(5, gone())


def test_without_mosquitto_what_it_would_be_needed_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(brokers, "find", lambda: None)
        for wanted in ({"kind": "mosquitto"}, {"config_lines": ["password_file x"]}):
            with pytest.raises(BrokerFailed, match="apt install mosquitto"):
                async with running(**wanted):  # type: ignore[arg-type]
                    pass

    within(5, main())


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("embodied.link.embedded.AMQTT", "0.0.0")  # there is none
        with pytest.raises(BrokerFailed, match="install mosquitto instead"):
            await environment(tmp_path)

    within(60, main())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_embedded_broker_speaks_3_1_1_and_the_link_falls_back(tmp_path: Path) -> None:
    wheel = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "w"), f"amqtt=={AMQTT}"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if wheel.returncode:
        pytest.skip("needs the package index: pip download amqtt")

    async def main() -> None:
        clock, heard = Clock(), list[Message]()
        async with running(kind="amqtt", cache=tmp_path / "cache") as broker:
            assert "3.1.1 only" in broker.words
            assert [each.name for each in (tmp_path / "cache").iterdir()] == [
                f"amqtt-{AMQTT}-python{sys.version_info.major}.{sys.version_info.minor}"
            ]
            link = Link(
                dial_to(broker.url, "a"), clock, receive=heard.append, subscriptions=[("t", 1)],
                will=Outgoing("w", b"lost", 1, True, {"ContentType": "application/json"}),
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                task = group.create_task(link.run())
                await until(lambda: link.connected, 12)
                assert link.version == "3.1.1"
                link.send(Outgoing("t", b"x", 1, properties={"MessageExpiryInterval": 5}))
                await until(lambda: heard)
                broker.kill()
                await until(lambda: not link.connected)
                await broker.restart()
                await until(lambda: link.connected, 12)
                task.cancel()

    within(120, main())


def test_a_free_port_is_free() -> None:
    assert 1024 < free_port() < 65536
