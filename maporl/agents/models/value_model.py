"""A language model that gives a number instead of tokens: a LoRA adapter on a policy's base, and a scalar head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maporl.agents.models.prefix_trees import Packed
from maporl.agents.trainable import Trainable

__all__ = ["ValueHead", "ValueModel"]


class ValueHead(nn.Linear):
    """Last hidden states [..., H] -> one float32 number each [...], also under a 16-bit base."""

    def __init__(self, hidden_size: int, *, bias: bool = True) -> None:
        super().__init__(hidden_size, 1, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden.float()).squeeze(-1)


class ValueModel:
    """A number for every prefix of a completion: what critics and learned verifiers are.

    Args:
        policy: Lends its base model and tokenizer, and has the adapter.
        adapter: Its name.
        bias: Whether the head has one. All of the head is zero at first.
    """

    def __init__(self, policy: Trainable, adapter: str, *, bias: bool = True) -> None:
        self.policy, self.adapter = policy, adapter
        self.head = ValueHead(policy.hidden_size, bias=bias).to(policy.device)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def values(self, packed: Packed) -> Tensor:
        """[M] float32, one before each completion token: it has read the prompt and the tokens before, never the token."""
        return self.head(self.policy.hidden(self.adapter, packed))

    def parameters(self) -> list[nn.Parameter]:
        return [*self.policy.parameters(self.adapter), *self.head.parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        return {str(i): p.detach().cpu().clone() for i, p in enumerate(self.parameters())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(state[str(i)])
