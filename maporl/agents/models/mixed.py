"""16-bit base models whose products are 16 bit and whose everything else is float32: fast, and sampled and trained with one rounding.

Micikevicius et al. 1710.03740 keep what is summed up in float32. In a model that computes in 16 bit throughout, each residual sum
rounds again: two passes over the same tokens, packed otherwise, disagree by .02 in a mean log-prob, and an importance ratio that
should be 1 is not. With a float32 residual stream, norms and attention the products cost the same and the disagreement halves.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["is_mixed", "mix"]

_HALF = (torch.bfloat16, torch.float16)


def is_mixed(model: Any) -> bool:
    """Whether what flows between the layers of a model is float32 although its weights are not."""
    return getattr(model, "_maporl_mixed", False)


def mix(model: Any) -> None:
    """Let a 16-bit model keep its residual stream, norms and attention in float32. Its matrices stay as they are, and so do quantised ones.

    A module that owns a matrix takes its input to the matrix's type and gives a result of its input's; an embedding gives float32; vectors
    (norms, biases of their own) become float32.
    """
    if is_mixed(model) or model.dtype not in _HALF or getattr(model, "is_quantized", False):
        return
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p.dtype in _HALF]
        if not own:
            continue
        if any(p.dim() > 1 for p in own):
            module.forward = _rounded(module.forward, own[0].dtype, isinstance(module, nn.Embedding))
        else:
            for parameter in own:
                parameter.data = parameter.data.float()
    model._maporl_mixed = True


def _rounded(forward: Any, dtype: torch.dtype, embedding: bool) -> Any:
    """`forward` with floating-point arguments rounded to `dtype`, and floating-point results in the type that came in."""

    @functools.wraps(forward)
    def mixed(*args: Any, **kwargs: Any) -> Any:
        came = torch.float32 if embedding else next((a.dtype for a in (*args, *kwargs.values()) if _floating(a)), dtype)
        out = forward(*(_to(a, dtype) for a in args), **{k: _to(a, dtype) for k, a in kwargs.items()})
        return tuple(_to(o, came) for o in out) if isinstance(out, tuple) else _to(out, came)

    return mixed


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _to(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if _floating(value) else value
