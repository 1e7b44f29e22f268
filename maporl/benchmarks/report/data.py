"""From results to what the page holds: figures that are shown at once, and packed discussions.

The figures are one plain dict, described in `collect`: whoever has other figures can build the page from those alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from maporl import __version__
from maporl.benchmarks.analysis.collaboration import collaboration
from maporl.benchmarks.analysis.learning_curves import learning_curves
from maporl.benchmarks.analysis.results import Cell, Results
from maporl.benchmarks.report.discussions import Discussions
from maporl.benchmarks.report.figures import Figure, Look, describe, looks
from maporl.benchmarks.report.packing import Packed, clean
from maporl.benchmarks.report.trees import Trees

__all__ = ["Payload", "collect"]

POINTS = 400  # of one curve at most: more than a screen can show


@dataclass(frozen=True)
class Payload:
    """What the page holds.

    Attributes:
        figures: JSON-ready; see `collect`.
        plots: What the plots show, in the page and in files.
        looks: Colour and mark of every method.
        discussions, trees: What is read one by one.
    """

    figures: dict[str, Any]
    plots: list[Figure]
    looks: dict[str, Look]
    discussions: Packed = field(repr=False)
    trees: Packed = field(repr=False)


def collect(results: Results, summary: Mapping[str, Any], *, title: str | None = None) -> Payload:
    """Everything the page shows of `results`.

    Args:
        results: Cells; their records are read once.
        summary: As `maporl.benchmarks.analysis.summary.summarise` makes it, which says what its rows, comparisons and pooled figures hold.
        title: Of the page; the results' own if None.

    Returns:
        The payload; its `figures` hold title, built, version, settings, notes [{kind, text}], cells, summary (rows), comparisons, pooled
        (as the summary has them), plots (see `maporl.benchmarks.report.figures`), looks {method: number} and collaboration [{task, method,
        label, metrics}] (of sampled discussions, see `maporl.benchmarks.analysis.collaboration`).
    """
    runs = {run: c.run_name or f"{c.label}, seed {c.seed}" for c in results.cells for run in c.runs}
    discussions, trees = Discussions(), Trees(len(runs))
    cells: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    for members in results.by_method().values():
        sampled: list[Mapping[str, Any]] = []
        for cell in members:
            records = cell.records()
            count = discussions.add(len(cells), cell.task, records, _name(cell))
            cells.append(_cell(cell, count))
            if cell.team:
                sampled += [r for r in records if not r["greedy"]] or records
        if sampled:
            first = members[0]
            if found := _metrics(sampled, first, discussions.problems):
                metrics.append({"task": first.task, "method": first.method, "label": first.label, "metrics": found})
    for run, name in runs.items():
        trees.add(run, name)
    plots = describe(summary, learning_curves(results.cells, points=POINTS), metrics)
    look_of = looks([*summary.get("rows", ()), *map(vars, results.cells)])
    figures = {
        "title": title or results.title or "Results",
        "built": datetime.now(UTC).isoformat(timespec="minutes"),
        "version": __version__,
        "settings": results.settings,
        "notes": [
            *_notes(results),
            *({"kind": "left out", "text": text} for text in discussions.problems + trees.problems),
        ],
        "cells": cells,
        "discussions": len(discussions),
        "trees": len(trees),
        "summary": summary.get("rows", []),
        "comparisons": summary.get("comparisons", []),
        "pooled": summary.get("pooled", []),
        "plots": [asdict(plot) for plot in plots if plot.on_page],
        "looks": {method: look.number for method, look in look_of.items()},
        "collaboration": metrics,
    }
    return Payload(clean(figures), plots, look_of, discussions.finish(), trees.finish())


def _metrics(records: Sequence[Mapping[str, Any]], cell: Cell, problems: list[str]) -> dict[str, Any] | None:
    try:
        return collaboration(records)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        problems.append(
            f"{cell.task}, {cell.label}: no collaboration metrics, its records have an unexpected form ({error!r})"
        )
        return None


def _cell(cell: Cell, discussions: int) -> dict[str, Any]:
    names = ("task", "method", "label", "seed", "status", "error", "team", "trained", "oracle")
    return {**{name: getattr(cell, name) for name in names}, "discussions": discussions}


def _name(cell: Cell) -> str:
    return f"{cell.task}, {cell.label}, seed {cell.seed}"


def _notes(results: Results) -> list[dict[str, str]]:
    """What a reader must know before trusting a figure: what failed, what is not done, what was left out."""
    notes = [
        {"kind": "failed", "text": f"{_name(cell)}: {cell.error or 'no reason was written down'}"}
        for cell in results.cells
        if cell.status == "failed"
    ]
    for status, words in (("running", "still running, or interrupted"), ("waiting", "not started")):
        names = [_name(cell) for cell in results.cells if cell.status == status]
        notes += [{"kind": status, "text": f"{name}: {words}"} for name in names[:8]]
        notes += [{"kind": status, "text": f"and {len(names) - 8} more: {words}"}] if len(names) > 8 else []
    notes += [{"kind": "left out", "text": text} for cell in results.cells for text in cell.problems]
    return notes + [{"kind": "left out", "text": text} for text in results.problems]
