"""Real brokers for tests: mosquitto on a free port, certificates made when they are needed, passwords, access lists.

@needs_mosquitto
def test_...(tmp_path):
    async def main() -> None:
        async with running(config_lines=secured(tmp_path, robots=["r1"], agents=["a1"])) as broker: ...
    within(20, main())
"""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from embodied.link.acl import access, settings
from embodied.link.address import Address
from embodied.link.broker import find, running
from embodied.link.mqtt import dial
from embodied.link.port import Dial

__all__ = ["certificates", "dial_to", "needs_mosquitto", "needs_openssl", "running", "secured", "until", "within"]

T = TypeVar("T")
needs_mosquitto = pytest.mark.skipif(find() is None, reason="needs mosquitto: apt install mosquitto")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt install openssl")
PASSWORD = "correct horse"


def within(seconds: float, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a real loop; it fails if it takes longer."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await main

    return asyncio.run(bounded())


async def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `true()`; fails after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - what a test waits for has no event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"it was not so within {seconds} s") from None


def dial_to(url: str, client_id: str, *, keepalive_s: int = 5, password: str | None = "", **options: str) -> Dial:
    """A dial to the broker at `url`. options: of `Address.parse`"""
    return dial(Address.parse(url, password=password or None, **options), client_id=client_id, keepalive_s=keepalive_s)


def certificates(folder: Path, clients: Sequence[str] = (), *, host: str = "127.0.0.1") -> dict[str, Path]:
    """PEM files in `folder`: "ca", "broker" and each of `clients`, and the key of each as "NAME.key".

    Valid for a day, signed by a new authority; the broker's is for `host`. Needs openssl.
    """
    made: dict[str, Path] = {}
    kind = "IP" if host.replace(".", "").isdigit() else "DNS"

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)

    for name in ("ca", "broker", *clients):
        made[name], made[f"{name}.key"] = folder / f"{name}.pem", folder / f"{name}.key"
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
        new += ["-keyout", str(made[f"{name}.key"])]
        if name == "ca":
            openssl("req", "-x509", *new, "-days", "1", "-out", str(made[name]))
            continue
        request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
        extra.write_text(f"subjectAltName={kind}:{host}\n" if name == "broker" else "basicConstraints=CA:FALSE\n")
        openssl("req", *new, "-out", str(request))
        openssl(
            "x509", "-req", "-in", str(request), "-CA", str(made["ca"]), "-CAkey", str(made["ca.key"]),
            "-CAcreateserial", "-days", "1", "-extfile", str(extra), "-out", str(made[name]),
        )  # fmt: skip
    return made


def secured(
    folder: Path,
    *,
    fleet: str = "home",
    robots: Sequence[str] = (),
    agents: Sequence[str] = (),
    operators: Sequence[str] = (),
    tls: dict[str, Path] | None = None,
    clients: bool = False,
) -> list[str]:
    """Lines for `running`: passwords (all `PASSWORD`), the contract's access list, and TLS.

    tls: what `certificates` made;  clients: clients need certificates, which say who they are, and no passwords
    """
    passwords, acl = folder / "passwords", folder / "access"
    passwords.write_text("".join(f"{user}:{PASSWORD}\n" for user in (*robots, *agents, *operators)))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True, timeout=30)
    acl.write_text("\n".join(access(fleet, robots, agents, operators)) + "\n")
    files = {} if tls is None else {"cert": str(tls["broker"]), "key": str(tls["broker.key"])}
    if tls is not None and clients:
        files["ca"] = str(tls["ca"])
    return settings(str(passwords), str(acl), **files)
