"""A critic of single messages that reads what the speaker does not: SWEET-RL's (2503.15478, section 4).

What a message is worth is how much likelier the critic, an adapter that was trained for it, finds it than its reference:

    A(o, a, c) = mean over the message's tokens of log p(token | o, c) - log p_ref(token | o, c)

with o what has been said and c what the speaker is not shown: both read the joint state. The adapter is trained on whole trajectories:
of two of one task, the messages of that which earned more are to be worth more, all together. So credit is found, not given.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from maporl.agents.agent import Learner
from maporl.agents.models.prefix_trees import Packed
from maporl.agents.team import Team
from maporl.algorithms.algorithm import Update, check
from maporl.algorithms.batch import tables
from maporl.algorithms.descent import GradientDescent, Tally
from maporl.algorithms.losses import SCORES, preference_loss, trajectory_scores
from maporl.errors import UserValueError
from maporl.rollouts.decisions import Candidate, Decision, Leaf, leaf_value
from maporl.types import Completion, Episode

__all__ = ["TurnCritic", "pairs_of_one_task", "rank_accuracy"]

RIGHT = 1.0
"""What a fully right trajectory is worth."""


@dataclass(frozen=True)
class _Messages:
    """N messages as the critic reads them, of K trajectories; T is the longest one's number of tokens.

    Attributes:
        prompts: N arrays [P_n] int64.
        completions: N arrays [T_n] int64.
        mask: [N, T] bool, the tokens that the speaker chose.
        trajectories: [N] int64, from 0 to K - 1.
        reference: [N, T] log-probs under the reference.
    """

    prompts: list[np.ndarray]
    completions: list[np.ndarray]
    mask: Tensor
    trajectories: Tensor
    reference: Tensor

    def __len__(self) -> int:
        return len(self.prompts)

    def of(self, trajectories: Sequence[int]) -> _Messages:
        """Those of some trajectories, which are numbered anew, in this order."""
        rows = [torch.nonzero(self.trajectories == k)[:, 0] for k in trajectories]
        chosen = torch.cat(rows)
        numbers = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for r in rows]))
        prompts, completions = ([texts[i] for i in chosen.tolist()] for texts in (self.prompts, self.completions))
        return _Messages(prompts, completions, self.mask[chosen], numbers, self.reference[chosen])


class TurnCritic(GradientDescent):
    """Trains an adapter to tell better trajectories from worse ones, and says by it what a single message is worth.

    Args:
        judge: Whose adapter is trained, with the prompts and at the temperature of those it judges. Nobody hears it speak.
        reference: The adapter that it starts from, None for the base: what log-ratios are taken to.
        privileged: It reads the joint state (all private information); else only what the speaker is shown, the control that should fail.
        normalise: How tokens make a trajectory's score, see `trajectory_scores`: "turn_mean" (the paper), "token_mean" (its release),
            "sum" (no 1/length, with which a long message is worth much for being long).
        beta: Of the preference loss.
        nll_coef: Weight of -log p of the better trajectory, a mean over the speaker's own tokens (.01 in the paper, 0 in its release).
        only_right: Compare fully right trajectories alone with worse ones (the release), instead of any that earned more.
        permuted: Which of a pair is the better one is drawn by lot: the control that must fail.
        learning_rate: AdamW's, at the first epoch.
        lr_schedule: Over the epochs: "linear" (to a tenth), "cosine" (to a twentieth) or "constant".
        num_epochs: Passes over the pairs of an `update`.
        batch_size: Pairs of one optimizer step.
        max_grad_norm, microbatch_tokens, seed: See `GradientDescent`.

    Raises:
        ValueError: A setting outside its range.
    """

    reads_state = True

    def __init__(
        self,
        judge: Learner,
        *,
        reference: str | None = None,
        privileged: bool = True,
        normalise: str = "turn_mean",
        beta: float = 0.1,
        nll_coef: float = 0.01,
        only_right: bool = False,
        permuted: bool = False,
        learning_rate: float = 5e-4,
        lr_schedule: str = "linear",
        num_epochs: int = 4,
        batch_size: int = 8,
        max_grad_norm: float | None = 1.0,
        microbatch_tokens: int = 4096,
        seed: int = 0,
    ) -> None:
        super().__init__(Team({("critic", 0): judge}), num_epochs, lr_schedule, max_grad_norm, microbatch_tokens, seed)
        check(judge.adapter is not None, "adapter", judge.adapter, "a critic needs an adapter of its own")
        check(normalise in SCORES, "normalise", normalise, f"use one of {list(SCORES)}")
        for name, value in {"beta": beta, "learning_rate": learning_rate}.items():
            check(0 < value < math.inf, name, value, "above 0 and finite")
        check(nll_coef >= 0, "nll_coef", nll_coef, "at least 0")
        for name, count in {"num_epochs": num_epochs, "batch_size": batch_size}.items():
            check(count >= 1, name, count, "at least 1")
        self.judge, self.name, self.reference = judge, str(judge.adapter), reference
        self.privileged, self.normalise, self.beta, self.nll_coef = privileged, normalise, beta, nll_coef
        self.only_right, self.permuted = only_right, permuted
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.add_optimizer(self.name, judge.policy.parameters(self.name), learning_rate)

    # -- trajectories --------------------------------------------------------------------------------------------------

    def update(self, episodes: Sequence[Episode], value: Leaf = leaf_value) -> Update:
        """Learn from pairs of trajectories of one task, by the messages of those who learn.

        Args:
            episodes: Discussions, several of a task; those with an overflowed prompt are left out.
            value: What a discussion is worth.

        Raises:
            ValueError: No task has two that differ in worth.
        """
        kept = [e for e in episodes if not e.overflow and any(e.learns)]
        worth = [(e.transcript.question.id, value(e)) for e in kept]
        pairs, skipped = pairs_of_one_task(worth, only_right=self.only_right)
        number = len({task for task, _ in worth})
        if not pairs:
            better = "of which one is fully right and another is not" if self.only_right else "of which one earned more"
            raise UserValueError(
                f"none of {number} tasks has two discussions {better}, so a critic has nothing to compare ({len(episodes)} discussions, "
                f"{len(episodes) - len(kept)} of them dropped): sample more of each task, or easier or harder tasks."
            )
        if self.permuted:
            swap = self.rng.random(len(pairs)) < 0.5
            pairs = [(b, a) if swapped else (a, b) for (a, b), swapped in zip(pairs, swap, strict=True)]
        used = sorted({k for pair in pairs for k in pair})
        messages = self._trajectories([kept[k] for k in used])
        places = {k: place for place, k in enumerate(used)}
        numbered = np.array([[places[k] for k in pair] for pair in pairs])
        for _ in range(self.num_epochs):
            tally = Tally()
            for mini in np.array_split(self.rng.permutation(numbered), math.ceil(len(pairs) / self.batch_size)):
                self._step(messages, mini, tally)
            self.schedulers[self.name].step()
        found = {name.replace("train/", "critic/"): mean for name, mean in tally.means().items()}
        counted = {"critic/pairs": float(len(pairs)), "critic/skipped_tasks": skipped / number}
        return Update(found | counted)

    def _trajectories(self, episodes: Sequence[Episode]) -> _Messages:
        said = [(k, e, i) for k, e in enumerate(episodes) for i, learns in enumerate(e.learns) if learns]
        shown = [e.state(i) if self.privileged else e.observation(i) for _, e, i in said]
        completions = [e.transcript.turns[i].completion for _, e, i in said]
        prompts = self.judge.encode(shown)
        return self._messages(prompts, [c for c in completions if c is not None], [k for k, _, _ in said])

    def _messages(
        self, prompts: list[np.ndarray], completions: Sequence[Completion], trajectories: Sequence[int]
    ) -> _Messages:
        """With the log-probs of the reference, which are computed once."""
        _, mask, nothing = tables(completions)
        ids = [c.completion_ids for c in completions]
        messages = _Messages(prompts, ids, mask, torch.tensor(trajectories), nothing)
        return replace(messages, reference=self._logprobs(self.reference, messages))

    @torch.no_grad()
    def _logprobs(self, adapter: str | None, messages: _Messages) -> Tensor:
        """[N, T] of all tokens; zero where there are none."""
        found = torch.zeros(messages.mask.shape)

        def fill(packed: Packed) -> None:
            packed.spread(self.judge.policy.logprobs(adapter, packed, self.judge.sampling.temperature)[0], found)

        self.in_passes(self._packs(messages), fill)
        return found

    def _packs(self, messages: _Messages) -> Callable[[int], Sequence[Packed]]:
        return partial(self.judge.policy.pack, np.arange(len(messages)), messages.prompts, messages.completions)

    def _step(self, messages: _Messages, pairs: np.ndarray, tally: Tally) -> None:
        """One optimizer step on some pairs, [P, 2] trajectories, the better one first.

        The loss couples all messages of a pair, which need not fit into one pass. So a first pass computes their log-probs and what each
        token weighs in the gradient, and a second one goes up it: the same gradient in passes of any size.
        """
        used, numbered = np.unique(pairs, return_inverse=True)
        mini = messages.of(used.tolist())
        better, worse = torch.as_tensor(numbered.reshape(pairs.shape)).unbind(1)
        logprobs = self._logprobs(self.name, mini).requires_grad_()

        def scores(of: Tensor, normalise: str) -> Tensor:
            return trajectory_scores(of, mini.mask, mini.trajectories, len(used), normalise)

        worth = scores(logprobs - mini.reference, self.normalise)
        none = torch.zeros(len(pairs))
        loss = preference_loss(worth[better], worth[worse], none, none, self.beta).mean()
        whole = loss - self.nll_coef * scores(logprobs, "token_mean")[better].mean()
        (weights,) = torch.autograd.grad(whole, logprobs)

        def part(packed: Packed) -> tuple[Tensor, Mapping[str, Tensor]]:
            again, _ = self.judge.policy.logprobs(self.name, packed, self.judge.sampling.temperature)
            return (again * packed.flat(weights).to(again.device)).sum(), {}

        self.descend(self.name, self._packs(mini), part, tally)
        margin = (worth[better] - worth[worse]).detach()
        tally.add([{"train/loss": loss.detach(), "train/pair_accuracy": (margin > 0).float().mean()}])
        tally.add([{"train/margin": margin.mean()}])

    # -- candidates ----------------------------------------------------------------------------------------------------

    def advantages(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The same decisions, every candidate valued by its advantage."""
        candidates = [c.completion for d in decisions for c in d.candidates]
        if not candidates:
            return list(decisions)
        read = self.judge.encode([d.state if self.privileged else d.observation for d in decisions])
        prompts = [ids for ids, d in zip(read, decisions, strict=True) for _ in d.candidates]
        messages = self._messages(prompts, candidates, range(len(candidates)))
        ratios = self._logprobs(self.name, messages) - messages.reference
        worth = trajectory_scores(ratios, messages.mask, messages.trajectories, len(candidates), self.normalise)
        values = iter(worth.tolist())
        return [d.valued([next(values) for _ in d.candidates]) for d in decisions]


