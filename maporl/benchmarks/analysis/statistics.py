"""How sure a figure is, question by question: intervals, paired tests, Holm's correction, what a study could have detected.

What is drawn at random here are questions; runs with other training seeds are the business of
`maporl.benchmarks.analysis.across_runs`. Which
figure takes which interval, and what was measured of it: ``docs/statistics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.special import bdtr, ndtri, stdtrit  # scipy.stats does the same and takes 100 times as long a call

from maporl.envs.verifiers.quality import wilson
from maporl.errors import UserValueError

__all__ = [
    "Comparison",
    "check_level",
    "check_outcomes",
    "clustered_interval",
    "compare",
    "holm",
    "minimum_detectable_paired",
    "minimum_detectable_unpaired",
    "question_means",
    "wilson_interval",
]

DRAWS = 10_000
"""Random sign flips of a permutation test."""

EQUAL = 1e-12
"""Means of the same outcomes may differ by rounding, and by no more than this."""


def wilson_interval(rate: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share: the true shares that the observed one does not contradict (Wilson 1927, JASA 22:209).

    It has a width at rate 0 and rate 1 too, and never leaves 0..1.

    Args:
        rate: Share of right answers, 0..1.
        n: Of how many independent answers; an effective number need not be whole.
        level: Of confidence.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: A rate outside 0..1, n not positive, a level outside (0, 1).
    """
    check_level(level)
    check_outcomes(np.array([rate]))
    _check_number(n)
    return wilson(rate, n, float(ndtri((1 + level) / 2)))


