"""Who gets how much credit: generalised advantage estimation, group-relative advantages, normalisation. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from maporl.errors import UserValueError

__all__ = ["NORMALISATIONS", "chain_tokens", "chain_turns", "gae", "group_advantages", "normalise", "returns_to_go"]

NORMALISATIONS = ("round", "round_agent", "batch")
"""Over what advantages are whitened; see `normalise`."""


def gae(rewards: Tensor, values: Tensor, discounts: Tensor, gae_lambda: float) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 1506.02438, eq. 16) with a discount of its own for every transition.

        delta_l = r_l + discount_l V_{l+1} - V_l
        A_l = delta_l + discount_l lambda A_{l+1}

    Args:
        rewards: [C, L], C sequences, zero in the padding on the right.
        values: [C, L], zero in the padding.
        discounts: [C, L], of the step from l to l + 1; 0 at the last step of a sequence (terminal) and in the padding.
        gae_lambda: 0: one-step; 1: Monte Carlo.

    Returns:
        Advantages [C, L].
    """
    advantages = torch.zeros_like(rewards)
    next_value = torch.zeros_like(rewards[:, 0])
    carry = torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.shape[1])):
        delta = rewards[:, step] + discounts[:, step] * next_value - values[:, step]
        carry = delta + discounts[:, step] * gae_lambda * carry
        advantages[:, step] = carry
        next_value = values[:, step]
    return advantages


def chain_tokens(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    chains: Sequence[Sequence[int]],
    gaps: np.ndarray,
    *,
    gamma_token: float,
    gamma_round: float,
    gae_lambda: float,
) -> Tensor:
    """Advantages per token: an agent's messages, one after the other, are one sequence of tokens.

    Inside a message a step is discounted by gamma_token, from its last token to the first token of the agent's next message by
    gamma_round; the last message is terminal.

    Args:
        rewards, values: [N, T].
        mask: [N, T] bool, completion tokens (on the left of each row).
        chains: Rows of one agent's messages in one episode, in order.
        gaps: [N] own messages until the next trained one.

    Returns:
        [N, T], zero outside `mask`.
    """
    # Every token has a place in its agent's sequence: a row of `chains`, and how many tokens came before.
    sizes = mask.sum(1).numpy()
    rows = np.concatenate([np.asarray(chain, np.int64) for chain in chains])
    owners = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    before = np.cumsum(sizes[rows]) - sizes[rows]  # in all chains, one after the other
    first = np.r_[True, owners[1:] != owners[:-1]]
    starts = before - before[first][owners]
    last = np.r_[first[1:], True]
    own = torch.as_tensor(np.repeat(rows, sizes[rows]))
    column = np.arange(len(own)) - np.repeat(before, sizes[rows])
    chain_of, place = np.repeat(owners, sizes[rows]), column + np.repeat(starts, sizes[rows])
    length = int((starts + sizes[rows])[last].max())
    flat = {name: torch.zeros(len(chains), length) for name in ("rewards", "values", "discounts")}
    flat["rewards"][chain_of, place] = rewards[own, column].float()
    flat["values"][chain_of, place] = values[own, column].float()
    flat["discounts"][chain_of, place] = gamma_token
    ends = np.where(last, 0.0, gamma_round ** gaps[rows])
    flat["discounts"][owners, starts + sizes[rows] - 1] = torch.as_tensor(ends, dtype=torch.float32)
    advantages = gae(flat["rewards"], flat["values"], flat["discounts"], gae_lambda)
    result = torch.zeros_like(rewards)
    result[own, column] = advantages[chain_of, place].to(result.dtype)
    return result


def chain_turns(
    rewards: Tensor,
    values: Tensor,
    chains: Sequence[Sequence[int]],
    gaps: np.ndarray,
    *,
    gamma_round: float,
    gae_lambda: float,
) -> Tensor:
    """Advantages per message: delta_t = r_t + gamma_round V(s_{t+1}) - V(s_t). Args as in `chain_tokens`, but [N]; returns [N]."""
    one = torch.ones(len(rewards), 1, dtype=torch.bool)
    return chain_tokens(
        rewards[:, None],
        values[:, None],
        one,
        chains,
        gaps,
        gamma_token=0.0,
        gamma_round=gamma_round,
        gae_lambda=gae_lambda,
    )[:, 0]


