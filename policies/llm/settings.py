"""How the language model is reached, what it may cost, and how long anybody waits for it."""

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field

Milliseconds: TypeAlias = Annotated[int, Meta(ge=1, le=600_000)]
Price: TypeAlias = Annotated[float, Meta(ge=0, le=10_000)]


class PriceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost, in whatever currency; all 0: nothing is said of costs.

    cached: of the input, what the server had kept
    """

    input: Price = 0.0
    cached: Price = 0.0
    output: Price = 0.0


class DraftConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Asking before the person's turn is certainly over (preemptive generation).

    bar: probability of the end of the turn from which it is asked;  per_turn: drafts at most for one turn
    per_minute: drafts at most that came to nothing; beyond that, none begins
    """

    enabled: bool = True
    bar: Annotated[float, Meta(ge=0, le=1)] = 0.3
    per_turn: Annotated[int, Meta(ge=1, le=10)] = 3
    per_minute: Annotated[int, Meta(ge=0, le=1000)] = 20


class LlmConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A language model. Keys are read from the environment only.

    engine: "openai" (any server that speaks its chat completions), "transformers" (in this process, needs torch), or
        a part of an installed package
    url: such as "http://localhost:11434/v1";  model: its name there ("" = the first the server lists), or, for
        "transformers", a folder or a name in the local cache
    key_env: name of the environment variable with the key; it may be unset for servers that want none
    connect_ms, first_token_ms, between_tokens_ms, whole_ms: how long is waited for each
    attempts: how often it is asked at most, as long as nothing of an answer has come
    broken_after, broken_ms: after so many failures one after the other nobody asks it for so long (circuit breaker)
    context_tokens: of the request, estimated; what is older is told in short
    output_tokens: of one answer;  temperature: None: the server's own;  seed: for servers that heed it
    tools: whether it is offered tools;  calls_per_turn, rounds_per_turn: bounds of their use
    picture_ms: how old a picture may be;  picture_px: longest side
    extra: further fields of the request, as the server knows them, such as {"reasoning_effort": "none"}
    """

    engine: str = "openai"
    url: str = "http://localhost:11434/v1"
    model: str = ""
    key_env: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] = "VISAVIS_LLM_KEY"
    connect_ms: Milliseconds = 2000
    first_token_ms: Milliseconds = 8000
    between_tokens_ms: Milliseconds = 4000
    whole_ms: Milliseconds = 60_000
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    broken_after: Annotated[int, Meta(ge=1, le=100)] = 3
    broken_ms: Milliseconds = 30_000
    context_tokens: Annotated[int, Meta(ge=256, le=2_000_000)] = 4000
    output_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 400
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    seed: int | None = None
    tools: bool = True
    calls_per_turn: Annotated[int, Meta(ge=0, le=100)] = 8
    rounds_per_turn: Annotated[int, Meta(ge=1, le=20)] = 4
    picture_ms: Milliseconds = 1500
    picture_px: Annotated[int, Meta(ge=64, le=4096)] = 512
    extra: dict[str, Any] = field(default_factory=dict)
    drafts: DraftConfig = field(default_factory=DraftConfig)
    price: PriceConfig = field(default_factory=PriceConfig)
