"""Who sent it, proven: an HMAC-SHA256 over the bytes of a message, optional, for brokers that are not trusted.

The seal is the last field, and covers every byte before it: `{...,"mac":"<64 hex>"}` is sealed over `{...}`. So there
is no second way of writing the same message. The `fresh` echo inside is the nonce: an old message stays old.
"""

import hashlib
import hmac
import re

_SEAL = re.compile(rb',"mac":"([0-9a-f]{64})"\}$(?!\n)')


def seal(payload: bytes, key: bytes) -> bytes:
    """`payload`, an encoded message that has no `mac`, with its seal at the end."""
    return payload[:-1] + b',"mac":"' + _mac(payload, key).encode() + b'"}'


def sealed(payload: bytes, key: bytes) -> bool:
    """Whether `payload` ends with the seal of `key` over all that comes before it."""
    found = _SEAL.search(payload)
    return found is not None and hmac.compare_digest(found[1].decode(), _mac(payload[: found.start()] + b"}", key))


def _mac(payload: bytes, key: bytes) -> str:
    return hmac.new(key, payload, hashlib.sha256).hexdigest()
