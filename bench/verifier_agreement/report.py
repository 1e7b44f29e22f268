"""The table of measured verifiers, for a terminal and as Markdown, and the list of what they do not agree on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.verifier_agreement.disagreements import MODES, reason
from bench.verifier_agreement.measure import Measured
from maporl.errors import UserValueError
from maporl.text_files import read_text

__all__ = ["MARK", "Entry", "markdown", "environment", "show", "write"]

HEADERS = ("cases", "verifier", "n", "agree", "95 %", "precision", "recall", "AUROC", "read", "undecided", "texts/s")
MARK = "<!-- What follows is written by: python -m bench.verifier_agreement --markdown docs/verifier_calibration.md -->"
_LISTED = 12  # ids that are written out where it is a mode that differs, or another library


@dataclass(frozen=True)
class Entry:
    """A row of the table: a verifier on a set."""

    cases: str
    verifier: str
    measured: Measured

    @property
    def cells(self) -> tuple[str, ...]:
        found = self.measured
        low, high = found.interval
        shares = (found.precision, found.recall, found.auroc, found.read)
        return (
            self.cases,
            self.verifier,
            f"{found.total:,}",
            f"{found.agreement:.4f}",
            f"{low:.3f}-{high:.3f}",
            *("-" if share is None else f"{share:.4f}" for share in shares),
            str(len(found.undecided)),
            f"{found.rate:,.0f}" if found.rate >= 10 else f"{found.rate:.2g}",
        )


def show(entries: Sequence[Entry], notes: Sequence[str], listed: bool) -> None:
    """Print the table; with the disagreements, if they are to be `listed`."""
    table = Table(title="Agreement with the labels")
    for header in HEADERS:
        table.add_column(header, no_wrap=header != "verifier", overflow="fold")
    for before, entry in zip([None, *entries], entries, strict=False):
        if before is not None and before.cases != entry.cases:
            table.add_section()
        table.add_row(*entry.cells)
    console = Console()
    console = console if console.is_terminal else Console(width=160)  # a pipe has no width of its own
    console.print(table)
    for line in [*notes, *(["", *_disagreements(entries)] if listed else [])]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def markdown(entries: Sequence[Entry], notes: Sequence[str]) -> str:
    """The same in Markdown."""
    rows = [HEADERS, ("---",) * 2 + ("---:",) * (len(HEADERS) - 2), *(entry.cells for entry in entries)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    listed = "\n".join(f"- {line}" for line in _disagreements(entries))
    said = "\n".join(f"- {note}" for note in notes)
    return f"## Agreement\n\n{table}\n\n{said}\n\n## Where they disagree\n\n{listed}\n"


def write(path: Path, text: str) -> None:
    """Put `text` into a page, after `MARK`; what stands before it stays.

    Raises:
        ValueError: The page exists and has no such line.
    """
    before = ""
    if path.exists():
        before, mark, _ = read_text(path).partition(MARK)
        if not mark:
            raise UserValueError(
                f"{path} exists and has no line {MARK!r}; add it where the table is to begin, or name another file."
            )
    path.write_text(f"{before}{MARK}\n\n{text}", encoding="utf-8")


def environment() -> str:
    """With what, and where, it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2_extended", "sympy"))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{packages}, Python {platform.python_version()}; {os.cpu_count()} cores{load}; `math` and Math-Verify in worker processes."


def _disagreements(entries: Sequence[Entry]) -> Iterator[str]:
    """Of each row with some: what the reasons are, and the ids."""
    for entry in entries:
        found = entry.measured
        by_reason: dict[str, list[str]] = {}
        for case_id in (*found.disagreements, *found.undecided):
            by_reason.setdefault(reason(entry.verifier, case_id), []).append(case_id)
        for why, ids in by_reason.items():
            shown = ids[:_LISTED] if entry.verifier in MODES else ids
            more = f" and {len(ids) - len(shown):,} more" if len(ids) > len(shown) else ""
            yield f"{entry.cases}, {entry.verifier}: {why}: {', '.join(f'`{one}`' for one in shown)}{more}"
