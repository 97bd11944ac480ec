"""From a configuration to a session: which parts there are and how they are wired. Composition only."""

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from agent import registry
from agent.conductor import Conductor
from agent.config import Config
from agent.errors import ConfigError
from agent.minds import MakeModel, mind_of
from agent.parts import kept, models_of, sentences, with_fusion
from agent.session import BodyPort, Desk, Session, straight
from embodied.body import Body
from embodied.mcp import McpSection, McpTools, require
from embodied.ports import Actuator, Connected
from embodied.speech import SpeechActuator
from embodied.toolbox import Tool, Toolbox, tool
from embodied.tools import default_tools
from policies.models.pictures import CAMERA, NewestPicture
from policies.ports import Policy
from policies.reflex import Reflex, stop_words
from policies.turns import TurnTaker
from streams import models
from streams.bus import Bus, Lane
from streams.clock import Clock, wall_now
from streams.devices.speaker import SimulatedSpeaker
from streams.encoders.echo import echo_canceller
from streams.encoders.speech import SpeechEncoder
from streams.pictures import anonymous
from streams.ports import Encoder, Publisher, Source, Speaker, Tap
from streams.recording import Header
from streams.topics import AUDIO, CLEAN, FEEDBACK, IMAGE
from streams.types import Offered, Say

_ADDRESS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"',\]}]+""")

MakeSpeaker: TypeAlias = Callable[[Publisher, Clock, int], Speaker]
"""Makes a speaker for a session, inside its loop: publisher, clock, rate in Hertz."""
MakeMoving: TypeAlias = Callable[[Publisher, Clock], Sequence[Actuator]]
"""Makes the actuators for what moves, inside the session's loop."""


class AgentBody:
    """The body of the configuration: voice and speaker, toolbox, and what moves. Made when the session starts.

    tools: functions a policy may `Call`, besides the default ones (`embodied.toolbox.tool` says what they look like)
    installed: also those of installed packages (entry points `visavis.tools`), where `tools` has none of their name,
        and those of the MCP servers of section `mcp`
    speaker: makes what the voice comes out of, at the voice's rate (default: the simulated one)
    model: makes what answers questions (default: as the policy's engine asks for)
    moving: makes what moves (default: what section `body` says)
    taps: what the body itself wants to see of the session;  sees: pictures will come in (`assemble` knows)
    Raises `ToolError` for what cannot be a tool.
    """

    def __init__(
        self,
        config: Config,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        *,
        installed: bool = True,
        speaker: MakeSpeaker | None = None,
        model: MakeModel | None = None,
        moving: MakeMoving | None = None,
    ) -> None:
        self.config = config
        self._body = moving
        self.sees = False
        self._mcp = config.mcp if installed else McpSection()
        self._mind = mind_of(config, model)
        self._seen = NewestPicture("newest picture, for skills")
        self.taps: Sequence[Tap] = () if self._mind is None else self._mind.taps
        if moving is not None or config.body.motion != "none":
            self.taps = (*self.taps, self._seen)
        self._speaker = speaker or self._simulated
        own = [each if isinstance(each, Tool) else tool(each) for each in tools]
        others = registry.installed("tools") if installed else {}
        made = [each if isinstance(each, Tool) else tool(each, name=name) for name, each in others.items()]
        self.tools = [*own, *(each for each in made if each.name not in {mine.name for mine in own})]
        self.voice = registry.find("voices", config.voice.engine, "voice.engine")(config)

    def begin(self) -> None:
        """Start the voice now where it can be, and see that models and servers of tools may be had. Then `close` it.

        Raises `VoiceError` for a voice that does not exist, `DependencyMissing`, and `PolicyError` for a model whose
        address or key cannot be used.
        """
        if self._mcp.servers:
            require()
        if self._mind is not None:
            self._mind.check()
        start = getattr(self.voice, "start", None)
        if start is not None:
            start()

    def close(self) -> None:
        """End the voice. Idempotent; a body that has run has done so."""
        self.voice.close()

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        """See `BodyPort`."""
        speaker = self._speaker(publisher, clock, self.voice.rate)
        mind = None if self._mind is None else self._mind.attach(publisher, clock, self.voice.rate)
        speech = SpeechActuator(self.voice, speaker, publisher, clock, sound=None if mind is None else mind.sound)
        toolbox = Toolbox([*default_tools(speech), *self.tools], clock, publisher)
        actuators: list[Any] = [speech, toolbox]
        for each in self._moving(publisher, clock):  # a robot that speaks does so in place of the voice
            actuators.insert(0 if Say in each.accepts else len(actuators), each)
            if self.sees and (look := getattr(each, "look", None)) is not None:
                look(self._seen)
        if mind is not None:
            actuators.append(mind.model)
        if self.sees and self._mind is not None and self._mind.looks:
            publisher.publish(FEEDBACK, clock.now(), Offered(CAMERA, ()))
        for each in actuators:
            if each is not toolbox and (offers := getattr(each, "offers", None)) is not None:
                publisher.publish(FEEDBACK, clock.now(), Offered(each.name, offers()))
        toolbox.begin()  # it tells what it offers, now and whenever that changes
        body = Body(actuators)
        async with speaker.device(), McpTools(self._mcp, toolbox, publisher, clock), asyncio.TaskGroup() as group:
            around = [group.create_task(_warm(actuators, clock), name="warming up")]
            serving = [each for each in actuators if isinstance(each, Connected)]
            around += [group.create_task(each.serve(), name=f"serving {each.name}") for each in serving]
            try:
                await body.run(lane, publisher, clock)
            finally:
                for task in around:
                    task.cancel()
                await body.aclose()

    def _moving(self, publisher: Publisher, clock: Clock) -> Sequence[Any]:
        """What the configuration says that moves."""
        if self._body is not None:
            return self._body(publisher, clock)
        if self.config.body.motion == "none":
            return ()
        made = registry.find("actuators", self.config.body.motion, "body.motion")(self.config, publisher, clock)
        return made if isinstance(made, Sequence) else [made]

    def _simulated(self, publisher: Publisher, clock: Clock, rate: int) -> Speaker:
        section = self.config.speaker
        return SimulatedSpeaker(
            publisher, clock, rate, block_ms=section.block_ms, latency_blocks=section.latency_blocks
        )  # fmt: skip


