"""Policy gradients: log-probs weighed by advantages, in one way for every algorithm that computes advantages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from maporl.agents.agent import Learner
from maporl.agents.models.prefix_trees import Packed
from maporl.agents.team import Team
from maporl.agents.trainable import Trainable
from maporl.algorithms.algorithm import Update, check
from maporl.algorithms.batch import TurnBatch, minibatches
from maporl.algorithms.descent import GradientDescent, Tally
from maporl.algorithms.losses import KL_ESTIMATORS, LOSS_AGGREGATIONS, clipped_surrogate, kl, token_weights
from maporl.errors import UserValueError, warn

__all__ = ["PolicyGradient"]

OLD_LOGPROBS = ("sampled", "recomputed")

LARGEST_MISMATCH = 0.015
"""Mean |log-prob difference| a token between sampling and training above which it is told."""


class PolicyGradient(GradientDescent):
    """An algorithm that weighs log-probs by advantages. A subclass computes advantages and calls `improve`.

    Args:
        team: Its learners are trained, everybody else is left alone.
        num_updates: Calls of `update` in the whole run, for the learning-rate schedule.
        learning_rate: AdamW's, one optimizer per adapter.
        lr_schedule: "constant", "linear" (to a tenth) or "cosine" (to a twentieth).
        num_epochs: Passes over the batch.
        num_minibatches: Optimizer steps of one pass, each on whole messages.
        clip_range: Of the importance ratio; None drops ratio and clip (REINFORCE).
        ent_coef: Weight of the entropy bonus.
        kl_coef: Weight of the KL to the reference.
        kl_in: "reward" (k1 per token, taken from the reward) or "loss".
        kl_estimator: In the loss: "k2" (gradient of the reverse KL) or "k3" (of the forward KL).
        reference: Adapter that is the reference; None is the base model.
        loss_agg: "token", "message" or "sum" (see `token_weights`).
        max_grad_norm: Clips the gradient's norm per adapter; None does not.
        microbatch_tokens: Tokens of one forward and backward pass, padding included. Changes memory, not the gradient. Halved when
            memory runs out.
        old_logprobs: What ratios are taken to. "sampled": the log-probs stored when sampling. "recomputed": those of the update's own
            forward passes before anything has moved, so that every first ratio is 1 whatever the sampler rounds; the difference
            is corrected by importance weights. None: recomputed where the two round differently (16 bit, a sampler of one's own).
        max_importance_weight: Where those weights exp(recomputed - sampled) are truncated (Yao et al. 2025, "Your efficient RL
            framework secretly brings you off-policy RL training").
        seed: Of the division into minibatches.

    Raises:
        ValueError: A setting outside its range, a team that trains nothing, or one that samples with filters.
    """

    def __init__(
        self,
        team: Team,
        *,
        num_updates: int = 100,
        learning_rate: float = 5e-4,
        lr_schedule: str = "linear",
        num_epochs: int = 1,
        num_minibatches: int = 1,
        clip_range: float | None = 0.2,
        ent_coef: float = 0.0,
        kl_coef: float = 0.0,
        kl_in: str = "loss",
        kl_estimator: str = "k2",
        reference: str | None = None,
        loss_agg: str = "token",
        max_grad_norm: float | None = 1.0,
        microbatch_tokens: int = 4096,
        old_logprobs: str | None = None,
        max_importance_weight: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__(team, num_updates, lr_schedule, max_grad_norm, microbatch_tokens, seed)
        known = old_logprobs is None or old_logprobs in OLD_LOGPROBS
        check(known, "old_logprobs", old_logprobs, f"use one of {list(OLD_LOGPROBS)}, or None")
        check(max_importance_weight >= 1, "max_importance_weight", max_importance_weight, "at least 1")
        check(kl_in in ("reward", "loss"), "kl_in", kl_in, "use 'reward' or 'loss'")
        check(loss_agg in LOSS_AGGREGATIONS, "loss_agg", loss_agg, f"use one of {list(LOSS_AGGREGATIONS)}")
        check(kl_estimator in KL_ESTIMATORS, "kl_estimator", kl_estimator, f"use one of {list(KL_ESTIMATORS)}")
        check(
            not (kl_in == "loss" and kl_estimator == "k1"),
            "kl_estimator",
            kl_estimator,
            "as a loss its expected gradient is zero: use 'k2', 'k3', or kl_in='reward'",
        )
        for name, count in {"num_epochs": num_epochs, "num_minibatches": num_minibatches}.items():
            check(count >= 1, name, count, "at least 1")
        check(learning_rate > 0, "learning_rate", learning_rate, "above 0")
        check(clip_range is None or clip_range > 0, "clip_range", clip_range, "above 0, or None")
        check(ent_coef >= 0, "ent_coef", ent_coef, "at least 0")
        check(kl_coef >= 0, "kl_coef", kl_coef, "at least 0")
        check(bool(team.learners), "team", team.agents, "it trains nothing: unfreeze an agent or a round")
        _check_learners(team, reference)
        self.num_epochs, self.num_minibatches = num_epochs, num_minibatches
        self.clip_range, self.ent_coef, self.loss_agg = clip_range, ent_coef, loss_agg
        self.kl_coef, self.kl_in, self.kl_estimator, self.reference = kl_coef, kl_in, kl_estimator, reference
        self._said = False
        self.old_logprobs, self.max_importance_weight = old_logprobs, max_importance_weight
        for name, learner in team.learners.items():
            self.add_optimizer(name, learner.policy.parameters(name), learning_rate)

    # -- what subclasses call ------------------------------------------------------------------------------------------

    def recomputes(self, learner: Learner) -> bool:
        """Whether the ratios of a learner's messages are taken to log-probs that are computed again."""
        return not learner.policy.rounds_alike if self.old_logprobs is None else self.old_logprobs == "recomputed"

    def with_old_logprobs(self, batch: TurnBatch) -> TurnBatch:
        """The batch with the log-probs that ratios are taken to: those of sampling, or of a forward pass of the agents as they are."""
        again = [learner for learner in self.team.learners.values() if self.recomputes(learner)]
        if not again or batch.old_logprobs is not batch.sampled_logprobs:
            return batch
        recomputed = self._logprobs(batch, lambda learner: learner.adapter, again)
        mine = torch.from_numpy(np.isin(batch.learners, [str(learner.adapter) for learner in again]))
        return replace(batch, old_logprobs=torch.where(mine[:, None], recomputed, batch.sampled_logprobs))

    def reference_logprobs(self, batch: TurnBatch) -> Tensor:
        """Log-probs [N, T] of all tokens under the reference, at the temperature they were sampled at; zero where there are none."""
        return self._logprobs(batch, lambda learner: self.reference, self.team.learners.values())

    @torch.no_grad()
    def _logprobs(
        self, batch: TurnBatch, adapter: Callable[[Learner], str | None], learners: Iterable[Learner]
    ) -> Tensor:
        result = torch.zeros_like(batch.old_logprobs)
        for learner in learners:
            policy, name, temperature = learner.policy, adapter(learner), learner.sampling.temperature

            def fill(
                packed: Packed, policy: Trainable = policy, name: str | None = name, at: float = temperature
            ) -> None:
                packed.spread(policy.logprobs(name, packed, at)[0], result)

            rows = np.flatnonzero(batch.learners == learner.adapter)
            self.in_passes(partial(policy.pack, rows, batch.prompts, batch.completions), fill)
        return result

    def improve(
        self, batch: TurnBatch, advantages: Tensor, ref_logprobs: Tensor | None = None, rows: np.ndarray | None = None
    ) -> Update:
        """Move every learner up the (clipped) policy gradient of the batch: epochs, minibatches, microbatches.

        Args:
            batch: The messages.
            advantages: [N, T] or [N], constants.
            ref_logprobs: [N, T], needed for a KL in the loss.
            rows: Train on these rows only; all if None.
        """
        _warn_if_equal(batch.rewards)
        advantages = advantages[:, None].expand_as(batch.old_logprobs) if advantages.dim() == 1 else advantages
        mask = batch.sampled_mask
        table = advantages.masked_fill(~mask, torch.nan).numpy()
        shown = {place: table[n, : len(batch.completions[n])].copy() for n, place in enumerate(batch.places)}
        every = np.arange(len(batch)) if rows is None else rows
        if self.num_epochs * self.num_minibatches > 1:  # else the only forward pass is the first
            batch = self.with_old_logprobs(batch)
        tally = Tally()
        for name, learner in self.team.learners.items():
            mine = every[batch.learners[every] == name]
            first = True
            for _ in range(self.num_epochs):
                for mini in minibatches(mine, batch.chain_of, self.num_minibatches, self.rng):
                    moving = mini[self._moves(mini, batch, advantages)]
                    loss = self._policy_loss(learner, batch, mini, moving, advantages, ref_logprobs, first)
                    packs = partial(learner.policy.pack, moving, batch.prompts, batch.completions)
                    self.descend(name, packs, loss, tally)
                    first = first and not len(moving)
            if len(mine):
                self.schedulers[name].step()
        metrics = {
            **tally.means(),
            "train/idle_messages": 1.0 - float(self._moves(every, batch, advantages).mean()),
            "train/reward_std": float(batch.rewards.std(correction=0)),
            "train/entropy": float(-batch.old_logprobs[mask].mean()),
            "train/dropped_episodes": float(batch.dropped),
            "train/learning_rate": float(next(iter(self.schedulers.values())).get_last_lr()[0]),
        }
        self._say_if_mismatched(metrics.get("train/logprob_mismatch", 0.0))
        return Update(metrics, shown)

    def _say_if_mismatched(self, mismatch: float) -> None:
        """Warn, once, of a sampler that is another policy than the one trained."""
        if mismatch > LARGEST_MISMATCH and not self._said:
            self._said = True
            warn(
                f"sampling and training differ by {mismatch:.3f} a token in their log-probs, more than {LARGEST_MISMATCH} "
                "(train/logprob_mismatch): recomputed log-probs and importance weights correct for it, up to max_importance_weight. "
                "Exact are --dtype float32, and a sampler that computes as training does."
            )

    def _moves(self, rows: np.ndarray, batch: TurnBatch, advantages: Tensor) -> np.ndarray:
        """Which messages have a gradient at all: without KL and entropy in the loss, those with an advantage."""
        if self.ent_coef or (self.kl_coef and self.kl_in == "loss"):
            return np.ones(len(rows), bool)
        return ((advantages[rows] != 0) & batch.sampled_mask[rows]).any(1).numpy()

    def _policy_loss(
        self,
        learner: Learner,
        batch: TurnBatch,
        mini: np.ndarray,
        moving: np.ndarray,
        advantages: Tensor,
        ref_logprobs: Tensor | None,
        first: bool,
    ) -> Callable[[Packed], tuple[Tensor, dict[str, Tensor]]]:
        weights = torch.zeros_like(batch.old_logprobs)
        weights[mini] = token_weights(batch.sampled_mask[mini], self.loss_agg)
        tokens = float(batch.sampled_mask[moving].sum())

        def part(packed: Packed) -> tuple[Tensor, dict[str, Tensor]]:
            policy = learner.policy
            logprobs, spread = policy.logprobs(
                learner.adapter, packed, learner.sampling.temperature, entropy=self.ent_coef > 0
            )
            old, sampled, advantage, weight = (
                packed.flat(table).to(policy.device)
                for table in (batch.old_logprobs, batch.sampled_logprobs, advantages, weights)
            )
            # Nobody chose a forced token: it weighs nothing, and its ratio is 1.
            chosen = packed.flat(batch.sampled_mask).to(policy.device)
            old, sampled = (torch.where(chosen, stored, logprobs.detach()) for stored in (old, sampled))
            if first and self.recomputes(learner):  # this very pass, for another one is packed and rounded otherwise
                old = logprobs.detach()
            per_token = clipped_surrogate(logprobs, old, advantage, self.clip_range)
            if self.recomputes(learner):
                per_token = per_token * (old - sampled).exp().clamp(max=self.max_importance_weight)
            if self.kl_coef and self.kl_in == "loss":
                assert ref_logprobs is not None
                reference = packed.flat(ref_logprobs).to(policy.device)
                per_token = per_token + self.kl_coef * kl(logprobs, reference, self.kl_estimator)
            if spread is not None:
                per_token = per_token - self.ent_coef * spread
            loss = (per_token * weight).sum()
            with torch.no_grad():
                distance = (logprobs - old).exp() - 1
                metrics = {
                    "train/policy_loss": loss.detach(),
                    "train/approx_kl": kl(old, logprobs, "k3").sum() / tokens,
                }
                if self.clip_range is not None:
                    metrics["train/clip_fraction"] = (distance.abs() > self.clip_range).sum() / tokens
                if first:  # nothing has moved yet
                    metrics["train/logprob_mismatch"] = (logprobs - sampled).abs().sum() / tokens
                    metrics["train/first_ratio_error"] = distance.abs().max()
            return loss, metrics

        return part


def _check_learners(team: Team, reference: str | None) -> None:
    for name, learner in team.learners.items():
        if learner.sampling.filtered:
            raise UserValueError(
                f"{name!r} samples with top_k={learner.sampling.top_k}, top_p={learner.sampling.top_p}; training needs the "
                "unfiltered distribution: leave both out (they are for evaluation)."
            )
        there = learner.policy.adapters
        check(
            reference is None or reference in there,
            "reference",
            reference,
            f"use an adapter of {list(there)}, or None",
        )


def _warn_if_equal(rewards: Tensor) -> None:
    if len(rewards) > 1 and bool((rewards == rewards[0]).all()):
        warn(
            f"all {len(rewards)} rewards of this update are {float(rewards[0]):g}: there is nothing to learn from. Try easier or "
            "harder questions, a higher temperature, or another shaping."
        )
