"""The errors of learning from recordings."""

from streams.errors import VisavisError


class TuningError(VisavisError):
    """There is nothing to be learnt from these recordings; the message says of which, and why."""
