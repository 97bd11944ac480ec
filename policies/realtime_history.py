"""The conversation as it was heard: what a new connection to a speech-to-speech model is told of the old one."""

from collections import OrderedDict
from typing import Any, Literal

from streams.packet import Packet
from streams.types import Hush, Played, TurnCommitted

UNCLEAR = "(something that could not be made out)"
CUT = " — (the person cut in here)"


class _Line:
    """role: who;  words: said and, of the agent, heard;  cut: it was ended by the person"""

    def __init__(self, role: Literal["user", "assistant"], words: str = "") -> None:
        self.role, self.words, self.cut = role, [words] if words else [], False


class History:
    """Built from packets only. keep: newest pieces; each is at most `LONGEST` letters"""

    LONGEST = 2000

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lines: OrderedDict[tuple[str, int], _Line] = OrderedDict()

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of what was said and heard."""
        match packet.data:
            case TurnCommitted(turn=turn, text=text, reason=reason) if reason != "unasked":
                self._put("user", turn, _Line("user", text or UNCLEAR))
            case Played(turn=turn, text=text):
                line = self._lines.get(("assistant", turn)) or self._put("assistant", turn, _Line("assistant"))
                line.words.append(text)
            case Hush(turn=turn):
                for (role, number), line in self._lines.items():
                    if role == "assistant" and number == turn:
                        line.cut = True

    def before(self, turn: int | None) -> list[dict[str, str]]:
        """What was said, without what the person said in `turn` (None: with all)."""
        told = [line for (role, number), line in self._lines.items() if role == "assistant" or number != turn]
        return [
            {"role": line.role, "text": " ".join(line.words)[-self.LONGEST :] + (CUT if line.cut else "")}
            for line in told[-self._keep :]
            if self._keep
        ]

    def _put(self, role: str, turn: int, line: _Line) -> _Line:
        self._lines[role, turn] = line
        while len(self._lines) > max(1, self._keep) + 2:
            self._lines.popitem(last=False)
        return line
