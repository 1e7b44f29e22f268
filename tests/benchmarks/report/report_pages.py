"""Reports to test with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthetic_results import METHODS, cell

from maporl.benchmarks.analysis.results import Results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report import collect, write_report

__all__ = ["TEAM", "TRAINED", "Visit", "built", "options", "small"]

TEAM, TRAINED = METHODS[3], METHODS[5]
Visit = Callable[..., Any]


def built(study: Results, file: Path, **more: Any) -> Path:
    """The report of `study`, written to `file`."""
    return write_report(collect(study, summarise(study), **more), file)


def small(folder: Path, *records: dict[str, Any]) -> Path:
    """The report of one cell with these records."""
    return built(Results("Small", (cell(folder, TEAM, 0, list(records)),)), folder / "report.html")


def options(page: Any) -> Any:
    """The rows of the list that exist."""
    return page.locator("#list [role=option]")
