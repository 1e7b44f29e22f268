"""Sampling a token from logits: exact, one uniform number a row, and the log-probability of what was really sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from maporl.errors import UserValueError

__all__ = ["Sampling", "filter_logits", "sample"]

_BLOCK = 512


@dataclass(frozen=True)
class Sampling:
    """How a message is sampled.

    Attributes:
        max_new_tokens: Longest message, in tokens.
        temperature: Divides the logits; log-probs, the reference's too, are of the tempered distribution.
        top_k, top_p: Keep the k likeliest tokens | the likeliest tokens up to probability p. For evaluation only: they change
            the sampled distribution, so training with them raises.
        stop: Strings that end a message: at the first token with which its text holds one. That token is its last; the text ends before
            the string.
        thinking_budget: A reasoning block that is still open after so many tokens is closed by force, and the message goes on with what
            it says; max_new_tokens counts everything. None: none.
    """

    max_new_tokens: int = 256
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    thinking_budget: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserValueError(f"max_new_tokens is {self.max_new_tokens}; a message needs at least 1.")
        if not 0 < self.temperature < math.inf:
            raise UserValueError(
                f"temperature is {self.temperature}; it must be > 0 and finite (for the likeliest token ask for greedy)."
            )
        if self.top_k is not None and self.top_k < 1:
            raise UserValueError(f"top_k is {self.top_k}; it must be at least 1, or None.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserValueError(f"top_p is {self.top_p}; it must lie in (0, 1], or be None.")
        if not isinstance(self.stop, tuple) or not all(isinstance(s, str) and s for s in self.stop):
            raise UserValueError(f"stop is {self.stop!r}; it must be a tuple of texts of at least one character.")
        if self.thinking_budget is not None and not 1 <= self.thinking_budget < self.max_new_tokens:
            raise UserValueError(
                f"thinking_budget is {self.thinking_budget}; it must be at least 1 and less than max_new_tokens ({self.max_new_tokens}), "
                "which counts the answer, too."
            )

    @property
    def filtered(self) -> bool:
        return self.top_k is not None or self.top_p is not None


def filter_logits(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """`logits` [B, V] with everything outside top-k and nucleus at minus infinity."""
    if top_k is not None and top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None and top_p < 1:
        ordered, index = logits.sort(dim=-1, descending=True)
        probs = ordered.softmax(-1)
        drop = probs.cumsum(-1) - probs >= top_p  # the token that crosses top_p stays
        logits = torch.full_like(logits, float("-inf")).scatter(-1, index, ordered.masked_fill(drop, float("-inf")))
    return logits


def sample(logits: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """Inverse-CDF sampling in two levels, so that a large vocabulary costs one pass and no sort.

    Args:
        logits: [B, V] float32, tempered and filtered.
        uniforms: [B] in [0, 1), one number a row, or None for the likeliest token.

    Returns:
        ids [B] int64 and their log-probabilities [B] float32 under softmax(logits).
    """
    top = logits.amax(-1, keepdim=True)
    odds = (logits - top).exp_()
    if uniforms is None:
        ids, total = logits.argmax(-1, keepdim=True), odds.sum(-1, keepdim=True)
    else:
        ids, total = _drawn(odds, uniforms.to(odds.dtype)[:, None])
        if (
            ids.is_cuda
        ):  # sums there are made in parallel, and may fall by a rounding onto a token without any probability
            ids = torch.where(odds.gather(1, ids) > 0, ids, logits.argmax(-1, keepdim=True))
    return ids.squeeze(1), (logits.gather(1, ids) - top - total.log()).squeeze(1)


def _drawn(odds: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Where [B, 1] the sums over `odds` [B, V] rise above `uniforms` [B, 1] times the total; and the total [B, 1]."""
    batch, vocab = odds.shape
    if vocab <= 2 * _BLOCK:
        cdf = odds.cumsum(-1)
        return _first_above(cdf, uniforms * cdf[:, -1:]), cdf[:, -1:]
    blocks = torch.nn.functional.pad(odds, (0, -vocab % _BLOCK)).view(batch, -1, _BLOCK)
    cdf = blocks.sum(-1).cumsum(-1)
    target = uniforms * cdf[:, -1:]
    block = _first_above(cdf, target)
    before = torch.where(block > 0, cdf.gather(1, (block - 1).clamp(min=0)), torch.zeros_like(target))
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).squeeze(1).cumsum(-1)
    # Where odds are no numbers the search ends beyond the vocabulary; the log-prob will tell.
    return (block * _BLOCK + _first_above(inside, target - before)).clamp(max=vocab - 1), cdf[:, -1:]


def _first_above(cdf: Tensor, target: Tensor) -> Tensor:
    """Index [B, 1] of the first entry of `cdf` [B, K] above `target` [B, 1]; by rounding the target can reach the total: then the
    first entry at the total, which is the last one with any probability."""
    target = torch.where(target < cdf[:, -1:], target, torch.nextafter(cdf[:, -1:], torch.zeros_like(target)))
    return torch.searchsorted(cdf, target, right=True).clamp(max=cdf.shape[-1] - 1)
