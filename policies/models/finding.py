"""What was found out about a model's server, in sentences for people."""

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One finding, as the doctor has them. ok: nothing needs mending;  mend: what mends it, or adds to it"""

    name: str
    ok: bool
    detail: str
    mend: str = ""
