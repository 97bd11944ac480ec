"""What the doctor says of the model that answers, if one does: it is asked, within bounds."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent import registry
from agent.checkup import Check
from agent.config import Config
from agent.parts import unused
from policies.llm.settings import LlmConfig
from policies.models.realtime_settings import RealtimeModelConfig
from policies.models.secret import shown
from streams.errors import DependencyMissing, VisavisError


def asked(config: Config) -> str:
    """What to tell before `models`, which may take a while; "" if nobody is asked."""
    if config.policy.engine == "realtime":
        return f"asking {shown(config.realtime_model.url) or 'the model'}: at most a minute ..."
    if config.policy.engine == "llm" and config.llm.engine == "openai":
        return (
            f"asking {shown(config.llm.url)}: some seconds; a model that is loaded first, or thinks, takes a minute ..."
        )
    return ""


def models(config: Config) -> Iterator[Check]:
    """What the model of the policy can do, and what is set and not used. Raises nothing."""
    if config.policy.engine == "llm":
        yield from language_model(config.llm)
    elif config.policy.engine == "realtime":
        yield from speech_model(config.realtime_model)
    for line in unused(config):
        yield Check("model", True, line)


def language_model(config: LlmConfig) -> Iterator[Check]:
    """What the language model can do. A server is asked, and takes as long as it takes to load the model; of one in
    this process it is only seen whether it is here."""
    if config.engine == "transformers":
        yield local_model(config)
        return
    if config.engine != "openai":
        try:
            registry.find("models", config.engine, "llm.engine")
        except VisavisError as error:
            yield Check("language model", False, str(error), "--set llm.engine=openai, or install its package")
        else:
            yield Check("language model", True, f"engine {config.engine}: only servers are asked")
        return
    from policies.models.probe import look  # noqa: PLC0415 - it needs a package

    for finding in look(config).findings:
        yield msgspec.convert(finding, Check, from_attributes=True)


def local_model(config: LlmConfig) -> Check:
    """Whether there is a model for this process; nothing is loaded."""
    from policies.models.local import checked  # noqa: PLC0415 - few want it

    try:
        place = checked(config)
        where = Path(place)
        if where.is_dir():
            weights = [*where.glob("*.safetensors"), *where.glob("*.bin")]
            if not weights:
                raise VisavisError(f"llm.model is {place!r}, a folder with config.json and without weights.")
            if not (where / "tokenizer.json").is_file():
                raise VisavisError(
                    f"llm.model is {place!r}, which has no tokenizer.json: its words cannot be streamed."
                )
    except DependencyMissing as error:
        return Check("language model", False, str(error), f"pip install 'visavis[{error.extra}]'")
    except (VisavisError, OSError, ImportError) as error:
        return Check("language model", False, str(error), "hf download NAME, and --model NAME (or its folder)")
    return Check("language model", True, f"{place} is here (it is not loaded now)")


def speech_model(config: RealtimeModelConfig) -> Iterator[Check]:
    """What the speech-to-speech model can do. It is asked: a minute at most."""
    from policies.models.probe_realtime import look  # noqa: PLC0415 - it needs a package

    for finding in look(config):
        yield msgspec.convert(finding, Check, from_attributes=True)
