"""The built-in parts, each made from the configuration. `agent/registry.py` says which name means which."""

import warnings
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agent.config import Config
from agent.settings import ConfigError
from streams import models
from streams.clock import Clock
from streams.errors import DependencyMissing, ModelMissing
from streams.ports import Encoder, Publisher

if TYPE_CHECKING:
    from embodied.ports import Actuator, Voice
    from policies.ports import Policy
    from streams.encoders.recognisers import Recogniser


# Engine of a section -> its name in the model store. An engine that is not here needs no model file.
_MODELS = {
    ("vad", "silero"): "silero-vad",
    ("turn_end", "smart-turn"): "smart-turn",
    ("speech", "sherpa"): "sherpa-zipformer-en",
    ("speech", "moonshine"): "moonshine-small-en",
}


def models_of(config: Config) -> tuple[str, ...]:
    """The names in the model store of everything that the parts of `config` load (sets file by file)."""
    engines = (("vad", config.vad.engine), ("turn_end", config.turn_end.engine), ("speech", config.speech.engine))
    store = models.Store.here()
    return tuple(name for engine in engines if engine in _MODELS for name in store.names(_MODELS[engine]))


def silero(config: Config) -> Encoder:
    """Silero VAD on ONNX Runtime. Raises `ModelError` and says what to do without the model."""
    from streams.encoders import vad

    try:
        path = models.pull(vad.MODEL)
    except ModelMissing as error:
        raise ModelMissing(f"{error} Or do without: --set vad.engine=webrtc --set turn_end.engine=none") from error
    return vad.SileroVad(path, config.vad)  # on the CPU always: a trip to a GPU takes longer than a hop


def webrtc(config: Config) -> Encoder:
    """The WebRTC voice detector: needs no model, and is far worse in noise."""
    from streams.encoders import vad

    return vad.WebRtcVad(config.vad)


def settled(config: Config, say: Callable[[str], None]) -> Config:
    """`config` with "auto" turned into what it comes to on this machine, so that a recording knows what it heard with.

    say: told if the better detector cannot be had, and why.  Raises `ModelError` if its file is there and wrong.
    """
    if config.vad.engine != "auto":
        return config
    try:
        models.pull("silero-vad")
        engine = "silero"
    except ModelMissing as error:
        say(f"{error} Going on with the WebRTC voice detector, which is far worse in noise.")
        engine = "webrtc"
    return replace(config, vad=replace(config.vad, engine=engine))


def any_vad(config: Config) -> Encoder:
    """Silero where its model can be had, WebRTC (with a warning) where not."""
    return webrtc(config) if settled(config, warnings.warn).vad.engine == "webrtc" else silero(config)


def smart_turn(config: Config) -> Encoder:
    """Smart Turn v3.2 on ONNX Runtime. Raises `ModelError`."""
    from streams.encoders import turn_end

    try:
        path = models.pull(turn_end.MODEL)
    except ModelMissing as error:
        raise ModelMissing(f"{error} Or do without: --set turn_end.engine=none") from error
    return turn_end.SmartTurn(path, config.turn_end, providers=config.onnx.providers)


def grammar(config: Config, jsgf: str) -> "Recogniser":
    """pocketsphinx on the agent's own sentences (or on the file `speech.jsgf`)."""
    from policies.reflex import stop_words
    from streams.encoders.recognisers.grammar import GrammarModel

    path = config.speech.jsgf
    if path:
        try:
            jsgf = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"speech.jsgf = {path!r}: cannot read it as a JSGF grammar: {error}") from error
    urgent = config.reflex.words or stop_words(config.language)
    return GrammarModel(jsgf, config.speech.grammar, urgent).recogniser()


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
    return IntentsPolicy(sentences(config), replace(config.policy, stop_words=config.reflex.words or None), wall)


def sentences(config: Config) -> Any:
    """The sentences that policy, recogniser and header share: compiled once (45 ms) until a file of theirs changes."""
    paths = tuple(str(path) for path in config.policy.sentences)
    return _sentences(paths, config.language, config.policy.builtin, tuple(map(_version, paths)))


@lru_cache(maxsize=4)
def _sentences(paths: tuple[str, ...], language: str, builtin: bool, versions: tuple[Any, ...]) -> Any:
    from policies.sentences import Sentences

    return Sentences.load(paths, language, builtin=builtin)


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
