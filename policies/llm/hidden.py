"""Leaves out what a model thinks aloud: `<think>...</think>` and its like, whole, unclosed, or split anywhere."""

from policies.llm.markup import Lost, Sink

_NAMES = ("think", "thinking", "thought", "reasoning", "reflection", "analysis", "scratchpad", "tool_call")
_PAIRS = {f"<{name}>": f"</{name}>" for name in _NAMES} | {
    "[think]": "[/think]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "◁think▷": "◁/think▷",
}
_STARTS = frozenset(opener[:size] for opener in _PAIRS for size in range(1, len(opener) + 1))
_FIRST = frozenset(opener[0] for opener in _PAIRS)


class Hidden:
    """Passes on every character outside of such a block. Case makes no difference. Holds at most one tag back."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._held = ""  # may be the beginning of an opening tag
        self._closer = ""  # of the block that is open
        self._tail = ""  # its last characters

    def feed(self, sign: str) -> None:
        """The next character."""
        if self._closer:
            self._tail = (self._tail + sign)[-len(self._closer) :]
            if self._tail.lower() == self._closer:
                self._closer = self._tail = ""
            return
        if not self._held and sign not in _FIRST:
            self._out(sign)
            return
        self._held += sign
        held = self._held.lower()
        if held in _PAIRS:
            self._closer, self._held = _PAIRS[held], ""
            self._out(Lost("thought"))
        elif held not in _STARTS:
            held, self._held = self._held, ""
            last = sign if len(held) > 1 and sign in _FIRST else ""
            for each in held[: len(held) - len(last)]:
                self._out(each)
            if last:  # it may begin one itself
                self._held = last

    def finish(self) -> None:
        """No more comes."""
        held, self._held = self._held, ""
        for each in held:
            self._out(each)
