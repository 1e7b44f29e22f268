"""MAPPO: one centralised critic, which reads the joint state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents.critic import Critic
from maporl.algorithms.algorithm import policies
from maporl.algorithms.ppo import PPO
from maporl.types import Step

__all__ = ["MAPPO"]


class MAPPO(PPO):
    """Multi-agent PPO (Yu et al. 2103.01955) for language models: V(joint state, own tokens so far).

    The joint state holds all private views and every message settled before the turn, never the turn itself, a simultaneous or a
    later one. A team on several base models has one critic per base, since a critic shares its base's tokenizer.
    """

    reads_state = True

    def make_critics(self, seed: int) -> dict[str, Critic]:
        self._names = {policy: f"critic_{index}" for index, policy in enumerate(policies(self.team))}
        return {name: Critic(policy, name, seed=seed + i) for i, (policy, name) in enumerate(self._names.items())}

    def critic_of(self, step: Step) -> str:
        return self._names[self.learner_of(step).policy]

    def contexts_of(self, steps: Sequence[Step]) -> list[np.ndarray]:
        contexts: dict[int, np.ndarray] = {}
        for learner in self.team.learners.values():
            mine = [n for n, step in enumerate(steps) if self.learner_of(step) is learner]
            contexts.update(zip(mine, learner.encode([steps[n].state for n in mine]), strict=True))
        return [contexts[n] for n in range(len(steps))]
