"""The errors of the agent: what a person who runs it can do wrong.

VisavisError (streams.errors)
├── ConfigError             a setting is unknown or has a wrong value; names its path and where it was given
└── OutputError             a file cannot be written, or would overwrite another one of the same run

ReplayEnded is no error: it ends a replay early, from whatever depth of the session, and never reaches the user.
"""

from streams.errors import VisavisError


class ConfigError(VisavisError):
    """A setting is unknown or has a wrong value; the message names its path and where it was given."""


class OutputError(VisavisError):
    """A file cannot be written, or would overwrite another one of the same run."""


class ReplayEnded(Exception):
    """The recording has no more to tell, or a difference was found and only a check was asked for.

    Control flow, as `StopIteration` is: whoever runs a `Replay` catches it (`agent.replaying.perform`).
    """
