"""Server-sent events, as far as chat completions use them: bytes as they come from the network in, data of events out.

WHATWG HTML, "Server-sent events", with what servers do beside it: `error: {...}` (llama.cpp) and bare lines of JSON are
taken for data, and an event whose blank line never came counts when the stream has ended.
"""

import re

from policies.models.failures import Failure

MOST_EVENT = 1 << 20  # bytes of one event, or of one line
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Events:
    """Decodes one stream. The events do not depend on how its bytes were split.  seen: how many there were

    Bytes that are no UTF-8 become U+FFFD. Raises `Failure` ("too_long") for an event of more than `most` bytes.
    """

    def __init__(self, most: int = MOST_EVENT) -> None:
        self._most = most
        self._rest = bytearray()  # of a line whose end has not come
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._begun = False
        self.seen = 0  # events

    def push(self, data: bytes) -> list[str]:
        """The data of the events that `data` completes."""
        if not data:
            return []
        if self._after_cr and data[0] == 10:  # the second half of a CR LF
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        first, *others = _LINE_END.split(data)
        self._rest += first
        if self._size + len(self._rest) > self._most:
            raise _too_long(self._most)
        if not others:
            return []
        others.insert(0, bytes(self._rest))
        self._rest = bytearray(others.pop())
        return self._lines(others)

    def flush(self) -> list[str]:
        """The stream has ended: the data of an event that lacks its end."""
        line, self._rest = bytes(self._rest), bytearray()
        return self._lines([line, b""] if line else [b""])

    def _lines(self, lines: list[bytes]) -> list[str]:
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data).decode(errors="replace"))
                    self._data, self._size = [], 0
                continue
            if line[:5] == b"data:":
                value = line[6:] if line[5:6] == b" " else line[5:]
            elif line[0] in b"{[":
                value = line
            elif line[:6] == b"error:":
                value = b'{"error":' + line[6:] + b"}"
            else:  # a comment, or a field that says nothing to us
                continue
            self._data.append(value)
            self._size += len(value)
            if self._size > self._most:
                raise _too_long(self._most)
        self.seen += len(events)
        return events


def _too_long(most: int) -> Failure:
    return Failure("too_long", f"the server sent an event of more than {most} bytes.")
