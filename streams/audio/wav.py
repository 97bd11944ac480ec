"""WAV files of int16, by the standard library: in one go, or growing on disk."""

import os
import wave
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType

import numpy as np

from streams.errors import SourceError
from streams.types import Samples

LIMIT = (1 << 32) - 65536
"""Bytes a WAV file can hold: its header counts in 32 bits."""


class WavFile:
    """A WAV file that grows. The header is right after every `append`, so a crash leaves a file that plays.

    failed: a write has failed, and the file should not be written to again
    channels: how many;  rate: Hertz. An existing file is replaced. Raises `SourceError` if it cannot be made.
    """

    def __init__(self, path: str | PathLike[str], channels: int, rate: int) -> None:
        self.path = Path(path)
        self.frames = 0
        self.failed = False
        self._channels = channels
        try:
            self._file = self.path.open("wb")
        except OSError as error:
            raise SourceError(
                f"cannot write {self.path}: {error.strerror or error}. "
                "Name a file in a folder that exists and may be written to."
            ) from error
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - `close` closes it
        self._wave.setnchannels(channels)
        self._wave.setsampwidth(2)
        self._wave.setframerate(rate)

    def set_rate(self, rate: int) -> None:
        """Another rate than was first thought, before the first `append`."""
        self._wave.setframerate(rate)

    def append(self, samples: Samples) -> None:
        """Add int16[frames, channels], or int16[frames] of one channel.

        Raises `OSError`, and `SourceError` when the file would be too long for its format.
        """
        self.failed = True  # unless what follows raises nothing
        if (self.frames + len(samples)) * 2 * self._channels > LIMIT:
            raise SourceError(f"{self.path} is full: a WAV file holds no more than 4 GiB.")
        self._wave.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
        self._file.flush()
        self.failed = False
        self.frames += len(samples)

    def close(self) -> None:
        """Complete and close the file. Raises `OSError`; the file is closed all the same. Idempotent."""
        try:
            self._wave.close()
        finally:
            self._file.close()

    def __enter__(self) -> "WavFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def write_wav(path: str | PathLike[str], channels: Sequence[Samples], rate: int) -> None:
    """Write int16[samples] of each channel; shorter ones are filled up with silence. Raises `SourceError`."""
    length = max((len(channel) for channel in channels), default=0)
    frames: Samples = np.zeros((length, len(channels)), np.int16)
    for index, channel in enumerate(channels):
        frames[: len(channel), index] = channel
    try:
        with WavFile(path, len(channels), rate) as file:
            file.append(frames)
    except OSError as error:
        raise SourceError(f"cannot write {os.fspath(path)}: {error.strerror or error}.") from error
