"""Every error this package raises on purpose.

    VisavisError                  shown to the user as one line: what was wrong, where, and what to do
    ├── LaneOverrun               a reader fell too far behind a topic that may not drop
    ├── Deadlock                  virtual time: every task waits and no timer is pending
    ├── RealIOError               virtual time: something tried to open a socket or start a process on the loop
    ├── SourceError               a file or device cannot be opened or read
    │   └── SourceLost            it worked and then went away (expected: may be reopened)
    ├── RecordingError            a recording cannot be written or read
    │   └── RecordingTorn         it ends in the middle; `recover` reads what is whole
    ├── ModelError                a model cannot be used
    │   ├── ModelMissing          it is not here and cannot be fetched
    │   ├── ModelMismatch         wrong checksum, shapes or dtypes
    │   └── ProviderMissing       no ONNX Runtime, or not the provider asked for
    ├── GrammarInvalid            a grammar of speech cannot be compiled
    └── DependencyMissing         an optional package is not installed; names the extra that has it

Each is handled once: `agent/cli.py` prints it, or the component that expected it turns it into a `Fault` packet.
"""


class VisavisError(Exception):
    """Base of all expected errors; `str(error)` is a whole sentence for the user."""


class LaneOverrun(VisavisError):
    """A reader fell `depth` packets behind topic `topic`."""

    def __init__(self, topic: str, depth: int, reader: str) -> None:
        self.topic, self.depth, self.reader = topic, depth, reader
        super().__init__(
            f"{reader or 'a reader'} is {depth} packets behind topic {topic!r}, which may not drop any: "
            "it is too slow for this machine, or stuck."
        )


class Deadlock(VisavisError):
    """In virtual time every task waits for another and no timer is pending.

    t: session time in ns
    """

    def __init__(self, t: int) -> None:
        self.t = t
        super().__init__(f"at {t / 1e9:.3f} s every task waits and no timer is pending: nothing can ever happen again.")


class RealIOError(VisavisError):
    """A task on the virtual clock tried to reach the real world through the event loop."""


class SourceError(VisavisError):
    """A file or device cannot be opened or read."""


class SourceLost(SourceError):
    """A source worked and then went away."""


class RecordingError(VisavisError):
    """A recording cannot be written or read."""


class RecordingTorn(RecordingError):
    """A recording ends in the middle; `streams.recording.recover` reads what is whole."""


class ModelError(VisavisError):
    """A model cannot be used."""


class ModelMissing(ModelError):
    """A model file is not here and cannot be fetched."""


class ModelMismatch(ModelError):
    """A model file has the wrong checksum, or a graph the wrong inputs, shapes or dtypes."""


class ProviderMissing(ModelError):
    """ONNX Runtime is not installed, or lacks the execution provider that was insisted on."""


class GrammarInvalid(VisavisError):
    """A grammar cannot be compiled: names the word or rule and what to do."""


class DependencyMissing(VisavisError):
    """An optional package is not installed. instead: how to do without it, as an option"""

    def __init__(self, package: str, extra: str, why: str, instead: str = "") -> None:
        self.package, self.extra = package, extra
        without = f", or do without it: {instead}" if instead else ""
        super().__init__(f"{why} needs the package {package!r}: pip install 'visavis[{extra}]'{without}")
