"""What trainings measured while they went on, iteration by iteration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maporl.benchmarks.results import Cell
from maporl.run_folder import RunFolder

__all__ = ["learning_curves"]


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
            metrics = {} if run in seen else _curve(run, points)
            seen.add(run)
            if metrics:
                label = cell.run_name or cell.label
                about = {"task": cell.task, "method": cell.method, "label": label, "seed": cell.seed, "run": run.name}
                curves.append({**about, "metrics": metrics})
    return curves


def _curve(run: Path, most: int | None) -> dict[str, list[list[float]]]:
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
