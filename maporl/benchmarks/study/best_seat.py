"""Which of several trainings, one for each seat, is a method's row: chosen by validation accuracy, never by the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maporl.training.run_folder import RunFolder

__all__ = ["best_seat"]


def best_seat(runs: Mapping[str, Path]) -> str:
    """The seat whose training did best in its last validation, decoded greedily or not as the run's configuration says.

    Where two are equally good it is the first by name, and likewise where a run has no validation, for then nobody can tell.

    Args:
        runs: Seat -> run folder; at least one.
    """
    accuracies = {seat: _validated(runs[seat]) for seat in sorted(runs)}
    validated = {seat: value for seat, value in accuracies.items() if value is not None}
    return max(validated, key=validated.__getitem__) if len(validated) == len(runs) else min(runs)


def _validated(run: Path) -> float | None:
    """Accuracy in the last validation of a run; the test's own lines say "test/accuracy"."""
    accuracies = (row.get("eval/accuracy", row.get("eval/oracle_accuracy")) for row in reversed(RunFolder(run).metrics))
    return next((float(value) for value in accuracies if isinstance(value, int | float)), None)
