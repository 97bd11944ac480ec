"""Secrets that agents, operators and robots share: in files that nobody else may read, written in hexadecimal."""

from pathlib import Path

from embodied.errors import BodyError

LEAST = 16


class KeysInvalid(BodyError):
    """The keys cannot be used: where they are, and what is wrong."""


def read_secret(path: Path, what: str) -> str:
    """The text of a file of secrets. what: named in errors. Raises `KeysInvalid`, also where others may read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeysInvalid(f"{what} {path}: it holds keys and may be read by others: chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeysInvalid(f"{what} {path}: cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise KeysInvalid(f"{what} {path}: {error}.") from error


def key_of(text: str, what: str) -> bytes:
    """The key that `text` is in hexadecimal. what: named in errors. Raises `KeysInvalid`."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise KeysInvalid(f"{what} is not written in hexadecimal: openssl rand -hex 32 makes one.") from None
    if len(key) < LEAST:
        raise KeysInvalid(f"{what} has {len(key)} bytes; {LEAST} are the least, 32 are better.")
    return key


def read_key(path: str, option: str) -> bytes:
    """The key in the file at `path`, and nothing else in it. option: named in errors. Raises `KeysInvalid`."""
    return key_of(read_secret(Path(path), option), f"{option} {path}")
