"""What trainings measured while they went on, iteration by iteration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.results import Cell
from maporl.training.run_folder import RunFolder

__all__ = ["curve_of", "learning_curves", "metric_name"]


def learning_curves(cells: Iterable[Cell], *, points: int | None = None) -> list[dict[str, Any]]:
    """The metrics of every training: [{task, method, label, seed, run, metrics: {name: [[iteration, value], ...]}}].

    "rollout/accuracy_last_round" is added where there are rounds.

    Args:
        cells: Whose trainings; one that several cells share belongs to the first.
        points: Of one curve at most, evenly chosen; all of them if None.
    """
    curves, seen = [], set()
    for cell in cells:
        for run in cell.runs:
            metrics = {} if run in seen else curve_of(run, points)
            seen.add(run)
            if metrics:
                label = cell.run_name or cell.label
                about = {"task": cell.task, "method": cell.method, "label": label, "seed": cell.seed, "run": run.name}
                curves.append({**about, "metrics": metrics})
    return curves


def curve_of(run: Path, most: int | None = None) -> dict[str, list[list[float]]]:
    """Metric -> [[iteration, value], ...]; what lines of the test say is no point of a curve."""
    curves: dict[str, list[list[float]]] = {}
    for row in RunFolder(run).metrics:
        iteration = row.get("iteration")
        if iteration is None:
            continue
        rounds = [name for name in row if name.startswith("rollout/accuracy_round_")]
        if rounds:  # what a lone agent's curve and a team's have in common
            row["rollout/accuracy_last_round"] = row[max(rounds, key=lambda name: (len(name), name))]
        for name, value in row.items():
            if "/" in name and not name.startswith("test/") and isinstance(value, int | float):
                curves.setdefault(name, []).append([iteration, value])
    return {name: points[:: -(-len(points) // most) if most else 1] for name, points in curves.items()}


METRICS = (
    (r"eval/accuracy", "accuracy in evaluations", True),
    (r"rollout/accuracy_last_round", "accuracy while training, last round", True),
    (r"rollout/accuracy_round_(\d+)", "accuracy while training, round {}", True),
    (r"rollout/reward_mean", "reward while training", False),
    (r"rollout/verifier_score_round_(\d+)", "verifier's score while training, round {}", False),
    (r"rollout/verifier_gap_round_(\d+)", "verifier's score minus accuracy, round {}", False),
    (r"eval/agent_accuracy", "accuracy of single messages in evaluations", True),
)
"""Metrics by what people ask for first: pattern, name with the round, whether it is a share. Others keep their own names."""


def metric_name(metric: str) -> tuple[tuple[int, int, str], str, bool]:
    """(key to sort by, name for people, whether it is a share) of a metric; later rounds come first."""
    for rank, (pattern, name, share) in enumerate(METRICS):
        if found := re.fullmatch(pattern, metric):
            return (rank, -int(found[1]) if found.groups() else 0, metric), name.format(*found.groups()), share
    return (len(METRICS), 0, metric), metric, bool(re.search("accuracy|rate", metric))
