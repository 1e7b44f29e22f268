"""What every algorithm is: episodes in, metrics out, and a state that can be saved. Policy gradients share one way to improve."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from maporl.agents.agent import Learner
from maporl.agents.memory import out_of_memory, release
from maporl.agents.prefix_trees import Packed
from maporl.agents.team import Team
from maporl.agents.trainable import Trainable
from maporl.algorithms.batch import TurnBatch, minibatches
from maporl.algorithms.losses import KL_ESTIMATORS, LOSS_AGGREGATIONS, clipped_surrogate, kl, token_weights
from maporl.types import Episode

__all__ = ["Algorithm", "PolicyGradient", "Tally", "Update"]

OLD_LOGPROBS = ("sampled", "recomputed")
T = TypeVar("T")
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - 0.9 * done,
    "cosine": lambda done: 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""Factor on the learning rate when the share `done` of all updates is over; linear ends at .1 (MAPoRL), cosine at .05."""


@dataclass(frozen=True)
class Update:
    """What came of one update.

    Attributes:
        metrics: Named ``train/...``.
        advantages: (number of the episode, number of the turn) -> mean advantage of its tokens. For people to read; an algorithm may
            leave it empty.
    """

    metrics: dict[str, float]
    advantages: Mapping[tuple[int, int], float] = field(default_factory=dict)


