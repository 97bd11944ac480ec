"""The process in which espeak-ng lives. Speaks to it through ctypes, and to us over a pipe. Standard library only.

Started as `python -I -S espeak_helper.py LIBRARY DATA LANGUAGE RATE PITCH VOLUME`. espeak-ng is GPL-3, has one global
engine per process and carries state from one utterance to the next; so it gets a process of its own, and every
utterance is made in a fork of the untouched engine: the same text gives the same samples, always.

Frames, both ways: length of the body (uint32, little endian), kind (1 byte), body.

    to us        R  ready: JSON {"rate": Hertz}              once
                 W  words: JSON [[kind, position, sample, phoneme], ...], kind 1 = word begins, 7 = phoneme begins;
                    position = index of the character in the text, sample = index from the start of the utterance
                 A  audio: int16[samples], little endian
                 D  the utterance is done, or was cancelled  once per S
                 X  cannot start: UTF-8 reason               then the process ends
    to espeak    S  speak: four numbers (uint16, little endian) for this utterance alone: rate, pitch, range of the
                    pitch (0: the voice's own) and volume; then UTF-8 text. One at a time: the next one only after D
                 C  cancel the utterance in progress (ignored when there is none)

It ends when its standard input ends. If a fork dies, it ends too: a torn frame must not be followed by a whole one.
"""

import ctypes
import json
import os
import select
import signal
import struct
import sys

HEAD = struct.Struct("<Ic")
SYNCHRONOUS, BUFFER_MS = 2, 40
PHONEME_EVENTS, DONT_EXIT = 0x0001, 0x8000
UTF8 = 1
WORD, PHONEME = 1, 7
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4
HOW = struct.Struct("<4H")


class EventId(ctypes.Union):
    """`espeak_EVENT.id` of speak_lib.h."""

    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    ]


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event))


def send(pipe: int, kind: bytes, body: bytes) -> None:
    """Write one frame, whole."""
    rest = memoryview(HEAD.pack(len(body), kind) + body)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def receive(pipe: int, size: int) -> bytes:
    """Read exactly `size` bytes; fewer when the pipe has ended."""
    parts = b""
    while len(parts) < size and (part := os.read(pipe, size - len(parts))):
        parts += part
    return parts


def start(library: str, data: str, language: str, rate: int, pitch: int, volume: int) -> tuple[ctypes.CDLL, int]:
    """The engine, ready to speak, and its sample rate. Raises `RuntimeError` with the reason."""
    engine = ctypes.CDLL(library)
    # espeak cuts paths longer than 160 bytes short, so it is given a relative one.
    os.chdir(data)
    hertz = engine.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, b".", PHONEME_EVENTS | DONT_EXIT)
    if hertz <= 0:
        raise RuntimeError(f"espeak-ng finds no voice data in {data}")
    if engine.espeak_SetVoiceByName(language.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice named {language!r}")
    for parameter, value in ((RATE, rate), (PITCH, pitch), (VOLUME, volume)):
        engine.espeak_SetParameter(parameter, value, 0)
    return engine, hertz


def utter(engine: ctypes.CDLL, body: bytes, commands: int, out: int) -> None:
    """Speak what `S` came with; stop when anything comes in on `commands`: it can only be a cancel, or its end.

    Runs in a fork: what it sets in the engine ends with it.
    """
    rate, pitch, wide, volume = HOW.unpack_from(body)
    text = body[HOW.size :]
    for parameter, value in ((RATE, rate), (PITCH, pitch), (VOLUME, volume)):
        engine.espeak_SetParameter(parameter, value, 0)
    if wide:
        engine.espeak_SetParameter(RANGE, wide, 0)

    def take(wave: int | None, count: int, events: "ctypes._Pointer[Event]") -> int:
        marks = []
        place = 0
        while (event := events[place]).type != 0:
            if event.type in (WORD, PHONEME):
                name = event.id.string.decode("ascii", "replace") if event.type == PHONEME else ""
                marks.append([event.type, event.text_position - 1, event.sample, name])
            place += 1
        try:
            if marks:
                send(out, b"W", json.dumps(marks).encode())
            if wave and count > 0:
                send(out, b"A", ctypes.string_at(wave, 2 * count))
        except OSError:
            return 1  # nobody listens any more
        return 1 if select.select([commands], [], [], 0)[0] else 0

    callback = Callback(take)
    engine.espeak_SetSynthCallback(callback)
    engine.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)


def serve(engine: ctypes.CDLL, commands: int, out: int) -> int:
    """Answer commands until they end. Returns the exit status of the process."""
    while len(head := receive(commands, HEAD.size)) == HEAD.size:
        size, kind = HEAD.unpack(head)
        body = receive(commands, size)
        if kind != b"S":
            continue
        child = os.fork()
        if child == 0:
            status = 1
            try:
                utter(engine, body, commands, out)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status != 0:
            return 1
        try:
            send(out, b"D", b"")
        except OSError:
            return 0
    return 0


def main() -> int:
    """Take the pipe for ourselves, start the engine, serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the engine prints must not get between the frames
    library, data, language, *numbers = sys.argv[1:]
    rate, pitch, volume = (int(number) for number in numbers)
    try:
        engine, hertz = start(library, data, language, rate, pitch, volume)
    except (RuntimeError, OSError) as error:
        send(out, b"X", str(error).encode())
        return 2
    send(out, b"R", json.dumps({"rate": hertz}).encode())
    return serve(engine, 0, out)


if __name__ == "__main__":
    sys.exit(main())
