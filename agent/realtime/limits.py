"""How much a client, and all of them together, may ask for."""

from typing import Annotated

from msgspec import Meta, Struct


class RealtimeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The endpoint `/v1/realtime`.

    connections: how many may talk at the same time, each with ears, voice and turns of its own
    minutes: how long one may last;  message_kib: longest message of a client, as bytes of UTF-8
    messages_per_s: how many it may send, over some seconds;  backlog_s: seconds of its sound that may wait to be heard
    behind_kib: what may wait to be read by it;  stuck_s: how long it may read nothing: then it is dropped
    function_s: how long it may take to give the result of a function;  grace_s: what is being said when it leaves is
        cut after this
    """

    connections: Annotated[int, Meta(ge=1, le=1000)] = 4
    minutes: Annotated[float, Meta(gt=0, le=1440)] = 60.0
    message_kib: Annotated[int, Meta(ge=16, le=16_384)] = 4096
    messages_per_s: Annotated[int, Meta(ge=10, le=10_000)] = 300
    backlog_s: Annotated[float, Meta(gt=0, le=600)] = 120.0
    behind_kib: Annotated[int, Meta(ge=64, le=65_536)] = 2048
    stuck_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    function_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    grace_s: Annotated[float, Meta(ge=0, le=30)] = 1.0
