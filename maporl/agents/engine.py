"""What samples messages: token ids and the log-probabilities of the distribution sampled from, behind one small interface."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from maporl.agents.backbone import Tokens
from maporl.agents.memory import out_of_memory, release
from maporl.agents.prefix_trees import in_order
from maporl.agents.sampling import Sampling

__all__ = ["Engine", "Sampled"]


@dataclass(frozen=True)
class Sampled:
    """One sampled message: ids [T] int64 with its EOS token if there was one, logprobs [T] float32."""

    ids: np.ndarray
    logprobs: np.ndarray
    truncated: bool


class Engine(ABC):
    """Samples messages, in as few batches as memory allows; when it runs out, batches are halved, and nothing is lost.

    Args:
        eos_ids: Any of these ends a message.
        pad_id: Fills the left of shorter prompts; masked out.
        device: Where it samples.
        max_batch_tokens: Prompt and new tokens of one batch, padding included.
    """

    def __init__(self, eos_ids: frozenset[int], pad_id: int, device: torch.device, max_batch_tokens: int) -> None:
        self.eos_ids, self.pad_id, self.device = eos_ids, pad_id, device
        self.max_batch_tokens = max_batch_tokens

    @abstractmethod
    def sample(
        self, adapter: str | None, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One batch, sorted by length."""

    def end(self) -> None:  # noqa: B027
        """All batches of a call are sampled."""

    def forget(self) -> bool:
        """Drop what is kept for later calls: no prompt will go on from an earlier one. Was there anything?"""
        return False

    @torch.inference_mode()
    def generate(
        self, adapter: str | None, prompts: Sequence[Tokens], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One message for every prompt.

        Args:
            adapter: Who speaks; None is the base model.
            prompts: Token ids, one sequence a message.
            sampling: Temperature, filters and longest message.
            uniforms: [B, max_new_tokens] in [0, 1), a row's own random stream; None decodes greedily.

        Raises:
            FloatingPointError: The model's logits are not numbers.
            MemoryError: A single message does not fit.
        """
        arrays = {i: np.asarray(p, np.int64) for i, p in enumerate(prompts)}
        # By length, for the sake of padding; equal prompts and those with a long common prefix next to each other.
        pending = sorted(in_order(arrays), key=lambda i: len(arrays[i]))
        results: dict[int, Sampled] = {}
        while pending:
            tokens = [len(arrays[i]) + sampling.max_new_tokens for i in pending]
            rows = 1
            while rows < len(pending) and (rows + 1) * tokens[rows] <= self.max_batch_tokens:
                rows += 1
            now = pending[:rows]
            try:
                found = self.sample(
                    adapter, [arrays[i] for i in now], sampling, None if uniforms is None else uniforms[now]
                )
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                room = self.forget()
                if not room and rows == 1:
                    raise MemoryError(
                        f"one message of up to {tokens[0]} tokens does not fit into memory; lower max_new_tokens, or use a smaller "
                        "model or dtype."
                    ) from error
            else:
                results.update(zip(now, found, strict=True))
                pending = pending[rows:]
                continue
            # Outside of `except`, which holds on to the failed batch's tensors.
            release(self.device)
            if not room:  # else it may fit without what was kept
                self._halve(rows * tokens[rows - 1])
        self.end()
        _check_numbers(list(results.values()), adapter)
        return [results[i] for i in range(len(prompts))]

    def _halve(self, tokens: int) -> None:
        self.max_batch_tokens = max(min(tokens, self.max_batch_tokens) // 2, 1)
        warnings.warn(
            f"out of memory while sampling {tokens} tokens at once: from now on at most {self.max_batch_tokens} "
            "(max_batch_tokens). No message is lost.",
            stacklevel=4,
        )


def _check_numbers(sampled: Sequence[Sampled], adapter: str | None) -> None:
    """Raise a FloatingPointError if a log-prob is no number."""
    broken = sum(not np.isfinite(s.logprobs).all() for s in sampled)
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(sampled)} messages of {adapter or 'the base model'!r} were sampled from logits that are no numbers: its "
            "weights have diverged, or overflow in 16 bit. Go on from an earlier checkpoint with a lower learning_rate, or use "
            "--dtype bfloat16 or float32."
        )
