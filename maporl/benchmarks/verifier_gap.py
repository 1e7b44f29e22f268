"""How far a verifier's score and the truth come apart while a team learns to please the verifier (reward hacking)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from maporl.benchmarks.outcomes import mean_of_known

__all__ = ["Point", "gap_points", "verifier_gaps"]

SCORE, GAP, AUROC = (f"rollout/verifier_{name}_round_" for name in ("score", "gap", "auroc"))
"""Beginnings of the metrics that a training writes where what is rewarded is not the truth; the round's number follows."""

LAST = 3
"""Iterations that what stands at the end is the mean of: one has a few dozen discussions."""


class Point(NamedTuple):
    """One iteration of a training, its last round.

    Attributes:
        iteration: From 1; the first was sampled before any update.
        score: Mean of the verifier's scores.
        accuracy: Share of the same messages that are right.
        auroc: Of the scores; None where all messages were right, or all wrong.
    """

    iteration: float
    score: float
    accuracy: float
    auroc: float | None


def gap_points(metrics: Mapping[str, Sequence[Sequence[float]]]) -> list[Point]:
    """Score and truth of the last round, from the metrics of a learning curve; none where the score is the truth."""
    numbers = [name.removeprefix(SCORE) for name in metrics if name.startswith(SCORE)]
    if not numbers:
        return []
    last = max(numbers, key=int)
    scores, gaps, aurocs = (_known(metrics.get(f"{name}{last}", ())) for name in (SCORE, GAP, AUROC))
    return [Point(i, score, score - gaps[i], aurocs.get(i)) for i, score in scores.items() if i in gaps]


def _known(points: Iterable[Sequence[float]]) -> dict[float, float]:
    return {iteration: value for iteration, value in points if value is not None and math.isfinite(value)}


def verifier_gaps(curves: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Score, truth and their difference when a training began and when it ended.

    Args:
        curves: As `maporl.benchmarks.curves.learning_curves` gives them, with all points.

    Returns:
        A row for every task and method with such trainings: task, method; score_first, accuracy_first, gap_first, auroc_first (of the first
        iteration, mean over runs), score_last, accuracy_last, gap_last, auroc_last (of the last three); runs [{seed, run, iterations,
        gap_first, gap_last}].
    """
    rows = []
    for (task, method), trainings in _by_method(curves).items():
        ends = [(_mean(points[:1]), _mean(points[-LAST:])) for _, points in trainings]
        row: dict[str, Any] = {"task": task, "method": method}
        for name, which in (("first", 0), ("last", 1)):
            row |= {f"{key}_{name}": mean_of_known(end[which][key] for end in ends) for key in ends[0][which]}
        row["runs"] = [
            {
                "seed": curve["seed"],
                "run": curve["run"],
                "iterations": points[-1].iteration,
                "gap_first": first["gap"],
                "gap_last": last["gap"],
            }
            for (curve, points), (first, last) in zip(trainings, ends, strict=True)
        ]
        rows.append(row)
    return rows


def _by_method(
    curves: Iterable[Mapping[str, Any]],
) -> dict[tuple[str, str], list[tuple[Mapping[str, Any], list[Point]]]]:
    groups: dict[tuple[str, str], list[tuple[Mapping[str, Any], list[Point]]]] = {}
    for curve in curves:
        if points := gap_points(curve["metrics"]):
            groups.setdefault((curve["task"], curve["method"]), []).append((curve, points))
    return groups


def _mean(points: Sequence[Point]) -> dict[str, float | None]:
    score, accuracy = (float(np.mean([getattr(p, name) for p in points])) for name in ("score", "accuracy"))
    return {
        "score": score,
        "accuracy": accuracy,
        "gap": score - accuracy,
        "auroc": mean_of_known(p.auroc for p in points),
    }
