"""What is raised on purpose here: mistakes of the program or of its files. What a message does wrong is a `Reason`.

BodyError (embodied.errors)
└── ContractError
    ├── FactsheetInvalid      a factsheet contradicts itself, or asks for what no guard here can enforce
    └── Malformed             bytes that are no message of the contract; the guards turn it into the reason "schema"
"""

from embodied.errors import BodyError


class ContractError(BodyError):
    """Something was asked of the contract that it cannot express."""


class FactsheetInvalid(ContractError):
    """A factsheet that cannot be enforced: names the capability and what to change."""


class Malformed(ContractError):
    """Bytes that are no message of the contract."""
