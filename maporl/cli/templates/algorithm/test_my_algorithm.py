"""What is rewarded becomes likelier, and an interrupted run goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from my_algorithm import MyAlgorithm

from maporl import RunConfig
from maporl.agents import Team
from maporl.rollouts.play import rollout
from maporl.types import Episode

CONFIG = RunConfig(env="two_witnesses", model="embedded", team="shared", max_new_tokens=14, device="cpu")
ENV = CONFIG.build_env()


def discussions(team: Team, seed: int) -> list[Episode]:
    """Of two questions, eight each, in which an answer earns its digit: nine for a 9."""
    episodes = rollout(ENV, team, ENV.questions("train")[:2], seed=seed, branching=(8,))
    return [replace(episode, rewards=tuple(map(digit, episode.transcript.turns))) for episode in episodes]


def digit(turn: object) -> float:
    last = getattr(turn, "text", "").strip()[-1:]
    return float(last) if last.isdigit() else 0.0


def test_what_is_rewarded_becomes_likelier() -> None:
    team = CONFIG.build_team(ENV)
    algorithm = MyAlgorithm(team, learning_rate=5e-3, decay=0.5)
    earned = []
    for seed in range(8):
        episodes = discussions(team, seed)
        earned.append(np.mean([episode.rewards for episode in episodes]))
        algorithm.update(episodes)
    assert np.mean(earned[-2:]) > np.mean(earned[:2]) + 1
    assert algorithm.baseline == pytest.approx(sum(0.5 ** (8 - k) * mean for k, mean in enumerate(earned)), rel=1e-4)


def test_its_state_comes_back() -> None:
    teams = [CONFIG.build_team(ENV) for _ in range(2)]
    one, other = (MyAlgorithm(team, learning_rate=1e-3) for team in teams)
    one.update(discussions(teams[0], 0))
    other.load_state_dict(one.state_dict())
    assert one.update(discussions(teams[0], 1)) == other.update(discussions(teams[1], 1))
    assert one.baseline == other.baseline > 0
