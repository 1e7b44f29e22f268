"""Credit against numbers worked out by hand, and identities that hold for any numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.algorithms.advantages import (
    chain_tokens,
    chain_turns,
    gae,
    group_advantages,
    normalise,
    returns_to_go,
)


def tensor(rows: list) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def near(expected: list) -> object:
    return pytest.approx(np.array(expected), abs=1e-6)


def test_gae_by_hand() -> None:
    # delta = (1 + .9 * 2 - 1, 0 + .9 * 3 - 2, 2 - 3) = (1.8, .7, -1); A_2 = -1; A_1 = .7 - .45; A_0 = 1.8 + .45 * .25
    advantages = gae(tensor([[1, 0, 2]]), tensor([[1, 2, 3]]), tensor([[0.9, 0.9, 0.0]]), 0.5)
    assert advantages.numpy() == near([[1.9125, 0.25, -1.0]])


# Two messages of agent A (rows 0 and 2, three and two tokens) and one of B (row 1, one token).
REWARDS = tensor([[0, 0, 1], [2, 0, 0], [0, 3, 0]])
VALUES = tensor([[0.1, 0.2, 0.3], [0.5, 0, 0], [0.4, 0.6, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
CHAINS = [[0, 2], [1]]
GAPS = np.array([1, 0, 0])


def tokens(gamma_round: float, gae_lambda: float, gaps: np.ndarray = GAPS, gamma_token: float = 1.0) -> np.ndarray:
    discounts = dict(gamma_token=gamma_token, gamma_round=gamma_round, gae_lambda=gae_lambda)
    return chain_tokens(REWARDS, VALUES, MASK, CHAINS, gaps, **discounts).numpy()


def test_tokens_of_two_rounds_by_hand() -> None:
    # Row 2: A_1 = 3 - .6 = 2.4; A_0 = (.6 - .4) + .5 * 2.4 = 1.4.
    # Row 0, last token: 1 + .8 * .4 - .3 = 1.02, plus .8 * .5 * 1.4 = 1.58; then .1 + .5 * 1.58 = .89; .1 + .5 * .89 = .545.
    assert tokens(0.8, 0.5) == near([[0.545, 0.89, 1.58], [1.5, 0, 0], [1.4, 2.4, 0]])


def test_a_discount_inside_the_message_by_hand() -> None:
    # gamma_token .5, lambda 1: row 2: A_1 = 2.4, A_0 = .5 * .6 - .4 + .5 * 2.4 = 1.1; row 0: 1 - .3 + 0 = .7 with gamma_round 0;
    # .5 * .3 - .2 + .35 = .3; .5 * .2 - .1 + .15 = .15.
    assert tokens(0.0, 1.0, gamma_token=0.5) == near([[0.15, 0.3, 0.7], [1.5, 0, 0], [1.1, 2.4, 0]])


def test_without_a_bootstrap_every_message_ends_on_its_own() -> None:
    alone = chain_tokens(
        REWARDS, VALUES, MASK, [[0], [1], [2]], np.zeros(3, int), gamma_token=1.0, gamma_round=0.7, gae_lambda=0.95
    )
    assert tokens(0.0, 0.95) == near(alone.numpy())


def test_a_gap_over_a_frozen_message_is_discounted_twice() -> None:
    # With a frozen message of A between rows 0 and 2: .8^2 = .64 instead of .8.
    last = 1 + 0.64 * 0.4 - 0.3 + 0.64 * 0.5 * 1.4
    assert tokens(0.8, 0.5, np.array([2, 0, 0]))[0, 2] == pytest.approx(last)


def test_lambda_one_is_the_monte_carlo_return_minus_the_value() -> None:
    # Returns with gamma_round .8: row 2: 3 at both tokens; row 0: 1 + .8 * 3 = 3.4 at all three.
    returns = np.array([[3.4, 3.4, 3.4], [2, 0, 0], [3, 3, 0]])
    assert tokens(0.8, 1.0) == near(np.where(MASK, returns - VALUES.numpy(), 0))


def test_lambda_zero_is_the_one_step_difference() -> None:
    assert tokens(0.8, 0.0) == near([[0.1, 0.1, 1 + 0.8 * 0.4 - 0.3], [1.5, 0, 0], [0.2, 2.4, 0]])


def test_padding_of_any_content_is_not_read() -> None:
    rewards, values = REWARDS.clone(), VALUES.clone()
    rewards[~MASK], values[~MASK] = 77.0, -55.0
    spoiled = chain_tokens(rewards, values, MASK, CHAINS, GAPS, gamma_token=1.0, gamma_round=0.8, gae_lambda=0.5)
    assert spoiled.numpy() == near(tokens(0.8, 0.5))


def test_turns_by_hand() -> None:
    # delta_1 = 3 - .6; delta_0 = 1 + .8 * .6 - .2; A_0 = delta_0 + .8 * .5 * delta_1.
    turns = chain_turns(tensor([1, 2, 3]), tensor([0.2, 0.5, 0.6]), CHAINS, GAPS, gamma_round=0.8, gae_lambda=0.5)
    assert turns.numpy() == near([1.28 + 0.4 * 2.4, 1.5, 2.4])


def test_one_token_messages_make_tokens_and_turns_the_same() -> None:
    rewards, values = torch.randn(3), torch.randn(3)
    discounts = dict(gamma_round=0.7, gae_lambda=0.9)
    turns = chain_turns(rewards, values, CHAINS, GAPS, **discounts)
    one = torch.ones(3, 1, dtype=torch.bool)
    per_token = chain_tokens(rewards[:, None], values[:, None], one, CHAINS, GAPS, gamma_token=0.3, **discounts)
    assert torch.allclose(turns, per_token[:, 0])


def test_returns_to_go_by_hand_and_gamma_matters() -> None:
    rewards = tensor([1, 2, 3])
    assert returns_to_go(rewards, CHAINS, GAPS, 1.0).tolist() == [4, 2, 3]
    assert returns_to_go(rewards, CHAINS, GAPS, 0.5).tolist() == [2.5, 2, 3]
    assert returns_to_go(rewards, CHAINS, GAPS, 0.0).tolist() == [1, 2, 3]
    assert returns_to_go(rewards, CHAINS, np.array([2, 0, 0]), 0.5).tolist() == [1.75, 2, 3]
    three = returns_to_go(tensor([1, 1, 1]), [[0, 1, 2]], np.array([1, 1, 0]), 0.5)
    assert three.tolist() == [1.75, 1.5, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 10_000))
def test_monte_carlo_advantages_are_returns_minus_values(rewards: list[float], gamma: float, seed: int) -> None:
    values = torch.randn(len(rewards), generator=torch.Generator().manual_seed(seed))
    chain, gaps = [list(range(len(rewards)))], np.array([1] * (len(rewards) - 1) + [0])
    turns = chain_turns(tensor(rewards), values, chain, gaps, gamma_round=gamma, gae_lambda=1.0)
    returns = returns_to_go(tensor(rewards), chain, gaps, gamma)
    assert torch.allclose(turns, returns - values, atol=1e-5)


# -- group-relative advantages -----------------------------------------------------------------------------------------

GROUP = tensor([1, 2, 6, 0, 4])  # three samples of one group, two of another
KEYS = np.array([0, 0, 0, 1, 1])
EACH = np.arange(5)


def group(baseline: str, standardise: bool = False) -> np.ndarray:
    return group_advantages(GROUP, EACH, KEYS, baseline, standardise).numpy()


def test_baselines_by_hand() -> None:
    assert group("mean") == near([-2, -1, 3, -2, 2])
    assert group("leave_one_out") == near([1 - 4, 2 - 3.5, 6 - 1.5, 0 - 4, 4 - 0])
    assert group("max") == near([-5, -4, 0, -4, 0])
    assert group("none") == near([1, 2, 6, 0, 4])


def test_leave_one_out_is_the_mean_baseline_times_g_over_g_minus_one() -> None:
    size = np.array([3, 3, 3, 2, 2])
    assert group("leave_one_out") == near(group("mean") * size / (size - 1))


def test_standardised_means_by_the_deviation_of_the_groups_returns() -> None:
    std = np.array([1, 2, 6]).std()
    assert group("mean", True) == near([-2 / std, -1 / std, 3 / std, -1, 1])
    # What is left of leave-one-out is a constant factor per group: nothing that an adaptive optimizer sees.
    assert group("leave_one_out", True) == near([-3 / std, -1.5 / std, 4.5 / std, -2, 2])


def test_cross_joint_actions_by_hand() -> None:
    # Two agents with samples a, b and c, d. Rewards: ac 1, ad 3, bc 2, bd 8; the mean is 3.5.
    # Agent 0: a: (1 + 3) / 2 - 3.5 = -1.5, b: 5 - 3.5 = 1.5. Agent 1: c: 1.5 - 3.5 = -2, d: 5.5 - 3.5 = 2.
    rewards = tensor([1, 3, 2, 8, 1, 3, 2, 8])
    samples = np.array([0, 0, 1, 1, 2, 3, 2, 3])
    keys = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    advantages = group_advantages(rewards, samples, keys, "mean", False).numpy()
    assert advantages == near([-1.5, -1.5, 1.5, 1.5, -2, 2, -2, 2])
    # The mean of the *other sample*: a - b and c - d.
    others = group_advantages(rewards, samples, keys, "leave_one_out", False).numpy()
    assert others == near([-3, -3, 3, 3, -4, 4, -4, 4])
    assert group_advantages(rewards, samples, keys, "max", False).numpy() == near([-3, -3, 0, 0, -4, 0, -4, 0])


def test_groups_are_told_apart_by_key_alone() -> None:
    order = np.array([3, 0, 4, 2, 1])
    shuffled = group_advantages(GROUP[order], EACH, KEYS[order], "mean", False).numpy()
    assert shuffled == near(group("mean")[order])


def test_an_unknown_baseline() -> None:
    with pytest.raises(ValueError, match="baseline 'median' is unknown; use 'mean'"):
        group("median")


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out", "max"])
def test_a_sample_without_others_of_its_group_moves_nothing(baseline: str) -> None:
    """Where some discussions end early, one of a group alone may reach a later round."""
    found = group_advantages(tensor([1, 2, 3]), EACH[:3], np.array([0, 0, 1]), baseline, False)
    assert found[2] == 0 and found[0] < 0


# -- normalisation -----------------------------------------------------------------------------------------------------

ADVANTAGES = tensor([[1, 3], [5, 0], [2, 4], [10, 20]])
VALID = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1]], dtype=torch.bool)
ROUNDS, AGENTS = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])


def whitened(values: list[float]) -> list[float]:
    return ((np.array(values) - np.mean(values)) / np.std(values)).tolist()


def test_every_normalisation_by_hand() -> None:
    def result(how: str | None) -> list[float]:
        return normalise(ADVANTAGES, VALID, how, ROUNDS, AGENTS)[VALID].tolist()

    assert result("batch") == pytest.approx(whitened([1, 3, 5, 2, 4, 10, 20]), abs=1e-5)
    assert result("round") == pytest.approx(whitened([1, 3, 5]) + whitened([2, 4, 10, 20]), abs=1e-5)
    assert result("round_agent") == pytest.approx([-1, 1, 0, -1, 1, -1, 1], abs=1e-5)
    assert result(None) == [1, 3, 5, 2, 4, 10, 20]


@pytest.mark.parametrize("how", ["round", "round_agent", "batch"])
def test_padding_is_neither_read_nor_written(how: str) -> None:
    spoiled = ADVANTAGES.clone()
    spoiled[~VALID] = 1e6
    clean, dirty = (normalise(a, VALID, how, ROUNDS, AGENTS) for a in (ADVANTAGES, spoiled))
    assert torch.equal(clean, dirty) and not clean[~VALID].any()


@pytest.mark.parametrize("size", [7, 8, 12, 16])
@pytest.mark.parametrize("reward", [0.7, 0.1, 1 / 3, 0.9])
@pytest.mark.parametrize("standardise", [False, True])
def test_equal_returns_are_no_advantage_at_all(size: int, reward: float, standardise: bool) -> None:
    """Rounding noise around the mean must not be whitened into an update of full size."""
    returns = torch.full((size,), reward)
    for baseline in ("mean", "leave_one_out", "max"):
        result = group_advantages(returns, np.arange(size), np.zeros(size, np.int64), baseline, standardise)
        assert (result == 0).all()
    mask = torch.ones(size, 1, dtype=torch.bool)
    zeros = np.zeros(size, np.int64)
    assert (normalise(returns[:, None], mask, "batch", zeros, zeros) == 0).all()


def test_a_sample_counts_once_however_many_rows_overflow_has_left_it() -> None:
    """Samples of returns 0, 3 and 3, the last two being one: each is held against the mean of samples, 1.5, or of the others."""
    returns, samples, keys = torch.tensor([0.0, 3.0, 3.0]), np.array([0, 1, 1]), np.zeros(3, int)
    assert group_advantages(returns, samples, keys, "mean", False).tolist() == [-1.5, 1.5, 1.5]
    assert group_advantages(returns, samples, keys, "leave_one_out", False).tolist() == [-3.0, 3.0, 3.0]
