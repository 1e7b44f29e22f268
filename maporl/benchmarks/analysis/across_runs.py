"""How sure a figure is, run by run: other training seeds would have given other runs.

Outcomes are a run's score in 0..1, its accuracy for example. Where runs are all alike their spread says nothing, and Wilson's interval
with as many answers as runs stands in: nothing in 0..1 with that mean spreads wider. What was measured of all this: ``docs/statistics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from maporl.benchmarks.analysis.statistics import check_level, check_outcomes, wilson_interval
from maporl.errors import UserValueError

__all__ = [
    "MIN_RUNS",
    "MIN_RUNS_PER_TASK",
    "Estimate",
    "Profile",
    "interquartile_mean",
    "performance_profile",
    "probability_of_improvement",
    "t_interval",
]

MIN_RUNS = 10
"""Pooled over tasks, below which a bootstrap's interval is far too narrow; a t interval then."""

MIN_RUNS_PER_TASK = 3
"""A bootstrap within tasks sees how much runs of one task differ; of two runs it hardly does."""

DRAWS = 10_000
"""Bootstrap samples."""

EQUAL = 1e-12


class Estimate(NamedTuple):
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float


class Profile(NamedTuple):
    """For every threshold, the share of runs above it and the ends of its interval: [thresholds] each."""

    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def t_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval of the mean over runs: mean +- t_{k-1} * s / sqrt(k), cut at 0 and 1.

    It assumes that runs scatter about their mean like a normal distribution, which nobody can check on three of them: show the runs too.

    Args:
        values: [k] a score of each run, 0..1.
        level: Of confidence.

    Returns:
        Lower and upper end; Wilson's if all runs are equal; None for one run, which says nothing about others.

    Raises:
        ValueError: No run, a score that is NaN or outside 0..1, a level outside (0, 1).
    """
    check_level(level)
    runs = np.asarray(values, dtype=float)
    if runs.size == 0:
        raise UserValueError("there are 0 runs, and no mean of them; give the scores of at least one.")
    check_outcomes(runs)
    k, mean = len(runs), float(runs.mean())
    if k == 1:
        return None
    if np.ptp(runs) < EQUAL:
        return wilson_interval(mean, k, level=level)
    half = float(stdtrit(k - 1, (1 + level) / 2) * runs.std(ddof=1)) / math.sqrt(k)
    return max(0.0, mean - half), min(1.0, mean + half)


def interquartile_mean(scores: Sequence[Sequence[float]], *, level: float = 0.95, seed: int = 0) -> Estimate:
    """Mean of the middle half of all runs of all tasks (Agarwal et al. 2108.13264), with a stratified bootstrap interval.

    Lowest and highest quarter, each floor(runs / 4) runs, are left out, as rliable and scipy's `trim_mean` do.

    Args:
        scores: One sequence a task: the scores of its runs, 0..1.
        level: Of confidence.
        seed: Of the bootstrap.

    Raises:
        ValueError: Fewer than 10 runs in all, fewer than 3 of a task, a score that is NaN or outside 0..1, a level outside (0, 1).
    """
    check_level(level)
    tasks = _checked(scores)
    rng = np.random.default_rng(seed)
    # One run fewer than there are of each task: see `_counts`.
    drawn = np.concatenate([runs[rng.integers(len(runs), size=(DRAWS, len(runs) - 1))] for runs in tasks], axis=1)
    pooled = np.concatenate(tasks)
    return _estimate(float(_middle_half(pooled)), _middle_half(drawn), len(pooled), level)


def performance_profile(
    scores: Sequence[Sequence[float]], thresholds: Sequence[float] | np.ndarray, *, level: float = 0.95, seed: int = 0
) -> Profile:
    """Share of runs above each threshold, pooled over tasks (run-score distribution, Agarwal et al. 2108.13264, sec. 4.2).

    The intervals hold for one threshold at a time, not for the whole curve.

    Args:
        scores: As in `interquartile_mean`.
        thresholds: [thresholds].
        level: Of confidence.
        seed: Of the bootstrap.

    Raises:
        ValueError: As `interquartile_mean`.
    """
    check_level(level)
    tasks = _checked(scores)
    rng = np.random.default_rng(seed)
    number = sum(len(runs) for runs in tasks)
    above = [(runs[:, None] > np.asarray(thresholds)).astype(float) for runs in tasks]
    share = np.concatenate(above).mean(axis=0)
    draws = sum(_counts(rng, len(a)) @ a * len(a) for a in above) / number  # [DRAWS, thresholds]
    ends = np.array([_estimate(float(s), d, number, level)[1:] for s, d in zip(share, draws.T, strict=True)])
    low, high = ends.reshape(-1, 2).T
    return Profile(share, low, high)


def probability_of_improvement(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Probability that a run of the first method beats one of the second on a task drawn at random (Agarwal et al. 2108.13264, sec. 4.3).

        mean over tasks of  1/(N K) sum_{i <= N, j <= K} [x_i > y_j] + [x_i = y_j] / 2

    1/2 is no difference; an interval above 1/2 says which is better, not by how much.

    Args:
        first, second: As in `interquartile_mean`, the same tasks in the same order.
        level: Of confidence.
        seed: Of the bootstrap, which draws runs of both methods.

    Raises:
        ValueError: As `interquartile_mean`, of either method, or unlike numbers of tasks.
    """
    check_level(level)
    ours, theirs = _checked(first), _checked(second)
    if len(ours) != len(theirs):
        raise UserValueError(
            f"the methods have runs on {len(ours)} and {len(theirs)} tasks; give the same tasks for both."
        )
    rng = np.random.default_rng(seed)
    won = [(np.sign(x[:, None] - y) + 1) / 2 for x, y in zip(ours, theirs, strict=True)]  # [N, K] each
    draws = np.mean([((_counts(rng, len(w)) @ w) * _counts(rng, w.shape[1])).sum(axis=1) for w in won], axis=0)
    number = min(sum(w.shape[0] for w in won), sum(w.shape[1] for w in won))
    return _estimate(float(np.mean([w.mean() for w in won])), draws, number, level)


