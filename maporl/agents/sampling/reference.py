"""The plain sampler: `transformers`' own `generate`, every prompt read anew. Slower, and what the fast one is compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from maporl.agents.models.backbone import left_pad
from maporl.agents.sampling.batched import BatchedSampler, until_end
from maporl.agents.sampling.sampler import Sampled
from maporl.agents.sampling.settings import Sampling, filter_logits, sample
from maporl.agents.sampling.stops import StopStrings
from maporl.agents.sampling.thinking import ThinkingBudget

__all__ = ["ReferenceSampler"]


class ReferenceSampler(BatchedSampler):
    """It draws the very tokens that `InProcessSampler` draws from the same numbers.

    `generate` decodes greedily here; a logits processor has sampled before, from the rows' own numbers, and leaves one token to
    choose from. So nothing of the checkpoint's own generation config (top_k 50 where unset) changes the distribution.
    """

    def batch(
        self, adapter: str | None, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One call of `generate`."""
        model, eos_ids, pad_id = self.policy.model, self.policy.eos_ids, self.policy.pad_id
        ids, mask = left_pad(prompts, pad_id, self.policy.device)
        stops, budget = self.stops(sampling), self.policy.thinking_budget(sampling)
        chooser = _Chooser(sampling, None if uniforms is None else torch.as_tensor(uniforms, device=ids.device), budget)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(eos_ids) or None,
            pad_token_id=pad_id,
        )
        own, model.generation_config = model.generation_config, config  # it fills what `config` leaves out
        try:
            with self.policy.speaking(adapter):
                out = model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    logits_processor=LogitsProcessorList([chooser]),
                    stopping_criteria=StoppingCriteriaList([_Stop(stops, ids.shape[1])] if sampling.stop else []),
                )
        finally:
            model.generation_config = own
        return until_end(out[:, ids.shape[1] :], torch.stack(chooser.logprobs, 1), eos_ids, stops, budget)


class _Chooser(LogitsProcessor):
    """Samples, and leaves `generate` the one token."""

    def __init__(self, sampling: Sampling, uniforms: Tensor | None, budget: ThinkingBudget | None) -> None:
        self.sampling, self.uniforms, self.budget = sampling, uniforms, budget
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logits = filter_logits(scores.float() / self.sampling.temperature, self.sampling.top_k, self.sampling.top_p)
        step = len(self.logprobs)
        chosen, logprobs = sample(logits, None if self.uniforms is None else self.uniforms[:, step])
        if self.budget is not None:
            chosen, logprobs = self.budget.enforced(input_ids[:, input_ids.shape[1] - step :], chosen, logprobs)
        self.logprobs.append(logprobs)
        return torch.full_like(scores, float("-inf")).scatter(1, chosen[:, None], 0.0)


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends rows whose text, after a prompt of `width` tokens, holds a stop string."""

    def __init__(self, stops: StopStrings, width: int) -> None:
        self.stops, self.width = stops, width

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        return self.stops.completed(input_ids[:, self.width :])
