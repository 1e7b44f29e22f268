"""REINFORCE with a running mean as baseline (Williams 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maporl.agents import Team
from maporl.algorithms import PolicyGradient
from maporl.algorithms.algorithm import Update
from maporl.algorithms.batch import TurnBatch
from maporl.types import Episode

__all__ = ["MyAlgorithm"]


class MyAlgorithm(PolicyGradient):
    """REINFORCE: the log-probability of every message, weighted by its reward minus a running mean of rewards.

    Args:
        team: Who is trained.
        decay: Share of the baseline that an iteration keeps.
        **settings: Of `PolicyGradient`: learning_rate, num_minibatches, kl_coef ...
    """

    def __init__(self, team: Team, *, decay: float = 0.9, **settings: Any) -> None:
        super().__init__(team, clip_range=None, **settings)
        self.decay, self.baseline = decay, 0.0

    def update(self, episodes: Sequence[Episode]) -> Update:
        batch = TurnBatch.collect(episodes, self.team)
        update = self.improve(batch, batch.rewards - self.baseline)
        self.baseline = self.decay * self.baseline + (1 - self.decay) * float(batch.rewards.mean())
        update.metrics["train/baseline"] = self.baseline
        return update

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"baseline": self.baseline}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.baseline = state["baseline"]
