"""What a study leaves for people: tables, plots and the page, in its folder and on the screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maporl.benchmarks.plots import write_plots
from maporl.benchmarks.report import collect, write_report
from maporl.benchmarks.results import load_results
from maporl.benchmarks.summary import summarise
from maporl.benchmarks.tables import Screen, screen, write_tables

__all__ = ["present"]

NARROWEST, WIDE = 80, 1000
"""Columns that a table may take at least, and where no screen limits it."""


def present(paths: Sequence[str | Path], folder: Path, console: Console) -> None:
    """Write the tables, ``plots/`` and ``report.html``, and show the tables.

    Args:
        paths: Study and run folders.
        folder: Where to write.
        console: Where to show.
    """
    results = load_results(paths)
    summary = summarise(results)
    payload = collect(results, summary)
    write_tables(summary, folder)
    write_plots(payload.plots, payload.looks, folder / "plots")
    page = write_report(payload, folder / "report.html")
    for part in screen(summary):
        _show(part, console)
    console.print(f"page: {page}\ntables and plots: {folder}", soft_wrap=True, markup=False)


def _show(part: Screen, console: Console) -> None:
    """Print a table. A terminal that is too narrow wraps the names, never the numbers; in a pipe nothing is wrapped."""
    table = Table(title=Text(part.heading), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(part.names):
        table.add_column(name, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    for row in part.rows:
        table.add_row(*map(Text, row))
    table.add_section()
    for row in part.oracles:
        table.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=max(console.width, NARROWEST) if console.is_terminal else WIDE).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    lines += [f" {note}" for note in part.notes] + [""] * bool(part.notes)
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
