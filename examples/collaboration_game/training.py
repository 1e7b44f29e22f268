"""Small policies in the collaboration game: both learn, or one of them beside a frozen partner."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from examples.collaboration_game.games import play_games
from maporl.agents import Team
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.algorithms import IPPO, MAPPO
from maporl.algorithms.ppo import PPO
from maporl.envs.collaboration_game import COLLABORATE, GameRules
from maporl.envs.collaboration_oracles import play

__all__ = ["CO_TRAIN", "LEARNERS", "TRAIN_ONE", "Point", "Recipe", "Training", "train"]

CO_TRAIN, TRAIN_ONE = "co-train", "train-one"


@dataclass(frozen=True)
class Recipe:
    """Who learns how.

    Attributes:
        title: For people.
        algorithm: The class.
        hidden_units: Of a network; None is a table over (round, count).
        learning_rate, critic_learning_rate: AdamW's, constant. A table's entry moves by at most about one such rate a step.
        normalise_advantages: See `PPO`. None leaves the policy gradient as it is, as the exact ascent has it.
    """

    title: str
    algorithm: type[PPO]
    hidden_units: int | None = None
    learning_rate: float = 0.05
    critic_learning_rate: float = 0.5
    normalise_advantages: str | None = None


LEARNERS: Mapping[str, Recipe] = {
    "ippo": Recipe("IPPO, table", IPPO),
    "mappo": Recipe("MAPPO, table", MAPPO),
    "ippo_whitened": Recipe("IPPO, table, whitened advantages", IPPO, normalise_advantages="round"),
    "ippo_network": Recipe("IPPO, network", IPPO, hidden_units=32, learning_rate=0.01, critic_learning_rate=0.01),
}


@dataclass(frozen=True)
class Training:
    """One training: a function of these values alone.

    Attributes:
        rules: The game, of two agents.
        learner: A word of `LEARNERS`.
        mode: "co-train" (each agent learns a policy of its own) or "train-one" (agent_0 learns, agent_1 stays as it was).
        start: Both agents' probability of collaborating at the beginning, in every state.
        seed: Of sampling, minibatches and networks.
        num_iterations: Updates.
        num_games: Sampled for each update.

    Raises:
        ValueError: Another number of agents, an unknown word, or a number out of its range.
    """

    rules: GameRules
    learner: str
    mode: str
    start: float
    seed: int
    num_iterations: int
    num_games: int

    def __post_init__(self) -> None:
        if self.rules.num_agents != 2:
            raise ValueError(f"num_agents is {self.rules.num_agents}; the comparison is of two agents.")
        for name, known in (("learner", LEARNERS), ("mode", (CO_TRAIN, TRAIN_ONE))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; use one of: {', '.join(known)}.")
        if not 0 < self.start < 1:
            raise ValueError(f"start {self.start} must be strictly between 0 and 1: a certain policy has no gradient.")
        for name in ("num_iterations", "num_games"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")


class Point(NamedTuple):
    """The agents after some updates; computed from their policies, not sampled.

    Attributes:
        iteration: Updates so far.
        early_collaboration: See `maporl.envs.collaboration_oracles.Play`; of agent_0, or the mean over both agents if both learn.
        synergy: P(synergy in the last round).
        value: Expected return, of the same agents.
    """

    iteration: int
    early_collaboration: float
    synergy: float
    value: float


def train(training: Training) -> list[Point]:
    """The agents before training, and after every update."""
    team = make_team(training)
    algorithm = make_algorithm(training, team)
    points = [_measured(training, team, 0)]
    with warnings.catch_warnings():  # a team that never collaborates any more earns the same in every round
        warnings.filterwarnings("ignore", message="all .* rewards of this update are", category=UserWarning)
        for iteration in range(training.num_iterations):
            seed = (training.seed, iteration)
            algorithm.update(play_games(training.rules, team, training.num_games, seed=seed))
            points.append(_measured(training, team, iteration + 1))
    return points


def make_team(training: Training) -> Team:
    """Two agents on one base that collaborates with probability `start`; a frozen partner is that base itself."""
    rules, learner = training.rules, LEARNERS[training.learner]
    shape = (rules.num_rounds, rules.max_count + 1)
    policy = SmallPolicy(shape, (training.start, 1 - training.start), hidden_units=learner.hidden_units)
    names = ("agent_0", "agent_1" if training.mode == CO_TRAIN else None)
    seats = [SmallAgent(policy, name, seed=1000 * training.seed + seat) for seat, name in enumerate(names)]
    return Team({(f"agent_{seat}", 0): agent for seat, agent in enumerate(seats)})


def make_algorithm(training: Training, team: Team) -> PPO:
    """PPO as in every other run but for what has no meaning here: no KL to a base that is only a beginning, values without clip, for
    returns are not within 0 and 1."""
    learner = LEARNERS[training.learner]
    return learner.algorithm(
        team,
        num_updates=training.num_iterations,
        learning_rate=learner.learning_rate,
        critic_learning_rate=learner.critic_learning_rate,
        lr_schedule="constant",
        normalise_advantages=learner.normalise_advantages,
        vf_clip_range=None,
        kl_coef=0.0,
        microbatch_tokens=1_000_000,
        seed=training.seed,
    )


def _measured(training: Training, team: Team, iteration: int) -> Point:
    tables = [_table(team.member(agent, 0)) for agent in team.agents]
    pairs = [(tables[0], tables[1]), (tables[1], tables[0])][: 1 if training.mode == TRAIN_ONE else 2]
    plays = [play(training.rules, own, partner) for own, partner in pairs]
    return Point(
        iteration,
        float(np.mean([p.early_collaboration for p in plays])),
        float(plays[0].synergy[-1]),
        float(np.mean([p.value for p in plays])),
    )


def _table(member: Any) -> np.ndarray:
    """[T, K+1]: P(collaborate)."""
    table: np.ndarray = member.policy.table(member.adapter)[..., COLLABORATE]
    return table
