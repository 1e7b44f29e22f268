"""Bases in four bits (QLoRA, Dettmers et al. 2305.14314): frozen weights take a quarter of 16-bit ones, adapters stay float32."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch

from maporl.errors import UserValueError

__all__ = ["QUANTIZATIONS", "check_quantization", "quantization_config"]

QUANTIZATIONS = ("4bit",)


def check_quantization(quantization: str | None, device: str) -> None:
    """Whether a base can be quantised here, before anything is loaded.

    Raises:
        ValueError: Another word, bitsandbytes is not installed, or the device is no CUDA GPU; with the remedy.
    """
    if quantization is None:
        return
    if quantization not in QUANTIZATIONS:
        raise UserValueError(
            f"quantization {quantization!r} is unknown; use one of {list(QUANTIZATIONS)}, or leave it out."
        )
    # On CPUs bitsandbytes packs the weights for inference, and gradients through them are silently wrong.
    if torch.device(device).type != "cuda":
        raise UserValueError(
            f"quantization is {quantization!r}, but device is {device!r}: quantised bases need a CUDA GPU. Use a machine with one, or "
            "leave quantization out (adapters trained on a quantised base load on the unquantised one)."
        )
    try:
        importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserValueError(
            f"quantization is {quantization!r}, but bitsandbytes is not installed: pip install 'maporl[quantised]', or leave "
            "quantization out."
        ) from error


def quantization_config(dtype: torch.dtype) -> Any:
    """NF4 with quantised constants, multiplied in `dtype` (transformers' `BitsAndBytesConfig`)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
