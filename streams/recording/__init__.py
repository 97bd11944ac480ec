"""Recordings: everything that crossed the bus in a session, in one MCAP file that other tools read too.

`Recorder` is a tap that writes it, `Recording` reads it back packet for packet, `recover` mends one that
was torn or damaged.
The format is described in `docs/recording.md`. This package does not know what the packets mean, and plays nothing
back: `Recording.packets` is an iterator, not a source.
"""

from streams.recording.header import FORMAT, Header
from streams.recording.reader import Recording
from streams.recording.recovery import Recovery, recover
from streams.recording.salvage import Loss
from streams.recording.writer import Recorder

__all__ = ["FORMAT", "Header", "Loss", "Recorder", "Recording", "Recovery", "recover"]
