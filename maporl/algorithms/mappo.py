"""MAPPO: centralised critics, which read the joint state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maporl.agents.agent import Learner
from maporl.agents.models.critic import Critic
from maporl.agents.team import Team
from maporl.agents.trainable import Trainable
from maporl.algorithms.algorithm import check
from maporl.algorithms.batch import learner_of
from maporl.algorithms.ppo import PPO, Place
from maporl.errors import UserValueError
from maporl.types import Episode, Turn

__all__ = ["MAPPO"]

CRITICS: dict[str, Callable[[str, int, int], str]] = {
    "per_base": lambda agent, r, base: f"critic_{base}",
    "per_agent": lambda agent, r, base: f"critic_{agent}",
    "per_agent_round": lambda agent, r, base: f"critic_{agent}_round_{r + 1}",
}
"""(agent, round, number of its base model) -> the critic that judges what is said there."""


class MAPPO(PPO):
    """Multi-agent PPO (Yu et al. 2103.01955) for language models: V(joint state, own tokens so far).

    The joint state holds all private views and every message settled before the turn, never the turn itself, a simultaneous or a
    later one.

    Args:
        team: See `PPO`, like every argument not named here.
        critics: "per_base": one critic for all agents on a base model, since a critic shares its base's tokenizer. "per_agent": one for
            each agent. "per_agent_round": one for each agent and round (MAPoRL 2502.18439, section 4). All read the same joint state.
    """

    reads_state = True

    def __init__(self, team: Team, *, critics: str = "per_base", **settings: Any) -> None:
        check(critics in CRITICS, "critics", critics, f"use one of {list(CRITICS)}")
        self._sharing = critics
        super().__init__(team, **settings)

    def make_critics(self, seed: int) -> dict[str, Critic]:
        bases = _policies(self.team)
        self._names: dict[tuple[str, int], str] = {}  # seat -> its critic
        made: dict[str, Critic] = {}
        for agent, r in self.team.seats:
            learner = self.team.learner(agent, r)
            if learner is None:
                continue
            name = CRITICS[self._sharing](agent, r, bases.index(learner.policy))
            if name not in made:
                made[name] = Critic(learner.policy, name, seed=seed + len(made))
            elif made[name].policy is not learner.policy:
                raise UserValueError(
                    f"critics is {self._sharing!r}, but {agent!r} speaks with several base models, and a critic belongs to one: use "
                    "'per_base' or 'per_agent_round'."
                )
            self._names[agent, r] = name
        return made

    def critic_of(self, turn: Turn) -> str:
        return self._names[self.team.seat(*turn.seat)]

    def contexts(self, episodes: Sequence[Episode], places: Sequence[Place]) -> dict[Place, np.ndarray]:
        spoken: dict[Learner, list[Place]] = {}
        for n, i in places:
            spoken.setdefault(learner_of(self.team, episodes[n].transcript.turns[i]), []).append((n, i))
        contexts: dict[Place, np.ndarray] = {}
        for learner, mine in spoken.items():
            contexts.update(zip(mine, learner.encode([episodes[n].state(i) for n, i in mine]), strict=True))
        return contexts


def _policies(team: Team) -> list[Trainable]:
    """The distinct bases of the team's learners, in seating order."""
    return list(dict.fromkeys(agent.policy for agent in team.learners.values()))
