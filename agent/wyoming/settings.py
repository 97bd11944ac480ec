"""The bounds of the Wyoming server, so that no client can take more than its share."""

from typing import Annotated

from msgspec import Meta, Struct


class WyomingConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What clients may take of the server; whoever wants more gets an `error` event.

    connections: clients at the same time;  idle_s: a connection on which nothing comes for so long is closed
    write_s: a client that takes nothing for so long is dropped
    ears, voices: transcriptions and syntheses at the same time (an ear takes about 60 MB)
    conversations: spoken conversations (`run-pipeline`) at the same time
    audio_s: longest utterance that is transcribed;  text_chars: longest text that is answered or spoken
    dialogues: text conversations that are remembered;  dialogue_s: for how long after their last sentence
    answer_s: how long an answer, and the tools it calls, may take
    """

    connections: Annotated[int, Meta(ge=1, le=1000)] = 16
    idle_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    write_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    ears: Annotated[int, Meta(ge=1, le=64)] = 4
    voices: Annotated[int, Meta(ge=1, le=64)] = 4
    conversations: Annotated[int, Meta(ge=0, le=64)] = 2
    audio_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    text_chars: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    dialogues: Annotated[int, Meta(ge=1, le=1000)] = 32
    dialogue_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    answer_s: Annotated[float, Meta(gt=0, le=600)] = 20.0
