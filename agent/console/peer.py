"""A WebRTC peer connection to a page, with one data channel that neither orders nor repeats (RFC 8831), by aiortc.

It carries sound in datagrams: what is lost holds up nothing that comes after it. DTLS encrypts it; the certificates'
fingerprints come over the WebSocket, so that nobody is connected who does not know the token.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agent.console.protocol import ProtocolError
from agent.console.settings import IceServer
from streams.errors import DependencyMissing

try:
    from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
    from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
except ModuleNotFoundError as error:
    if error.name != "aiortc":
        raise
    raise DependencyMissing("aiortc", "webrtc", "sound over WebRTC in the console") from error

LABEL = "sound"
CLOSE_S = 1.0
ANSWER_S = 8.0
_CANDIDATES = 32
_WRONG = (
    *(InvalidAccessError, InvalidStateError, OperationError),  # what it refuses
    *(
        ValueError,
        LookupError,
        AssertionError,
        AttributeError,
        TypeError,
        OSError,
    ),  # what its reader of SDP stumbles on
)


class Peer:
    """One peer connection. heard: called with each message of the page;  freed: called when the channel takes more

    Made and used on the event loop; must be closed.
    """

    def __init__(
        self, servers: Sequence[IceServer], heard: Callable[[bytes], None], freed: Callable[[], None] = lambda: None
    ) -> None:
        listed = [RTCIceServer(each.urls, each.username or None, each.credential or None) for each in servers]
        # An empty list, where None would mean a server of somebody's on the internet.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=listed))
        self._connection.on("datachannel", self._opened)
        self._heard, self._freed = heard, freed
        self._channel: RTCDataChannel | None = None

    async def answer(self, sdp: str) -> str:
        """The answer to an offer, with all of our candidates. Raises `ProtocolError` for one that is not accepted."""
        lines = sdp.splitlines()
        media = [line for line in lines if line.startswith("m=")]
        candidates = [line for line in lines if line.startswith("a=candidate")]
        if len(media) != 1 or not media[0].startswith("m=application ") or len(candidates) > _CANDIDATES:
            raise ProtocolError(
                f"an offer must be of one data channel and at most {_CANDIDATES} candidates: it has "
                f"{len(media)} media and {len(candidates)} candidates."
            )
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                await self._connection.setLocalDescription(await self._connection.createAnswer())
        except TimeoutError as error:
            raise ProtocolError(f"an offer could not be answered within {ANSWER_S:g} s.") from error
        except _WRONG as error:
            raise ProtocolError(f"an offer cannot be read: {error}.") from error
        return str(self._connection.localDescription.sdp)

    @property
    def waiting(self) -> int | None:
        """See `agent.console.voice_line.Channel`."""
        channel = self._channel
        return channel.bufferedAmount if channel is not None and channel.readyState == "open" else None

    def send(self, frame: bytes) -> None:
        """See `agent.console.voice_line.Channel`."""
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(frame)

    async def close(self) -> None:
        """End it; takes a second at most."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.remove_all_listeners()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            pass  # what it has of sockets is closed when it is forgotten

    def _opened(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or channel.label != LABEL or channel.ordered:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = 1100
        channel.on("message", self._take)
        channel.on("bufferedamountlow", self._freed)
        channel.on("close", self._freed)

    def _take(self, message: Any) -> None:
        if isinstance(message, bytes):
            self._heard(message)
