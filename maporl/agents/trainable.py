"""What algorithms and critics ask of a policy: adapters by name, and log-probs and features of whole messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from maporl.agents.models.prefix_trees import Packed

__all__ = ["Trainable", "put_weights", "weights_of"]


class Trainable(Protocol):
    """`Policy` (a language model with LoRA adapters) is one, `SmallPolicy` (a table or a small network) another.

    A message is conditioned on a prompt, token ids ``[P]``, and is a completion, token ids ``[T]``. The adapter name None means
    the base, which is never trained.
    """

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of all adapters, those of critics included."""

    @property
    def device(self) -> torch.device:
        """Where log-probs and hidden states come out."""

    @property
    def hidden_size(self) -> int:
        """H of `hidden`."""

    @property
    def context_window(self) -> int:
        """Longest prompt and completion together, in tokens."""

    @property
    def rounds_alike(self) -> bool:
        """Whether `logprobs` are those of sampling up to float32's rounding: else they are computed again before an update."""

    def add_adapter(self, name: str, *, seed: int = 0) -> None:
        """Add an adapter that starts as the base."""

    def parameters(self, adapter: str) -> list[nn.Parameter]:
        """Exactly the parameters of one adapter."""

    def pack(
        self, rows: np.ndarray, prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray], token_budget: int
    ) -> list[Packed]:
        """The messages `rows` as passes of at most `token_budget` tokens."""

    def logprobs(
        self, adapter: str | None, packed: Packed, temperature: float, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs [M] float32 of the completion tokens of a pass, and the entropies [M] if asked for."""

    def hidden(self, adapter: str | None, packed: Packed) -> Tensor:
        """Features [M, H] float32 of what precedes each completion token."""


def weights_of(policies: Mapping[str, Trainable]) -> dict[str, list[Tensor]]:
    """Copies of adapters' weights on the CPU, for a checkpoint: adapter -> tensors.

    Args:
        policies: Adapter -> whose it is.
    """
    return {name: [p.detach().cpu().clone() for p in policy.parameters(name)] for name, policy in policies.items()}


@torch.no_grad()
def put_weights(policies: Mapping[str, Trainable], weights: Mapping[str, Sequence[Tensor]]) -> None:
    """Put back what `weights_of` gave."""
    for name, policy in policies.items():
        for parameter, saved in zip(policy.parameters(name), weights[name], strict=True):
            parameter.copy_(saved)
