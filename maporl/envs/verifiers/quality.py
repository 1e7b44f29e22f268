"""How good are scores that claim to be probabilities of being right? Numpy only, for learned verifiers on labelled answers.

Every function takes `scores` [N] in 0..1 and `labels` [N], True where the answer is right.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from maporl.errors import UserValueError

__all__ = ["Bin", "accuracy", "auroc", "auroc_interval", "brier", "ece", "reliability", "wilson"]


class Bin(NamedTuple):
    """Answers of similar scores.

    Attributes:
        low, high: Of the scores: low <= score < high, and the last bin has the score 1 too.
        number: How many answers.
        score: Their mean score.
        accuracy: The share of them that is right.
    """

    low: float
    high: float
    number: int
    score: float
    accuracy: float


def accuracy(scores: Any, labels: Any) -> float:
    """Share of answers that are called right, or wrong, rightly: right is a score above one half; one half itself is a coin toss."""
    scores, labels = _checked(scores, labels)
    return float(np.mean(np.where(scores == 0.5, 0.5, (scores > 0.5) == labels)))


def auroc(scores: Any, labels: Any) -> float:
    """Probability that a right answer scores higher than a wrong one, equal scores counting one half (Hanley and McNeil 1982).

    Raises:
        ValueError: All answers are right, or all wrong; scores that are no probabilities.
    """
    scores, labels = _checked(scores, labels)
    return float(_components(scores, labels)[labels].mean())


def auroc_interval(
    scores: Any, labels: Any, clusters: Sequence[Hashable] | None = None, *, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the AUROC where answers come in clusters, such as the answers to one question.

    The variance is the clustered one of DeLong's components (Obuchowski 1997, Biometrics 53:567): with V the components (of a right
    answer, the share of wrong answers below it; of a wrong one, the share of right answers above it), A the AUROC, and per cluster c
    of I the sums P_c of V - A over its right answers (M in all) and Q_c over its wrong ones (N in all),

        var = I / (I - 1) * sum_c (P_c / M + Q_c / N)^2

    The interval is Wilson's with the effective number A (1 - A) / var, so that it stays in 0..1 and has a width also where every right
    answer is above every wrong one; there the number is that of the clusters with right answers, or with wrong ones if those are fewer.

    Args:
        scores, labels: As everywhere here.
        clusters: [N] what each answer belongs to; None takes every answer as its own cluster.
        level: Of confidence.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: As `auroc`; fewer than two clusters; a level outside (0, 1).
    """
    scores, labels = _checked(scores, labels)
    if not 0 < level < 1:
        raise UserValueError(f"level is {level}; give a number between 0 and 1, for example 0.95.")
    names = range(len(scores)) if clusters is None else clusters
    if len(names) != len(scores):
        raise UserValueError(
            f"there are {len(scores)} scores and {len(names)} clusters; give one cluster for each score."
        )
    index: dict[Hashable, int] = {}
    members = np.array([index.setdefault(name, len(index)) for name in names])
    number = len(index)
    if number < 2:
        raise UserValueError(
            "all answers are of one cluster, so nothing says how sure their AUROC is; give at least two."
        )
    components = _components(scores, labels)
    area = float(components[labels].mean())
    share = np.where(labels, 1 / labels.sum(), 1 / (~labels).sum())
    parts = np.bincount(members, share * (components - area), minlength=number)
    variance = number / (number - 1) * float(parts @ parts)
    if variance > 1e-12 and 0 < area < 1:
        effective = area * (1 - area) / variance
    else:
        effective = float(min(len(set(members[labels])), len(set(members[~labels]))))
    return wilson(area, effective, NormalDist().inv_cdf((1 + level) / 2))


def ece(scores: Any, labels: Any, bins: int = 10) -> float:
    """Expected calibration error: mean distance of score and accuracy over `bins` of equal width, by their numbers (Naeini et al. 2015)."""
    found = reliability(scores, labels, bins)
    return sum(b.number * abs(b.score - b.accuracy) for b in found) / sum(b.number for b in found)


def brier(scores: Any, labels: Any) -> float:
    """Mean squared distance of score and label (Brier 1950): 0 is perfect, .25 is always saying one half."""
    scores, labels = _checked(scores, labels)
    return float(np.mean((scores - labels) ** 2))


def reliability(scores: Any, labels: Any, bins: int = 10) -> list[Bin]:
    """What a reliability plot shows: the bins of equal width that have answers, lowest first.

    Raises:
        ValueError: `bins` below 1.
    """
    scores, labels = _checked(scores, labels)
    if bins < 1:
        raise UserValueError(f"bins is {bins}; give at least 1.")
    places = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        Bin(k / bins, (k + 1) / bins, int(mine.sum()), float(scores[mine].mean()), float(labels[mine].mean()))
        for k in range(bins)
        if (mine := places == k).any()
    ]


def _components(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N] of a right answer the share of wrong ones below it, of a wrong one the share of right ones above it; equal ones half."""
    right, wrong = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(right) or not len(wrong):
        raise UserValueError(
            f"all {len(scores)} answers are {'right' if len(right) else 'wrong'}; an AUROC needs right and wrong ones."
        )
    below = (np.searchsorted(wrong, scores, "left") + np.searchsorted(wrong, scores, "right")) / (2 * len(wrong))
    above = 1 - (np.searchsorted(right, scores, "left") + np.searchsorted(right, scores, "right")) / (2 * len(right))
    return np.where(labels, below, above)


def wilson(rate: float, n: float, z: float) -> tuple[float, float]:
    """Interval of a share of `n` independent answers, `z` standard normal deviations wide (Wilson 1927, JASA 22:209).

    centre = (rate + z^2 / 2n) / (1 + z^2 / n)
    half width = z / (1 + z^2 / n) * sqrt(rate (1 - rate) / n + z^2 / 4n^2)
    """
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    # At a rate of 0 or 1 one end is exact; rounding must not put the rate outside.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def _checked(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """float64 scores and bool labels, or a ValueError that names what is wrong."""
    values, truth = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if values.ndim != 1 or values.shape != truth.shape or not len(values):
        raise UserValueError(
            f"scores have the shape {values.shape} and labels {truth.shape}; give two lists of one length, not empty."
        )
    wrong = ~((values >= 0) & (values <= 1))  # also true for NaN
    if wrong.any():
        raise UserValueError(f"score {values[wrong][0]} is outside 0..1; give probabilities.")
    return values, truth
