"""The tables of a study as Markdown, CSV and LaTeX: the same figures as in its page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["csv_text", "latex", "markdown", "screen", "write_tables"]

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _between(low: float | None, high: float | None, show: Callable[[float | None], str] = _share) -> str:
    return "" if low is None or high is None else f"{show(low)} to {show(high)}"


def _p(value: float | None) -> str:
    return "" if value is None else "< .001" if value < 0.001 else f"{value:.3f}"


def name_of(row: Row) -> str:
    """A method's name with what a reader must know about it."""
    marks = [
        f"{on} tokens of {', '.join(team for team, by in row['matched'] if by == on)}"
        for on in dict.fromkeys(on for _, on in row["matched"])
    ]
    if row["oracle"]:
        marks.append("ORACLE: knows the gold answer")
    if row["failed"]:
        marks.append("failed: seed " + ", ".join(str(f["seed"]) for f in row["failed"]))
    if row["unfinished"]:
        marks.append("not finished: seed " + ", ".join(map(str, row["unfinished"])))
    return f"{row['method']} ({'; '.join(marks)})" if marks else str(row["method"])


METHODS: tuple[Column, ...] = (
    ("method", name_of),
    ("accuracy", lambda r: _share(r["accuracy"])),
    ("95 % over questions", lambda r: _between(r["low"], r["high"])),
    ("every seed", lambda r: " ".join(_share(s["accuracy"]) for s in r["seeds"])),
    ("95 % over seeds (t)", lambda r: _between(r["seeds_low"], r["seeds_high"])),
    ("best seat", lambda r: _share(r["best_seat"])),
    ("greedy", lambda r: _share(r["greedy"])),
    ("parsed", lambda r: _share(r["parse_rate"])),
    ("questions", lambda r: str(r["questions"])),
    ("generations", lambda r: _number(r["generations"])),
    ("prompt tokens", lambda r: _number(r["prompt_tokens"])),
    ("completion tokens", lambda r: _number(r["completion_tokens"])),
    ("evaluation s", lambda r: _number(r["eval_s"])),
    ("training s", lambda r: _number(r["train_s"])),
)

COMPARISONS: tuple[Column, ...] = (
    ("method", lambda c: str(c["method"])),
    ("against", lambda c: f"{c['baseline']} ({c['on']} tokens)" if c["on"] else str(c["baseline"])),
    ("difference", lambda c: _signed(c["difference"])),
    ("95 % over questions", lambda c: _between(c["low"], c["high"], _signed)),
    ("p, Holm", lambda c: _p(c["p_holm"])),
    ("every seed", lambda c: " ".join(_signed(s["difference"]) for s in c["seeds"])),
    ("95 % over seeds (t)", lambda c: _between(c["seeds_low"], c["seeds_high"], _signed)),
    ("detectable", lambda c: _share(c["detectable"])),
)

POOLED: tuple[Column, ...] = (
    ("method", lambda r: str(r["method"])),
    ("runs", lambda r: str(r["runs"])),
    ("interquartile mean", lambda r: _share(r["iqm"])),
    ("95 %", lambda r: _between(r["low"], r["high"])),
    ("beats a single agent with probability", lambda r: _share(r.get("improvement"))),
    ("95 % of it", lambda r: _between(r.get("improvement_low"), r.get("improvement_high"))),
)


def _parts(summary: Mapping[str, Any]) -> list[tuple[str, Sequence[Column], list[Row]]]:
    """(heading, columns, rows) of every table that has rows."""
    parts: list[tuple[str, Sequence[Column], list[Row]]] = []
    for task in dict.fromkeys(row["task"] for row in summary["rows"]):
        parts.append((f"{task}", METHODS, [r for r in summary["rows"] if r["task"] == task]))
        for family in dict.fromkeys(c["family"] for c in summary["comparisons"]):
            chosen = [c for c in summary["comparisons"] if (c["task"], c["family"]) == (task, family)]
            parts.append((f"{task}: against a {family}, same questions", COMPARISONS, chosen))
    parts.append(("All tasks", POOLED, summary["pooled"]))
    return [part for part in parts if part[2]]


def markdown(summary: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    blocks = []
    for heading, columns, rows in _parts(summary):
        used = _used(columns, rows)
        lines = ["| " + " | ".join(name for name, _ in used) + " |", "|---" * len(used) + "|"]
        lines += ["| " + " | ".join(show(row).replace("|", "\\|") for _, show in used) + " |" for row in rows]
        blocks.append(f"### {heading}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def screen(summary: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(heading, column names, cells) of the tables, narrow enough for a terminal of 80 columns."""
    methods: tuple[Column, ...] = (
        ("method", lambda r: f"{r['method']}{' ORACLE' * r['oracle']}{' FAILED' * bool(r['failed'])}"),
        ("accuracy", lambda r: _share(r["accuracy"])),
        ("95 %", lambda r: _between(r["low"], r["high"], _short)),
        ("seeds", lambda r: _span([s["accuracy"] for s in r["seeds"]], _short)),
        ("greedy", lambda r: _share(r["greedy"])),
        ("tokens", lambda r: _number(r["completion_tokens"])),
    )
    comparisons: tuple[Column, ...] = (
        ("method", lambda c: f"{c['method']} against {c['baseline']}"),
        ("difference", lambda c: _signed(c["difference"])),
        ("95 %", lambda c: _between(c["low"], c["high"], _signed)),
        ("p, Holm", lambda c: _p(c["p_holm"])),
    )
    narrow = {id(METHODS): methods, id(COMPARISONS): comparisons}
    found = []
    for heading, columns, rows in _parts(summary):
        used = _used(narrow.get(id(columns), columns), rows)
        cells = list(dict.fromkeys(tuple(show(row) for _, show in used) for row in rows))  # one vote may stand for two
        found.append((heading, [name for name, _ in used], [list(row) for row in cells]))
    return found


def _short(value: float | None) -> str:
    return _share(value).removeprefix("0")


def _span(values: Sequence[float], show: Callable[[float | None], str]) -> str:
    """A few values each, many by their ends."""
    return " ".join(map(show, values)) if len(values) <= 3 else f"{show(min(values))} .. {show(max(values))}"


def csv_text(rows: Sequence[Row]) -> str:
    """Rows with every figure in full; lists are written as "seed:value" pairs."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(row.get(name)) for name in names] for row in rows)
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(":".join(map(str, v.values() if isinstance(v, Mapping) else v)) for v in value)
    return "" if value is None else value


def latex(summary: Mapping[str, Any]) -> str:
    """All tables as LaTeX (booktabs), one table environment each."""
    blocks = []
    for heading, columns, rows in _parts(summary):
        used = _used(columns, rows)
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escaped(heading)}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(used) - 1)}}}",
            "\\toprule",
            " & ".join(_escaped(name) for name, _ in used) + r" \\",
            "\\midrule",
            *(" & ".join(_escaped(show(row)) for _, show in used) + r" \\" for row in rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
        blocks.append("\n".join(lines) + "\n")
    return "% needs \\usepackage{booktabs}\n" + "\n".join(blocks)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^<>&%$#_{}]", lambda m: _LATEX.get(m.group(), "\\" + m.group()), text)


def _used(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Without the columns that have nothing to say."""
    return [(name, show) for name, show in columns if any(show(row) for row in rows)]


def write_tables(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """``results.md``, ``results.tex``, ``methods.csv`` and ``comparisons.csv``."""
    texts = {
        "results.md": markdown(summary),
        "results.tex": latex(summary),
        "methods.csv": csv_text(summary["rows"]),
        "comparisons.csv": csv_text(summary["comparisons"]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
