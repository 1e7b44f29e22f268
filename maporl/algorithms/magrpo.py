"""MAGRPO: no critic; a message is compared with the others of its group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from maporl.agents.team import Team
from maporl.algorithms.advantages import group_advantages, returns_to_go
from maporl.algorithms.algorithm import Update, check
from maporl.algorithms.batch import TurnBatch, discount_between_rounds
from maporl.algorithms.policy_gradient import PolicyGradient
from maporl.errors import UserValueError
from maporl.rollouts.trees import JOINT, nodes, shares
from maporl.types import Episode

__all__ = ["MAGRPO", "MARLOO", "MAREINFORCE", "MAREMAX"]


class MAGRPO(PolicyGradient):
    """Multi-agent group-relative policy optimisation (Liu et al. 2508.04652).

    R_t = r_t + gamma_round R_{t+1} of an agent's own messages, in a tree with the mean of R_{t+1} over the children; A = R - mean of the
    group (same question, agent, round and, in a tree, what was said in the rounds before); loss: minus A times the sum of the message's
    log-probs, mean over messages. No ratio, clip or KL by default; `clip_range` brings ratio and clip for more than one pass over a batch.

    Args:
        team: See `PolicyGradient`, like every argument not named here.
        group_size: Samples that are compared, at least 2: whole discussions of one question, or children of one node.
        rollouts: "linear": `group_size` whole discussions of each question. "tree": every joint action of a round is gone on from
            `group_size` times in the next.
        joint: "aligned": the g-th samples of all agents are one joint action. "cross": all combinations of the samples are, and a
            sample's return is the mean over the joint actions that hold it; one round, or a tree, of agents that speak at once.
        gamma_round: None is 0 if the rewards contain the future, else 1.
        standardise: Divide by the group's standard deviation (off in the paper).
    """

    baseline = "mean"

    def __init__(
        self,
        team: Team,
        *,
        group_size: int = 8,
        rollouts: str = "linear",
        joint: str = "aligned",
        gamma_round: float | None = None,
        standardise: bool = False,
        clip_range: float | None = None,
        loss_agg: str = "sum",
        **settings: Any,
    ) -> None:
        super().__init__(team, clip_range=clip_range, loss_agg=loss_agg, **settings)
        check(group_size >= 2, "group_size", group_size, "a group-relative advantage needs at least 2")
        check(rollouts in ("linear", "tree"), "rollouts", rollouts, "use 'linear' or 'tree'")
        check(joint in JOINT, "joint", joint, "use 'aligned' or 'cross'")
        check(
            clip_range is not None or self.num_epochs == 1,
            "num_epochs",
            self.num_epochs,
            "without a ratio only the first pass over a batch is on-policy; set clip_range, or num_epochs=1",
        )
        check(gamma_round is None or 0 <= gamma_round <= 1, "gamma_round", gamma_round, "between 0 and 1")
        rounds = 1 + max(r for _, r in team.seats)
        if joint == "cross" and rollouts == "linear" and rounds > 1:
            raise UserValueError(
                f"joint is 'cross' with {rounds} rounds: samples of later rounds answer one discussion only and cannot be recombined. "
                "Use rollouts='tree', num_rounds=1, or joint='aligned'."
            )
        check(
            self.kl_in == "loss" or not self.kl_coef,
            "kl_in",
            self.kl_in,
            "without a critic the KL belongs in the 'loss'",
        )
        self.group_size, self.rollouts, self.joint = group_size, rollouts, joint
        self.gamma_round, self.standardise = gamma_round, standardise

    def update(self, episodes: Sequence[Episode]) -> Update:
        keep = _comparable(episodes)
        batch = TurnBatch.collect(episodes, self.team, self.gamma_round, keep)
        gamma_round = discount_between_rounds(self.gamma_round, batch.contains_future)
        returns = returns_to_go(batch.rewards, batch.chains, batch.gaps, gamma_round)
        keys, share = _group_keys(batch, episodes), _shares(batch, episodes, keep)
        advantages = group_advantages(returns, batch.samples, keys, self.baseline, self.standardise, share)
        ref_logprobs = self.reference_logprobs(batch) if self.kl_coef else None
        _, distinct = np.unique(
            batch.samples, return_index=True
        )  # leaves and joint actions share samples: train each once
        return self.improve(batch, advantages, ref_logprobs, rows=distinct)


class MAREINFORCE(MAGRPO):
    """MAGRPO without a baseline: A = R."""

    baseline = "none"
    compares_groups = False


class MARLOO(MAGRPO):
    """MAGRPO with the mean of the *other* samples as baseline: A = G/(G-1) (R - mean)."""

    baseline = "leave_one_out"


class MAREMAX(MAGRPO):
    """MAGRPO with the group's best return as baseline (biased: it holds the sample itself)."""

    baseline = "max"


def _group_keys(batch: TurnBatch, episodes: Sequence[Episode]) -> np.ndarray:
    """[N] a number per (node of the question's tree, agent, round), and per message of it where an agent speaks more than once in a
    round."""
    parted = {
        (n, place): node
        for n, (e, above) in enumerate(zip(episodes, nodes(episodes), strict=True))
        for wave, node in zip(e.waves, above, strict=True)
        for place, _ in wave
    }
    numbers: dict[tuple[int, ...], int] = {}
    node = [numbers.setdefault(parted[place], len(numbers)) for place in batch.places]
    columns = np.stack([node, batch.agents, batch.rounds, batch.times], axis=1)
    return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)


def _shares(batch: TurnBatch, episodes: Sequence[Episode], keep: Sequence[bool]) -> np.ndarray:
    """[N] what the discussion of each message counts in means over its tree; those left out leave theirs to their siblings."""
    kept = [n for n, wanted in enumerate(keep) if wanted]
    of = dict(zip(kept, shares([episodes[n] for n in kept]), strict=True))
    return np.array([of[n] for n, _ in batch.places])


def _comparable(episodes: Sequence[Episode]) -> list[bool]:
    """Which episodes count: those without overflow, of groups of which at least two are left to compare.

    Raises:
        ValueError: No group has two episodes.
    """
    left = Counter(e.group for e in episodes if not e.overflow)
    keep = [not e.overflow and left[e.group] > 1 for e in episodes]
    if not any(keep):
        raise UserValueError(
            f"no group of the {len(episodes)} episodes has two discussions to compare; give every question group_size >= 2 discussions "
            "that fit the model's window."
        )
    return keep