def returns_to_go(rewards: Tensor, chains: Sequence[Sequence[int]], gaps: np.ndarray, gamma_round: float) -> Tensor:
    """R_t = r_t + gamma_round R_{t+1} over an agent's own messages (MAGRPO 2508.04652). [N] -> [N]."""
    return chain_turns(rewards, torch.zeros_like(rewards), chains, gaps, gamma_round=gamma_round, gae_lambda=1.0)


def group_advantages(
    returns: Tensor,
    samples: np.ndarray,
    keys: np.ndarray,
    baseline: str,
    standardise: bool,
    shares: np.ndarray | None = None,
) -> Tensor:
    """Group-relative advantages: a sample's return minus its group's baseline (MAGRPO 2508.04652, section 4).

    Args:
        returns: [N], one for each discussion a message is part of.
        samples: [N], equal where rows hold the same completion (in the leaves of a tree, in cross joint actions); its return is the mean
            over them.
        keys: [N], equal for the messages of one group (same question, agent, round and node); with a baseline a group of one gets 0.
        baseline: "mean"; "leave_one_out" (mean of the others, = G/(G-1) (R - mean)); "max" (of the group; biased, because it
            holds the sample itself); "none".
        standardise: Divide by the group's standard deviation.
        shares: [N], what each row counts in these means (`maporl.rollouts.trees.shares`); None: all the same.

    Returns:
        [N]; rows of one sample get the same number.

    Raises:
        ValueError: Unknown baseline.
    """
    advantages = torch.zeros_like(returns)
    each = torch.ones(len(returns), dtype=torch.float64) if shares is None else torch.as_tensor(shares)
    order = np.argsort(keys, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        numbers, inverse = np.unique(samples[rows], return_inverse=True)
        index, share, size = torch.as_tensor(inverse), each[rows], len(numbers)
        none = torch.zeros(size, dtype=torch.float64)
        weighed = share * returns[rows].double()
        means = none.index_add(0, index, weighed) / none.index_add(0, index, share)
        group_mean = means.mean()  # of samples: overflow may leave them unequally many rows
        if baseline == "mean":
            centred = means - group_mean
        elif baseline == "leave_one_out":
            # Of a group's discussions one alone may reach a round that the others have ended before: it has no other to be held against.
            centred = (means - group_mean) * size / max(size - 1, 1)
        elif baseline == "max":
            centred = means - means.max()
        elif baseline == "none":
            centred = means
        else:
            raise UserValueError(f"baseline {baseline!r} is unknown; use 'mean', 'leave_one_out', 'max' or 'none'.")
        if _all_equal(means) and baseline != "none":
            centred = torch.zeros_like(
                means
            )  # not the rounding noise around the mean: AdamW would take a full step on it
        elif standardise:
            centred = centred / (means.std(correction=0) + 1e-8)
        advantages[rows] = centred[index].to(advantages.dtype)
    return advantages


def normalise(advantages: Tensor, mask: Tensor, how: str | None, rounds: np.ndarray, agents: np.ndarray) -> Tensor:
    """Whiten over the tokens (or messages) of each round, of each round and agent, or of the whole batch.

    Args:
        advantages: [N, T].
        mask: [N, T] bool.
        how: "round", "round_agent", "batch" or None.
        rounds, agents: [N].
    """
    if how is None:
        return advantages
    keys = {
        "round": rounds,
        "round_agent": rounds * (agents.max() + 1) + agents,
        "batch": np.zeros_like(rounds),
    }[how]
    result = torch.zeros_like(advantages)
    for key in np.unique(keys):
        chosen = mask & torch.as_tensor(keys == key)[:, None]
        part = advantages[chosen].double()
        if not _all_equal(part):
            result[chosen] = ((part - part.mean()) / (part.std(correction=0) + 1e-8)).to(result.dtype)
    return result


def _all_equal(values: Tensor) -> bool:
    """But for rounding: whitening would blow its noise up to full size."""
    if not len(values):
        return True
    return bool(values.max() - values.min() <= 1e-6 * values.abs().max())
