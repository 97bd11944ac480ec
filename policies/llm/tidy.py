"""The last touch to what is spoken: no signs that mean nothing aloud, single marks, whole pairs of brackets."""

import re
import unicodedata

_TAIL = re.compile(r"([,;:]|(?<=\s)[-–—]+|—)\s*$")
_ENDS = ".!?…,;:"
_PAIRS = ("()", "[]", "{}", "“”", "«»", "「」", "『』", "（）")
_CLEAN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s*[|•·]\s*"), ", "),
    (re.compile(r"(?<=\w)_(?=\w)"), " "),
    (re.compile(r"[*`#~\\{}^<>\[\]_$]+"), " "),
    (re.compile(r"\s+(?:-{1,3}|–|—|―)(?=\s|$)|\s*(?:—|―|(?<=\w)--+(?=\w))\s*"), ", "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"([(\[{“„¿¡])\s+(?=\w)"), r"\1"),
    (re.compile(r"\s+([,.;:!?…)\]}”](?!\w))"), r"\1"),
    (re.compile(r"[!?]*\?[!?]+"), "?"),
    (re.compile(r"!{2,}"), "!"),
    (re.compile(r"\.{4,}|…\.+|\.+…|…{2,}"), "…"),
    (re.compile(r"(?:,\s*)+([,.;:!?])"), r"\1"),
    (re.compile(r"([.;:!?])(?:\s*,)+"), r"\1"),
    (re.compile(r"\(\s*\)|\"\s*\"|“\s*”"), ""),
    (re.compile(r"^(?:[\s,;:!?)\]}”…–—]|\.(?!\d)|-(?!\d))+"), ""),
    (re.compile(r"[\s,–—-]+$"), ""),
)


def tidy(text: str) -> str:
    """`text` as a voice should have it, "" if there is no word in it.

    A comma, semicolon or colon at its end stays, and a dash becomes a comma: it tells the voice that more will come.
    """
    tail = _TAIL.search(text)
    for pattern, put in _CLEAN:
        text = pattern.sub(put, text)
    text = _balanced(text).strip()
    if not any(sign.isalnum() for sign in text):
        return ""
    if tail and text[-1] not in _ENDS:
        return text + (tail[1] if tail[1] in ",;:" else ",")
    return text


def _balanced(text: str) -> str:
    """`text` without brackets and quotation marks that have no other half in it."""
    for pair in _PAIRS:
        opener, closer = pair[0], pair[1]
        if opener not in text and closer not in text:
            continue
        opened: list[int] = []
        odd: set[int] = set()
        for place, sign in enumerate(text):
            if sign == opener:
                opened.append(place)
            elif sign == closer and not (closer == "”" and "„" in text[:place]):
                if opened:
                    opened.pop()
                else:
                    odd.add(place)
        odd |= set(opened)
        if odd and not (opener == "“" and "„" in text):  # „German“
            text = "".join(sign for place, sign in enumerate(text) if place not in odd)
    if text.count('"') % 2:
        text = text.replace('"', "")
    if text.count("„") != text.count("“") + text.count("”") and "„" in text:
        text = text.translate(dict.fromkeys(map(ord, "„“”")))
    return re.sub(r"^[\s,]+| +(?= )", "", unicodedata.normalize("NFC", text))
