"""Losses per token and of pairs as pure functions, and how they are aggregated. Shapes are [N, T]; `mask` is True where a token counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from maporl.errors import UserValueError

__all__ = [
    "KL_ESTIMATORS",
    "LOSS_AGGREGATIONS",
    "SCORES",
    "clipped_surrogate",
    "clipped_value_loss",
    "entropy",
    "kl",
    "preference_loss",
    "token_weights",
    "trajectory_scores",
]

LOSS_AGGREGATIONS = ("token", "message", "sum")
"""How the tokens of a minibatch become one loss; see `token_weights`."""
KL_ESTIMATORS = ("k1", "k2", "k3")
"""Estimators of a KL divergence from samples; see `kl`."""
SCORES = ("turn_mean", "token_mean", "sum")
"""How the log-probs of a trajectory become its score; see `trajectory_scores`."""


def clipped_surrogate(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_range: float | None) -> Tensor:
    """-min(ratio A, clip(ratio, 1 - c, 1 + c) A) (Schulman et al. 1707.06347, eq. 7); -A log p without a clip range (REINFORCE)."""
    if clip_range is None:
        return -advantages * logprobs
    ratio = (logprobs - old_logprobs).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | None) -> Tensor:
    """Half the squared error, the worse of the new value and of the new value kept within clip_range of the old one."""
    loss = (values - returns).square()
    if clip_range is not None:
        clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
        loss = torch.maximum(loss, (clipped - returns).square())
    return 0.5 * loss


def kl(logprobs: Tensor, ref_logprobs: Tensor, estimator: str) -> Tensor:
    """Estimates of KL(policy || reference) from tokens of the policy (Schulman, "Approximating KL divergence").

    With d = log p - log p_ref: k1 = d; k2 = d^2 / 2, whose gradient is the reverse KL's; k3 = exp(-d) - 1 + d, unbiased and
    positive as a number, but its gradient is the forward KL's.
    """
    difference = logprobs - ref_logprobs
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return 0.5 * difference.square()
    if estimator == "k3":
        return torch.expm1(-difference) + difference
    raise UserValueError(f"KL estimator {estimator!r} is unknown; use one of {list(KL_ESTIMATORS)}.")


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits): [..., V] -> [...]."""
    logprobs = logits.log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def token_weights(mask: Tensor, loss_agg: str) -> Tensor:
    """[N, T] weights by which per-token losses of a whole minibatch are summed, so that microbatches and padding change nothing.

    "token": every token weighs 1 / tokens of the minibatch. "message": a message is the mean of its tokens, and the minibatch the
    mean of its messages. "sum": a message is the sum of its tokens, and the minibatch the mean of its messages (MAGRPO).
    """
    weights = mask.float()
    if loss_agg == "token":
        return weights / weights.sum()
    if loss_agg == "message":
        return weights / weights.sum(1, keepdim=True) / len(mask)
    if loss_agg == "sum":
        return weights / len(mask)
    raise UserValueError(f"loss_agg {loss_agg!r} is unknown; use one of {list(LOSS_AGGREGATIONS)}.")


def preference_loss(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta ((chosen - ref_chosen) - (rejected - ref_rejected))), [P] (DPO, Rafailov et al. 2305.18290, eq. 7).

    Args:
        chosen, rejected: [P] scores of the better and of the worse of each pair under the policy: log-probs, in any normalisation.
        ref_chosen, ref_rejected: [P] the same under the reference; zeros where the scores are of log-ratios already.
        beta: How much a difference counts.
    """
    return -logsigmoid(beta * ((chosen - ref_chosen) - (rejected - ref_rejected)))


def trajectory_scores(
    logprobs: Tensor, mask: Tensor, trajectories: Tensor, number: int, normalise: str = "turn_mean"
) -> Tensor:
    """[K] one score of every trajectory, of the log-probs (or log-ratios) [N, T] of its N messages.

    "turn_mean": the sum over its messages of the mean over a message's tokens (SWEET-RL's paper, 2503.15478). "token_mean": the mean over
    all of its tokens (its release). "sum": their sum (DPO), with which a long message weighs more than a short one.

    Args:
        logprobs, mask: [N, T].
        trajectories: [N] int64, which trajectory each message belongs to, from 0.
        number: K, how many trajectories there are.
        normalise: One of these words.
    """
    sums, sizes = logprobs.where(mask, 0.0).sum(1), mask.sum(1)
    none = sums.new_zeros(number)
    if normalise == "turn_mean":
        return none.index_add(0, trajectories, sums / sizes.clamp(min=1))
    totals = none.index_add(0, trajectories, sums)
    if normalise == "token_mean":
        return totals / none.index_add(0, trajectories, sizes.to(sums.dtype)).clamp(min=1)
    if normalise == "sum":
        return totals
    raise UserValueError(f"normalise {normalise!r} is unknown; use one of {list(SCORES)}.")
