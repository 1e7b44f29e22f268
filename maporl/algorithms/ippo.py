"""Independent PPO: every learner has a critic of its own, which reads what the agent itself was shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents.critic import Critic
from maporl.algorithms.batch import learner_of
from maporl.algorithms.ppo import PPO, Place
from maporl.types import Episode, Turn

__all__ = ["IPPO"]


class IPPO(PPO):
    """Independent PPO (de Witt et al. 2011.09533) for language models: V(own observation, own tokens so far)."""

    def make_critics(self, seed: int) -> dict[str, Critic]:
        return {
            f"critic_{name}": Critic(agent.policy, f"critic_{name}", seed=seed + index)
            for index, (name, agent) in enumerate(self.team.learners.items())
        }

    def critic_of(self, turn: Turn) -> str:
        return f"critic_{learner_of(self.team, turn).adapter}"

    def contexts(self, episodes: Sequence[Episode], places: Sequence[Place]) -> dict[Place, np.ndarray]:
        turns = {(n, i): episodes[n].transcript.turns[i] for n, i in places}
        return {place: turn.completion.prompt_ids for place, turn in turns.items() if turn.completion is not None}
