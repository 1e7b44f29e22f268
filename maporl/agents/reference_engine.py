"""The plain engine: `transformers`' own `generate`, every prompt read anew. Slower, and what the fast one is compared with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from maporl.agents.backbone import left_pad
from maporl.agents.engine import Engine, Sampled
from maporl.agents.sampling import Sampling, filter_logits, sample

__all__ = ["ReferenceEngine"]


class ReferenceEngine(Engine):
    """See `Engine`. It draws the very tokens that any other engine draws from the same numbers.

    `generate` decodes greedily here; a logits processor has sampled before, from the rows' own numbers, and leaves one token to
    choose from. So nothing of the checkpoint's own generation config (top_k 50 where unset) changes the distribution.
    """

    def __init__(
        self,
        model: Any,
        speaking: Callable[[str | None], AbstractContextManager[None]],
        *,
        eos_ids: frozenset[int],
        pad_id: int,
        max_batch_tokens: int = 131_072,
    ) -> None:
        super().__init__(eos_ids, pad_id, next(model.parameters()).device, max_batch_tokens)
        self.model, self.speaking = model, speaking

    def sample(
        self, adapter: str | None, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One call of `generate`."""
        ids, mask = left_pad(prompts, self.pad_id, self.device)
        chooser = _Chooser(sampling, None if uniforms is None else torch.as_tensor(uniforms, device=self.device))
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self.eos_ids) or None,
            pad_token_id=self.pad_id,
        )
        own, self.model.generation_config = self.model.generation_config, config  # it fills what `config` leaves out
        try:
            with self.speaking(adapter):
                out = self.model.generate(
                    input_ids=ids, attention_mask=mask, logits_processor=LogitsProcessorList([chooser])
                )
        finally:
            self.model.generation_config = own
        tokens = out[:, ids.shape[1] :].cpu().numpy()
        logprobs = torch.stack(chooser.logprobs, 1).cpu().numpy()
        sampled = []
        for row, found in zip(tokens, logprobs, strict=True):
            ended = np.flatnonzero(np.isin(row, sorted(self.eos_ids)))
            length = int(ended[0]) + 1 if len(ended) else len(row)
            sampled.append(Sampled(row[:length].copy(), found[:length].copy(), truncated=not len(ended)))
        return sampled


class _Chooser(LogitsProcessor):
    """Samples, and leaves generate the one token."""

    def __init__(self, sampling: Sampling, uniforms: Tensor | None) -> None:
        self.sampling, self.uniforms = sampling, uniforms
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logits = filter_logits(scores.float() / self.sampling.temperature, self.sampling.top_k, self.sampling.top_p)
        draws = None if self.uniforms is None else self.uniforms[:, len(self.logprobs)]
        chosen, logprobs = sample(logits, draws)
        self.logprobs.append(logprobs)
        return torch.full_like(scores, float("-inf")).scatter(1, chosen[:, None], 0.0)
