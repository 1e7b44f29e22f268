"""Losses against numbers worked out by hand, and gradients against their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from maporl.algorithms.losses import (
    KL_ESTIMATORS,
    LOSS_AGGREGATIONS,
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    kl,
    preference_loss,
    token_weights,
    trajectory_scores,
)


def logs(*ratios: float) -> torch.Tensor:
    return torch.tensor([[math.log(r) for r in ratios]])


def test_clipped_surrogate_by_hand() -> None:
    # ratio      1.5    1.1   0.5    0.9    with A = 2; bounds .8 and 1.2
    # min(rA, clip(r)A) = 2.4, 2.2, 1.0, 1.8
    loss = clipped_surrogate(logs(1.5, 1.1, 0.5, 0.9), torch.zeros(1, 4), torch.full((1, 4), 2.0), 0.2)
    assert loss[0].tolist() == pytest.approx([-2.4, -2.2, -1.0, -1.8])
    # with A = -2: min(-3.0, -2.4), min(-2.2, -2.2), min(-1.0, -1.6), min(-1.8, -1.8)
    loss = clipped_surrogate(logs(1.5, 1.1, 0.5, 0.9), torch.zeros(1, 4), torch.full((1, 4), -2.0), 0.2)
    assert loss[0].tolist() == pytest.approx([3.0, 2.2, 1.6, 1.8])


def test_the_clip_stops_the_gradient_on_the_right_side_only() -> None:
    for advantage, moving in ((2.0, [False, True, True, True]), (-2.0, [True, True, False, True])):
        logprobs = logs(1.5, 1.1, 0.5, 0.9).requires_grad_()
        clipped_surrogate(logprobs, torch.zeros(1, 4), torch.full((1, 4), advantage), 0.2).sum().backward()
        assert (logprobs.grad[0] != 0).tolist() == moving
        ratio = torch.tensor([1.5, 1.1, 0.5, 0.9])
        assert torch.allclose(logprobs.grad[0], -advantage * ratio * torch.tensor(moving))


def test_the_ratio_is_to_the_old_policy() -> None:
    new, old = logs(0.3), logs(0.2)
    assert float(clipped_surrogate(new, old, torch.ones(1, 1), 10.0)) == pytest.approx(-1.5)


def test_without_clip_range_it_is_reinforce() -> None:
    logprobs = logs(0.3, 0.6).requires_grad_()
    loss = clipped_surrogate(logprobs, logs(0.9, 0.1), torch.tensor([[2.0, -1.0]]), None)
    assert loss[0].tolist() == pytest.approx([-2 * math.log(0.3), math.log(0.6)])
    loss.sum().backward()
    assert logprobs.grad[0].tolist() == [-2.0, 1.0]


def test_both_have_the_same_gradient_at_the_first_step() -> None:
    advantages = torch.tensor([[1.0, -2.0, 0.5]])
    gradients = []
    for clip in (None, 0.2):
        logprobs = logs(0.3, 0.6, 0.1).requires_grad_()
        clipped_surrogate(logprobs, logprobs.detach(), advantages, clip).sum().backward()
        gradients.append(logprobs.grad)
    assert torch.allclose(*gradients)


def test_clipped_value_loss_by_hand() -> None:
    new = torch.tensor([0.9, 0.1, 0.5, -1.0, 0.3])
    old = torch.tensor([0.5, 0.5, 0.5, 0.0, 0.2])
    returns = torch.tensor([1.0, 1.0, 1.0, -2.0, 0.0])
    # clipped to old +- .2:  .7,  .3,  .5,  -.2,  .3 (inside)
    # squares new/clipped: .01/.09  .81/.49  .25/.25  1.0/3.24  .09/.09
    assert clipped_value_loss(new, old, returns, 0.2).tolist() == pytest.approx([0.045, 0.405, 0.125, 1.62, 0.045])
    assert clipped_value_loss(new, old, returns, None).tolist() == pytest.approx([0.005, 0.405, 0.125, 0.5, 0.045])


def test_kl_estimates_by_hand() -> None:
    new, reference = logs(0.5, 0.2), logs(0.25, 0.4)
    d = math.log(2)
    assert kl(new, reference, "k1")[0].tolist() == pytest.approx([d, -d])
    assert kl(new, reference, "k2")[0].tolist() == pytest.approx([d * d / 2, d * d / 2])
    assert kl(new, reference, "k3")[0].tolist() == pytest.approx([0.5 - 1 + d, 2 - 1 - d])
    with pytest.raises(ValueError, match="KL estimator 'k4' is unknown; use one of"):
        kl(new, reference, "k4")


@pytest.fixture
def two_policies() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    theta, reference = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
    return theta.requires_grad_(), reference.log_softmax(-1)


def expected_gradient(theta: torch.Tensor, reference: torch.Tensor, estimator: str) -> torch.Tensor:
    """E over x ~ p of the gradient of the estimate at x, by enumeration: what a loss on sampled tokens gives on average."""
    total = torch.zeros_like(theta)
    for x in range(len(theta)):
        logprobs = theta.log_softmax(-1)
        [gradient] = torch.autograd.grad(kl(logprobs[x], reference[x], estimator), theta)
        total += logprobs[x].exp().detach() * gradient
    return total


def gradient_of(value: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, theta)[0]


def test_k1_and_k3_are_unbiased_as_numbers(two_policies: tuple) -> None:
    theta, reference = two_policies
    p = theta.log_softmax(-1)
    exact = (p.exp() * (p - reference)).sum()
    for estimator in ("k1", "k3"):
        assert torch.isclose((p.exp() * kl(p, reference, estimator)).sum(), exact)
    assert not torch.isclose((p.exp() * kl(p, reference, "k2")).sum(), exact, rtol=1e-2)


def test_what_each_estimators_gradient_is(two_policies: tuple) -> None:
    theta, reference = two_policies
    p = theta.log_softmax(-1)
    reverse = gradient_of((p.exp() * (p - reference)).sum(), theta)  # KL(p || ref)
    forward = gradient_of((reference.exp() * (reference - theta.log_softmax(-1))).sum(), theta)  # KL(ref || p)
    assert reverse.abs().max() > 0.05 and not torch.allclose(reverse, forward, rtol=1e-2)
    assert torch.allclose(expected_gradient(theta, reference, "k1"), torch.zeros_like(theta), atol=1e-12)
    assert torch.allclose(expected_gradient(theta, reference, "k2"), reverse)
    assert torch.allclose(expected_gradient(theta, reference, "k3"), forward)


def test_entropy_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))
    assert entropy(logits).tolist() == pytest.approx([1.5 * math.log(2), math.log(3)])
    assert entropy(torch.tensor([100.0, 0.0, 0.0])).item() == pytest.approx(0, abs=1e-6)
    assert entropy(torch.zeros(2, 4, 7)).shape == (2, 4)


MASK = torch.tensor([[True, True, True, True], [True, False, False, False]])


@pytest.mark.parametrize(
    ("loss_agg", "expected"),
    [
        ("token", [[0.2, 0.2, 0.2, 0.2], [0.2, 0, 0, 0]]),
        ("message", [[0.125, 0.125, 0.125, 0.125], [0.5, 0, 0, 0]]),
        ("sum", [[0.5, 0.5, 0.5, 0.5], [0.5, 0, 0, 0]]),
    ],
)
def test_each_loss_aggregation_by_hand(loss_agg: str, expected: list) -> None:
    assert torch.allclose(token_weights(MASK, loss_agg), torch.tensor(expected))


@pytest.mark.parametrize("loss_agg", LOSS_AGGREGATIONS)
def test_padding_does_not_change_the_weights(loss_agg: str) -> None:
    wider = torch.cat([MASK, torch.zeros(2, 3, dtype=torch.bool)], dim=1)
    assert torch.equal(token_weights(wider, loss_agg)[:, :4], token_weights(MASK, loss_agg))
    assert not token_weights(wider, loss_agg)[:, 4:].any()


def test_an_unknown_aggregation_is_an_error() -> None:
    with pytest.raises(ValueError, match="loss_agg 'mean' is unknown; use one of"):
        token_weights(MASK, "mean")
    assert KL_ESTIMATORS == ("k1", "k2", "k3")


# -- pairs: SWEET-RL's numbers, worked out in its specification -------------------------------------------------------------

PAIR = (((0.2, 0.4), (-0.1, 0.3, 0.1)), ((0.0, -0.2), (0.1,)))
"""Log-ratios of the tokens of the better and of the worse trajectory, two messages each."""


def padded(messages: Sequence[Sequence[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, T] with something in the padding that must not count, and the mask."""
    width = max(map(len, messages))
    rows = torch.tensor([[*message, *[9.0] * (width - len(message))] for message in messages])
    return rows, torch.tensor([[t < len(message) for t in range(width)] for message in messages])