class Algorithm(ABC):
    """Turns episodes into better agents. It sees episodes and the team, never an environment, a trainer or a configuration.

    Attributes:
        group_size: Discussions of each question that `update` wants to see.
        joint: "aligned", or "cross" if `update` wants every combination of the group's samples as an episode of its own.
        reads_state: `update` reads the joint state of every turn, which then has to fit the models' windows.
    """

    group_size: int = 1
    joint: str = "aligned"
    reads_state: bool = False

    def __init__(self, team: Team) -> None:
        self.team = team

    @abstractmethod
    def update(self, episodes: Sequence[Episode]) -> Update:
        """Learn from the episodes of one iteration, from the turns that their `learns` marks."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly from here, the adapters' weights included."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""


class PolicyGradient(Algorithm):
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
        old_logprobs: "sampled": those stored when sampling are the denominator of the ratio; "recomputed": those of a forward pass
            before the update, for a sampler that computes with another rounding.
        seed: Of the division into minibatches.

    Raises:
        ValueError: A setting outside its range, a team that trains nothing, or one that samples with filters.
    """

    def __init__(
        self,
        team: Team,
        *,
        num_updates: int = 100,
        learning_rate: float = 1e-5,
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
        old_logprobs: str = "sampled",
        seed: int = 0,
    ) -> None:
        super().__init__(team)
        _check(old_logprobs in OLD_LOGPROBS, "old_logprobs", old_logprobs, f"use one of {list(OLD_LOGPROBS)}")
        _check(lr_schedule in SCHEDULES, "lr_schedule", lr_schedule, f"use one of {list(SCHEDULES)}")
        _check(kl_in in ("reward", "loss"), "kl_in", kl_in, "use 'reward' or 'loss'")
        _check(loss_agg in LOSS_AGGREGATIONS, "loss_agg", loss_agg, f"use one of {list(LOSS_AGGREGATIONS)}")
        _check(kl_estimator in KL_ESTIMATORS, "kl_estimator", kl_estimator, f"use one of {list(KL_ESTIMATORS)}")
        _check(
            not (kl_in == "loss" and kl_estimator == "k1"),
            "kl_estimator",
            kl_estimator,
            "as a loss its expected gradient is zero: use 'k2', 'k3', or kl_in='reward'",
        )
        for name, count in {
            "num_updates": num_updates,
            "num_epochs": num_epochs,
            "num_minibatches": num_minibatches,
            "microbatch_tokens": microbatch_tokens,
        }.items():
            _check(count >= 1, name, count, "at least 1")
        _check(learning_rate > 0, "learning_rate", learning_rate, "above 0")
        _check(clip_range is None or clip_range > 0, "clip_range", clip_range, "above 0, or None")
        _check(max_grad_norm is None or max_grad_norm > 0, "max_grad_norm", max_grad_norm, "above 0, or None")
        _check(ent_coef >= 0, "ent_coef", ent_coef, "at least 0")
        _check(kl_coef >= 0, "kl_coef", kl_coef, "at least 0")
        _check(bool(team.learners), "team", team.agents, "it trains nothing: unfreeze an agent or a round")
        for name, learner in team.learners.items():
            if learner.sampling.filtered:
                raise ValueError(
                    f"{name!r} samples with top_k={learner.sampling.top_k}, top_p={learner.sampling.top_p}; training needs the "
                    "unfiltered distribution: leave both out (they are for evaluation)."
                )
            there = learner.policy.adapters
            _check(
                reference is None or reference in there,
                "reference",
                reference,
                f"use an adapter of {list(there)}, or None",
            )
        self.num_epochs, self.num_minibatches = num_epochs, num_minibatches
        self.clip_range, self.ent_coef, self.loss_agg = clip_range, ent_coef, loss_agg
        self.kl_coef, self.kl_in, self.kl_estimator, self.reference = kl_coef, kl_in, kl_estimator, reference
        self.max_grad_norm, self.microbatch_tokens, self.old_logprobs = max_grad_norm, microbatch_tokens, old_logprobs
        self.rng = np.random.default_rng(seed)
        self._schedule = (num_updates, lr_schedule)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler] = {}
        for name, learner in team.learners.items():
            self.add_optimizer(name, learner.policy.parameters(name), learning_rate)

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        """An AdamW of its own, on the run's learning-rate schedule, saved and loaded with the algorithm."""
        num_updates, shape = self._schedule
        optimizer = torch.optim.AdamW(list(parameters), lr=learning_rate, weight_decay=0.0)
        self.optimizers[name] = optimizer
        self.schedulers[name] = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: SCHEDULES[shape](min(done / max(num_updates, 1), 1.0))
        )

    # -- what subclasses call ------------------------------------------------------------------------------------------

    def with_old_logprobs(self, batch: TurnBatch) -> TurnBatch:
        """The batch with the log-probs that ratios are taken to: those of sampling, or of a forward pass of the agents as they are."""
        if self.old_logprobs == "sampled" or batch.old_logprobs is not batch.sampled_logprobs:
            return batch
        return replace(batch, old_logprobs=self._logprobs(batch, lambda learner: learner.adapter))

    def reference_logprobs(self, batch: TurnBatch) -> Tensor:
        """Log-probs [N, T] of the sampled tokens under the reference, at the temperature they were sampled at; zero outside the mask."""
        return self._logprobs(batch, lambda learner: self.reference)

    @torch.no_grad()
    def _logprobs(self, batch: TurnBatch, adapter: Callable[[Learner], str | None]) -> Tensor:
        result = torch.zeros_like(batch.old_logprobs)
        for learner in self.team.learners.values():
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
        counted = batch.completion_mask.sum(1).clamp(min=1)
        means = ((advantages * batch.completion_mask).sum(1) / counted).tolist()
        every = np.arange(len(batch)) if rows is None else rows
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
        mask = batch.completion_mask
        metrics = {
            **tally.means(),
            "train/idle_messages": 1.0 - float(self._moves(every, batch, advantages).mean()),
            "train/reward_std": float(batch.rewards.std(correction=0)),
            "train/entropy": float(-batch.old_logprobs[mask].mean()),
            "train/dropped_episodes": float(batch.dropped),
            "train/learning_rate": float(next(iter(self.schedulers.values())).get_last_lr()[0]),
        }
        return Update(metrics, dict(zip(batch.places, means, strict=True)))

    def _moves(self, rows: np.ndarray, batch: TurnBatch, advantages: Tensor) -> np.ndarray:
        """Which messages have a gradient at all: without KL and entropy in the loss, those with an advantage."""
        if self.ent_coef or (self.kl_coef and self.kl_in == "loss"):
            return np.ones(len(rows), bool)
        return ((advantages[rows] != 0) & batch.completion_mask[rows]).any(1).numpy()

    def descend(
        self,
        name: str,
        packs: Callable[[int], Sequence[Packed]],
        loss: Callable[[Packed], tuple[Tensor, Mapping[str, Tensor]]],
        tally: Tally,
    ) -> None:
        """One optimizer step on a minibatch.

        Args:
            name: Whose optimizer.
            packs: The minibatch in passes of at most so many tokens.
            loss: A pass's part of the minibatch's loss, and of its metrics. It must activate one adapter only: with gradient
                checkpointing the backward pass recomputes under the active one.
            tally: Takes the metrics.
        """
        optimizer = self.optimizers[name]

        def backward(packed: Packed) -> Mapping[str, Tensor]:
            value, metrics = loss(packed)
            value.backward()
            return metrics

        optimizer.zero_grad(set_to_none=True)
        parts = self.in_passes(packs, backward, restart=optimizer.zero_grad)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:
            if parameter.grad is None:  # no message moves it: momentum still does
                parameter.grad = torch.zeros_like(parameter)
        norm = nn.utils.clip_grad_norm_(parameters, self.max_grad_norm or math.inf)
        if torch.isfinite(norm):
            optimizer.step()
        else:
            warnings.warn(f"{name}: the gradient is not finite; this step is skipped.", stacklevel=2)
        optimizer.zero_grad(set_to_none=True)
        tally.add(parts)
        tally.add([{"train/skipped_steps": ~torch.isfinite(norm), f"train/grad_norm/{name}": norm}])

    def in_passes(
        self,
        packs: Callable[[int], Sequence[Packed]],
        work: Callable[[Packed], T],
        restart: Callable[[], None] | None = None,
    ) -> list[T]:
        """`work` on every pass over some messages. When memory runs out, passes are halved and all of them are done again.

        Args:
            packs: The messages in passes of at most so many tokens.
            work: What is done with a pass.
            restart: Undoes what `work` has done so far.

        Raises:
            MemoryError: A single message does not fit.
        """
        while True:
            tokens, alone, results = self.microbatch_tokens, False, []
            try:
                for packed in packs(self.microbatch_tokens):
                    alone = len(packed.rows) == 1
                    tokens = packed.ids.size
                    results.append(work(packed))
                return results
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                room = self.team.forget()
                if alone and not room:
                    raise MemoryError(
                        f"a pass over one message of {tokens} tokens does not fit into memory; lower max_new_tokens, set "
                        "gradient_checkpointing, or use a smaller model or dtype."
                    ) from error
            # Outside of `except`, which holds on to what the failed pass has computed.
            if restart is not None:
                restart()
            for policy in self.team.policies:
                release(policy.device)
            if room:  # it may fit without what samplers had kept
                continue
            self.microbatch_tokens = max(min(tokens, self.microbatch_tokens) // 2, 1)
            warnings.warn(
                f"out of memory in a pass of {tokens} tokens: from now on at most {self.microbatch_tokens} (microbatch_tokens). The "
                "gradient stays the same.",
                stacklevel=3,
            )

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
        weights[mini] = token_weights(batch.completion_mask[mini], self.loss_agg)
        tokens = float(batch.completion_mask[moving].sum())

        def part(packed: Packed) -> tuple[Tensor, dict[str, Tensor]]:
            policy = learner.policy
            logprobs, spread = policy.logprobs(
                learner.adapter, packed, learner.sampling.temperature, entropy=self.ent_coef > 0
            )
            old, advantage, weight = (
                packed.flat(table).to(policy.device) for table in (batch.old_logprobs, advantages, weights)
            )
            per_token = clipped_surrogate(logprobs, old, advantage, self.clip_range)
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
                    sampled = packed.flat(batch.sampled_logprobs).to(policy.device)
                    metrics["train/logprob_mismatch"] = (logprobs - sampled).abs().sum() / tokens
                    metrics["train/first_ratio_error"] = distance.abs().max()
            return loss, metrics

        return part

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "adapters": {
                name: [p.detach().cpu().clone() for p in agent.policy.parameters(name)]
                for name, agent in self.team.learners.items()
            },
            # A copy, for an optimizer hands out its own tensors and changes them in place.
            "optimizers": {name: copy.deepcopy(o.state_dict()) for name, o in self.optimizers.items()},
            "schedulers": {name: s.state_dict() for name, s in self.schedulers.items()},
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if list(state["optimizers"]) != list(self.optimizers):
            raise ValueError(
                f"the saved state is of {list(state['optimizers'])}, not of {list(self.optimizers)}; use the run's own team and algorithm."
            )
        with torch.no_grad():
            for name, agent in self.team.learners.items():
                for parameter, saved in zip(agent.policy.parameters(name), state["adapters"][name], strict=True):
                    parameter.copy_(saved)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            self.schedulers[name].load_state_dict(state["schedulers"][name])
        self.rng.bit_generator.state = state["rng"]


class Tally:
    """Metrics of an update: sums over a minibatch's parts, then means over minibatches; maxima of what is named an error."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def add(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """The parts of one minibatch."""
        for name in parts[0] if parts else ():
            values = torch.stack([p[name].float() for p in parts])
            self._found.setdefault(name, []).append(float(values.max() if _is_maximum(name) else values.sum()))

    def means(self) -> dict[str, float]:
        return {name: max(v) if _is_maximum(name) else sum(v) / len(v) for name, v in self._found.items()}


def _is_maximum(name: str) -> bool:
    return name.endswith("_error")


def _check(fine: bool, name: str, value: Any, remedy: str) -> None:
    if not fine:
        raise ValueError(f"{name} is {value!r}: {remedy}.")


def _warn_if_equal(rewards: Tensor) -> None:
    if len(rewards) > 1 and bool((rewards == rewards[0]).all()):
        warnings.warn(
            f"all {len(rewards)} rewards of this update are {float(rewards[0]):g}: there is nothing to learn from. Try easier or "
            "harder questions, a higher temperature, or another shaping.",
            stacklevel=3,
        )


def policies(team: Team) -> list[Trainable]:
    """The distinct bases of the team's learners, in seating order."""
    return list(dict.fromkeys(agent.policy for agent in team.learners.values()))
