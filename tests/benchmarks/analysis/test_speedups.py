"""Speed-ups of a study's rows, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from study_on_disk import cell, record, study, turn

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report.tables import markdown, write_tables


def answer(question: str, speedup: float) -> dict[str, Any]:
    """Of a team whose programs are timed; 0: all of them are wrong, and there is no answer."""
    said = turn()
    said["score"] = {**said["score"], "measures": {"speedup": speedup}}
    chosen = {"team_measures": {"speedup": speedup}} if speedup else {}
    return record(question, float(speedup > 0), turns=[said], **chosen)


def test_the_specified_figures_as_means_over_seeds(tmp_path: Path) -> None:
    first = [answer("a", 2.0), answer("b", 0.5), answer("c", 0.0)]
    second = [answer("a", 4.0), answer("b", 4.0), answer("c", 4.0)]
    found = [
        cell("discussion", first, team=True),
        cell("discussion", second, team=True, seed=1),
        cell("untimed", [record("a", 1.0)]),
    ]
    summary = summarise(load_results([study(tmp_path / "s", found)]))
    (row,) = summary["speedups"]
    assert (row["task"], row["method"], row["oracle"]) == ("sums", "discussion", False)
    assert row["seeds"][0] == pytest.approx(
        {"seed": 0, "speedup_geometric": 1.259921, "speedup_arithmetic": 0.833333, "speedup_2": 1 / 3}, abs=1e-6
    )
    assert row["speedup_geometric"] == pytest.approx((1.259921 + 4) / 2, abs=1e-6) and row[
        "speedup_2"
    ] == pytest.approx(2 / 3)
    assert "### sums: times as fast as the originals" in markdown(summary) and "1.260 4.000" in markdown(summary)
    assert "speedups.csv" in [file.name for file in write_tables(summary, tmp_path / "tables")]
