"""The configuration of an agent: one TOML file onto frozen structs. Everything has a default that runs locally.

    [turns]
    max_wait_ms = 1200

    [voice.espeak]
    language = "en-gb-x-rp"

Each section is the struct of the part it configures; `visavis config` prints all keys with their values. Unknown keys
are refused with their path and the nearest name. Keys of the environment (secrets) have no place here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from agent.console.settings import ConsoleConfig
from agent.errors import ConfigError
from agent.realtime.limits import RealtimeConfig
from agent.settings import apply, build, prune, read_toml
from agent.wyoming.settings import WyomingConfig
from embodied.mcp import McpSection
from embodied.remote.settings import RobotConfig
from embodied.voices.espeak import Espeak
from policies.intents import IntentsConfig
from policies.llm.settings import LlmConfig
from policies.models.realtime_settings import RealtimeModelConfig
from policies.turns import TurnConfig
from streams.devices.camera import CameraConfig
from streams.devices.loudspeaker import LoudspeakerConfig
from streams.devices.microphone import MicrophoneConfig
from streams.encoders.echo import EchoConfig
from streams.encoders.faces import FacesConfig
from streams.encoders.recognisers.grammar import GrammarConfig
from streams.encoders.speech import SpeechConfig
from streams.encoders.turn_end import TurnEndConfig
from streams.encoders.vad import VadConfig
from streams.types import Manner


class AudioSection(Struct, frozen=True, forbid_unknown_fields=True):
    """How sound comes in.

    block_ms: length of the blocks that sources deliver;  tail_ms: silence heard after the end of a file
    """

    block_ms: Annotated[int, Meta(ge=1, le=5000)] = 20
    tail_ms: Annotated[int, Meta(ge=0, le=60_000)] = 2000


class VadSection(VadConfig, frozen=True, forbid_unknown_fields=True):
    """Voice activity. engine: "silero", "webrtc", or "auto" (webrtc if the model cannot be had, and says so)."""

    engine: str = "silero"


class EchoSection(EchoConfig, frozen=True, forbid_unknown_fields=True):
    """The agent's own voice in what it hears. engine: "auto" is "kalman" on this machine's own devices, else "none"."""

    engine: Literal["auto", "kalman", "livekit", "none"] = "auto"  # type: ignore[assignment] # one more


class FacesSection(FacesConfig, frozen=True, forbid_unknown_fields=True):
    """Faces in the picture. engine: "yunet", "none", or "auto" (none if the model cannot be had, and says so)."""

    engine: str = "auto"


class TurnEndSection(TurnEndConfig, frozen=True, forbid_unknown_fields=True):
    """The acoustic end-of-turn model. engine: "smart-turn" or "none"."""

    engine: str = "smart-turn"


class SpeechSection(SpeechConfig, frozen=True, forbid_unknown_fields=True):
    """Speech to text. engine: "grammar", "sherpa", "moonshine" or "none".

    jsgf: a JSGF file to recognise instead of the agent's own sentences;  grammar: when such a sentence is believed
    jsgf_text: the content of that file, which is then not read: a recording keeps it here
    """

    engine: str = "grammar"
    jsgf: str = ""
    jsgf_text: str = ""
    grammar: GrammarConfig = field(default_factory=GrammarConfig)


class PolicySection(IntentsConfig, frozen=True, forbid_unknown_fields=True):
    """What answers. engine: "intents", or "llm": the language model of section `llm`, with the intents to fall back
    on, or "realtime": the speech-to-speech model of section `realtime_model`, with the same.

    sentences: TOML files of sentences beside (or over) the built-in ones;  builtin: use the built-in ones
    texts: [file, content] of all of these, which are then not read: a recording keeps them here
    """

    engine: str = "intents"
    sentences: tuple[str, ...] = ()
    builtin: bool = True
    texts: tuple[tuple[str, str], ...] = ()


class ReflexSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The stop reflex. words: stop words; empty for those of the language. anywhere: also inside a sentence."""

    words: tuple[str, ...] = ()
    anywhere: bool = True


class VoiceSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's voice. engine: "espeak" or "tones" (a beep per word: needs nothing installed)."""

    engine: str = "espeak"
    espeak: Espeak = field(default_factory=Espeak)


class SpeakerSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated speaker of `run` and `replay`. latency_blocks: blocks between taking and sounding."""

    block_ms: Annotated[int, Meta(ge=5, le=200)] = 20
    latency_blocks: Annotated[int, Meta(ge=0, le=50)] = 0


class BodySection(Struct, frozen=True, forbid_unknown_fields=True):
    """What moves. motion: "simulated" (a small base that exists only in time), "mqtt" (section `robot`) or "none"."""

    motion: str = "simulated"


class OnnxSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Where models run. providers: in order of preference."""

    providers: tuple[Literal["tensorrt", "cuda", "cpu"], ...] = ("tensorrt", "cuda", "cpu")


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. language: of ears, sentences and backchannels."""

    language: str = "en"
    audio: AudioSection = field(default_factory=AudioSection)
    microphone: MicrophoneConfig = field(default_factory=MicrophoneConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    echo: EchoSection = field(default_factory=EchoSection)
    vad: VadSection = field(default_factory=VadSection)
    faces: FacesSection = field(default_factory=FacesSection)
    turn_end: TurnEndSection = field(default_factory=TurnEndSection)
    speech: SpeechSection = field(default_factory=SpeechSection)
    turns: TurnConfig = field(default_factory=TurnConfig)
    policy: PolicySection = field(default_factory=PolicySection)
    llm: LlmConfig = field(default_factory=LlmConfig)
    manner: Manner = field(default_factory=Manner)
    realtime_model: RealtimeModelConfig = field(default_factory=RealtimeModelConfig)
    mcp: McpSection = field(default_factory=McpSection)
    reflex: ReflexSection = field(default_factory=ReflexSection)
    voice: VoiceSection = field(default_factory=VoiceSection)
    speaker: SpeakerSection = field(default_factory=SpeakerSection)
    loudspeaker: LoudspeakerConfig = field(default_factory=LoudspeakerConfig)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    realtime: RealtimeConfig = field(default_factory=RealtimeConfig)
    wyoming: WyomingConfig = field(default_factory=WyomingConfig)
    body: BodySection = field(default_factory=BodySection)
    robot: RobotConfig = field(default_factory=RobotConfig)
    onnx: OnnxSection = field(default_factory=OnnxSection)

    def text(self) -> str:
        """As JSON, all keys, for the header of a recording."""
        return msgspec.json.encode(self).decode()


# Which sections change what is perceived: a what-if on one of these cannot keep the recorded instants of percepts.
OF_THE_SENSES = frozenset(
    {"language", "audio", "microphone", "camera", "echo", "vad", "faces", "turn_end", "speech", "onnx"}
)
# So do these keys, because the recogniser listens for the sentences and believes stop words sooner.
KEYS_OF_THE_SENSES = frozenset({"policy.sentences", "policy.builtin", "reflex.words"})
# And which change what the body does: a what-if on one of these cannot believe the recorded feedback.
OF_THE_BODY = frozenset({"voice", "speaker", "loudspeaker", "body", "robot"})


# Section and key of a text that a recording keeps, and the keys that ask for another.
_KEPT = (
    ("policy", "texts", {"policy.sentences", "policy.builtin", "language"}),
    ("speech", "jsgf_text", {"speech.jsgf"}),
    ("turns", "fusion_text", {"turns.fusion"}),
)


def load(path: Path | None = None, assignments: list[str] | None = None) -> Config:
    """The configuration of `path` (None: the defaults) with assignments such as "turns.max_wait_ms=900" laid over.

    Relative paths in a file are relative to that file. Raises `ConfigError`.
    """
    tables: dict[str, Any] = read_toml(path) if path else {}
    if path:
        _resolve(tables, path.parent)
    return _config(tables, assignments or [], str(path) if path else "configuration")


def reload(text: str, assignments: list[str] | None = None, say: Callable[[str], None] = lambda line: None) -> Config:
    """The configuration in the header of a recording, with assignments laid over. Raises `ConfigError`.

    say: told of keys that another version wrote and this one does not know; they are passed over.
    It holds the texts of the sentences as they were; an assignment that says which sentences are used takes today's.
    """
    try:
        tables = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.DecodeError as error:
        raise ConfigError(f"the recording's configuration cannot be read: {error}") from error
    tables, unknown = prune(tables, Config)
    if unknown:
        say(f"recorded by another version; settings it had and this one has not: {', '.join(unknown)}")
    keys = {assignment.partition("=")[0].strip() for assignment in assignments or ()}
    for section, kept, others in _KEPT:
        if keys & others and isinstance(tables.get(section), dict):
            tables[section].pop(kept, None)
    return _config(tables, assignments or [], "the recording's configuration")


def _config(tables: dict[str, Any], assignments: list[str], where: str) -> Config:
    if assignments:
        build(tables, Config, where)  # so that an error in the file is not blamed on --set
        where = "--set"
    return build(apply(tables, assignments), Config, where)


def _resolve(tables: dict[str, Any], folder: Path) -> None:
    policy, speech = tables.get("policy"), tables.get("speech")
    if isinstance(policy, dict) and isinstance(policy.get("sentences"), list):
        policy["sentences"] = [str(folder / name) if isinstance(name, str) else name for name in policy["sentences"]]
    if isinstance(speech, dict) and isinstance(speech.get("jsgf"), str) and speech["jsgf"]:
        speech["jsgf"] = str(folder / speech["jsgf"])
    turns = tables.get("turns")
    if isinstance(turns, dict) and isinstance(turns.get("fusion"), str) and turns["fusion"]:
        turns["fusion"] = str(folder / turns["fusion"])
