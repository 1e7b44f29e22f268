"""The tables of a study as Markdown, CSV and LaTeX: the same figures as in its page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maporl.benchmarks.analysis.rounds import flip_lines
from maporl.benchmarks.analysis.verifier_gap import LAST
from maporl.benchmarks.report.columns import (
    COMPARISONS,
    METHODS,
    OTHERS_FLIPS,
    OWN_FLIPS,
    POOLED,
    SPEEDUPS,
    VERIFIER_GAP,
    Column,
    Row,
    by_round,
    number,
    p_value,
    share,
    signed,
)

__all__ = ["Screen", "csv_text", "latex", "markdown", "screen", "write_tables"]

APART = "upper bounds, no baselines"
"""Above the oracles, which end a table."""

REASON = 160
"""Characters of an error at most."""


def _seeds_compared(comparison: Row) -> str:
    """What a reader must know where not every seed of both sides is compared."""
    if not comparison["seeds"]:
        return "no seed in common, so all of both count"
    left_out = comparison["seeds_left_out"]
    return f"seed {', '.join(map(str, left_out))} left out, which only one of them has" if left_out else ""


def _notes(rows: Sequence[Row]) -> list[str]:
    """A line for everything that a table cannot hold: why cells failed, and comparisons of some of the seeds."""
    notes = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for failed in row.get("failed", ()):
            reason = " ".join(str(failed["reason"]).split())
            short = reason if len(reason) <= REASON else f"{reason[: REASON - 1]}…"
            reasons.setdefault(short, []).append(str(failed["seed"]))
        notes += [f"{row['method']}, seed {', '.join(seeds)} failed: {reason}" for reason, seeds in reasons.items()]
        if "baseline" in row and (seeds := _seeds_compared(row)):
            notes.append(f"{row['method']} against {row['baseline']}: {seeds}")
    return list(dict.fromkeys(notes))


def _parts(summary: Mapping[str, Any]) -> list[tuple[str, Sequence[Column], list[Row]]]:
    """(heading, columns, rows) of every table that has rows."""
    parts: list[tuple[str, Sequence[Column], list[Row]]] = []
    for task in dict.fromkeys(row["task"] for row in summary["rows"]):
        parts.append((f"{task}", METHODS, [r for r in summary["rows"] if r["task"] == task]))
        for family in dict.fromkeys(c["family"] for c in summary["comparisons"]):
            chosen = [c for c in summary["comparisons"] if (c["task"], c["family"]) == (task, family)]
            parts.append((f"{task}: against a {family}, same questions", COMPARISONS, chosen))
        parts += _talk(task, summary)
    parts.append(("All tasks", POOLED, summary["pooled"]))
    return [part for part in parts if part[2]]


def _talk(task: str, summary: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Column], list[Row]]]:
    """How fast programs are, what happens between rounds, and between a verifier and the truth while a team learns."""
    keys = ("speedups", "rounds", "flips", "gaps")
    speedups, rounds, flips, gaps = ([r for r in summary[key] if r["task"] == task] for key in keys)
    yield f"{task}: times as fast as the originals", SPEEDUPS, speedups
    if rounds:
        yield f"{task}: accuracy by round, mean over agents", by_round(rounds), rounds
    before = "from one round to the next (R right, W wrong)"
    yield f"{task}: an agent's own answer {before}, by the majority of the others before", OWN_FLIPS, flips
    yield f"{task}: the others' majority {before}, by the agent's own answer before", OTHERS_FLIPS, flips
    yield (
        f"{task}: verifier's score and truth in training, last round; last: mean of {LAST} iterations",
        VERIFIER_GAP,
        gaps,
    )


def _cells(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """(names of the columns that have something to say, rows, rows of oracles)."""
    used = [(name, show) for name, show in columns if any(show(row) for row in rows)]
    shown = [([show(row) for _, show in used], row.get("oracle", False)) for row in rows]
    return [name for name, _ in used], [c for c, oracle in shown if not oracle], [c for c, oracle in shown if oracle]


def markdown(summary: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    blocks = []
    for heading, columns, rows in _parts(summary):
        names, plain, oracles = _cells(columns, rows)
        lines = [names, ["---"] * len(names), *([_marked(cell) for cell in row] for row in plain)]
        if oracles:
            lines.append([f"*{APART}*", *[""] * (len(names) - 1)])
            lines += [[_marked(cell) for cell in row] for row in oracles]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "\n".join(f"- {_marked(note)}" for note in _notes(rows))
        blocks.append("\n\n".join([f"### {_marked(heading)}", table, *([notes] if notes else [])]) + "\n")
    return "\n".join(blocks)


def _marked(text: str) -> str:
    """Text that Markdown shows as it is; an underscore within a word, and a < before a space, mean nothing to it."""
    return re.sub(r"[\\|*`\[\]~#]|<(?! )|&(?=\S)|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


class Screen(NamedTuple):
    """A table for a terminal: narrow enough for 80 columns as long as a method's word has 26 letters or fewer.

    Attributes:
        heading: Above it.
        names: Of the columns.
        rows: Their cells.
        oracles: The same of rows that are upper bounds, no baselines.
        notes: Lines below it: why cells failed, and comparisons of some of the seeds.
    """

    heading: str
    names: list[str]
    rows: list[list[str]]
    oracles: list[list[str]]
    notes: list[str]


def screen(summary: Mapping[str, Any]) -> list[Screen]:
    """The tables for a terminal: fewer columns."""
    methods: tuple[Column, ...] = (
        ("method", _short_name),
        ("mean", lambda r: _short(r["accuracy"])),
        ("95 %", lambda r: _narrow(r["low"], r["high"])),
        ("every seed", lambda r: _few([s["accuracy"] for s in r["seeds"]])),
        ("greedy", lambda r: _short(r["greedy"])),
        ("tokens", lambda r: number(r["completion_tokens"])),
    )
    comparisons: tuple[Column, ...] = (
        ("method", lambda c: f"{c['method']} against {c['baseline']}"),
        ("difference", lambda c: _short(c["difference"], signed)),
        ("95 %", lambda c: f"{_short(c['low'], signed)} to {_short(c['high'], signed)}"),
        ("p, Holm", lambda c: _short(c["p_holm"], p_value)),
    )
    pooled: tuple[Column, ...] = (
        ("method", lambda r: f"{r['method']}{' ORACLE' * r['oracle']}"),
        ("runs", lambda r: str(r["runs"])),
        ("IQM", lambda r: _short(r["iqm"])),
        ("95 %", lambda r: _narrow(r["low"], r["high"])),
        ("beats single", lambda r: _short(r.get("improvement"))),
        ("95 % of it", lambda r: _narrow(r.get("improvement_low"), r.get("improvement_high"))),
    )
    narrow = {id(METHODS): methods, id(COMPARISONS): comparisons, id(POOLED): pooled}
    screens = []
    for heading, columns, rows in _parts(summary):
        if id(columns) not in narrow:
            continue  # what happens within a discussion is for the files
        names, plain, oracles = _cells(narrow[id(columns)], rows)
        once = [list(cells) for cells in dict.fromkeys(map(tuple, plain))]  # one vote may be matched in both ways
        shown = f"{heading}, accuracy" if columns is METHODS else heading
        screens.append(Screen(shown, names, once, oracles, _notes(rows)))
    return screens


def _short_name(row: Row) -> str:
    marks = {"ORACLE": row["oracle"], "FAILED": row["failed"], "UNFINISHED": row["unfinished"]}
    return " ".join([row["method"], *(mark for mark, true in marks.items() if true)])


def _short(value: float | None, show: Callable[[float | None], str] = share) -> str:
    """Four characters a share: .500 and 1.00."""
    return re.sub(r"^([+-]?)1\.000$", r"\g<1>1.00", re.sub(r"^([+-]?)0\.", r"\1.", show(value)))


def _narrow(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_short(low)}-{_short(high)}"


def _few(values: Sequence[float]) -> str:
    """A few values each, many by their ends."""
    return " ".join(map(_short, values)) if len(values) <= 3 else f"{_short(min(values))} .. {_short(max(values))}"


def csv_text(rows: Sequence[Row]) -> str:
    """Rows with every figure in full; a list is written as "0:0.5; 1:0.75"."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(row.get(name)) for name in names] for row in rows)
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        pairs = (v.values() if isinstance(v, Mapping) else v if isinstance(v, list | tuple) else [v] for v in value)
        return "; ".join(":".join(map(str, pair)) for pair in pairs)
    return "" if value is None else value