def _checked(scores: Sequence[Sequence[float]]) -> list[np.ndarray]:
    tasks = [np.asarray(runs, dtype=float) for runs in scores]
    number = sum(len(runs) for runs in tasks)
    if number < MIN_RUNS:
        raise UserValueError(
            f"{number} runs are too few for a bootstrap; give {MIN_RUNS} or more, or show each with a t interval."
        )
    for i, runs in enumerate(tasks):
        check_outcomes(runs, "score")
        if len(runs) < MIN_RUNS_PER_TASK:
            raise UserValueError(
                f"task number {i} has {len(runs)} runs, too few to draw from; give {MIN_RUNS_PER_TASK} or more, or leave the task out."
            )
    return tasks


def _counts(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Weights [DRAWS, runs] of the runs in bootstrap samples of one task; each row adds up to 1.

    A sample holds one run fewer than there are: of three runs, three with replacement spread a third too little, two spread as they
    should (McCarthy and Snowden 1985; Rao and Wu 1988, JASA 83:231). rliable draws all, and its intervals are as much too narrow.
    """
    return rng.multinomial(runs - 1, np.full(runs, 1 / runs), size=DRAWS) / (runs - 1)


def _middle_half(values: np.ndarray) -> np.ndarray:
    """Interquartile mean along the last axis."""
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def _estimate(value: float, draws: np.ndarray, runs: int, level: float) -> Estimate:
    """With the percentile interval; a bootstrap that sees no spread leaves it to Wilson's."""
    if np.ptp(draws) < EQUAL:
        return Estimate(value, *wilson_interval(min(1.0, max(0.0, value)), runs, level=level))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
