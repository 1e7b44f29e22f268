"""From results to what the page holds: figures that are shown at once, and packed discussions.

The figures are one plain dict, described in `collect`: whoever has other figures can build the page from those alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maporl import __version__
from maporl.benchmarks.analysis.collaboration import collaboration
from maporl.benchmarks.analysis.learning_curves import learning_curves
from maporl.benchmarks.analysis.results import Cell, Results
from maporl.benchmarks.report.discussions import Discussions
from maporl.benchmarks.report.figures import Figure, Look, describe, looks
from maporl.benchmarks.report.packing import Packed, clean
from maporl.benchmarks.report.run_curves import LINES
from maporl.benchmarks.report.runs import RunView
from maporl.benchmarks.report.tokens import Tokens
from maporl.benchmarks.report.trees import Trees

__all__ = ["Payload", "collect"]

JUDGED = ("", "validation", "test")
"""Splits (of `Cell`) whose discussions are described by how agents work together: those of a training are too few, and of other teams."""

POINTS = 400  # of one curve at most: more than a screen can show


@dataclass(frozen=True)
class Payload:
    """What the page holds.

    Attributes:
        figures: JSON-ready; see `collect`.
        plots: What the plots show, in the page and in files.
        looks: Colour and mark of every method.
        discussions, trees, tokens: What is read one by one.
    """

    figures: dict[str, Any]
    plots: list[Figure]
    looks: dict[str, Look]
    discussions: Packed = field(repr=False)
    trees: Packed = field(repr=False)
    tokens: Packed = field(repr=False)

    @property
    def packed(self) -> dict[str, Packed]:
        """What is read one by one, by name."""
        return {"discussions": self.discussions, "trees": self.trees, "tokens": self.tokens}


def collect(results: Results, summary: Mapping[str, Any], *, title: str | None = None) -> Payload:
    """Everything the page shows of `results`.

    Args:
        results: Cells; their records are read once.
        summary: As `maporl.benchmarks.analysis.summary.summarise` makes it, which says what its rows, comparisons and pooled figures hold.
        title: Of the page; the results' own if None.

    Returns:
        The payload; its `figures` hold title, built, version, settings, notes [{kind, text}], cells, summary (rows), comparisons, pooled
        (as the summary has them), plots (see `maporl.benchmarks.report.figures`), looks {method: number}, collaboration [{task, method,
        label, metrics}] (of sampled discussions, see `maporl.benchmarks.analysis.collaboration`) and runs, the views of plain runs (see
        `maporl.benchmarks.report.runs`).
    """
    runs = {run: c.run_name or f"{c.label}, seed {c.seed}" for c in results.cells for run in c.runs}
    discussions, trees, tokens = Discussions(), Trees(len(runs)), Tokens()
    cells: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    views: dict[Path, RunView] = {}
    for members in _by_method(results.cells):
        sampled: list[Mapping[str, Any]] = []
        for cell in members:
            records = cell.records()
            begin = len(discussions)
            count = discussions.add(len(cells), cell.task, records, _name(cell))
            if count == len(records):  # else nobody knows whose tokens they are
                tokens.add(begin, cell, records)
            if cell.run_name:
                views.setdefault(cell.folder, RunView(cell.folder, POINTS)).add(len(cells), cell, records)
            cells.append(_cell(cell, count))
            if cell.team and cell.split in JUDGED:
                sampled += [r for r in records if not r["greedy"]] or records
        if sampled and (found := _metrics(sampled, members[0], discussions.problems)):
            metrics.append(_entry(members[0]) | {"metrics": found})
    for run, name in runs.items():
        trees.add(run, name)
    rows = {row["method"] for row in summary.get("rows", ())}
    plots = describe(
        summary, learning_curves(results.compared, points=POINTS), [m for m in metrics if m["method"] in rows]
    )
    look_of = looks([*summary.get("rows", ()), *map(vars, results.compared)])
    figures = {
        "title": title or results.title or "Results",
        "built": datetime.now(UTC).isoformat(timespec="minutes"),
        "version": __version__,
        "settings": results.settings,
        "notes": _notes(results, discussions.problems + trees.problems + tokens.problems),
        "cells": cells,
        "discussions": len(discussions),
        "trees": len(trees),
        "summary": summary.get("rows", []),
        "comparisons": summary.get("comparisons", []),
        "pooled": summary.get("pooled", []),
        "plots": [asdict(plot) for plot in plots if plot.on_page],
        "looks": {method: look.number for method, look in look_of.items()} | {f"line:{k}": k for k in range(LINES)},
        "collaboration": metrics,
        "runs": [view.finish() for view in views.values()],
    }
    return Payload(clean(figures), plots, look_of, discussions.finish(), trees.finish(), tokens.finish())


def _by_method(cells: Sequence[Cell]) -> Iterable[list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.method), []).append(cell)
    return groups.values()


def _entry(cell: Cell) -> dict[str, Any]:
    """Whose collaboration metrics they are; `moment` is the label without the run's name."""
    names = {"task": cell.task, "method": cell.method, "label": cell.run_name or cell.label}
    return {**names, "moment": cell.label.removeprefix(f"{cell.run_name}, "), "run": cell.run_name, "split": cell.split}


def _metrics(records: Sequence[Mapping[str, Any]], cell: Cell, problems: list[str]) -> dict[str, Any] | None:
    try:
        return collaboration(records)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        problems.append(
            f"{cell.task}, {cell.label}: no collaboration metrics, its records have an unexpected form ({error!r})"
        )
        return None


def _cell(cell: Cell, discussions: int) -> dict[str, Any]:
    names = (
        "task",
        "method",
        "label",
        "seed",
        "status",
        "error",
        "team",
        "trained",
        "oracle",
        "run_name",
        "split",
        "iteration",
    )
    return {**{name: getattr(cell, name) for name in names}, "discussions": discussions}


def _name(cell: Cell) -> str:
    label = cell.run_name if cell.split == "test" else cell.label  # a run stands as its test does
    return f"{cell.task}, {label}, seed {cell.seed}"


def _notes(results: Results, more: Sequence[str]) -> list[dict[str, str]]:
    """What a reader must know before trusting a figure: what failed, what is not done, what was left out."""
    notes = [
        {"kind": "failed", "text": f"{_name(cell)}: {cell.error or 'no reason was written down'}"}
        for cell in results.compared
        if cell.status == "failed"
    ]
    for status, words in (("running", "still running, or interrupted"), ("waiting", "not started")):
        names = [_name(cell) for cell in results.compared if cell.status == status]
        notes += [{"kind": status, "text": f"{name}: {words}"} for name in names[:8]]
        notes += [{"kind": status, "text": f"and {len(names) - 8} more: {words}"}] if len(names) > 8 else []
    notes += [{"kind": "left out", "text": text} for cell in results.cells for text in cell.problems]
    return notes + [{"kind": "left out", "text": text} for text in (*results.problems, *more)]