async def _warm(actuators: Sequence[Any], clock: Clock) -> None:
    """Let those that can make ready do so, that the first turn need not wait for it: connect, read a model."""
    if not clock.virtual:
        async with asyncio.TaskGroup() as group:
            for each in actuators:
                if (warm := getattr(each, "warm", None)) is not None:
                    group.create_task(warm(), name=f"warming up {each.name}")


def hearing(config: Config) -> list[Encoder]:
    """The encoders of the ear, in the direction of the data. Raises `VisavisError` where one cannot be made."""
    encoders: list[Encoder] = [registry.find("vads", config.vad.engine, "vad.engine")(config)]
    canceller = echo_canceller(config.echo) if config.echo.engine != "auto" else None
    if config.speech.engine != "none":
        words = config.reflex.words or stop_words(config.language)
        jsgf = sentences(config).grammar(stop_words=words)
        recogniser = registry.find("recognisers", config.speech.engine, "speech.engine")(config, jsgf)
        encoders.append(SpeechEncoder(recogniser, config.speech))
    if config.turn_end.engine != "none":
        encoders.append(registry.find("turn_ends", config.turn_end.engine, "turn_end.engine")(config))
    if canceller is None:
        return encoders
    for encoder in encoders:  # they hear what the canceller lets through
        encoder.reads = tuple(CLEAN if topic is AUDIO else topic for topic in encoder.reads)
    return [canceller, *encoders]


def seeing(config: Config) -> list[Encoder]:
    """The encoders of the eye. Raises `VisavisError` where one cannot be made."""
    if config.faces.engine in ("none", "auto"):  # that was not settled because there is nothing to be seen
        return []
    return [registry.find("faces", config.faces.engine, "faces.engine")(config)]


def conductor(config: Config, started: datetime | None = None, policy: Policy | None = None) -> Conductor:
    """Turn-taker, policy (default: that of the configuration) and reflex.

    started: wall time of session time 0 (default: now)
    """
    zero = started or wall_now()

    def wall(t: int) -> datetime:
        return zero + timedelta(microseconds=t // 1000)

    words = config.reflex.words or stop_words(config.language)
    if policy is None:
        policy = registry.find("policies", config.policy.engine, "policy.engine")(config, wall)
    reflex = Reflex(words, language=config.language, anywhere=config.reflex.anywhere)
    turns = TurnTaker(with_fusion(config.turns), language=config.language, stop_words=words, manner=config.manner)
    return Conductor(turns, policy, reflex)


def assemble(
    config: Config,
    sources: Sequence[Source],
    *,
    taps: Sequence[Tap] = (),
    started: datetime | None = None,
    senses: bool = True,
    body: BodyPort | None = None,
    desk: Callable[[Bus, Clock], Desk] = straight,
    opened: Callable[[], None] = lambda: None,
    policy: Policy | None = None,
) -> Session:
    """The session of `config` on `sources`.

    started: wall time of session time 0 (default: now);  senses: whether media are to be heard at all (a replay from
    percepts does not);  body, desk: a replay's own (default: the body of the configuration, straight on the bus)
    opened: as in `Session`;  policy: one of your own (default: that of the configuration)
    Raises `VisavisError` where a part cannot be made, and `ConfigError` for a microphone that hears the loudspeaker in
    a configuration that does not say what to do about it.
    """
    if config.echo.engine == "auto" and any(getattr(source, "echoes", False) for source in sources):
        raise ConfigError('echo.engine = "auto" means nothing yet: take `agent.parts.settled(config, echoes=True)`')
    started = started or wall_now()
    sound, pictures = (any(topic in source.writes for source in sources) for topic in (AUDIO, IMAGE))
    body = body or AgentBody(config)
    if isinstance(body, AgentBody):
        body.sees = pictures
    return Session(
        sources=sources,
        encoders=[*(hearing(config) if sound else ()), *(seeing(config) if pictures else ())] if senses else [],
        conductor=conductor(config, started, policy),
        body=body,
        taps=taps,
        started=started,
        desk=desk,
        opened=opened,
    )


def header(config: Config, started: datetime, assignments: Sequence[str] = (), **extra: Any) -> Header:
    """What a recording of such a session says about it; the texts of its sentences are in it, not only their names."""
    hashes = {name: models.fingerprint(name) for name in models_of(config)}
    extra["sentences"] = sentences(config).digest
    overrides = dict(_kept(assignment) for assignment in assignments)
    return Header.now(started, config=kept(config).text(), overrides=overrides, models=hashes, extra=extra)


def _kept(assignment: str) -> tuple[str, str]:
    """Key and value of "key=value" without what may be secret in it, as `parts.kept` has it."""
    key, _, value = assignment.partition("=")
    key = key.strip()
    if key in ("camera.source", "llm.url", "realtime_model.url", "robot.url"):
        return key, anonymous(value.strip().strip("\"'"))
    if key.startswith("mcp") and "args" in assignment:
        return key, "(not kept: it may hold a key)"
    return key, _ADDRESS.sub(lambda found: anonymous(found.group()), value)
