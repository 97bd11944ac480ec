"""A file that is written in a thread of its own, so that a slow disk never holds the event loop up."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from streams.errors import RecordingError

PATIENCE_S = 5.0
"""How long `close` waits for a disk that does not answer."""


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
        self._pool: ThreadPoolExecutor | None = None
        self.closed = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecordingError(
                f"cannot write the recording {path}: {reason}. "
                "Name a file in a folder that exists and may be written to."
            ) from error

    def detach(self) -> None:
        """From now on, write in a thread."""
        self._settled = self._position
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="visavis-recorder")

    def write(self, data: bytes) -> int:
        """Take `data`. Raises the `OSError` of an earlier write, `RecordingError` if the disk falls too far behind."""
        if self.error is not None:
            raise self.error
        self._position += len(data)
        if self._pool is None:
            self._put(data)
        elif data:
            waiting = self._position - self._settled
            if waiting > self._limit:
                raise RecordingError(f"the disk is {waiting >> 20} MiB behind: it is too slow for this session")
            self._pool.submit(self._put_later, data)
        return len(data)

    def tell(self) -> int:
        """Bytes taken so far."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Wait for what is on its way to the disk, and close the file. Raises the `OSError` of a write. Idempotent."""
        closed = self.abandon()
        try:
            if closed is not None:
                closed.result(PATIENCE_S)
        except FutureTimeoutError as error:
            raise RecordingError(
                f"the disk does not answer: {self._position - self._settled} bytes are not written"
            ) from error
        if closed is not None and self.error is not None:
            raise self.error

    def abandon(self) -> "Future[None] | None":
        """Close the file after what is on its way, without waiting: the future is done then. None if it was closed."""
        if self.closed:
            return None
        self.closed = True
        if self._pool is None:
            done: Future[None] = Future()
            os.close(self._file)
            done.set_result(None)
            return done
        closed = self._pool.submit(os.close, self._file)
        self._pool.shutdown(wait=False)
        return closed

    def _put_later(self, data: bytes) -> None:
        if self.error is None:
            try:
                self._put(data)
            except OSError as error:
                self.error = error
        self._settled += len(data)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # a write to a nearly full disk may take a part
            rest = rest[os.write(self._file, rest) :]