def question_means(values: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Mean outcome of every question.

    Args:
        values: One sequence a question, of any length: the outcomes, 0..1, of all its samples, seats and seeds. Or an array
            [questions, outcomes], or [questions] with one outcome each.

    Returns:
        [questions] float64.

    Raises:
        ValueError: No question, a question without an outcome, an outcome that is NaN or outside 0..1.
    """
    if len(values) == 0:
        raise UserValueError("there are 0 questions, and no mean of them; give the outcomes of at least one.")
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype != object:
        values = values[:, None]
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1]:
        check_outcomes(values)
        return values.mean(axis=1, dtype=float)
    counts = np.array([len(v) for v in values])
    if not counts.all():
        raise UserValueError(f"question number {int(counts.argmin())} has 0 outcomes; leave it out, or answer it.")
    flat = np.fromiter(chain.from_iterable(values), dtype=float, count=int(counts.sum()))
    check_outcomes(flat)
    return np.add.reduceat(flat, np.cumsum(counts) - counts) / counts


def clustered_interval(values: Sequence[Sequence[float]] | np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over questions, whatever was measured on each: Wilson's with the effective number of answers.

    Answers to one question resemble each other, so that questions count, not answers. With m_1 .. m_n the questions' means, p their
    mean and s^2 their variance (divisor n - 1), p is as sure as a share of

        n_eff = p (1 - p) / (s^2 / n) * (z / t_{n-1})^2

    independent answers, where the last factor pays for s^2 being an estimate (Korn and Graubard 1998, Survey Methodology 24:193; with
    Wilson's interval: Franco et al. 2019, J. Survey Statistics and Methodology 7:334). If every question's mean is 0 or 1, or all are
    equal, n_eff = n: that is Wilson's interval, and the widest that outcomes in 0..1 can ask for with one answer a question.

    Args:
        values: As in `question_means`. Every question counts the same, however often it was answered.
        level: Of confidence.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: As `question_means`, or a level outside (0, 1).
    """
    check_level(level)
    means = question_means(values)
    n, mean = len(means), float(means.mean())
    if _right_or_wrong(means) or np.ptp(means) < EQUAL:
        return wilson_interval(mean, n, level=level)
    quantile = (1 + level) / 2
    effective = n * mean * (1 - mean) / means.var(ddof=1) * (ndtri(quantile) / stdtrit(n - 1, quantile)) ** 2
    return wilson_interval(mean, float(effective), level=level)


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same questions; differences are first minus second.

    Attributes:
        difference: Of the means over the questions that both answered.
        low, high: Its interval.
        p_value: Two-sided, of the hypothesis that it does not matter which method answers.
        test: Which test gave it, for people.
        num_questions: That both answered.
        only_first, only_second: Left out, for the other method has no answer.
        wins, losses: Questions on which the first was better and worse; on the others they were alike.
        sd: Of the differences, as `low` and `high` use it (never 0): what `minimum_detectable_paired` takes.
    """

    difference: float
    low: float
    high: float
    p_value: float
    test: str
    num_questions: int
    only_first: int
    only_second: int
    wins: int
    losses: int
    sd: float


def compare(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two methods on the questions that both answered, question by question.

    If every question's mean is 0 or 1, the p-value is the exact McNemar test's (McNemar 1947: given that they differ, each method is
    right with probability 1/2) and the interval Bonett and Price's (2012, J. Educational and Behavioral Statistics 37:479), which
    counts two questions more, one that each method alone won. Else the p-value is a sign-flip permutation test's (Fisher 1935: if
    methods do not matter, each question's difference might as well have the other sign; exact up to 13 differences, else 10,000 random
    flips, and then never below 1 / 10,001) and the interval Student's t of the differences.

    Args:
        first, second: By question id, the outcomes as in `question_means`; the two may have different numbers of outcomes.
        level: Of confidence.
        seed: Of the random sign flips.

    Raises:
        ValueError: No question in common, outcomes as in `question_means`, or a level outside (0, 1).
    """
    check_level(level)
    shared = [q for q in first if q in second]
    if not shared:
        raise UserValueError(
            f"the methods share 0 of {len(first)} and {len(second)} questions; compare methods that answered the same ones."
        )
    ours, theirs = (question_means([method[q] for q in shared]) for method in (first, second))
    differences = ours - theirs
    wins, losses = int((differences > EQUAL).sum()), int((differences < -EQUAL).sum())
    binary = _right_or_wrong(ours) and _right_or_wrong(theirs)
    quantile = (1 + level) / 2
    if binary or np.ptp(differences) < EQUAL:  # equal differences have no spread to go by
        n = len(differences) + 2
        centre = float(differences.sum()) / n
        sd = math.sqrt((float((differences**2).sum()) + 2) / n - centre**2)
        half = float(ndtri(quantile)) * sd / math.sqrt(n)
    else:
        n = len(differences)
        centre = float(differences.mean())
        sd = float(differences.std(ddof=1))
        half = float(stdtrit(n - 1, quantile)) * sd / math.sqrt(n)
    return Comparison(
        difference=float(differences.mean()),
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        p_value=_mcnemar(wins, losses) if binary else _sign_flips(differences, np.random.default_rng(seed)),
        test="exact McNemar" if binary else "sign-flip permutation",
        num_questions=len(shared),
        only_first=len(first) - len(shared),
        only_second=len(second) - len(shared),
        wins=wins,
        losses=losses,
        sd=sd,
    )


def _mcnemar(wins: int, losses: int) -> float:
    """Two-sided p-value of a fair coin that fell `wins` times on one side and `losses` times on the other."""
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def _sign_flips(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Share of sign flips whose sum is at least as far from 0 as the observed one."""
    moved = differences[np.abs(differences) > EQUAL]
    extreme = abs(moved.sum()) - 1e-9  # sums of the same numbers in another order are ties
    if 2 ** len(moved) <= DRAWS:
        return float(np.mean(np.abs(_signs(len(moved)) @ moved) >= extreme))
    # Eight questions at a time: a random byte looks up the sum of their eight differences with random signs.
    eights = np.pad(moved, (0, -len(moved) % 8)).reshape(-1, 8)
    sums = np.zeros(DRAWS)
    for table in eights @ _signs(8).T:  # [256]
        sums += table[rng.integers(256, size=DRAWS, dtype=np.uint8)]
    return float((np.sum(np.abs(sums) >= extreme) + 1) / (DRAWS + 1))  # the observed signs are one of the flips


def _signs(count: int) -> np.ndarray:
    """All ways to give `count` numbers a sign: [2 ** count, count] of 1 and -1."""
    return 1.0 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values corrected for their number (Holm 1979, Scand. J. Statistics 6:65): the chance of one false alarm among all stays 5 %.

    Sorted upwards, p_(i) becomes the largest of (m - j + 1) p_(j) over j <= i, at most 1. No independence is assumed.

    Args:
        p_values: [m] of all comparisons that a reader will look at; m may be 0.

    Returns:
        [m], in the same order.

    Raises:
        ValueError: A value that is NaN or outside 0..1.
    """
    p = np.asarray(p_values, dtype=float)
    check_outcomes(p, "p-value")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def minimum_detectable_unpaired(rate: float, n: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest difference of two shares, measured on n other questions each, that a test would find (with z's for level and power).

        (z_{level} + z_{power}) * sqrt(2 rate (1 - rate) / n)        (Fleiss, Levin and Paik 2003, ch. 4)

    At least what keeps both shares, rate +- half of it, in 0..1: so it is not 0 where everything is right or wrong.

    Args:
        rate: Mean of the two shares.
        n: Questions of each method.
        level: 1 - the two-sided test's error of the first kind.
        power: Probability of finding it.

    Raises:
        ValueError: A rate outside 0..1, n not positive, level or power outside (0, 1).
    """
    check_outcomes(np.array([rate]))
    _check_number(n)
    z = _both_quantiles(level, power)
    at_the_edge = z**2 / n / (1 + z**2 / (2 * n))  # solves d = z sqrt(2 r (1 - r) / n) for r = d / 2
    return min(1.0, max(at_the_edge, z * math.sqrt(2 * rate * (1 - rate) / n)))


def minimum_detectable_paired(sd: float, n: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest mean difference on the same n questions that a paired test would find: (z_{level} + z_{power}) * sd / sqrt(n).

    Args:
        sd: Of the questions' differences, as `Comparison.sd`; sqrt(share of questions on which exactly one method is right) for
            single right-or-wrong answers.
        n: Questions that both answered.
        level: 1 - the two-sided test's error of the first kind.
        power: Probability of finding it.

    Raises:
        ValueError: sd or n not positive, level or power outside (0, 1).
    """
    if not 0 < sd < math.inf:
        raise UserValueError(
            f"the standard deviation of the differences is {sd}; give one above 0 (`Comparison.sd` is)."
        )
    _check_number(n)
    return min(1.0, _both_quantiles(level, power) * sd / math.sqrt(n))


def check_level(level: float, name: str = "level") -> None:
    """Raise a ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise UserValueError(f"{name} is {level}; give a number between 0 and 1, for example 0.95.")


def check_outcomes(values: np.ndarray, name: str = "outcome") -> None:
    """Raise a ValueError, which names the first one, if a value is NaN or outside 0..1."""
    wrong = ~((values >= 0) & (values <= 1))  # also true for NaN
    if wrong.any():
        raise UserValueError(
            f"{name} {values[wrong][0]} is outside 0..1; give shares of 1, not percent, and leave out what is unknown."
        )


def _check_number(n: float) -> None:
    if not 0 < n < math.inf:
        raise UserValueError(f"the number of questions is {n}; give a positive number.")


def _right_or_wrong(means: np.ndarray) -> bool:
    return bool(((means == 0) | (means == 1)).all())


def _both_quantiles(level: float, power: float) -> float:
    check_level(level)
    check_level(power, "power")
    return float(ndtri((1 + level) / 2) + ndtri(power))
