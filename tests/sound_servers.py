"""Small real servers of live sound on this machine, over HTTP and RTSP: a tone that sounds at known instants.

They run in threads, keep the pace of real time, and can stall, send rubbish, change their rate, die and come back.
"""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streams.clock import SECOND

BLOCK_S = 0.02
EVERY_S, TONE_S = 0.5, 0.1
"""A tone begins every half second, and lasts a fifth of it."""


def tones(start: int, count: int, rate: int, hertz: float = 1000.0) -> NDArray[np.int16]:
    """int16[count] from sample `start` on."""
    t = (start + np.arange(count)) / rate
    return (np.where(t % EVERY_S < TONE_S, 12000.0, 0.0) * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


class _Pipe:
    """What PyAV writes goes down a socket."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, data: bytes) -> int:
        self._client.sendall(data)
        return len(data)


class SoundServer:
    """HTTP. Use as a context manager.

    form, codec, rate, channels: of what it sends;  now: session time in ns, in which `written` is
    ahead: seconds of sound that are sent at once when a client comes;  speed: of its crystal against ours
    then: (after so many seconds, the rate at which the sound goes on)
    raw: sent instead of sound, so many `times`;  kind, path: of it
    written: instants at which each tone's first block was written, of the last client;  clients: so far
    """

    def __init__(
        self, now: Callable[[], int], form: str = "wav", codec: str = "pcm_s16le", rate: int = 16_000, *,
        channels: int = 1, ahead: float = 0.0, speed: float = 1.0, then: tuple[float, int] | None = None,
        raw: bytes = b"", times: int = 1_000_000, kind: str = "application/octet-stream", path: str = "/ear",
    ) -> None:  # fmt: skip
        self._now, self._form, self._codec, self._rate, self._channels = now, form, codec, rate, channels
        self._ahead, self._speed, self._then, self._raw = ahead, speed, then, raw
        self._times, self._kind, self._path = times, kind, path
        self._stop, self._flowing = threading.Event(), threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._port = 0
        self.written: list[int] = []
        self.clients = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._path}"

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Take clients, on the port of the last time if there was one."""
        self._stop.clear()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen()
        self._port = listener.getsockname()[1]
        self._sockets.append(listener)
        self._spawn(self._accept, listener)

    def kill(self) -> None:
        """As if it had lost its power: the port refuses, connections break."""
        self._stop.set()
        self._flowing.set()
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join(5)
        self._sockets, self._threads = [], []

    def stall(self, stalled: bool = True) -> None:
        """Connections stay open and nothing comes any more; or it goes on."""
        self._flowing.clear() if stalled else self._flowing.set()

    def _spawn(self, job: Callable[[socket.socket], None], of: socket.socket) -> None:
        thread = threading.Thread(target=job, args=(of,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients += 1
            self._sockets.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            self._answer(client)
        except (OSError, av.error.FFmpegError):
            pass  # the client has gone, or we have
        finally:
            client.close()

    def _answer(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {self._kind}\r\n\r\n".encode())
        if self._raw:
            for _ in itertools.islice(self._beats(1.0), self._times):
                client.sendall(self._raw)
            return
        self.written = []
        part = self._then
        self._stream(client, self._rate, part[0] if part else None, self._ahead)
        if part:
            self._stream(client, part[1], None, 0.0)

    def _stream(self, client: socket.socket, rate: int, seconds: float | None, ahead: float) -> None:
        pipe: Any = _Pipe(client)
        own = {"ogg": {"page_duration": "20000"}, "mp3": {"write_xing": "0"}}
        options = {"flush_packets": "1", **own.get(self._form, {})}
        with av.open(pipe, "w", format=self._form, options=options) as out:
            layout = "mono" if self._channels == 1 else "stereo"
            stream: Any = out.add_stream(self._codec, rate=rate, layout=layout)
            size, start = round(rate * BLOCK_S), 0
            for sent in self._beats(self._speed, ahead):
                samples = tones(start, size, rate)
                if start / rate % EVERY_S < BLOCK_S / 2:
                    self.written.append(self._now())
                frame = av.AudioFrame.from_ndarray(
                    np.repeat(samples, self._channels)[None, :], format="s16", layout=layout
                )
                frame.sample_rate, frame.pts = rate, start
                start += size
                for packet in stream.encode(frame):
                    out.mux(packet)
                if seconds is not None and sent >= seconds:
                    return

    def _beats(self, speed: float, ahead: float = 0.0) -> Iterator[float]:
        """Once a block, in its time; what is owed after a stall is sent at once, as TCP does."""
        began, sent = self._now(), 0.0
        while not self._stop.is_set():
            wait = (sent - ahead) / speed - (self._now() - began) / SECOND
            if wait > 0 and self._stop.wait(wait):
                return
            self._flowing.wait(30)
            yield sent
            sent += BLOCK_S


class RtspServer(SoundServer):
    """RTSP with RTP between its lines (TCP): 16-bit PCM, 16 kHz, beside a video that nobody should ask for.

    lose: numbers of packets that are left out;  asked: methods so far
    """

    def __init__(self, now: Callable[[], int], lose: range = range(0)) -> None:
        super().__init__(now)
        self._lose = lose
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"rtsp://me:secret@127.0.0.1:{self._port}/ear"

    def _answer(self, client: socket.socket) -> None:
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=ear\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=control:track0\r\n"
            "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/16000/1\r\na=control:track1\r\n"
        )
        told = {
            "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
            "DESCRIBE": ("Content-Type: application/sdp\r\n", sdp),
            "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
            "PLAY": ("Session: 1\r\n", ""),
        }
        lines = client.makefile("rb")
        while True:
            method = lines.readline().split(b" ")[0].decode()
            headers = dict(iter(lambda: lines.readline().strip().split(b": ", 1), [b""]))
            head, body = told.get(method, ("", ""))
            if method:
                self.asked.append(method)
            sequence = headers.get(b"CSeq", b"0").decode()
            client.sendall(
                f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY":
                break
        self.written, size = [], round(16_000 * BLOCK_S)
        for number, sent in enumerate(self._beats(self._speed)):
            if sent % EVERY_S < BLOCK_S / 2:
                self.written.append(self._now())
            rtp = b"\x80\x60" + number.to_bytes(2, "big") + (number * size).to_bytes(4, "big") + b"ear!"
            rtp += tones(number * size, size, 16_000).astype(">i2").tobytes()
            if number not in self._lose:
                client.sendall(b"$\x00" + len(rtp).to_bytes(2, "big") + rtp)