def pairs_of_one_task(
    worth: Sequence[tuple[str, float | None]], *, only_right: bool = False
) -> tuple[list[tuple[int, int]], int]:
    """(better, worse) trajectories of one task, every one against every one that is worth less; and the tasks without any.

    Args:
        worth: Of each trajectory its task, and what it is worth (None: nobody knows, it has no part).
        only_right: The better one must be fully right.
    """
    tasks: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, (task, value) in enumerate(worth):
        tasks[task] += [] if value is None else [(number, value)]
    found = [
        [(i, j) for i, v in held for j, w in held if v > w and (v >= RIGHT or not only_right)]
        for held in tasks.values()
    ]
    return [pair for of_task in found for pair in of_task], sum(not of_task for of_task in found)


def rank_accuracy(decisions: Sequence[Decision], truth: Callable[[Decision, Candidate], float]) -> float:
    """How often the better of two candidates of one decision has the higher value: a tie counts one half, equals are left out.

    Args:
        decisions: With values.
        truth: What a candidate is truly worth.

    Returns:
        A share, nan if no two candidates differ.
    """
    right = []
    for decision in decisions:
        true = np.array([truth(decision, c) for c in decision.candidates])
        better, worse = np.nonzero(true[:, None] > true[None, :])
        values = np.array(decision.values)
        right.append(0.5 + 0.5 * np.sign(values[better] - values[worse]))
    every = np.concatenate([*right, np.zeros(0)])
    return float(every.mean()) if len(every) else math.nan
