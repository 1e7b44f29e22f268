"""Critics: value models of what a message will earn."""

from __future__ import annotations

from maporl.agents.models.value_model import ValueModel
from maporl.agents.trainable import Trainable

__all__ = ["Critic"]


class Critic(ValueModel):
    """V(context, completion[:t]) for every t, from a new adapter of the policy's base; 0 everywhere at first.

    Args:
        policy: Lends its base model and tokenizer.
        name: Of the adapter that is added.
        seed: Of the adapter's initial weights.
    """

    def __init__(self, policy: Trainable, name: str, *, seed: int = 0) -> None:
        policy.add_adapter(name, seed=seed)
        super().__init__(policy, name)
