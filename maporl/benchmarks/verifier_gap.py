"""How far a verifier's score and the truth come apart while a team learns to please the verifier (reward hacking)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maporl.benchmarks.outcomes import mean_of_known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "draw_gaps", "gap_points", "verifier_gaps"]

SCORE, GAP, AUROC = (f"rollout/verifier_{name}_round_" for name in ("score", "gap", "auroc"))
"""Beginnings of the metrics that a training writes where what is rewarded is not the truth; the round's number follows."""

LAST = 3
"""Iterations that what stands at the end is the mean of: one has a few dozen discussions."""

PANELS = 3
"""Side by side."""

LINES = {"score": ("verifier's score", "#d55e00", "--"), "accuracy": ("accuracy", "#0072b2", "-")}  # Okabe and Ito 2008


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
    found: dict[tuple[str, str], list[tuple[Mapping[str, Any], list[Point]]]] = {}
    for curve in curves:
        if points := gap_points(curve["metrics"]):
            found.setdefault((curve["task"], curve["method"]), []).append((curve, points))
    return found


def _mean(points: Sequence[Point]) -> dict[str, float | None]:
    score, accuracy = (float(np.mean([getattr(p, name) for p in points])) for name in ("score", "accuracy"))
    return {
        "score": score,
        "accuracy": accuracy,
        "gap": score - accuracy,
        "auroc": mean_of_known(p.auroc for p in points),
    }


def draw_gaps(figure: Figure, task: str, gaps: Sequence[tuple[str, Sequence[Sequence[Point]]]]) -> None:
    """A panel for every method: the verifier's score and what is true, every run thin, the mean over runs thick.

    Args:
        figure: To draw on.
        task: For the title.
        gaps: (label, points of each run) of every method; at least one run each, and one point a run.
    """
    from matplotlib.ticker import MaxNLocator

    columns = min(len(gaps), PANELS)
    panels = figure.subplots(-(-len(gaps) // columns), columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (label, runs) in zip(panels, gaps, strict=False):
        _draw(axes, runs)
        axes.set_title(label.strip(), fontsize=9)
    for number, axes in enumerate(panels[len(gaps) :], len(gaps)):
        panels[number - columns].tick_params(labelbottom=True)  # the lowest of its column now
        axes.remove()
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    several = any(len(runs) > 1 for _, runs in gaps)
    figure.suptitle(f"{task}: what the verifier says and what is true", fontsize=10)
    figure.supxlabel(f"iteration{'; thick: mean over runs, thin: every run' * several}", fontsize=9)
    figure.supylabel("last round, sampled", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right")


def _draw(axes: Axes, runs: Sequence[Sequence[Point]]) -> None:
    shared = sorted(set.intersection(*({p.iteration for p in run} for run in runs)))
    means = []
    for name, (label, colour, style) in LINES.items():
        values = [{p.iteration: getattr(p, name) for p in run} for run in runs]
        for run in values if len(runs) > 1 else ():
            axes.plot(list(run), list(run.values()), style, color=colour, alpha=0.5, linewidth=0.6)
        means.append([float(np.mean([run[i] for run in values])) for i in shared])
        marker = "o" if len(shared) == 1 else None
        axes.plot(shared, means[-1], style, color=colour, linewidth=2, marker=marker, label=label)
    axes.fill_between(shared, means[0], means[1], color="#999", alpha=0.2, linewidth=0)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.02), max(high, 1.02))  # a verifier of one's own may say anything
    axes.grid()
