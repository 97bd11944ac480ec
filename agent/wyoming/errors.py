"""What the Wyoming server refuses. Each becomes an `error` event with the text and the code, and ends the connection.

VisavisError (streams.errors)
├── AddressError       the address cannot be served (the person who runs the server is told, not a client)
└── Refusal            a client asked for what it cannot have; `code` says why, for programs
    ├── BrokenEvent    "protocol": what came is no event, or not one of this protocol
    └── Busy           "busy": others have taken what there is; it may ask again
"""

from streams.errors import VisavisError


class AddressError(VisavisError):
    """The address cannot be served."""


class Refusal(VisavisError):
    """A client asked for what it cannot have.

    code: "language", "voice", "text", "audio", "pipeline" or as in the subclasses
    """

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


class BrokenEvent(Refusal):
    """What came is no event, or lacks what its type must have."""

    def __init__(self, text: str) -> None:
        super().__init__("protocol", text)


class Busy(Refusal):
    """Others have taken what there is."""

    def __init__(self, what: str) -> None:
        super().__init__("busy", f"{what}: try again in a moment")
