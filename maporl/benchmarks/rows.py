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
        greedy: Accuracy decoded greedily; None for a vote among samples.
        prompt_tokens, completion_tokens: Per question, sampled.
    """

    name: str
    sampled: float
    low: float
    high: float
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
    sampled = [_play(env, team, repeats) for env, team in seats]
    greedy = [
        _correct(e) for env, team in seats for e in rollout(env, team, env.questions("test"), seed=0, greedy=True)
    ]
    values = [[_correct(e) for e in one] for seat in sampled for one in seat]
    return _row(name, values, float(np.mean(greedy)), [e for seat in sampled for one in seat for e in one], repeats)


def voted(name: str, seats: Sequence[tuple[DiscussionEnv, Team]], k: int) -> Row:
    """Majority of k samples a question (self-consistency, Wang et al. 2203.11171), the mean over seats.

    Args as in `measured`; all samples of a vote share one seat's view.
    """
    played = [one for env, team in seats for one in _play(env, team, k)]
    values = [[_vote(one)] for one in played]
    return _row(name, values, None, [e for one in played for e in one], 1)


def _play(env: DiscussionEnv, team: Team, repeats: int) -> list[list[Episode]]:
    questions = env.questions("test")
    episodes = rollout(env, team, [q for q in questions for _ in range(repeats)], seed=STREAM)
    return [episodes[i * repeats : (i + 1) * repeats] for i in range(len(questions))]


def _correct(episode: Episode) -> float:
    return majority(episode.transcript).correct


def _vote(samples: Sequence[Episode]) -> float:
    turns = [turn for e in samples for turn in e.transcript.turns]
    return vote(turns, [1.0] * len(turns), None, oracle=False).correct


def _row(name: str, values: list[list[float]], greedy: float | None, episodes: Sequence[Episode], repeats: int) -> Row:
    low, high = clustered_interval(values)
    answers = len(values) * repeats  # of whom each cost what its episodes cost
    completions = [s.completion for e in episodes for s in e.steps]
    return Row(
        name,
        sampled=float(np.mean([np.mean(v) for v in values])),
        low=low,
        high=high,
        greedy=greedy,
        prompt_tokens=sum(len(c.prompt_ids) for c in completions) / answers,
        completion_tokens=sum(len(c.completion_ids) for c in completions) / answers,
    )
