"""The built-in parts, each made from the configuration. `agent/registry.py` says which name means which."""

import warnings
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agent.config import Config
from agent.errors import ConfigError
from embodied.mcp import McpServer
from policies.llm.settings import LlmConfig
from policies.models.realtime_settings import RealtimeModelConfig
from policies.turns import TurnConfig
from streams import models
from streams.clock import Clock
from streams.errors import DependencyMissing, ModelMissing
from streams.pictures import anonymous
from streams.ports import Encoder, Publisher

if TYPE_CHECKING:
    from embodied.ports import Actuator, Voice
    from policies.models.pictures import Pictures
    from policies.ports import Policy
    from streams.encoders.recognisers import Recogniser


OF_A_ROBOT = "robot: "  # how the name of a text begins that was made of what a robot can do, and lies in no file
LANGUAGES = ("en",)  # of the built-in sentences; a language model does without them in others
# Engine of a section -> its name in the model store. An engine that is not here needs no model file.
_MODELS = {
    ("vad", "silero"): "silero-vad",
    ("faces", "yunet"): "yunet",
    ("turn_end", "smart-turn"): "smart-turn",
    ("speech", "sherpa"): "sherpa-zipformer-en",
    ("speech", "moonshine"): "moonshine-small-en",
}


def models_of(config: Config) -> tuple[str, ...]:
    """The names in the model store of everything that the parts of `config` load (sets file by file)."""
    sections = ("vad", "faces", "turn_end", "speech")
    engines = [(section, getattr(config, section).engine) for section in sections]
    store = models.Store.here()
    return tuple(name for engine in engines if engine in _MODELS for name in store.names(_MODELS[engine]))


def silero(config: Config) -> Encoder:
    """Silero VAD on ONNX Runtime. Raises `ModelError` and says what to do without the model."""
    from streams.encoders import vad

    path = models.pull(vad.MODEL)
    return vad.SileroVad(path, config.vad)  # on the CPU always: a trip to a GPU takes longer than a hop


def webrtc(config: Config) -> Encoder:
    """The WebRTC voice detector: needs no model, and is far worse in noise."""
    from streams.encoders import vad

    return vad.WebRtcVad(config.vad)


def yunet(config: Config) -> Encoder:
    """YuNet on ONNX Runtime. Raises `ModelError`, or `DependencyMissing` without OpenCV."""
    from streams.encoders import faces

    return faces.FaceDetector(models.pull(faces.MODEL), config.faces, fov_deg=config.camera.fov_deg)


def settled(
    config: Config, say: Callable[[str], None] = lambda line: None, *, sees: bool = False, echoes: bool = False
) -> Config:
    """`config` with "auto" turned into what it comes to here, so that a recording knows what it was perceived with.

    sees: there are pictures to look at;  echoes: the microphone hears the loudspeaker
    say: told if the better part cannot be had, and why
    Raises `ModelError` if the file of a model is there and wrong.
    """
    if config.vad.engine == "auto":
        worse = "the WebRTC voice detector, which is far worse in noise"
        engine = "silero" if _to_be_had("silero-vad", worse, say) else "webrtc"
        config = replace(config, vad=replace(config.vad, engine=engine))
    if config.echo.engine == "auto":
        config = replace(config, echo=replace(config.echo, engine="kalman" if echoes else "none"))
    if config.faces.engine == "auto":
        engine = "yunet" if sees and _to_be_had("yunet", "pictures in which nobody looks for faces", say) else "none"
        config = replace(config, faces=replace(config.faces, engine=engine))
    return config


def _to_be_had(model: str, else_: str, say: Callable[[str], None]) -> bool:
    try:
        models.pull(model)
    except ModelMissing as error:
        say(str(error))
        say(f"Going on with {else_}.")
        return False
    return True


def any_vad(config: Config) -> Encoder:
    """Silero where its model can be had, WebRTC (with a warning) where not."""
    return webrtc(config) if settled(config, warnings.warn).vad.engine == "webrtc" else silero(config)


def smart_turn(config: Config) -> Encoder:
    """Smart Turn v3.2 on ONNX Runtime. Raises `ModelError`."""
    from streams.encoders import turn_end

    path = models.pull(turn_end.MODEL)
    return turn_end.SmartTurn(path, config.turn_end, providers=config.onnx.providers)


