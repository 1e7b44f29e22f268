"""A critic: an adapter on the same base and one scalar head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maporl.agents.prefix_trees import Packed
from maporl.agents.trainable import Trainable

__all__ = ["Critic"]


class Critic:
    """V(context, completion[:t]) for every t, from a LoRA adapter of the policy's base and a linear head (zero at first).

    Args:
        policy: Lends its base model and tokenizer.
        name: Of the adapter.
        seed: Of the adapter's initial weights.
    """

    def __init__(self, policy: Trainable, name: str, *, seed: int = 0) -> None:
        self.policy, self.name = policy, name
        policy.add_adapter(name, seed=seed)
        self.head = nn.Linear(policy.hidden_size, 1).to(policy.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def values(self, packed: Packed) -> Tensor:
        """[M] float32, one before each completion token: it has read the context and the tokens before, never the token."""
        return self.head(self.policy.hidden(self.name, packed)).squeeze(-1)

    def parameters(self) -> list[nn.Parameter]:
        return [*self.policy.parameters(self.name), *self.head.parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        return {str(i): p.detach().cpu().clone() for i, p in enumerate(self.parameters())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(state[str(i)])
