"""A tiny language model with a tokenizer and a chat template, made on the spot: the words are noise, the rest is real.

A Llama of two layers with random weights (about 1 MB), in the form in which transformers keeps models. So that tests
can tell right from wrong, some of its answers are no noise: each of `RECITED` is wired into the weights (attention and
feed-forward add nothing, and the output layer sends every token to the one that follows it), and is what the model says
when the last message has its name as a word. For everything else there is noise.
"""

import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

END = "<|im_end|>"
RECITED: dict[str, tuple[str, ...]] = {
    "greet": ("Good", " morning", ",", " I", " am", " listening", ".", END),
    "unicode": ("Es", " sind", " zwölf", " große", " Öfen", " – ", "日本語", " привет", "🙂", "!", END),
    "timer": (
        "<tool_call>",
        '\n{"name": "set_',
        'timer", "argum',
        'ents": {"sec',
        'onds": 90}}\n',
        "</tool_call>",
        END,
    ),
    "broken": ('<tool_call>{"name": "set_', 'x", argu', "ments}</tool_call>", END),
    "torn": ("Well", '<tool_call>{"name": "half', END),
    "think": ("<think>", "They want", " a greeting", "</think>", "Hello", " there", "…", END),
}
"""What it says, token by token; only `END` may stand in several places."""
ENDLESS = ("one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ")
"""What it says to "endless", again and again."""
CONTEXT = 100_000
REVISION = "0" * 40

_CHAT = """{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{%- set last = (messages[-1].content or '').split() %}
{%- set ns = namespace(cue='noise') %}
{%- for name in CUES %}{% if name in last %}{% set ns.cue = name %}{% endif %}{% endfor %}<|{{ ns.cue }}|>{% endif %}"""

_PARTS: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant",
    "fields": {
        "cue": {"open": "<|", "close": "|>", "content": "text"},
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": END, "content": "text"},
    },
}


def tiny_model(folder: Path, seed: int = 0, *, tools: bool = True, parses: bool = True, wired: bool = True) -> Path:
    """Make the model in `folder`, which is returned; the same for the same seed.

    tools: whether its chat template has a place for them
    parses: whether it comes with a template by which its answers are taken apart into thoughts, calls and text
    wired: else nothing is recited, and what it says depends on all that it has read
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the package is imported
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = _tokenizer(tools)
    if parses:
        tokenizer.response_template = _PARTS
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(20 if weight.dim() > 1 else 1)  # strong enough for every word to matter
        special = [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]
        model.lm_head.weight[special] = 0  # noise has no end
    if wired:
        _wire(model, tokenizer)
    model.generation_config.max_length = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def into_cache(model: Path, home: Path, name: str) -> None:
    """Put the model in the folder `model` into the cache of Hugging Face below `home` (`HF_HOME`), as if fetched."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISION)
    shutil.copytree(model, place / "snapshots" / REVISION)


def _tokenizer(tools: bool) -> Any:
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as Bytes
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    raw = Tokenizer(BPE(vocab=letters, merges=[]))
    raw.pre_tokenizer = ByteLevel(add_prefix_space=False)
    raw.decoder = Bytes()
    cues = [f"<|{cue}|>" for cue in ("noise", "endless", *RECITED)]
    raw.add_special_tokens(["<|im_start|>", END, "<|pad|>", *cues])
    # An emoji is left to the bytes, so that one character comes in several tokens.
    said = dict.fromkeys(text for text in (*ENDLESS, *sum(RECITED.values(), ())) if text not in (END, "🙂"))
    raw.add_tokens([AddedToken(text, normalized=False) for text in said])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token="<|pad|>")
    chat = _CHAT.replace("CUES", repr(["endless", *RECITED]))
    tokenizer.chat_template = chat if tools else chat[chat.index("{% endif %}\n") + 12 :]
    return tokenizer


def _wire(model: Any, tokenizer: Any) -> None:
    """Let every recited token be followed by the next, whatever came before it."""
    import torch

    follows: dict[int, int] = {}
    for name, said in {**RECITED, "endless": (*ENDLESS, ENDLESS[0])}.items():
        tokens = [token for text in (f"<|{name}|>", *said) for token in tokenizer.encode(text)]
        for token, following in pairwise(tokens):
            assert follows.setdefault(token, following) == following, f"{tokenizer.decode([token])!r} is recited twice"
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        torch.nn.init.normal_(model.model.embed_tokens.weight)
        model.lm_head.weight.mul_(5)  # noise, but fainter than what is recited
        for following in dict.fromkeys(follows.values()):
            before = [token for token, after in follows.items() if after == following]
            model.lm_head.weight[following] = model.model.embed_tokens.weight[before].sum(0)
