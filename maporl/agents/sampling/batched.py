"""Sampling in this process, with the policy's own weights: in as few batches as memory allows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from maporl.agents.models.memory import out_of_memory, release
from maporl.agents.models.prefix_trees import in_order
from maporl.agents.sampling.sampler import Request, Sampled, Sampler
from maporl.agents.sampling.settings import Sampling
from maporl.agents.sampling.stops import StopStrings
from maporl.agents.sampling.thinking import ThinkingBudget
from maporl.errors import OutOfMemory, warn

if TYPE_CHECKING:
    from maporl.agents.models.policy import Policy

__all__ = ["BatchedSampler", "until_end"]


class BatchedSampler(Sampler):
    """Samples requests of one adapter and the same settings together. When memory runs out, batches are halved, and nothing is lost.

    Attributes:
        max_batch_tokens: Prompt and new tokens of one batch, padding included; from the policy.
    """

    reproducible = keeps_thinking_budget = True

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.max_batch_tokens = policy.max_batch_tokens

    @abstractmethod
    def batch(
        self, adapter: str | None, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One batch: prompts in order of their lengths, uniforms [B, max_new_tokens]."""

    def stops(self, sampling: Sampling) -> StopStrings:
        """The stop strings of these settings in the text of this policy's tokens."""
        return StopStrings(self.policy.encode_chats.decode, sampling.stop)

    def end(self) -> None:
        """All requests of one adapter and the same settings are sampled."""

    def publish(self, adapter: str, version: int, weights: Mapping[str, Tensor]) -> None:
        """Nothing to do: it reads the policy's own weights."""

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """See `Sampler`."""
        groups: dict[tuple[str | None, Sampling, bool], list[int]] = {}
        for i, r in enumerate(requests):
            groups.setdefault((r.adapter, r.sampling, r.uniforms is None), []).append(i)
        results: dict[int, Sampled] = {}
        for rows in groups.values():
            self._sample_alike({i: requests[i] for i in rows}, results)
            self.end()
        return [results[i] for i in range(len(requests))]

    def _sample_alike(self, requests: dict[int, Request], results: dict[int, Sampled]) -> None:
        """Add the messages of requests that differ in prompt and random numbers alone."""
        # By length, for the sake of padding; equal prompts and those with a long common prefix next to each other.
        prompts = {i: np.asarray(r.prompt, np.int64) for i, r in requests.items()}
        pending = sorted(in_order(prompts), key=lambda i: len(prompts[i]))
        adapter, sampling = requests[pending[0]].adapter, requests[pending[0]].sampling
        while pending:
            tokens = [len(prompts[i]) + sampling.max_new_tokens for i in pending]
            rows = 1
            while rows < len(pending) and (rows + 1) * tokens[rows] <= self.max_batch_tokens:
                rows += 1
            now = pending[:rows]
            draws = [u for i in now if (u := requests[i].uniforms) is not None]
            try:
                found = self.batch(adapter, [prompts[i] for i in now], sampling, np.stack(draws) if draws else None)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                room = self.forget()
                if not room and rows == 1:
                    raise OutOfMemory(
                        f"one message of up to {tokens[0]} tokens does not fit into memory; lower max_new_tokens, or use a smaller "
                        "model or dtype."
                    ) from error
            else:
                results.update(zip(now, found, strict=True))
                pending = pending[rows:]
                continue
            # Outside of `except`, which holds on to the failed batch's tensors.
            release(self.policy.device)
            if not room:  # else it may fit without what was kept
                self._halve(rows * tokens[rows - 1])

    def _halve(self, tokens: int) -> None:
        self.max_batch_tokens = max(min(tokens, self.max_batch_tokens) // 2, 1)
        warn(
            f"out of memory while sampling {tokens} tokens at once: from now on at most {self.max_batch_tokens} "
            "(max_batch_tokens). No message is lost."
        )


def until_end(
    tokens: Tensor, logprobs: Tensor, eos_ids: frozenset[int], stops: StopStrings, budget: ThinkingBudget | None
) -> list[Sampled]:
    """Rows of tokens and their log-probs, [B, T] each, up to the first token that ends a message."""
    rows, chances = tokens.cpu().numpy(), logprobs.cpu().numpy()
    ends = np.isin(rows, sorted(eos_ids))
    sampled = []
    for row, chance, end in zip(rows, chances, ends, strict=True):
        text = int(end.argmax()) if end.any() else len(row)  # tokens before the EOS token
        stopped = stops.length(row[:text].tolist()) if stops.strings else None
        n = stopped or (text + 1 if end.any() else text)
        cut = stopped is None and not end.any()
        forced = None if budget is None else budget.forced(row[:n])
        ended = stopped is not None
        sampled.append(Sampled(row[:n].copy(), chance[:n].copy(), truncated=cut, stopped=ended, forced=forced))
    return sampled
