"""Checkpoint folders, GGUF files and hub ids: the one way in which causal language models and their tokenizers are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.chat import PLAIN_CHAT_TEMPLATE, ChatEncoder
from maporl.agents.importing.gguf import check_gguf, gguf_file, plain_weights, split_digits
from maporl.agents.models.quantised import check_quantization, quantization_config
from maporl.errors import UserValueError
from maporl.hub import reachable
from maporl.settings import EMBEDDED, model_path
from maporl.text_files import read_text

__all__ = [
    "DTYPES", "TINY", "context_window", "ensure_pad_token", "eos_ids", "load_causal_lm", "load_model", "load_tokenizer", "read_tokenizer",
]  # fmt: skip

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

TINY = 10_000_000
"""Parameters below which a model runs on one thread of a CPU unless told otherwise."""


def usual_dtype(num_parameters: int, device: str) -> str:
    """The dtype of a base model for which none is asked: "bfloat16" above `TINY` parameters on a processor that multiplies it, which is
    twice as fast as float32 and as exact as `maporl.agents.models.mixed` makes it; else "float32".
    """
    fast = device == "cpu" and num_parameters > TINY and _CPU.keys() & {"avx512_bf16", "amx_bf16", "bf16"}
    return "bfloat16" if fast else "float32"


_CPU = {name: True for name, has in getattr(torch.cpu, "get_capabilities", dict)().items() if has is True}
"""What this processor can do."""


def load_causal_lm(
    path: str,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    chat_template: str | None = None,
    thinking: bool | None = None,
    attn_implementation: str | None = None,
    quantization: str | None = None,
) -> tuple[Any, Any]:
    """A causal language model on its device, and its tokenizer with a chat template and a pad token.

    What is on this disk is never looked up on a hub, and `trust_remote_code` stays off.

    Args:
        path: Local folder, GGUF file (or a folder with one and no config.json), hub id, or "embedded".
        dtype: "float32", "bfloat16" or "float16"; None is `usual_dtype`.
        device: A torch device.
        chat_template: "plain", a Jinja file, or None for the tokenizer's own.
        thinking: What a template that takes ``enable_thinking`` is told; None leaves it to the template.
        attn_implementation: "sdpa" or "eager"; None is the model's own choice.
        quantization: "4bit" keeps the linear layers in four bits (NF4) and multiplies in `dtype`; None does not.

    Raises:
        ValueError: Unknown dtype, no such model, neither chat template nor EOS token, or no bitsandbytes or GPU to quantise with.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserValueError(f"dtype {dtype!r} is unknown; use one of {sorted(DTYPES)}.")
    check_quantization(quantization, device)
    tokenizer = load_tokenizer(path, chat_template, thinking)
    model = load_model(
        path, dtype=dtype, device=device, attn_implementation=attn_implementation, quantization=quantization
    )
    ensure_pad_token(model, tokenizer)
    return model, tokenizer


def load_model(
    path: str,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    attn_implementation: str | None = None,
    quantization: str | None = None,
) -> Any:
    """The model alone; see `load_causal_lm`."""
    if (
        dtype is None
    ):  # how many parameters there are is known when they are there; those of a tiny model are soon read again
        settings: dict[str, Any] = {
            "device": device,
            "attn_implementation": attn_implementation,
            "quantization": quantization,
        }
        first = usual_dtype(TINY + 1, device)
        model = load_model(path, dtype=first, **settings)
        usual = usual_dtype(model.num_parameters(), device)
        return model if usual == first or quantization else load_model(path, dtype=usual, **settings)
    # Quantised weights are made where they stay; others are moved.
    placed: dict[str, Any] = {}
    if quantization:
        placed = {"quantization_config": quantization_config(DTYPES[dtype]), "device_map": {"": device}}
    folder, gguf = _located(path)
    if gguf and quantization:
        raise UserValueError(
            f"model {path!r} is a GGUF file, which quantization {quantization!r} cannot be made from; write a plain folder first: "
            f"maporl import-model {path} DIR."
        )
    with _one_line_errors(path):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation=attn_implementation,
            local_files_only=_local_only(folder),
            output_loading_info=True,
            **gguf,
            **(plain_weights() if gguf else placed),
        )
        model, loading = loaded
        if gguf and loading["missing_keys"]:  # which transformers would leave at random
            raise UserValueError(f"it lacks {', '.join(sorted(loading['missing_keys'])[:3])}")
    if gguf:
        model.name_or_path = model.config.name_or_path = path  # and not the folder that it lies in
    if not placed:
        model.to(device)
    return model