def scores(normalise: str) -> torch.Tensor:
    rows, mask = padded([*PAIR[0], *PAIR[1]])
    return trajectory_scores(rows, mask, torch.tensor([0, 0, 1, 1]), 2, normalise)


@pytest.mark.parametrize(("normalise", "loss"), [("turn_mean", 0.673347), ("token_mean", 0.682537), ("sum", 0.644397)])
def test_a_pair_of_trajectories_by_hand(normalise: str, loss: float) -> None:
    better, worse = scores(normalise)
    none = torch.zeros(())
    assert float(preference_loss(better, worse, none, none, 0.1)) == pytest.approx(loss, abs=1e-6)


def test_the_advantage_of_a_message_is_the_mean_of_its_tokens() -> None:
    rows, mask = padded([*PAIR[0], *PAIR[1]])
    each = trajectory_scores(rows, mask, torch.arange(4), 4)
    assert each.tolist() == pytest.approx([0.3, 0.1, -0.1, 0.1], abs=1e-6)
    assert scores("turn_mean").tolist() == pytest.approx([0.4, 0.0], abs=1e-6)


def test_an_unknown_way_to_score_is_told() -> None:
    with pytest.raises(ValueError, match="normalise 'mean' is unknown; use one of .'turn_mean', 'token_mean', 'sum'."):
        scores("mean")


