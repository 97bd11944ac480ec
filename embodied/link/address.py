"""Where a broker is, and as whom to come: an address out of a url and the files and words that belong to it."""

import os
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from embodied.link.port import LinkRefused

PASSWORD = "VISAVIS_MQTT_PASSWORD"
"""Environment variable with the password for the broker: secrets have no place on a command line or in a file."""
PORT, TLS_PORT = 1883, 8883

Version: TypeAlias = Literal["auto", "5", "3.1.1"]

_VERSIONS: dict[str, Version] = {"auto": "auto", "5": "5", "3.1.1": "3.1.1"}
_HOW = "write mqtt://[USER@]HOST[:PORT], or mqtts://... for TLS"
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


@dataclass(frozen=True)
class Address:
    """A broker's address. `str` of it never has the password.

    user: "" for none;  password: None for none;  tls: encrypted;  protocol: of MQTT; "auto" tries 5, then 3.1.1
    ca: PEM file of who is believed to have signed the broker's certificate; "" for the system's
    cert, key: PEM files, the client's own certificate; "" for none
    """

    host: str
    port: int
    user: str = ""
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    protocol: Version = "auto"
    ca: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password: str | None = None,
        protocol: str = "auto",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ) -> "Address":
        """The address in `url`. password: None takes it from the environment, `VISAVIS_MQTT_PASSWORD`.

        Raises `LinkRefused` for what is no such address, and says what to write.
        """
        parts, port = _split(url)
        tls = parts.scheme == "mqtts"
        version = _VERSIONS.get(protocol)
        if version is None:
            raise LinkRefused(f"{protocol!r} is no version of MQTT that is spoken here: auto, 5 or 3.1.1")
        if not tls and (ca or cert or key):
            raise LinkRefused(
                f"a certificate was given for {_shown(parts, port)}, which is not encrypted: write mqtts://"
            )
        if key and not cert:
            raise LinkRefused("a key was given without its certificate: give cert, too")
        user = unquote(parts.username or "")
        if password is None:
            password = os.environ.get(PASSWORD) or None
        if password is not None and not user:
            password = (
                None  # MQTT 3.1.1 has no password without a user; the environment may be meant for another broker
            )
        return cls(
            parts.hostname or "", port or (TLS_PORT if tls else PORT), user, password, tls, version, ca, cert, key
        )  # fmt: skip

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{f'{self.user}@' if self.user else ''}{host}:{self.port}"


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise LinkRefused(f"this address of a broker cannot be read ({error}): {_HOW}") from None
    if parts.scheme not in ("mqtt", "mqtts"):
        shown = f"{parts.scheme}://" if parts.scheme and parts.netloc else "what was given"
        raise LinkRefused(f"{shown} is no address of an MQTT broker: {_HOW}")
    if parts.password is not None:
        raise LinkRefused(f"a password in an address is seen by others: leave it out and set the variable {PASSWORD}")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise LinkRefused(f"the address of the broker names no host: {_HOW}")
    if port == 0:
        raise LinkRefused(f"no broker listens on port 0: {_HOW}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise LinkRefused(f"there is something after the host in the broker's address: {_HOW}")
    return parts, port


def _shown(parts: SplitResult, port: int | None) -> str:
    return f"{parts.scheme}://{parts.hostname}{f':{port}' if port else ''}"
