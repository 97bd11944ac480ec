"""A small real camera on the network: MJPEG over HTTP, whose pictures count; it can freeze, be killed and come back."""

import socket
import threading
from collections.abc import Callable

import numpy as np

from streams.pictures import Pixels, opencv

BOUNDARY = b"--picture\r\n"


def numbered(number: int) -> Pixels:
    """A grey 320 x 240 picture whose left edge says, in eight black or white bars, which it is."""
    picture = np.full((240, 320, 3), 128, np.uint8)
    for bit in range(8):
        picture[bit * 30 : bit * 30 + 30, :64] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture: Pixels) -> int:
    """What `numbered` drew."""
    step = picture.shape[0] // 8
    middle = picture.shape[1] // 10
    return sum((int(picture[bit * step + step // 2, middle, 0]) > 128) << bit for bit in range(8))


class MjpegCamera:
    """Serves `draw(0)`, `draw(1)`, ... at `hz` to every client, on a free port of this machine.

    Use as a context manager. drawn: pictures so far;  asked: how often somebody has connected
    """

    def __init__(self, hz: float = 30.0, draw: Callable[[int], Pixels] = numbered) -> None:
        self._hz, self._draw = hz, draw
        self._cv2 = opencv("the test camera")
        self._stop = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self.drawn = self.asked = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/camera"

    def start(self) -> None:
        """Take clients, on the port of the last time if there was one."""
        self._stop.clear()
        self._listener = listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen()
        self._port = listener.getsockname()[1]
        self._spawn(self._accept, listener)

    def kill(self) -> None:
        """As if it had lost its power: the port refuses, connections break."""
        self._stop.set()
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for client in self._clients:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            client.close()
        for thread in self._threads:
            thread.join(5)
        self._clients, self._threads, self._listener = [], [], None

    def freeze(self) -> None:
        """Connections stay open and nothing comes any more."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def __enter__(self) -> "MjpegCamera":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.thaw()
        self.kill()

    def _spawn(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.asked += 1
            self._clients.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            client.recv(4096)
            head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n"
            client.sendall(head)
            while not self._stop.wait(1 / self._hz):
                while not self._flowing.wait(0.05):
                    if self._stop.is_set():
                        return
                _, data = self._cv2.imencode(".jpg", self._draw(self.drawn))
                self.drawn += 1
                part = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                client.sendall(BOUNDARY + part + data.tobytes() + b"\r\n")
        except OSError:
            pass


class PlayList(MjpegCamera):
    """No camera, but a list (HLS) of what is to be read at other addresses."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        parts = "".join(f"#EXTINF:1,\n{address}\n" for address in addresses)
        self._text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{parts}#EXT-X-ENDLIST\n".encode()

    @property
    def address(self) -> str:
        return f"{super().address}/live.m3u8"

    def _serve(self, client: socket.socket) -> None:
        try:
            client.recv(4096)
            head = b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: %d\r\n\r\n"
            client.sendall(head % len(self._text) + self._text)
            client.close()
        except OSError:
            pass
