"""What answers a policy's questions (`Ask`) in a session: a language model, a model that speaks, or nobody."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from agent import registry
from agent.config import Config
from embodied.ports import Actuator, Sound
from policies.models.pictures import NewestPicture, Pictures
from streams.clock import Clock, run
from streams.ports import Publisher, Tap
from streams.topics import AUDIO, CLEAN, Topic

MakeModel: TypeAlias = Callable[[Publisher, Clock, Pictures], Actuator]
"""Makes what answers an `Ask`, inside a session's loop."""


class Attached(NamedTuple):
    """A mind in a session: what answers there, and where the sound is that it makes itself (None: it makes none)."""

    model: Actuator
    sound: Sound | None = None


class Mind(Protocol):
    """What may answer. taps: what it wants to see of the session;  looks: it can be shown pictures"""

    taps: Sequence[Tap]
    looks: bool

    def check(self) -> None:
        """See that it may be had, before a session begins. Raises `PolicyError` or `DependencyMissing`."""

    def attach(self, publisher: Publisher, clock: Clock, rate: int) -> Attached:
        """Take part in a session whose voice has `rate` Hertz."""


class TextMind:
    """A language model: that of section `llm`, or what `make` makes."""

    looks = True

    def __init__(self, config: Config, make: MakeModel | None = None) -> None:
        self._config = config.llm
        self._given = make
        self._pictures = NewestPicture()
        self.taps: Sequence[Tap] = (self._pictures,)

    def check(self) -> None:
        """As in `Mind`: it is made once, and asked nothing."""
        if self._given is None:
            run(self._closed())

    async def _closed(self) -> None:
        await self._make(_Nobody(), Clock()).aclose()

    def _make(self, publisher: Publisher, clock: Clock) -> Actuator:
        make = self._given
        if make is None:
            factory = registry.find("models", self._config.engine, "llm.engine")
            model: Actuator = factory(self._config, publisher, clock, self._pictures)
            return model
        return make(publisher, clock, self._pictures)

    def attach(self, publisher: Publisher, clock: Clock, rate: int) -> Attached:
        """As in `Mind`."""
        return Attached(self._make(publisher, clock))


class SpeakingMind:
    """A speech-to-speech model: that of section `realtime_model`.

    Making it raises `PolicyError` or `DependencyMissing`.
    """

    looks = False

    def __init__(self, config: Config) -> None:
        from policies.models.realtime_link import RealtimeLink  # noqa: PLC0415 - few want it
        from streams.audio.resample import Resampler  # noqa: PLC0415

        self._resample = Resampler
        hears = AUDIO if config.echo.engine in ("none", "auto") else CLEAN
        self._link = RealtimeLink(config.realtime_model, Resampler, hears)
        self.taps: Sequence[Tap] = (self._link,)

    def check(self) -> None:
        """As in `Mind`: making it was the check."""

    def attach(self, publisher: Publisher, clock: Clock, rate: int) -> Attached:
        """As in `Mind`."""
        from embodied.voices.streamed import StreamedSounds  # noqa: PLC0415
        from policies.models.realtime import RealtimeModel  # noqa: PLC0415

        sounds = StreamedSounds(rate, self._resample, virtual=clock.virtual)
        return Attached(RealtimeModel(self._link, publisher, clock, sounds), sounds)


def mind_of(config: Config, make: MakeModel | None = None) -> Mind | None:
    """What answers in a session of `config`; None if nobody is asked. make: something else instead"""
    if make is not None or config.policy.engine == "llm":
        return TextMind(config, make)
    return SpeakingMind(config) if config.policy.engine == "realtime" else None


class _Nobody:
    """A publisher whom nobody hears."""

    def publish(self, topic: Topic[Any], t: int, data: Any) -> None:
        """Nothing."""
