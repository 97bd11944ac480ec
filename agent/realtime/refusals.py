"""What is refused, as the `error` event tells it. The connection stays."""

from streams.errors import VisavisError


class Refused(VisavisError):
    """A client event that is not obeyed.

    code: short name of the reason, for programs;  param: path of the field that is wrong, "" for none
    """

    def __init__(self, code: str, message: str, param: str = "") -> None:
        self.code, self.param = code, param
        super().__init__(message)
