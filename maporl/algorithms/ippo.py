"""Independent PPO: every learner has a critic of its own, which reads what the agent itself was shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents.critic import Critic
from maporl.algorithms.ppo import PPO
from maporl.types import Step

__all__ = ["IPPO"]


class IPPO(PPO):
    """Independent PPO (de Witt et al. 2011.09533) for language models: V(own observation, own tokens so far)."""

    def make_critics(self, seed: int) -> dict[str, Critic]:
        return {
            f"critic_{name}": Critic(agent.policy, f"critic_{name}", seed=seed + index)
            for index, (name, agent) in enumerate(self.team.learners.items())
        }

    def critic_of(self, step: Step) -> str:
        return f"critic_{self.learner_of(step).adapter}"

    def contexts_of(self, steps: Sequence[Step]) -> list[np.ndarray]:
        return [step.completion.prompt_ids for step in steps]
