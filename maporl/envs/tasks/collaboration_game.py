"""The collaboration game: working together pays only if enough of it has been done, and doing it costs.

| specification | |
|---|---|
| agents | ``agent_0`` ... ``agent_{A-1}`` (A >= 2), or ``agent_0`` alone among simulated opponents |
| action | 0 collaborates, 1 acts independently; simultaneous, nobody sees a choice of the round in progress |
| observation | (round from 0, count of collaborative actions in completed rounds): the same for everybody, and the state |
| reward | r_syn once the count has reached the threshold; before that r_col for action 0 and r_ind for action 1 |
| end | after T rounds everybody terminates together; nothing is ever truncated |
| source | MAPoRL (Park et al., arXiv 2502.18439), section 2, with the corrections of docs/collaboration_game.md |

`maporl.envs.tasks.collaboration_oracles` computes what rational, noisy and learning players do in it, exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import aec_to_parallel

from maporl.envs.rendering import check_render_mode, print_any
from maporl.errors import UserValueError

__all__ = ["COLLABORATE", "EFFECTS", "INDEPENDENT", "CollaborationGame", "GameRules"]

COLLABORATE, INDEPENDENT = 0, 1
EFFECTS = ("next_round", "same_round")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GameRules:
    """Who plays how long for what. The defaults are the game in which co-training and a best response part.

    Args:
        num_agents: A, at least 2, simulated opponents included.
        num_rounds: T.
        threshold: C, the count of collaborative actions, of all agents and rounds, from which there is synergy.
        r_col: Reward of a collaborative action before synergy; less than `r_ind`.
        r_ind: Reward of an independent action before synergy.
        r_syn: Reward of any action under synergy.
        effect: "next_round": synergy rules a round if the count had reached the threshold at its start (the paper).
            "same_round": the collaborative actions of the round itself count too.

    Raises:
        ValueError: A number out of its range, ``r_col >= r_ind``, or an unknown effect.
    """

    num_agents: int = 2
    num_rounds: int = 10
    threshold: int = 14
    r_col: float = 0.3
    r_ind: float = 0.5
    r_syn: float = 1.0
    effect: str = "next_round"

    def __post_init__(self) -> None:
        for name, lowest in (("num_agents", 2), ("num_rounds", 1), ("threshold", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise UserValueError(f"{name} {value!r} must be a whole number, at least {lowest}.")
        for name in ("r_col", "r_ind", "r_syn"):
            if not math.isfinite(getattr(self, name)):
                raise UserValueError(f"{name} {getattr(self, name)!r} must be a finite number.")
        if self.r_col >= self.r_ind:
            raise UserValueError(f"r_col {self.r_col} must be less than r_ind {self.r_ind}: collaborating costs.")
        if self.effect not in EFFECTS:
            raise UserValueError(f"unknown effect {self.effect!r}; one of: {', '.join(EFFECTS)}.")

    @property
    def max_count(self) -> int:
        """K = A T: everybody collaborated in every round."""
        return self.num_agents * self.num_rounds

    def next_counts(self) -> NDArray[np.int64]:
        """[K+1, 2, A]: the count after a round that began with count k, in which one did a, and j of the others collaborated.

        Cut off at K; counts that would go beyond cannot occur in T rounds.
        """
        counts, actions, others = np.ogrid[: self.max_count + 1, :2, : self.num_agents]
        return np.minimum(counts + (actions == COLLABORATE) + others, self.max_count)

    def rewards(self) -> Array:
        """[K+1, 2, A]: what one earns in such a round."""
        counts, actions, _ = np.ogrid[: self.max_count + 1, :2, : self.num_agents]
        after = self.next_counts()
        reached = (after if self.effect == "same_round" else np.broadcast_to(counts, after.shape)) >= self.threshold
        return np.where(reached, self.r_syn, np.where(actions == COLLABORATE, self.r_col, self.r_ind))

    def table(self, policy: float | Array) -> Array:
        """[T, K+1]: a policy as the probability of collaborating in (round, count), from one probability or such a table.

        Raises:
            ValueError: Another shape, or something that is no probability.
        """
        shape = (self.num_rounds, self.max_count + 1)
        given = np.asarray(policy, dtype=np.float64)
        if given.shape not in ((), shape):
            raise UserValueError(
                f"a policy table has shape {shape} (round, count), this one {given.shape}; or give one number."
            )
        if not ((given >= 0) & (given <= 1)).all():
            raise UserValueError("a policy must hold probabilities of collaborating, numbers from 0 to 1.")
        return np.broadcast_to(given, shape)


class CollaborationGame(AECEnv[str, NDArray[np.int64], int]):
    """The game of the card above.

    Args:
        opponents: "learner": every agent is an agent of the environment. Otherwise there is ``agent_0`` alone, and the
            other A-1 all play this policy: the probability of collaborating, or a table of it (`GameRules.table`), such as
            `best_response(rules, 0.6)` or `quantal_response(rules, tau=0.1)` of the oracles.
        render_mode: "human" prints the game as it goes, "ansi" makes `render` return it.
        max_cycles: PettingZoo's name for `num_rounds`; overrides it.
        **rules: The fields of `GameRules`.

    Attributes:
        rules: The `GameRules`.

    Raises:
        ValueError: Rules or opponents that make no sense, or an action that is not 0 or 1.
    """

    metadata: dict[str, Any] = {
        "name": "collaboration_game",
        "render_modes": ["human", "ansi"],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        *,
        opponents: str | float | Array = "learner",
        render_mode: str | None = None,
        max_cycles: int | None = None,
        **rules: Any,
    ) -> None:
        super().__init__()
        self.rules = GameRules(**rules)
        if max_cycles is not None:
            self.rules = replace(self.rules, num_rounds=max_cycles)
        self._opponents = None if isinstance(opponents, str) else self.rules.table(opponents)
        if isinstance(opponents, str) and opponents != "learner":
            raise UserValueError(f"unknown opponents {opponents!r}; 'learner', a probability, or a table of them.")
        self.possible_agents = [
            f"agent_{i}" for i in range(1 if self._opponents is not None else self.rules.num_agents)
        ]
        self.agents = list(self.possible_agents)
        self.render_mode = check_render_mode(render_mode)
        self.state_space = self._space()
        # One object per agent, for seeding an agent's space must not move another's.
        self._observation_spaces = {agent: self._space() for agent in self.agents}
        self._action_spaces = {agent: gymnasium.spaces.Discrete(2) for agent in self.agents}
        self._rewards = self.rules.rewards()
        self._rng: np.random.Generator | None = None

    def _space(self) -> gymnasium.spaces.MultiDiscrete:
        # The last round is seen after the end only.
        return gymnasium.spaces.MultiDiscrete([self.rules.num_rounds + 1, self.rules.max_count + 1])

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start a game. `seed` starts the opponents' draws, now and at later resets; there are no options."""
        if seed is not None or self._rng is None:
            self._rng, _ = seeding.np_random(seed)
        self.round, self.count = 0, 0
        self._chosen: dict[str, int] = {}
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._skip_agent_selection = None
        self.agent_selection = self.agents[0]
        self._lines = [f"{self.rules}"]
        self._printed = 0
        if self.render_mode == "human":
            self.render()

    def observe(self, agent: str) -> NDArray[np.int64]:
        """[2]: (round in progress, count of collaborative actions in the completed ones)."""
        return self.state()

    def state(self) -> NDArray[np.int64]:
        """What everybody observes: the count is common knowledge."""
        self._check_started()
        return np.array([self.round, self.count], dtype=np.int64)

    def step(self, action: int | None) -> None:
        """The selected agent's choice (None once it is finished, as PettingZoo asks); the last one's plays the round."""
        self._check_started()
        if not self.agents:
            raise RuntimeError("the game is over; call reset().")
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        if not self.action_space(agent).contains(action):
            raise UserValueError(
                f"an action is {COLLABORATE} (collaborate) or {INDEPENDENT} (independent), not {action!r}."
            )
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self._chosen[agent] = int(action)  # type: ignore[arg-type]
        if len(self._chosen) == len(self.agents):
            self._play_round()
        self.agent_selection = self.agents[len(self._chosen)]
        self._accumulate_rewards()

    def _play_round(self) -> None:
        collaborators = list(self._chosen.values()).count(COLLABORATE) + self._drawn()
        for agent, action in self._chosen.items():
            others = collaborators - (action == COLLABORATE)
            self.rewards[agent] = float(self._rewards[self.count, action, others])
        self.count += collaborators
        self.round += 1
        self._chosen = {}
        self.terminations = dict.fromkeys(self.agents, self.round == self.rules.num_rounds)
        earned = ", ".join(f"{agent} {reward:g}" for agent, reward in self.rewards.items())
        self._lines.append(f"[round {self.round}] {collaborators} collaborated, {self.count} so far; earned: {earned}")
        if self.render_mode == "human":
            self.render()

    def _drawn(self) -> int:
        """How many of the simulated opponents collaborate."""
        if self._opponents is None:
            return 0
        assert self._rng is not None
        return int(self._rng.binomial(self.rules.num_agents - 1, self._opponents[self.round, self.count]))

    def _check_started(self) -> None:
        if self._rng is None:
            raise RuntimeError("there is no game yet; call reset() first.")

    def render(self) -> str | None:
        """ "ansi" returns the whole game; "human" prints what has not been printed yet."""
        self._check_started()
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without a render_mode; pass render_mode='human' or 'ansi'.")
            return None
        if self.render_mode == "ansi":
            return "\n".join(self._lines)
        news, self._printed = self._lines[self._printed :], len(self._lines)
        if news:
            print_any("\n".join(news))
        return None

    def close(self) -> None:
        """Nothing is held open; here because PettingZoo asks for it beside `render`."""

    def parallel(self) -> ParallelEnv[str, NDArray[np.int64], int]:
        """The same game through PettingZoo's parallel interface."""
        return aec_to_parallel(self)

    @classmethod
    def env(cls, **arguments: Any) -> CollaborationGame:
        """PettingZoo's ``module.env(...)``."""
        return cls(**arguments)

    @classmethod
    def parallel_env(cls, **arguments: Any) -> ParallelEnv[str, NDArray[np.int64], int]:
        """PettingZoo's ``module.parallel_env(...)``."""
        return cls(**arguments).parallel()
