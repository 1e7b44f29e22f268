"""Batched sampling from any `transformers` causal LM: token ids and the log-probabilities of the distribution sampled from.

`generate` is not used, because it mixes the checkpoint's own generation config into the sampled distribution (top_k = 50 when
unset), has one random stream for the whole batch, and would need a second pass for float32 log-probs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maporl.agents.sampling import Sampling, filter_logits, sample

__all__ = ["Sampled", "generate"]

Tokens = Sequence[int] | np.ndarray
"""Token ids of one sequence."""


@dataclass(frozen=True)
class Sampled:
    """One sampled message: ids [T] int64 with its EOS token if there was one, logprobs [T] float32."""

    ids: np.ndarray
    logprobs: np.ndarray
    truncated: bool


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int] | np.ndarray],
    sampling: Sampling,
    uniforms: np.ndarray | None,
    *,
    eos_ids: frozenset[int],
    pad_id: int,
    max_batch_tokens: int = 131_072,
) -> list[Sampled]:
    """Sample one message for every prompt, whatever their number: sorted by length, in as few batches as memory allows.

    Args:
        model: A causal LM in eval mode whose adapters are set already.
        prompts: Token ids, one list a message.
        sampling: Temperature, filters and longest message.
        uniforms: [B, max_new_tokens] in [0, 1), a row's own random stream; None decodes greedily.
        eos_ids: Any of these ends a message.
        pad_id: Fills the left of shorter prompts; masked out.
        max_batch_tokens: Prompt and new tokens of one batch, padding included.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    results: list[Sampled | None] = [None] * len(prompts)
    start = 0
    while start < len(order):
        stop = start + 1
        while (
            stop < len(order)
            and (stop + 1 - start) * (len(prompts[order[stop]]) + sampling.max_new_tokens) <= max_batch_tokens
        ):
            stop += 1
        rows = order[start:stop]
        draws = None if uniforms is None else uniforms[rows]
        batch = _generate_batch(model, [prompts[i] for i in rows], sampling, draws, eos_ids, pad_id)
        for i, sampled in zip(rows, batch, strict=True):
            results[i] = sampled
        start = stop
    return [r for r in results if r is not None]


def _generate_batch(
    model: Any,
    prompts: Sequence[Sequence[int] | np.ndarray],
    sampling: Sampling,
    uniforms: np.ndarray | None,
    eos_ids: frozenset[int],
    pad_id: int,
) -> list[Sampled]:
    device = next(model.parameters()).device
    size, steps = len(prompts), sampling.max_new_tokens
    ids, mask = _left_pad(prompts, pad_id, device)
    draws = None if uniforms is None else torch.as_tensor(uniforms, dtype=torch.float32, device=device)
    eos = torch.tensor(sorted(eos_ids), device=device)

    tokens = torch.zeros(size, steps, dtype=torch.int64, device=device)
    logprobs = torch.zeros(size, steps, dtype=torch.float32, device=device)
    lengths = torch.full((size,), steps, device=device)
    ended = torch.zeros(size, dtype=torch.bool, device=device)
    rows = torch.arange(size, device=device)  # which message each row of the shrinking batch belongs to

    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache: Any = None
    for t in range(steps):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        logits = filter_logits(out.logits[:, -1].float() / sampling.temperature, sampling.top_k, sampling.top_p)
        chosen, chosen_logprobs = sample(logits, None if draws is None else draws[rows, t])
        tokens[rows, t], logprobs[rows, t] = chosen, chosen_logprobs
        done = (
            torch.isin(chosen, eos) & ~ended[rows]
        )  # a finished row that is still in the batch may sample another one
        lengths[rows[done]], ended[rows[done]] = t + 1, True
        active = ~ended[rows]
        remaining = int(active.sum())
        if remaining == 0 or t == steps - 1:
            break
        if remaining <= 0.75 * len(rows):  # dropping finished rows copies the cache: worth it only for many at once
            keep = active.nonzero().squeeze(-1)
            cache.batch_select_indices(keep)
            rows, chosen, mask, positions = rows[keep], chosen[keep], mask[keep], positions[keep]
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        positions = positions[:, -1:] + 1

    tokens_np, logprobs_np = tokens.cpu().numpy(), logprobs.cpu().numpy()
    return [
        Sampled(tokens_np[i, :n].copy(), logprobs_np[i, :n].copy(), truncated=not bool(e))
        for i, (n, e) in enumerate(zip(lengths.tolist(), ended.tolist(), strict=True))
    ]


def _left_pad(
    prompts: Sequence[Sequence[int] | np.ndarray], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """ids [B, P] and mask [B, P] int64; the mask is built from lengths, so a prompt may contain the pad id."""
    width = max(len(p) for p in prompts)
    ids = np.full((len(prompts), width), pad_id, np.int64)
    mask = np.zeros((len(prompts), width), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    return torch.as_tensor(ids, device=device), torch.as_tensor(mask, device=device)
