"""A budget of reasoning tokens: a block that is open after so many is closed by tokens that nobody has sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maporl.agents.chat import ChatEncoder
from maporl.agents.sampling.sampler import Sampler
from maporl.agents.sampling.settings import Sampling
from maporl.errors import UserValueError

__all__ = ["ThinkingBudget"]


@dataclass(frozen=True)
class ThinkingBudget:
    """What is put into messages that reason for too long. Which these are is a function of their tokens alone.

    Attributes:
        tokens: The budget: so many tokens of a message are its own whatever they say.
        closing: The tokens that then close a reasoning block that is open, one at a step.
        thinks: Whether it is open after these tokens of a message.
    """

    tokens: int
    closing: tuple[int, ...]
    thinks: Callable[[list[int]], bool]

    @classmethod
    def of(cls, sampling: Sampling, encode: ChatEncoder, sampler: type[Sampler]) -> ThinkingBudget | None:
        """The budget of these settings, closed as the chat template closes reasoning; None where there is none.

        Raises:
            ValueError: The sampler keeps no budget, the model has no mark that ends reasoning, or no token is left for an answer.
        """
        if (tokens := sampling.thinking_budget) is None:
            return None
        if not sampler.keeps_thinking_budget:
            raise UserValueError(
                f"thinking_budget is {tokens}, but the sampler {sampler.__name__} keeps none (keeps_thinking_budget); leave it out, or use "
                "--sampler in_process."
            )
        if not (closing := encode.closing):
            raise UserValueError(
                f"thinking_budget is {tokens}, but neither chat template nor tokenizer of {encode.tokenizer.name_or_path!r} knows "
                "</think> or another mark that ends reasoning; leave it out."
            )
        if tokens + len(closing) >= sampling.max_new_tokens:
            raise UserValueError(
                f"thinking_budget is {tokens}, and closing the reasoning takes {len(closing)} tokens: of max_new_tokens "
                f"{sampling.max_new_tokens} none is left for an answer; raise max_new_tokens."
            )
        return cls(tokens, closing, encode.thinks)

    def enforced(self, said: Tensor, sampled: Tensor, logprobs: Tensor) -> tuple[Tensor, Tensor]:
        """The next tokens [B] of messages that have said [B, t], and their log-probs [B]: those sampled, or the closing's, whose are 0."""
        place = said.shape[1] - self.tokens
        if not 0 <= place < len(self.closing):
            return sampled, logprobs
        thinking = torch.tensor([self.thinks(row) for row in said[:, : self.tokens].tolist()], device=sampled.device)
        return sampled.masked_fill(thinking, self.closing[place]), logprobs.masked_fill(thinking, 0.0)

    def forced(self, ids: np.ndarray) -> np.ndarray | None:
        """[T] bool, which tokens of a message were put there; None: none."""
        if len(ids) <= self.tokens or not self.thinks(ids[: self.tokens].tolist()):
            return None
        places = np.arange(len(ids)) - self.tokens
        return (places >= 0) & (places < len(self.closing))