def latex(summary: Mapping[str, Any]) -> str:
    """All tables as LaTeX (booktabs), one table environment each, scaled down where they are wider than the page."""
    blocks = []
    for heading, columns, rows in _paper(summary):
        names, plain, oracles = _cells(columns, rows)
        left = sum(name in ("method", "against") for name in names)
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escaped(heading)}}}",
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"\\begin{{tabular}}{{{'l' * left}{'r' * (len(names) - left)}}}",
            "\\toprule",
            _line(names),
            "\\midrule",
            *map(_line, plain),
            *(["\\midrule", rf"\multicolumn{{{len(names)}}}{{l}}{{\emph{{{APART}}}}} \\"] if oracles else []),
            *map(_line, oracles),
            "\\bottomrule",
            "\\end{tabular}}",
            "\\end{table}",
        ]
        blocks.append("\n".join(lines) + "\n")
    return "% needs \\usepackage{booktabs,graphicx}\n" + "\n".join(blocks)


def _paper(summary: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Column], list[Row]]]:
    """The tables with short names, and with what methods cost in one of its own: a page of paper is narrow."""
    costs = [name for name, _ in METHODS].index("generations")
    for heading, columns, rows in _parts(summary):
        if columns is not METHODS:
            yield heading, columns, rows
            continue
        yield heading, (("method", _short_name), *METHODS[1:costs]), rows
        if any(row["generations"] is not None for row in rows):
            yield (
                f"{heading}: costs per question, and seconds in all",
                (("method", _short_name), *METHODS[costs:]),
                rows,
            )


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "-": "$-$",
    "[": "{[}",  # at the beginning of a row it would be the argument of the line break before
}


def _escaped(text: str) -> str:
    """Text that LaTeX sets as it is; a hyphen before a number becomes a minus."""
    special = r"[\\~^<>|\[&%$#_{}]|(?<!\S)-(?=[\d.])"
    escaped = re.sub(special, lambda m: _LATEX.get(m.group(), "\\" + m.group()), " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", escaped)  # two would be a dash


def write_tables(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``results.md``, ``results.tex``, and of what there is ``methods.csv``, ``comparisons.csv``, ``pooled.csv``, ``rounds.csv``,
    ``flips.csv`` and ``verifier_gap.csv``.

    Args:
        summary: As `maporl.benchmarks.analysis.summary.summarise` makes it.
        folder: Is made.

    Returns:
        The files.
    """
    texts = {"results.md": markdown(summary), "results.tex": latex(summary)}
    rows = {
        "methods.csv": summary["rows"],
        "comparisons.csv": summary["comparisons"],
        "pooled.csv": summary["pooled"],
        "speedups.csv": summary["speedups"],
        "rounds.csv": summary["rounds"],
        "flips.csv": flip_lines(summary["flips"]),
        "verifier_gap.csv": summary["gaps"],
    }
    texts |= {name: csv_text(lines) for name, lines in rows.items() if lines}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    return [folder / name for name in texts]