def test_dpo_by_hand() -> None:
    chosen, rejected = torch.tensor([-12.0], requires_grad=True), torch.tensor([-9.0], requires_grad=True)
    loss = preference_loss(chosen, rejected, torch.tensor([-14.0]), torch.tensor([-8.0]), 0.1)
    assert loss.tolist() == pytest.approx([0.554355], abs=1e-6)
    loss.sum().backward()
    assert [chosen.grad.item(), rejected.grad.item()] == pytest.approx([-0.042556, 0.042556], abs=1e-6)


def test_equal_messages_teach_nothing() -> None:
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    score = trajectory_scores(logprobs, torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]), 1)
    loss = preference_loss(score, score, torch.tensor([-3.0]), torch.tensor([-3.0]), 0.1)
    assert loss.tolist() == pytest.approx([0.693147], abs=1e-6)
    loss.sum().backward()
    assert not logprobs.grad.any()


def test_a_common_beginning_changes_no_sum() -> None:
    """What both begin with cancels; a mean of unequal lengths is what it is divided by."""
    rows, mask = padded([(0.5, 0.2, 0.4), (0.5, -0.2)])
    own = mask.clone()
    own[:, 0] = False
    with_it, without = (trajectory_scores(rows, m, torch.arange(2), 2, "sum") for m in (mask, own))
    none = torch.zeros(())
    losses = [float(preference_loss(s[0], s[1], none, none, 0.1)) for s in (with_it, without)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
