"""Checkpoint folders and hub ids: tokenizers, chat templates, and what can be wrong with them in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer

from maporl.agents.prompts import PLAIN_CHAT_TEMPLATE
from maporl.hub import reachable

__all__ = ["load_tokenizer", "loading", "local_only"]


def load_tokenizer(path: str, chat_template: str | None = None) -> Any:
    """The tokenizer of a checkpoint, with a chat template.

    Args:
        path: Local folder or hub id.
        chat_template: "plain", a Jinja file, or None for the tokenizer's own.

    Raises:
        ValueError: No such checkpoint, or no chat template.
    """
    with loading(path):
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_only(path))
    if chat_template is not None:
        tokenizer.chat_template = _read_chat_template(chat_template)
    if not tokenizer.chat_template:
        raise ValueError(
            f"the tokenizer of {path!r} has no chat template; give one: --chat_template plain, or a Jinja file."
        )
    return tokenizer


def local_only(path: str) -> bool:
    import huggingface_hub

    return Path(path).exists() or not reachable(huggingface_hub.constants.ENDPOINT)


@contextlib.contextmanager
def loading(path: str) -> Iterator[None]:
    """What the hub's clients raise, as one line with the remedy."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        what = "folder" if Path(path).exists() else "local folder or reachable hub id"
        detail = " ".join(str(error).split())
        raise ValueError(
            f"model {path!r} cannot be loaded: not a usable {what}. Give a folder written by save_pretrained (maporl make-model "
            f"DIR makes a small one), or a hub id while online. ({detail[:200]})"
        ) from error


def _read_chat_template(spec: str) -> str:
    if spec == "plain":
        return PLAIN_CHAT_TEMPLATE
    if not Path(spec).is_file():
        raise ValueError(f"chat_template {spec!r} is neither 'plain' nor a file; give a Jinja file.")
    return Path(spec).read_text(encoding="utf-8")