def load_tokenizer(path: str, chat_template: str | None = None, thinking: bool | None = None) -> Any:
    """The tokenizer of a checkpoint, with a chat template; see `load_causal_lm`.

    Raises:
        ValueError: No such checkpoint, no chat template, or one that cannot be told whether to think.
    """
    tokenizer = read_tokenizer(path)
    if chat_template is not None:
        tokenizer.chat_template = _read_chat_template(chat_template)
    if not tokenizer.chat_template:
        raise UserValueError(
            f"the tokenizer of {path!r} has no chat template; give one: --chat_template plain, or a Jinja file."
        )
    if thinking is not None:
        template = tokenizer.chat_template
        if not isinstance(template, str) or "enable_thinking" not in template:
            raise UserValueError(
                f"thinking is {str(thinking).lower()}, but the chat template of {path!r} takes no enable_thinking; leave it out."
            )
        # In the template itself, so that every reader of the tokenizer, of what is saved, too, is told the same.
        tokenizer.chat_template = f"{{% set enable_thinking = {str(thinking).lower()} %}}{template}"
    return tokenizer


def read_tokenizer(path: str) -> Any:
    """The tokenizer as its checkpoint has it, with or without a chat template."""
    folder, gguf = _located(path)
    with _one_line_errors(path):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=_local_only(folder), **gguf)
        if gguf:
            split_digits(tokenizer, Path(folder, gguf["gguf_file"]))
    for name in ("local_files_only", "is_local"):  # of this loading, and no property of what may be saved later
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.name_or_path = path
    return tokenizer


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a message: chat checkpoints name several, some in the generation config only; and the one that closes a turn
    in the chat template, which they may name nowhere."""
    found = set(ChatEncoder(tokenizer).ends)
    for value in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        if value is not None:
            found.update(value if isinstance(value, list | tuple) else [value])
    return frozenset(found)


def ensure_pad_token(model: Any, tokenizer: Any) -> None:
    """Let a tokenizer without a pad token pad with an EOS token: masks are explicit, so any id does.

    Raises:
        ValueError: It has no EOS token either.
    """
    if tokenizer.pad_token_id is not None:
        return
    ends = eos_ids(model, tokenizer)
    if not ends:
        raise UserValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has neither a pad nor an EOS token; set one and save it again."
        )
    tokenizer.pad_token_id = min(ends)


def context_window(model: Any) -> int:
    """Longest sequence that a model was made for, in tokens; 2^31 where its config names none.

    With LongRoPE (Phi-3) up to where its frequencies change: beyond, what a token means depends on the longest of its batch.
    """
    config = model.config.get_text_config()
    longest = int(getattr(config, "max_position_embeddings", None) or 2**31)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        longest = min(longest, int(rope.get("original_max_position_embeddings") or longest))
    return longest


def _located(path: str) -> tuple[str, dict[str, str]]:
    """Where transformers finds a checkpoint, and the argument that names a GGUF file there."""
    path = model_path(path)
    file = gguf_file(path)
    if file is None:
        return path, {}
    check_gguf(file)
    return str(file.parent), {"gguf_file": file.name}


def _local_only(path: str) -> bool:
    """Whether no hub is asked: the path exists, or no hub can be reached, which its client would find out after a minute of retries."""
    import huggingface_hub

    return Path(path).exists() or not reachable(huggingface_hub.constants.ENDPOINT)


@contextlib.contextmanager
def _one_line_errors(path: str) -> Iterator[None]:
    """What the hub's clients raise, and whatever the readers of GGUF do, as one line with the remedy."""
    gguf = gguf_file(model_path(path))
    expected = (Exception,) if gguf else (OSError, ValueError, RuntimeError, SafetensorError)
    try:
        yield
    except expected as error:
        detail = f"({' '.join(str(error).split())[:200]})"
        if gguf:
            raise UserValueError(
                f"model {path!r} cannot be loaded: transformers cannot read this GGUF file. Take the checkpoint that it was made from, "
                f"as a folder or hub id. {detail}"
            ) from error
        what = "folder" if Path(path).exists() else "local folder or reachable hub id"
        raise UserValueError(
            f"model {path!r} cannot be loaded: not a usable {what}. Give a folder written by save_pretrained, a GGUF file, a "
            f"hub id while online, or {EMBEDDED!r}, the small one that comes with maporl. {detail}"
        ) from error


def _read_chat_template(spec: str) -> str:
    if spec == "plain":
        return PLAIN_CHAT_TEMPLATE
    if not Path(spec).is_file():
        raise UserValueError(f"chat_template {spec!r} is neither 'plain' nor a file; give a Jinja file.")
    return read_text(spec)