def grammar(config: Config, jsgf: str) -> "Recogniser":
    """pocketsphinx on the agent's own sentences (or on the file `speech.jsgf`)."""
    from policies.reflex import stop_words

    urgent = config.reflex.words or stop_words(config.language)
    model = _grammar_model(jsgf_text(config) or jsgf, config.speech.grammar, tuple(urgent))
    return model.recogniser()  # type: ignore[no-any-return] # `GrammarModel` is imported when it is needed


@lru_cache(maxsize=4)
def _grammar_model(jsgf: str, settings: Any, urgent: tuple[str, ...]) -> Any:
    """Compiled once for all sessions (0.3 s)."""
    from streams.encoders.recognisers.grammar import GrammarModel

    return GrammarModel(jsgf, settings, urgent)


def jsgf_text(config: Config) -> str:
    """The grammar of `speech.jsgf`, as it is kept or as it is in the file; "" for none. Raises `ConfigError`."""
    path = config.speech.jsgf
    if not path or config.speech.jsgf_text:
        return config.speech.jsgf_text
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"speech.jsgf = {path!r}: cannot read it as a JSGF grammar: {error}") from error


def sherpa(config: Config, jsgf: str) -> "Recogniser":
    """Open dictation by sherpa-onnx; its model is pulled first (docs/speech.md)."""
    from streams.encoders.recognisers.sherpa import SherpaModel

    return SherpaModel(_folder("sherpa-zipformer-en")).recogniser()


def moonshine(config: Config, jsgf: str) -> "Recogniser":
    """Open dictation by Moonshine; its model is pulled first (docs/speech.md)."""
    from streams.encoders.recognisers.moonshine import MoonshineModel

    return MoonshineModel(_folder("moonshine-small-en")).recogniser()


def _folder(name: str) -> Path:
    """Where the files of a model of several files are. Raises `ModelMissing` with the command that fetches them."""
    paths = [models.find(part) for part in models.Store.here().names(name)]
    return paths[0].parent


def intents(config: Config, wall: Callable[[int], datetime]) -> "Policy":
    """The embedded policy: declarative sentences with slots."""
    from policies.intents import IntentsPolicy

    # One list of stop words: what the reflex answers, the policy must not.
    return IntentsPolicy(
        sentences(config), replace(config.policy, stop_words=config.reflex.words or None), wall, config.manner
    )


def llm(config: Config, wall: Callable[[int], datetime]) -> "Policy":
    """The policy of a language model, with the intents to fall back on."""
    from policies.intents import IntentsPolicy
    from policies.llm.consent import Consent
    from policies.llm.policy import LlmPolicy

    intents_ = intents(config, wall)
    assert isinstance(intents_, IntentsPolicy)
    return LlmPolicy(
        config.llm, intents_, Consent(intents_), manner=config.manner, language=config.language, wall=wall,
        endpointing=with_fusion(config.turns),
    )  # fmt: skip


def realtime(config: Config, wall: Callable[[int], datetime]) -> "Policy":
    """The policy of a speech-to-speech model, with the intents to fall back on."""
    from policies.intents import IntentsPolicy
    from policies.llm.consent import Consent
    from policies.realtime import RealtimePolicy

    intents_ = intents(config, wall)
    assert isinstance(intents_, IntentsPolicy)
    consent = Consent(intents_)
    return RealtimePolicy(config.realtime_model, intents_, consent=consent, manner=config.manner)


def needs_real_time(config: Config) -> bool:
    """Whether something in it waits for the world outside, which does not wait for a virtual clock."""
    return has_model(config) or bool(config.mcp.servers) or config.body.motion == "mqtt"


def unused(config: Config) -> list[str]:
    """A line for each section that is set and does nothing."""
    sections = {"llm": (config.llm, LlmConfig()), "realtime": (config.realtime_model, RealtimeModelConfig())}
    return [
        f"section {'llm' if engine == 'llm' else 'realtime_model'} is set, but policy.engine = "
        f'"{config.policy.engine}": that model is not asked (policy.engine = "{engine}" asks it)'
        for engine, (section, usual) in sections.items()
        if section != usual and config.policy.engine not in ("llm", "realtime")
    ]


def has_model(config: Config) -> bool:
    """Whether a model is asked."""
    return config.policy.engine in ("llm", "realtime")


def chat_model(config: LlmConfig, publisher: Publisher, clock: Clock, pictures: "Pictures") -> "Actuator":
    """A server that speaks OpenAI's chat completions."""
    from policies.models.chat import ChatModel

    return ChatModel(config, publisher, clock, pictures)


