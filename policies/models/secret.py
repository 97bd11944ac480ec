"""Keeps what is secret out of what is told: servers repeat keys in what they complain of, libraries addresses."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

from streams.pictures import anonymous

_LEAST = 4  # characters of what is masked: shorter ones are in every text
_LIKELY = ("key", "token", "secret", "sig", "pass", "pw", "auth", "code", "cred")
_PLAIN = ("api-version", "model", "intent", "deployment")  # of queries, and no secrets: Azure's, and the protocol's own
_CUT = 8  # characters of the beginning of one, before an ellipsis, that are masked as well


class Secrets:
    """A few texts that nobody is to see: a key, and what the query and the password of an address may be.

    key: "" if there is none;  url: as configured. Of a query all values but those of known harmless names count
    """

    def __init__(self, key: str, url: str) -> None:
        found = {key, *_of_address(url)}
        self._secrets = sorted((each for each in found if len(each) >= _LEAST), key=len, reverse=True)

    def masked(self, text: str) -> str:
        """`text` with "***" for each, also for one that was cut off by "..."."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
            if "..." in text:
                for length in range(len(secret) - 1, _CUT - 1, -1):
                    text = text.replace(f"{secret[:length]}...", "***...")
        return text


def shown(url: str) -> str:
    """`url` as it may be shown, also one that is none: without name, password and query."""
    return anonymous(url if "://" in url else f"://{url}").removeprefix("://")


def _of_address(url: str) -> Iterable[str]:
    try:
        parts = urlsplit(url.strip())
        password = parts.password or ""
    except ValueError:  # it is refused elsewhere, and shown without all this
        return
    yield from (password, unquote(password))
    raw = dict(piece.partition("=")[::2] for piece in parts.query.split("&"))
    for name, value in [*raw.items(), *parse_qsl(parts.query)]:
        likely = any(word in name.lower() for word in _LIKELY)
        if likely or (name.lower() not in _PLAIN and len(value) > _CUT):
            yield value
