"""What the server says of itself when a client asks: `describe` → `info`."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from wyoming.info import (
    AsrModel,
    AsrProgram,
    Attribution,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
)

from agent.config import Config
from agent.wyoming.speaking import Listed

OURS = Attribution("visavis", "")
# Engine -> who made what it is built on, and the name of the model.
_EARS = {
    "grammar": (Attribution("CMU Sphinx", "https://github.com/cmusphinx/pocketsphinx"), "pocketsphinx grammar"),
    "sherpa": (Attribution("k2-fsa", "https://github.com/k2-fsa/sherpa-onnx"), "sherpa-onnx"),
    "moonshine": (Attribution("Moonshine AI", "https://github.com/moonshine-ai/moonshine"), "moonshine"),
}
_VOICES = {"espeak": Attribution("espeak-ng", "https://github.com/espeak-ng/espeak-ng")}


def describe(config: Config, voices: Sequence[Listed]) -> Info:
    """The services of `config`. What is turned off is not there."""
    ours = _version("visavis")
    language = [config.language]
    engine = config.speech.engine
    maker, model = _EARS.get(engine, (OURS, engine))
    dictates = "the sentences of its intents" if engine == "grammar" else "anything"
    hears = f"Hears {dictates}, behind a voice detector"
    asr = AsrProgram(
        name="visavis",
        attribution=OURS,
        installed=True,
        description=hears,
        version=ours,
        models=[AsrModel(model, maker, True, hears, _version(_PACKAGES.get(engine, "")), language)],
        supports_transcript_streaming=True,
        requires_external_vad=True,
        prefers_auto_gain_enabled=False,
        prefers_noise_reduction_enabled=False,
    )
    speaker = _VOICES.get(config.voice.engine, OURS)
    made = _version(_PACKAGES.get(config.voice.engine, ""))
    tts = TtsProgram(
        name="visavis",
        attribution=OURS,
        installed=True,
        description="Speaks",
        version=ours,
        voices=[TtsVoice(each.name, speaker, True, each.title, made, list(each.languages)) for each in voices],
        supports_synthesize_streaming=True,
    )
    answers = "Answers the sentences of its intents; carries out what its body can"
    handle = HandleProgram(
        name="visavis",
        attribution=OURS,
        installed=True,
        description=answers,
        version=ours,
        models=[HandleModel(config.policy.engine, OURS, True, answers, ours, language)],
        supports_handled_streaming=False,
        supports_home_control=False,
    )
    return Info(asr=[] if engine == "none" else [asr], tts=[tts], handle=[handle])


_PACKAGES = {
    "grammar": "pocketsphinx",
    "sherpa": "sherpa-onnx",
    "moonshine": "moonshine-voice",
    "espeak": "espeakng-loader",
}


def _version(package: str) -> str | None:
    try:
        return version(package) if package else None
    except PackageNotFoundError:
        return None
