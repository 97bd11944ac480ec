"""How a question to a model fails, and which answers of a server mean what."""

import email.utils
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import msgspec

from streams.errors import VisavisError

Kind: TypeAlias = Literal[
    "connect", "first_token", "between_tokens", "closed", "malformed", "rate_limit", "server", "refused", "too_long",
    "unknown",
]  # fmt: skip
_AGAIN = frozenset({"connect", "closed", "malformed", "rate_limit", "server"})
_SHOWN = 200  # characters of what a server says


class Failure(VisavisError):
    """A question came to no answer. Never leaves `policies.models`: there it becomes an `Outcome`.

    kind: as in `Answered.error`;  timeout: a wait was over
    retry_after_ms: as the server wished;  again: whether it makes sense to ask once more
    status: of HTTP, if it is one that is told
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        timeout: bool = False,
        retry_after_ms: float | None = None,
        again: bool | None = None,
        status: int = 0,
    ) -> None:
        self.kind: Kind = kind
        self.timeout = timeout
        self.status = status
        self.retry_after_ms = retry_after_ms
        self.again = kind in _AGAIN if again is None else again
        super().__init__(message)


def said(body: Any) -> str:
    """What a server says was wrong, in at most `_SHOWN` characters on one line.

    body: what its answer was decoded to: {"error": {"message": ...}}, {"error": "..."}, {"detail": ...}, or text
    """
    for key in ("error", "message", "detail"):
        while isinstance(body, dict) and body.get(key):
            body = body[key]
    return short(body if isinstance(body, str) else as_json(body))


def of_key(text: str) -> bool:
    """Whether a failure, as it is told, is that of a key: a wrong one, or none where one is wanted."""
    return "HTTP 401" in text or "HTTP 403" in text


def short(text: str, most: int = _SHOWN) -> str:
    """`text` on one line of at most `most` characters."""
    text = " ".join(clean(text[: 4 * most]).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which no file can hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_json(value: Any) -> str:
    """What was decoded from JSON as JSON again; "?" for what is too deep, or has numbers that are too large."""
    try:
        return msgspec.json.encode(value).decode()
    except (RecursionError, ValueError, TypeError, OverflowError):
        return "?"


def code(body: Any) -> str:
    """The server's own word for it, lower case: of {"error": {"code": ..., "type": ...}}; "" if it has none."""
    error = body.get("error", body) if isinstance(body, dict) else None
    words = [error.get(key) for key in ("code", "type", "status")] if isinstance(error, dict) else []
    return " ".join(str(word) for word in words if word is not None).lower()


def of_error(body: Any) -> Failure:
    """The failure that a server tells in the midst of its answer. body: a decoded object with "error" """
    words, text = code(body), said(body)
    if "429" in words.split() or "rate_limit" in words or "overloaded" in words:
        return Failure("rate_limit", f"the server has too much to do: {text}")
    if any(word in words for word in ("invalid_request", "context_length", "authentication", "permission")):
        return Failure("refused", f"the server refuses the request: {text}")
    return Failure("server", f"the server failed: {text}")


def of_status(status: int, headers: Mapping[str, str], body: Any, now: datetime, hint: str = "") -> Failure:
    """The failure that an HTTP status other than 2xx means.

    now: wall time, against which dates are reckoned;  hint: what to say behind it
    """
    text = said(body)
    told = f"HTTP {status}" + (f": {text}" if text else "")
    told = told.rstrip(".") + hint if hint else told
    wish = retry_after_ms(headers, now)
    if status == 429:
        empty = "insufficient_quota" in code(body)
        hint = " (see to the account: asking again does not help)" if empty else ""
        return Failure("rate_limit", f"the server takes no more for now, {told}{hint}", retry_after_ms=wish,
                       again=not empty, status=status)  # fmt: skip
    if status >= 500 or status in (408, 425):
        return Failure("server", f"the server failed with {told}", retry_after_ms=wish, status=status)
    return Failure("refused", f"the server refuses the request with {told}", status=status)


def retry_after_ms(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the server wishes to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or
    `retry-after-ms`; None if it does not say so in a way that can be read."""
    for name, factor in (("retry-after-ms", 1.0), ("retry-after", 1000.0)):
        try:
            wait = float(headers.get(name, "")) * factor
        except ValueError:
            continue
        if math.isfinite(wait):
            return max(0.0, wait)
    try:
        then = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if then.tzinfo is None:  # "-0000": GMT, as all dates of HTTP
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds() * 1000)
