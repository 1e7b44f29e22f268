"""The fast path changes how long training takes, not what it does: the same runs with and without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from toy_models import weights

from maporl import registry
from maporl.algorithms.training import learn
from maporl.envs.arithmetic import Arithmetic
from maporl.types import Question


def digits(question: Question, response: str) -> float:
    """A reward that random messages earn in different measure."""
    return sum(c.isdigit() for c in response) / (1 + len(response))


@pytest.mark.parametrize("name", ["mappo", "ippo", "magrpo"])
@pytest.mark.parametrize("sharing", ["per_agent", "shared"])
def test_training_is_what_it_is_the_plain_way(make_team: Callable, name: str, sharing: str) -> None:
    env = Arithmetic(num_agents=2, num_rounds=2, verifier=digits, shaping="own_score")
    runs = []
    for sampler in ("in_process", "reference"):
        team = make_team(2, 2, sharing=sharing, base={"sampler": sampler})
        if sampler == "reference":  # one message after the other, without trees, cache or chunks
            assert team.policies[0].backbone.exact
            team.policies[0].backbone.output = None
        group = {"group_size": 4} if name == "magrpo" else {}
        algorithm = registry.load("algorithm", name)(team, learning_rate=3e-3, num_epochs=1, **group)
        metrics = list(learn(env, team, algorithm, num_iterations=3, episodes_per_iteration=8, seed=1))
        runs.append((metrics, torch.cat([weights(team.policies[0], n) for n in team.learners])))
    (fast, fast_weights), (plain, plain_weights) = runs
    for one, other in zip(fast, plain, strict=True):
        assert one["rollout/reward_mean"] == pytest.approx(
            other["rollout/reward_mean"], abs=1e-6
        )  # the very same messages
        for key in ("train/policy_loss", "train/entropy", *(k for k in one if k.startswith("train/grad_norm"))):
            assert one[key] == pytest.approx(other[key], rel=2e-2, abs=1e-4), key
    assert (fast_weights - plain_weights).abs().max() < 2e-3 * fast_weights.abs().max()
