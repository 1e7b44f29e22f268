"""GGUF files, llama.cpp's single-file format: found by their name, checked, and read into plain models in full precision."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import transformers
from tokenizers import pre_tokenizers

from maporl.errors import UserValueError

__all__ = ["check_gguf", "gguf_file", "gguf_metadata", "plain_weights", "split_digits"]

_DIGITS_APART = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
"""What llama.cpp calls the vocabularies whose text is cut at each digit before GPT-2's pattern cuts it further."""


def gguf_file(path: str) -> Path | None:
    """The GGUF file that `path` names: itself, or the only one in a folder without a config.json. None for any other checkpoint.

    Raises:
        ValueError: There is no such file, or the folder holds several.
    """
    here = Path(path)
    if here.suffix.lower() == ".gguf" and not here.is_dir():
        if not here.is_file():
            raise UserValueError(f"model {path!r}: there is no such file; give the path of a GGUF file.")
        return here
    if not here.is_dir() or (here / "config.json").exists():
        return None
    found = sorted(file for file in here.iterdir() if file.suffix.lower() == ".gguf" and file.is_file())
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UserValueError(
            f"model {path!r} holds {len(found)} GGUF files ({names}); name one of them (parts of a split model are first joined: "
            "llama-gguf-split --merge FIRST_PART WHOLE.gguf)."
        )
    return found[0] if found else None


def gguf_metadata(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The header's keys, with arrays as their lengths, and the names of the tensors.

    Raises:
        ValueError: What reads GGUF is not installed, or the file is damaged or no GGUF file.
    """
    if importlib.util.find_spec("gguf") is None or not hasattr(transformers, "GgufConfig"):
        raise UserValueError(
            f"model {str(file)!r} is a GGUF file, and what reads those is not installed: pip install 'maporl[gguf]'."
        )
    from transformers.integrations.gguf import read_gguf_metadata

    try:
        return read_gguf_metadata(str(file))
    except Exception as error:  # whatever its reader stumbles over in bytes that mean something else
        raise UserValueError(
            f"model {str(file)!r} is not a whole GGUF file; fetch it again. ({' '.join(str(error).split())[:200]})"
        ) from error


def check_gguf(file: Path) -> None:
    """Whether transformers will read what the file says, before anything is loaded.

    Raises:
        ValueError: As `gguf_metadata`; the file is one part of several, or scales its rotary positions, which transformers leaves out.
    """
    metadata, tensors = gguf_metadata(file)
    parts = int(metadata.get("split.count", 1))
    if parts > 1:
        raise UserValueError(
            f"model {str(file)!r} is one of {parts} parts; join them first: llama-gguf-split --merge FIRST_PART WHOLE.gguf."
        )
    # transformers builds unscaled positions without a word (but for gpt-oss): another function than the file's.
    architecture = metadata["general.architecture"]
    scaled = [name for name in tensors if name.startswith(("rope_freqs", "rope_factors"))]
    if metadata.get(f"{architecture}.rope.scaling.type", "none") != "none" and architecture != "gpt-oss":
        scaled.append(f"{architecture}.rope.scaling")
    if scaled:
        raise UserValueError(
            f"model {str(file)!r} scales its rotary positions ({scaled[0]}), which transformers does not read from GGUF files, so that it "
            "would be another model; take the checkpoint that the file was made from."
        )


def plain_weights() -> dict[str, Any]:
    """Arguments of `from_pretrained` by which a GGUF file becomes an ordinary model, which can be trained and saved."""
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}


def split_digits(tokenizer: Any, file: Path) -> None:
    """Cut text at digits where the file says so, which transformers forgets: SmolLM2 would read "\\n\\n5" as three tokens for two."""
    if gguf_metadata(file)[0].get("tokenizer.ggml.pre") in _DIGITS_APART:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
