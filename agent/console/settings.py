"""What can be set of the console."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class IceServer(Struct, frozen=True, forbid_unknown_fields=True):
    """A STUN or TURN server. urls: such as "stun:192.168.1.1:3478";  username, credential: of TURN, else "\""""

    urls: Annotated[str, Meta(pattern="^(stun|stuns|turn|turns):", max_length=300)]
    username: Annotated[str, Meta(max_length=600)] = ""
    credential: Annotated[str, Meta(max_length=600)] = ""


class ConsoleConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The console of `visavis live --web`.

    name: what the page calls the agent
    echo: who keeps the agent's own voice out of the microphone: the browser, or the agent's canceller
    image_hz, image_width: pictures a second and pixels that a page is asked for;  viewers: pages at once, at most
    ahead_ms: how far speech is sent ahead of its playing;  history_s: of events, for who joins late
    upload_mb: the largest recording that may be uploaded, MB
    hosts: names by which this machine is reached, besides its addresses (of a proxy, for example)
    origins: pages of other servers that may connect, such as "https://desk.example:8443"
    transport: of sound: "websocket"; "webrtc" (data channels, which lose a block rather than wait for it, and the
        WebSocket where they fail); "auto": webrtc where other machines reach the console and aiortc is installed
    ice_servers: that pages and console ask for their addresses, or for a relay; none is needed in one network
    """

    name: Annotated[str, Meta(max_length=100)] = "visavis"
    echo: Literal["browser", "agent"] = "browser"
    image_hz: Annotated[float, Meta(ge=0.1, le=15)] = 5.0
    image_width: Annotated[int, Meta(ge=64, le=1920)] = 640
    viewers: Annotated[int, Meta(ge=1, le=200)] = 16
    ahead_ms: Annotated[int, Meta(ge=200, le=2000)] = 1000
    history_s: Annotated[float, Meta(ge=0, le=600)] = 60.0
    upload_mb: Annotated[int, Meta(ge=1, le=16_384)] = 2048
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    transport: Literal["auto", "websocket", "webrtc"] = "auto"
    ice_servers: Annotated[tuple[IceServer, ...], Meta(max_length=8)] = ()
