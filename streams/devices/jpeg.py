"""The frame of a JPEG: whether it is one, and how large, without decoding it."""

from streams.errors import SourceError

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: what decoders take
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a whole JPEG (ITU-T T.81, annex B). Raises `SourceError` if it is none."""
    if data[:2] != b"\xff\xd8":
        raise SourceError("a picture is no JPEG: it does not begin like one.")
    if b"\xff\xd9" not in data[-16:]:
        raise SourceError("a picture is cut off: it does not end like a JPEG.")
    place, end = 2, len(data)
    while place + 4 <= end and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _BARE:
            place += 2
        elif marker in _FRAMES and place + 9 <= end:
            height, width = int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
            if width and height:
                return width, height
            break
        elif marker == 0xDA:
            break  # the picture itself begins, and no frame was announced
        else:
            place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4]))
    raise SourceError("a picture is no JPEG that can be read: its frame is not where it should be.")
