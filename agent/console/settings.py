"""What can be set of the console."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ConsoleConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The console of `visavis live --web`.

    name: what the page calls the agent
    echo: who keeps the agent's own voice out of the microphone: the browser, or the agent's canceller
    image_hz, image_width: pictures a second and pixels that a page is asked for;  viewers: pages at once, at most
    ahead_ms: how far speech is sent ahead of its playing;  history_s: of events, for who joins late
    upload_mb: the largest recording that may be uploaded, MB
    hosts: names by which this machine is reached, besides its addresses (of a proxy, for example)
    origins: pages of other servers that may connect, such as "https://desk.example:8443"
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
