"""Episodes as one batch of messages, and its division into minibatches and microbatches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from maporl.agents.team import Team
from maporl.types import Episode, Step

__all__ = ["TurnBatch", "discount_between_rounds", "minibatches"]


@dataclass(frozen=True)
class TurnBatch:
    """N trained messages; T is the longest one's number of tokens. Everything is in the episodes' order, on the CPU.

    Attributes:
        steps: The turns themselves.
        learners: [N] adapter that spoke each message.
        prompts: N arrays [P_n] int64, what each message was conditioned on.
        completions: N arrays [T_n] int64, EOS included.
        completion_mask: [N, T] bool, True where a token counts.
        old_logprobs: [N, T] float32, of the distribution sampled from; zero outside completion_mask.
        sampled_logprobs: [N, T] float32, as stored when sampling; the same, unless an algorithm computes `old_logprobs` again.
        rewards: [N] float32, each message's own reward plus those of later messages of the same agent that are not trained, discounted.
        gaps: [N] int64, own messages until the agent's next trained one (0: there is none, the message is terminal).
        chains: Rows of one agent's messages in one episode, in order.
        rounds, agents, groups, samples: [N] int64; `samples` numbers the distinct completions (cross joint actions share them).
        contains_future: The rewards are returns already.
        dropped: Episodes left out because a prompt overflowed the model's window.
    """

    steps: list[Step]
    learners: np.ndarray
    prompts: list[np.ndarray]
    completions: list[np.ndarray]
    completion_mask: Tensor
    old_logprobs: Tensor
    sampled_logprobs: Tensor
    rewards: Tensor
    gaps: np.ndarray
    chains: list[list[int]]
    rounds: np.ndarray
    agents: np.ndarray
    groups: np.ndarray
    samples: np.ndarray
    contains_future: bool
    dropped: int

    @classmethod
    def collect(cls, episodes: Sequence[Episode], team: Team, gamma_round: float | None = None) -> TurnBatch:
        """The messages that the team's learners spoke.

        Args:
            episodes: Finished discussions; those with an overflowed prompt are dropped and counted.
            team: Says which adapter spoke each turn, and which are trained now.
            gamma_round: Discount between an agent's own messages; None is 0 if the rewards contain the future, else 1.

        Raises:
            ValueError: gamma_round > 0 with rewards that contain the future, or nothing is left to train on.
        """
        kept = [e for e in episodes if not e.overflow]
        contains_future = any(e.contains_future for e in kept)
        gamma = discount_between_rounds(gamma_round, contains_future)
        steps: list[Step] = []
        learners: list[str | None] = []
        gaps: list[int] = []
        groups: list[int] = []
        chains: list[list[int]] = []
        agents: list[int] = []
        rewards: list[float] = []
        for episode in kept:
            for index, agent in enumerate(episode.transcript.agents):
                chain: list[int] = []
                since = 0
                for step in episode.steps:
                    if step.agent != agent:
                        continue
                    since += 1
                    learner = team.learner(agent, step.round)
                    if learner is not None:
                        if chain:
                            gaps[chain[-1]] = since
                        chain.append(len(steps))
                        steps.append(step)
                        learners.append(learner.adapter)
                        rewards.append(step.reward)
                        gaps.append(0)
                        groups.append(episode.group)
                        agents.append(index)
                        since = 0
                    elif chain:  # a frozen message's reward is still this agent's return
                        rewards[chain[-1]] += gamma**since * step.reward
                if chain:
                    chains.append(chain)
        if not steps:
            raise ValueError(
                f"no message to train on: of {len(episodes)} episodes {len(episodes) - len(kept)} overflowed the model's window, and the "
                f"team trains {list(team.learners)}. Shorten prompts or max_new_tokens, or unfreeze a seat."
            )
        completions = [s.completion.completion_ids for s in steps]
        width = max(len(c) for c in completions)
        mask = torch.zeros(len(steps), width, dtype=torch.bool)
        old = torch.zeros(len(steps), width)
        for n, step in enumerate(steps):
            size = len(step.completion.completion_ids)
            mask[n, :size] = True
            old[n, :size] = torch.from_numpy(step.completion.logprobs)
        numbers: dict[int, int] = {}
        return cls(
            steps=steps,
            learners=np.array(learners),
            prompts=[s.completion.prompt_ids for s in steps],
            completions=completions,
            completion_mask=mask,
            old_logprobs=old,
            sampled_logprobs=old,
            rewards=torch.tensor(rewards, dtype=torch.float32),
            gaps=np.array(gaps, np.int64),
            chains=chains,
            rounds=np.array([s.round for s in steps], np.int64),
            agents=np.array(agents, np.int64),
            groups=np.array(groups, np.int64),
            samples=np.array([numbers.setdefault(id(s.completion), len(numbers)) for s in steps], np.int64),
            contains_future=contains_future,
            dropped=len(episodes) - len(kept),
        )

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def chain_of(self) -> np.ndarray:
        """[N] the number of the chain that each message belongs to."""
        numbers = np.empty(len(self), np.int64)
        for number, rows in enumerate(self.chains):
            numbers[rows] = number
        return numbers


def discount_between_rounds(gamma_round: float | None, contains_future: bool) -> float:
    """The discount between an agent's own messages: a reward that contains the future is used as a return.

    Raises:
        ValueError: gamma_round > 0 although the rewards contain the future, which would then count twice.
    """
    if contains_future and gamma_round:
        raise ValueError(
            f"gamma_round is {gamma_round}, but this shaping's rewards contain the future already, which would count twice; leave "
            "gamma_round out (0), or choose a shaping such as own_score or team_mean."
        )
    return (0.0 if contains_future else 1.0) if gamma_round is None else gamma_round


def minibatches(rows: np.ndarray, chain_of: np.ndarray, number: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`rows` in `number` parts (fewer when there are fewer chains), at random, with all messages of a chain in the same part.

    They begin alike, so that together they cost little more than the longest of them.
    """
    parts = np.array_split(rng.permutation(np.unique(chain_of[rows])), number)
    return [rows[np.isin(chain_of[rows], part)] for part in parts if len(part)]
