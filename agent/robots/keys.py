"""Secrets that an agent or an operator shares with robots: one in a file, in hexadecimal, like `robot --keys`."""

from pathlib import Path

from agent.errors import ConfigError

LEAST = 16


def read_key(path: str, option: str) -> bytes:
    """The key in the file at `path`. option: named in errors. Raises `ConfigError`, also for one others may read."""
    file = Path(path)
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{option} {path}: it may be read by others: chmod 600 {path}")
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{option} {path}: a key is written in hexadecimal: openssl rand -hex 32 > {path}") from error
    if len(key) < LEAST:
        raise ConfigError(f"{option} {path}: {len(key)} bytes can be guessed; {LEAST} are the least, 32 are better")
    return key
