"""The body that IPPO and MAPPO share: clipped surrogate, critics, generalised advantages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maporl.agents.models.critic import Critic
from maporl.agents.models.prefix_trees import Packed
from maporl.agents.team import Team
from maporl.algorithms.advantages import NORMALISATIONS, chain_tokens, chain_turns, normalise
from maporl.algorithms.algorithm import Update, check
from maporl.algorithms.batch import TurnBatch, discount_between_rounds, learner_of, minibatches
from maporl.algorithms.descent import Tally
from maporl.algorithms.losses import clipped_value_loss, kl, token_weights
from maporl.algorithms.policy_gradient import PolicyGradient
from maporl.types import Episode, Turn

__all__ = ["PPO", "Place"]

Place = tuple[int, int]
"""(number of an episode, number of a turn in its transcript)."""


class PPO(PolicyGradient):
    """Proximal policy optimisation of a team (Schulman et al. 1707.06347; Yu et al. 2103.01955; MAPoRL 2502.18439, section 4).

    Args:
        team: See `PolicyGradient`, like every argument not named here.
        group_size: Discussions of each question. More read their prompt once for all, as groups of MAGRPO do, and see fewer questions
            an iteration; nothing is compared within a group.
        credit: "token" (reward on the last token, a value before every token) or "turn" (one value a message).
        gamma_token: Discount inside a message.
        gamma_round: Discount between an agent's own messages; None is 0 if the rewards contain the future, else 1.
        gae_lambda: Of the generalised advantage estimate.
        normalise_advantages: Whiten over each "round", each "round_agent", the "batch", or None.
        vf_clip_range: Of the value loss; None does not clip.
        critic_learning_rate: None takes learning_rate.
    """

    compares_groups = False

    def __init__(
        self,
        team: Team,
        *,
        group_size: int = 1,
        credit: str = "token",
        gamma_token: float = 1.0,
        gamma_round: float | None = None,
        gae_lambda: float = 0.95,
        normalise_advantages: str | None = "round",
        vf_clip_range: float | None = 0.2,
        critic_learning_rate: float | None = None,
        learning_rate: float = 5e-4,
        num_epochs: int = 2,
        num_minibatches: int = 2,
        kl_coef: float = 0.002,
        kl_in: str = "reward",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(
            team,
            learning_rate=learning_rate,
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
            kl_coef=kl_coef,
            kl_in=kl_in,
            seed=seed,
            **settings,
        )
        check(group_size >= 1, "group_size", group_size, "at least 1")
        check(credit in ("token", "turn"), "credit", credit, "use 'token' or 'turn'")
        for name, share in {"gamma_token": gamma_token, "gamma_round": gamma_round, "gae_lambda": gae_lambda}.items():
            check(share is None or 0 <= share <= 1, name, share, "between 0 and 1")
        check(vf_clip_range is None or vf_clip_range > 0, "vf_clip_range", vf_clip_range, "above 0, or None")
        check(
            normalise_advantages is None or normalise_advantages in NORMALISATIONS,
            "normalise_advantages",
            normalise_advantages,
            f"use one of {list(NORMALISATIONS)}, or None",
        )
        self.group_size = group_size
        self.credit, self.gamma_token, self.gamma_round, self.gae_lambda = credit, gamma_token, gamma_round, gae_lambda
        self.normalise_advantages, self.vf_clip_range = normalise_advantages, vf_clip_range
        self.critics = self.make_critics(seed)
        for name, critic in self.critics.items():
            self.add_optimizer(name, critic.parameters(), critic_learning_rate or learning_rate)

    # -- where IPPO and MAPPO differ -----------------------------------------------------------------------------------

    @abstractmethod
    def make_critics(self, seed: int) -> dict[str, Critic]:
        """The critics by name."""

    @abstractmethod
    def critic_of(self, turn: Turn) -> str:
        """The name of the critic that judges a turn."""

    @abstractmethod
    def contexts(self, episodes: Sequence[Episode], places: Sequence[Place]) -> dict[Place, np.ndarray]:
        """Of each message at `places` the token ids [P] that its critic reads before it."""

    # -- one update ----------------------------------------------------------------------------------------------------

    def update(self, episodes: Sequence[Episode]) -> Update:
        whole = [n for n, e in enumerate(episodes) if not e.overflow]
        read = self.contexts(episodes, [(n, i) for n in whole for i, learns in enumerate(episodes[n].learns) if learns])
        unfit = {n for (n, i), context in read.items() if not self._fits(episodes[n].transcript.turns[i], context)}
        keep = [not e.overflow and n not in unfit for n, e in enumerate(episodes)]
        batch = TurnBatch.collect(episodes, self.team, self.gamma_round, keep)
        contexts = [read[place] for place in batch.places]
        judges = np.array([self.critic_of(turn) for turn in batch.turns])
        ref_logprobs = self.reference_logprobs(batch) if self.kl_coef else None
        if ref_logprobs is not None:
            batch = self.with_old_logprobs(batch)  # a divergence between roundings is none
        values, mask = self.values(batch, contexts, judges)
        advantages = self.advantages(batch, values, ref_logprobs)
        returns = values + advantages
        chosen = batch.sampled_mask[:, : mask.shape[1]]
        normalised = normalise(advantages, chosen, self.normalise_advantages, batch.rounds, batch.agents)
        spread = normalised if self.credit == "token" else normalised[:, 0]
        update = self.improve(batch, spread, ref_logprobs)
        update.metrics.update(self.fit_critics(batch, contexts, judges, values, returns, mask))
        if ref_logprobs is not None:
            drift = (batch.old_logprobs - ref_logprobs)[batch.sampled_mask]
            update.metrics["train/kl_to_reference"] = float(drift.mean())
        return update

    def _fits(self, turn: Turn, context: np.ndarray) -> bool:
        """Whether the critic's context fits the model's window, too: a joint state can be longer than any prompt."""
        assert turn.completion is not None
        window = learner_of(self.team, turn).policy.context_window
        return len(context) + len(turn.completion.completion_ids) <= window

    def advantages(self, batch: TurnBatch, values: Tensor, ref_logprobs: Tensor | None) -> Tensor:
        """Generalised advantages, [N, T] per token or [N, 1] per turn, KL penalty included when it belongs to the reward."""
        gamma_round = discount_between_rounds(self.gamma_round, batch.contains_future)
        rewards = torch.zeros_like(batch.old_logprobs)
        if ref_logprobs is not None and self.kl_in == "reward":
            rewards -= self.kl_coef * kl(batch.old_logprobs, ref_logprobs, "k1").where(batch.sampled_mask, 0.0)
        last = batch.completion_mask.sum(1) - 1
        rewards[torch.arange(len(batch)), last] += batch.rewards
        if self.credit == "turn":
            return chain_turns(
                rewards.sum(1),
                values[:, 0],
                batch.chains,
                batch.gaps,
                gamma_round=gamma_round,
                gae_lambda=self.gae_lambda,
            )[:, None]
        return chain_tokens(
            rewards,
            values,
            batch.completion_mask,
            batch.chains,
            batch.gaps,
            gamma_token=self.gamma_token,
            gamma_round=gamma_round,
            gae_lambda=self.gae_lambda,
        )

    # -- critics -------------------------------------------------------------------------------------------------------

    def values(self, batch: TurnBatch, contexts: list[np.ndarray], judges: np.ndarray) -> tuple[Tensor, Tensor]:
        """Values [N, T] (or [N, 1] for credit per turn) and their mask, before the update."""
        mask = batch.completion_mask if self.credit == "token" else batch.completion_mask[:, :1]
        values = torch.zeros(mask.shape)
        judged = self._judged(batch)
        for name, critic in self.critics.items():

            @torch.no_grad()
            def fill(packed: Packed, critic: Critic = critic) -> None:
                packed.spread(critic.values(packed), values)

            rows = np.flatnonzero(judges == name)
            self.in_passes(partial(critic.policy.pack, rows, contexts, judged), fill)
        return values, mask

    def fit_critics(
        self,
        batch: TurnBatch,
        contexts: list[np.ndarray],
        judges: np.ndarray,
        values: Tensor,
        returns: Tensor,
        mask: Tensor,
    ) -> dict[str, float]:
        """Regress every critic on the returns, as many epochs and minibatches as the policy."""
        tally = Tally()
        agg = self.loss_agg if self.loss_agg != "sum" else "message"
        judged = self._judged(batch)
        for name, critic in self.critics.items():
            mine = np.flatnonzero(judges == name)
            for _ in range(self.num_epochs):
                for mini in minibatches(mine, batch.chain_of, self.num_minibatches, self.rng):
                    weights = torch.zeros(mask.shape)
                    weights[mini] = token_weights(mask[mini], agg)
                    loss = self._value_loss(critic, values, returns, weights)
                    self.descend(name, partial(critic.policy.pack, mini, contexts, judged), loss, tally)
            if len(mine):
                self.schedulers[name].step()
        spread = returns[mask].var(correction=0)
        metrics = tally.means()
        if spread > 0:
            metrics["train/explained_variance"] = float(1 - (returns - values)[mask].var(correction=0) / spread)
        return metrics

    def _value_loss(
        self, critic: Critic, values: Tensor, returns: Tensor, weights: Tensor
    ) -> Callable[[Packed], tuple[Tensor, dict[str, Tensor]]]:
        def part(packed: Packed) -> tuple[Tensor, dict[str, Tensor]]:
            new = critic.values(packed)
            old, target, weight = (packed.flat(table).to(new.device) for table in (values, returns, weights))
            loss = (clipped_value_loss(new, old, target, self.vf_clip_range) * weight).sum()
            return loss, {"train/value_loss": loss.detach()}

        return part

    def _judged(self, batch: TurnBatch) -> list[np.ndarray]:
        """The tokens before which the critic gives a value: all of a message, or only the first."""
        return [completion[: None if self.credit == "token" else 1] for completion in batch.completions]

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"critics": {name: c.state_dict() for name, c in self.critics.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name, critic in self.critics.items():
            critic.load_state_dict(state["critics"][name])
