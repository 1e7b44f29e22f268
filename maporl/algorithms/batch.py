"""Episodes as one batch of messages, and its division into minibatches and microbatches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from maporl.agents.agent import Learner
from maporl.agents.team import Team
from maporl.errors import UserValueError
from maporl.types import Completion, Episode, Turn

__all__ = ["TurnBatch", "discount_between_rounds", "minibatches", "tables"]


@dataclass(frozen=True)
class TurnBatch:
    """N trained messages; T is the longest one's number of tokens. Everything is in the episodes' order, on the CPU.

    Attributes:
        turns: The messages themselves.
        places: Of each message: (number of its episode, number of its turn in the transcript).
        learners: [N] adapter that spoke each message.
        prompts: N arrays [P_n] int64, what each message was conditioned on.
        completions: N arrays [T_n] int64, EOS included.
        completion_mask: [N, T] bool, True where there is a token.
        sampled_mask: [N, T] bool, True where the agent chose it: policies learn from these alone, while forced tokens, those that closed
            reasoning by a budget, are steps of the environment.
        old_logprobs: [N, T] float32, of the distribution sampled from; read within sampled_mask alone.
        sampled_logprobs: [N, T] float32, as stored when sampling; the same, unless an algorithm computes `old_logprobs` again.
        rewards: [N] float32, each message's own reward plus those of later messages of the same agent that are not trained, discounted.
        gaps: [N] int64, own messages until the agent's next trained one (0: there is none, the message is terminal).
        chains: Rows of one agent's messages in one episode, in order.
        rounds, agents, groups, samples: [N] int64; `samples` numbers the distinct completions (cross joint actions share them).
        times: [N] int64, how often the agent had spoken in this round before.
        contains_future: The rewards are returns already.
        dropped: Episodes left out because a prompt overflowed the model's window.
    """

    turns: list[Turn]
    places: list[tuple[int, int]]
    learners: np.ndarray
    prompts: list[np.ndarray]
    completions: list[np.ndarray]
    completion_mask: Tensor
    sampled_mask: Tensor
    old_logprobs: Tensor
    sampled_logprobs: Tensor
    rewards: Tensor
    gaps: np.ndarray
    chains: list[list[int]]
    rounds: np.ndarray
    times: np.ndarray
    agents: np.ndarray
    groups: np.ndarray
    samples: np.ndarray
    contains_future: bool
    dropped: int

    @classmethod
    def collect(
        cls,
        episodes: Sequence[Episode],
        team: Team,
        gamma_round: float | None = None,
        keep: Sequence[bool] | None = None,
    ) -> TurnBatch:
        """The messages that are learned from (`Episode.learns`).

        Args:
            episodes: Finished discussions; those with an overflowed prompt are dropped and counted.
            team: Says which adapter spoke each turn.
            gamma_round: Discount between an agent's own messages; None is 0 if the rewards contain the future, else 1.
            keep: Which episodes are not dropped; None: all without an overflow.

        Raises:
            ValueError: gamma_round > 0 with rewards that contain the future, or nothing is left to train on.
        """
        keep = [not e.overflow for e in episodes] if keep is None else keep
        kept = [n for n, wanted in enumerate(keep) if wanted]
        contains_future = any(episodes[n].contains_future for n in kept)
        gamma = discount_between_rounds(gamma_round, contains_future)
        chains = [chain for n in kept for chain in _chains(n, episodes[n], gamma)]
        messages = [message for chain in chains for message in chain]
        if not messages:
            raise UserValueError(
                f"no message to train on: of {len(episodes)} episodes {len(episodes) - len(kept)} were dropped (overflowed the model's "
                f"window), and the team trains {list(team.learners)}. Shorten prompts or max_new_tokens, or unfreeze a seat."
            )
        turns = [m.turn for m in messages]
        said = [_completion(turn) for turn in turns]
        mask, sampled, old = tables(said)
        ends = np.cumsum([len(chain) for chain in chains])
        numbers: dict[int, int] = {}
        return cls(
            turns=turns,
            places=[m.place for m in messages],
            learners=np.array([learner_of(team, turn).adapter for turn in turns]),
            prompts=[c.prompt_ids for c in said],
            completions=[c.completion_ids for c in said],
            completion_mask=mask,
            sampled_mask=sampled,
            old_logprobs=old,
            sampled_logprobs=old,
            rewards=torch.tensor([m.reward for m in messages], dtype=torch.float32),
            gaps=np.array([m.gap for m in messages], np.int64),
            chains=[list(range(end - len(chain), end)) for chain, end in zip(chains, ends, strict=True)],
            rounds=np.array([turn.round for turn in turns], np.int64),
            times=np.array(
                [episodes[m.place[0]].transcript.before(m.place[1]).times(m.turn.seat) for m in messages], np.int64
            ),
            agents=np.array([episodes[m.place[0]].transcript.agents.index(m.turn.agent) for m in messages], np.int64),
            groups=np.array([episodes[m.place[0]].group for m in messages], np.int64),
            samples=np.array([numbers.setdefault(id(c), len(numbers)) for c in said], np.int64),
            contains_future=contains_future,
            dropped=len(episodes) - len(kept),
        )

    def __len__(self) -> int:
        return len(self.turns)

    @cached_property
    def chain_of(self) -> np.ndarray:
        """[N] the number of the chain that each message belongs to."""
        numbers = np.empty(len(self), np.int64)
        for number, rows in enumerate(self.chains):
            numbers[rows] = number
        return numbers


def tables(said: Sequence[Completion]) -> tuple[Tensor, Tensor, Tensor]:
    """Where there is a token, and where a sampled one, [N, T] bool each; and the stored log-probs [N, T] float32."""
    mask = torch.zeros(len(said), max(len(c.completion_ids) for c in said), dtype=torch.bool)
    sampled, logprobs = torch.zeros_like(mask), torch.zeros(mask.shape)
    for n, c in enumerate(said):
        size = len(c.completion_ids)
        mask[n, :size] = True
        sampled[n, :size] = True if c.forced is None else torch.from_numpy(~c.forced)
        logprobs[n, : len(c.logprobs)] = torch.from_numpy(c.logprobs)
    return mask, sampled, logprobs


@dataclass
class _Message:
    """A message while its batch is collected."""

    place: tuple[int, int]
    turn: Turn
    reward: float
    gap: int = 0


def _chains(number: int, episode: Episode, gamma: float) -> list[list[_Message]]:
    """Each agent's trained messages in one episode, in order. What comes between two of them, or after the last, counts for the earlier."""
    chains: dict[str, list[_Message]] = {agent: [] for agent in episode.transcript.agents}
    since = dict.fromkeys(chains, 0)
    for index, turn in episode.said:
        chain, reward = chains[turn.agent], episode.rewards[index]
        since[turn.agent] += 1
        if index < len(episode.learns) and episode.learns[index]:
            if chain:
                chain[-1].gap = since[turn.agent]
            chain.append(_Message((number, index), turn, reward))
            since[turn.agent] = 0
        elif chain:  # a frozen message's reward is still this agent's return
            chain[-1].reward += gamma ** since[turn.agent] * reward
    return [chain for chain in chains.values() if chain]


def learner_of(team: Team, turn: Turn) -> Learner:
    """The trained agent that spoke a turn."""
    member = team.member(*turn.seat)
    assert isinstance(member, Learner)
    return member


def _completion(turn: Turn) -> Completion:
    assert turn.completion is not None, "nobody learns from a message of which it is not known how it was sampled"
    return turn.completion


def discount_between_rounds(gamma_round: float | None, contains_future: bool) -> float:
    """The discount between an agent's own messages: a reward that contains the future is used as a return.

    Raises:
        ValueError: gamma_round > 0 although the rewards contain the future, which would then count twice.
    """
    if contains_future and gamma_round:
        raise UserValueError(
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
