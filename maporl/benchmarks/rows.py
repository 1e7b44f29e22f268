"""A line of a comparison: what a team, an agent or a vote gets right on held-out questions, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maporl.agents import Team
from maporl.algorithms.rollout import rollout
from maporl.benchmarks.intervals import clustered_interval
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.team_answer import majority, vote
from maporl.types import Episode

__all__ = ["Row", "measured", "voted"]

STREAM = 11  # of a row's sampling; every row draws from the same one


@dataclass(frozen=True)
class Row:
    """Accuracy on the test split.

    Attributes:
        name: What was measured.
        sampled: Mean accuracy, sampled as in training; ties by expectation.
        low, high: Its 95 % interval, clustered by question.
        best_seat: The best seat's sampled accuracy, for a lone agent that was measured in every seat; else the same as sampled.
        greedy: Accuracy decoded greedily; None for a vote among samples.
        prompt_tokens, completion_tokens: Per question, sampled.
    """

    name: str
    sampled: float
    low: float
    high: float
    best_seat: float
    greedy: float | None
    prompt_tokens: float
    completion_tokens: float


def measured(name: str, seats: Sequence[tuple[DiscussionEnv, Team]], repeats: int) -> Row:
    """Whole discussions, every test question `repeats` times.

    Args:
        name: Of the row.
        seats: One (task, team), or one for each seat of a lone agent, over which the row is the mean.
        repeats: Samples of a question.
    """
    played = [_play(env, team, repeats) for env, team in seats]
    greedy = [
        _correct(e) for env, team in seats for e in rollout(env, team, env.questions("test"), seed=0, greedy=True)
    ]
    values = [[[_correct(e) for e in one] for one in seat] for seat in played]
    return _row(name, values, float(np.mean(greedy)), played, repeats)


def voted(name: str, seats: Sequence[tuple[DiscussionEnv, Team]], k: int) -> Row:
    """Majority of k samples a question (self-consistency, Wang et al. 2203.11171), the mean over seats.

    Args as in `measured`; all samples of a vote share one seat's view.
    """
    played = [_play(env, team, k) for env, team in seats]
    return _row(name, [[[_vote(one)] for one in seat] for seat in played], None, played, 1)


def _play(env: DiscussionEnv, team: Team, repeats: int) -> list[list[Episode]]:
    questions = env.questions("test")
    episodes = rollout(env, team, [q for q in questions for _ in range(repeats)], seed=STREAM)
    return [episodes[i * repeats : (i + 1) * repeats] for i in range(len(questions))]


def _correct(episode: Episode) -> float:
    return majority(episode.transcript).correct


def _vote(samples: Sequence[Episode]) -> float:
    turns = [turn for e in samples for turn in e.transcript.turns]
    return vote(turns, [1.0] * len(turns), None, oracle=False).correct


def _row(
    name: str, values: list[list[list[float]]], greedy: float | None, played: list[list[list[Episode]]], repeats: int
) -> Row:
    """From `values` [seat][question][sample]; a question's samples in all seats are one cluster."""
    by_question = [[v for seat in seats for v in seat] for seats in zip(*values, strict=True)]
    low, high = clustered_interval(by_question)
    by_seat = [float(np.mean([v for one in seat for v in one])) for seat in values]
    answers = sum(len(seat) for seat in values) * repeats  # each of which cost what its episodes cost
    completions = [s.completion for seat in played for one in seat for e in one for s in e.steps]
    return Row(
        name,
        sampled=float(np.mean(by_seat)),
        low=low,
        high=high,
        best_seat=max(by_seat),
        greedy=greedy,
        prompt_tokens=sum(len(c.prompt_ids) for c in completions) / answers,
        completion_tokens=sum(len(c.completion_ids) for c in completions) / answers,
    )
