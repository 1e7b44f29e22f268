"""What a study leaves for people: tables, plots and the page, in its folder and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from maporl.benchmarks.plots import write_plots
from maporl.benchmarks.report import collect, write_report
from maporl.benchmarks.results import load_results
from maporl.benchmarks.summary import summarise
from maporl.benchmarks.tables import screen, write_tables

__all__ = ["present"]


def present(paths: Sequence[str | Path], folder: Path, console: Console, title: str | None = None) -> None:
    """Write ``results.md``, ``results.tex``, ``methods.csv``, ``comparisons.csv``, ``plots/`` and ``report.html``, and show the tables.

    Args:
        paths: Study and run folders.
        folder: Where to write.
        console: Where to show.
        title: Of the page; the results' own if None.
    """
    results = load_results(paths)
    summary = summarise(results)
    payload = collect(results, summary, title=title)
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(summary, folder)
    write_plots(payload.figures, folder / "plots")
    page = write_report(payload, folder / "report.html")
    for heading, names, rows in screen(summary):
        table = Table(*names, title=heading, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in table.columns:
            column.no_wrap = True
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"page: {page}\ntables and plots: {folder}", soft_wrap=True, markup=False)