def local_model(config: LlmConfig, publisher: Publisher, clock: Clock, pictures: "Pictures") -> "Actuator":
    """A model in this process."""
    from policies.models.local import LocalModel

    return LocalModel(config, publisher, clock, pictures)


def sentences(config: Config) -> Any:
    """The sentences that policy, recogniser and header share: compiled once (45 ms) until a file of theirs changes."""
    paths = tuple(str(path) for path in config.policy.sentences)
    versions = () if config.policy.texts else tuple(map(_version, paths))
    builtin = config.policy.builtin and (config.policy.engine == "intents" or config.language in LANGUAGES)
    return _sentences(paths, config.language, builtin, config.policy.texts, versions)


@lru_cache(maxsize=4)
def _sentences(
    paths: tuple[str, ...], language: str, builtin: bool, texts: tuple[tuple[str, str], ...], versions: tuple[Any, ...]
) -> Any:
    from policies.sentences import Sentences

    return Sentences.of(texts, language) if texts else Sentences.load(paths, language, builtin=builtin)


def with_fusion(turns: TurnConfig) -> TurnConfig:
    """`turns` with the text of its learnt fusion in it. Raises `FusionError`."""
    from policies import turn_model

    if not turns.fusion or turns.fusion_text:
        return turns
    return replace(turns, fusion_text=turn_model.read(Path(turns.fusion)))


def kept(config: Config) -> Config:
    """`config` with the texts of its files in it: what a recording needs to be replayed without them.

    Passwords in the addresses of the camera and the model's server are left out.
    """
    text = jsgf_text(config) if config.speech.engine == "grammar" else config.speech.jsgf_text
    camera = anonymous(config.camera.source)
    return replace(
        config,
        camera=replace(config.camera, source=camera),
        llm=replace(config.llm, url=anonymous(config.llm.url)),
        realtime_model=replace(config.realtime_model, url=anonymous(config.realtime_model.url)),
        mcp=replace(config.mcp, servers={name: _anonymous(server) for name, server in config.mcp.servers.items()}),
        policy=replace(config.policy, texts=sentences(config).texts),
        speech=replace(config.speech, jsgf_text=text),
        turns=with_fusion(config.turns),
        robot=replace(config.robot, url=anonymous(config.robot.url)),
    )


def _anonymous(server: McpServer) -> McpServer:
    """Without the password in its address, and without arguments, which may be one."""
    return replace(server, url=anonymous(server.url) if server.url else "", args=())


def changed(config: Config) -> list[str]:
    """A line for each file that is not any more what `config` has kept of it; the kept text is used all the same."""
    builtin = config.policy.builtin and bool(config.policy.texts)
    files = [
        (each, f"--set policy.sentences={[str(path) for path in config.policy.sentences]}")
        for each in config.policy.texts
    ]
    lines = []
    if builtin:
        (_, text), _ = files.pop(0)
        now = sentences(replace(config, policy=replace(config.policy, sentences=(), texts=()))).texts[0][1]
        if now != text:
            lines.append(
                "the built-in sentences are others now; used as recorded (--set policy.builtin=true: as they are)"
            )
    if config.speech.jsgf_text:
        files.append(((config.speech.jsgf, config.speech.jsgf_text), f"--set speech.jsgf={config.speech.jsgf}"))
    for (path, text), option in files:
        if path.startswith(OF_A_ROBOT):
            continue
        try:
            now = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            lines.append(f"{path} cannot be read; its content is used as recorded")
        else:
            if now != text:
                lines.append(f"{path} has changed; its content is used as recorded ({option}: as it is)")
    return lines


def _version(path: str) -> tuple[int, int] | None:
    """What changes when the file does; None where there is none, which `Sentences.load` reports."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def espeak(config: Config) -> "Voice":
    """espeak-ng in a process of its own. Raises `DependencyMissing` and says how to do without."""
    from embodied.voices.espeak import EspeakVoice

    try:
        return EspeakVoice(config.voice.espeak)
    except DependencyMissing as error:
        without = "--set voice.engine=tones"
        raise DependencyMissing(error.package, error.extra, "the voice espeak-ng", without) from error


def tones(config: Config) -> "Voice":
    """A beep per word."""
    from embodied.voices.scripted import ToneVoice

    return ToneVoice()


def simulated_base(config: Config, publisher: Publisher, clock: Clock) -> "Actuator":
    """A base that moves only in time."""
    from embodied.motion import SimulatedBase

    return SimulatedBase(clock)
