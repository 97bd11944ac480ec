"""A file that is written in a thread of its own, so that a slow disk never holds the event loop up."""

import fcntl
import os
import stat
from pathlib import Path

from streams.clock import Clock
from streams.errors import RecordingError
from streams.worker import Worker


class Spool:
    """What the MCAP writer takes for its file: `write`, `tell`, `flush`. Unbuffered; nothing waits for the disk.

    It writes in place until `detach` moves the writing to a thread. Replaces an existing file when made.
    backlog_bytes: how much may wait for the disk. Raises `RecordingError` if the file cannot be made.
    """

    def __init__(self, path: Path, backlog_bytes: int) -> None:
        self.error: OSError | None = None
        self._limit = backlog_bytes
        self._position = 0  # bytes taken: changed by the loop only
        self._settled = 0  # bytes written or given up: changed by the thread only
        self._worker: Worker | None = None
        self.closed = False
        try:
            self._file = _opened(path)
        except BlockingIOError as error:
            raise RecordingError(f"{path} is being recorded to by another session: name another file.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecordingError(
                f"cannot write the recording {path}: {reason}. "
                "Name a file in a folder that exists and may be written to."
            ) from error

    def detach(self, clock: Clock) -> None:
        """From now on, write in a thread."""
        self._settled = self._position
        self._worker = Worker(clock, "recorder")

    def write(self, data: bytes) -> int:
        """Take `data`. Raises the `OSError` of an earlier write, `RecordingError` if the disk falls too far behind."""
        if self.error is not None:
            raise self.error
        self._position += len(data)
        if self._worker is None:
            self._put(data)
        elif data:
            waiting = self._position - self._settled
            if waiting > self._limit:
                raise RecordingError(f"the disk is {waiting >> 20} MiB behind: it is too slow for this session")
            self._worker.begin(self._put_later, data)
        return len(data)

    def tell(self) -> int:
        """Bytes taken so far."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the file after what is on its way to the disk, without waiting for that. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self._worker is None:
            os.close(self._file)
        else:
            self._worker.begin(self._close_later)
            self._worker.abandon()

    async def aclose(self) -> None:
        """Close the file and wait, off the loop and bounded, until all is on the disk. Idempotent.

        Raises the `OSError` of a write, `RecordingError` if the disk does not answer.
        """
        if self.closed or self._worker is None:
            self.close()
            return
        self.closed = True
        self._worker.begin(self._close_later)
        if not await self._worker.aclose():
            raise RecordingError(f"the disk does not answer: {self._position - self._settled} bytes are not written")
        if self.error is not None:
            raise self.error

    def _put_later(self, data: bytes) -> None:
        if self.error is None:
            try:
                self._put(data)
            except OSError as error:
                self.error = error
        self._settled += len(data)

    def _close_later(self) -> None:
        try:
            os.close(self._file)  # a network disk may say only now that it is full
        except OSError as error:
            self.error = self.error or error

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # a write to a nearly full disk may take a part
            rest = rest[os.write(self._file, rest) :]


def _opened(path: Path) -> int:
    """The file, empty and locked for as long as it is open. Raises `BlockingIOError` if another has locked it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
    except OSError:
        os.close(file)
        raise
    return file
