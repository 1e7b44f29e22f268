"""Tables of a study: the summary's figures, and names that no format can misread."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_on_disk import cell, records, study

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report.tables import csv_text, latex, markdown, screen, write_tables

ODD = r"a|b_c_ %#\{d}$&~^<i>[x]*`"


def cells(task: str = "sums", team: str = "debate") -> list[dict[str, Any]]:
    found = []
    for seed in (0, 1):
        found += [
            cell("best_of_k@5", records([1, 1, 1, 0]), task=task, seed=seed, oracle=True),
            cell("single_agent", records([0, 0, 0, seed], seat="agent_0"), task=task, seed=seed),
            cell(team, records([1, 1, 0, 0]) + records([1], greedy=True), task=task, seed=seed, team=True),
            cell(
                "self_consistency@5",
                records([1, 0, 0, 0]),
                task=task,
                seed=seed,
                matched_to=[(team, "completion"), (team, "all")],
            ),
        ]
    failed = cell("mappo", None, task=task, seed=1, team=True, status="failed", error="ValueError: no, no\nmemory")
    return [*found, cell("mappo", records([1, 0, 0, 0]), task=task, team=True), failed]


@pytest.fixture
def summary(tmp_path: Path) -> dict[str, Any]:
    return summarise(load_results([study(tmp_path / "s", cells())]))


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Any]:
    return summarise(load_results([study(tmp_path / "odd", cells(ODD, f"{ODD} team"))]))


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Cells of all tables, read as GitHub does: a bar ends a cell unless it is escaped, as any punctuation may be."""
    tables = []
    for block in text.split("\n### "):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        rows = [re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:] for line in lines]
        tables.append([[re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell.strip()) for cell in row] for row in rows])
    return tables


def test_markdown_holds_the_figures_of_the_summary(summary: dict[str, Any]) -> None:
    methods, votes, single = markdown_tables(markdown(summary))
    assert [row[0] for row in methods] == [
        "method",
        "---",
        "single_agent",
        "debate",
        "self_consistency@5 (completion tokens of debate; all tokens of debate)",
        "mappo (failed: seed 1)",
        "*upper bounds, no baselines*",
        "best_of_k@5 (ORACLE: knows the gold answer)",
    ]
    table = [dict(zip(methods[0], row, strict=True)) for row in (*methods[2:6], methods[7])]
    for row, shown in zip(summary["rows"], table, strict=True):
        assert shown["accuracy"] == f"{row['accuracy']:.3f}"
        assert shown["95 % over questions"] == f"{row['low']:.3f} to {row['high']:.3f}"
        assert shown["every seed"].split() == [f"{s['accuracy']:.3f}" for s in row["seeds"]]
        assert shown["greedy"] == ("1.000" if row["method"] == "debate" else "")
        assert (shown["questions"], shown["completion tokens"], shown["prompt tokens"]) == ("4", "5.0", "20.0")
    assert table[0]["95 % over seeds (t)"] == "0.000 to 1.000"
    assert table[3]["95 % over seeds (t)"] == ""
    assert "best seat" not in methods[0] and "training s" not in methods[0]  # nobody has one
    assert [row[:2] for row in votes[2:]] == [
        ["debate", "self_consistency@5 (completion tokens)"],
        ["debate", "self_consistency@5 (all tokens)"],
    ]
    first = dict(zip(single[0], single[2], strict=True))
    comparison = next(c for c in summary["comparisons"] if c["family"] == "single agent")
    assert first["method"] == comparison["method"] == "debate"
    assert first["difference"] == f"{comparison['difference']:+.3f}" == "+0.375"
    assert first["95 % over questions"] == f"{comparison['low']:+.3f} to {comparison['high']:+.3f}"
    assert first["p, Holm"] == f"{comparison['p_holm']:.3f}"
    assert first["every seed"] == "+0.500 +0.250"


def test_why_a_cell_failed_stands_below_its_table(summary: dict[str, Any], tmp_path: Path) -> None:
    blocks = markdown(summary).split("\n### ")
    assert blocks[0].splitlines()[-2:] == ["", "- mappo, seed 1 failed: ValueError: no, no memory"]
    assert "\n- " not in blocks[1]
    assert screen(summary)[0].notes == ["mappo, seed 1 failed: ValueError: no, no memory"]
    assert screen(summary)[1].notes == []
    errors = ["no *memory*", "no *memory*", "x" * 1000]
    failed = [cell("debate", None, seed=n, status="failed", error=e) for n, e in enumerate(errors)]
    again = summarise(load_results([study(tmp_path / "failed", failed)]))
    assert screen(again)[0].notes == [
        "debate, seed 0, 1 failed: no *memory*",
        f"debate, seed 2 failed: {'x' * 159}…",
    ]
    assert "- debate, seed 0, 1 failed: no \\*memory\\*\n" in markdown(again)


def test_comparisons_of_some_seeds_say_so(tmp_path: Path) -> None:
    found = [
        cell("single_agent", records([0, 1])),
        cell("debate", records([1, 1]), team=True),
        *[cell("debate", records([1, 0]), team=True, seed=n) for n in (1, 2)],
        cell("mappo", records([1, 0]), team=True, seed=4),
    ]
    summary = summarise(load_results([study(tmp_path / "s", found)]))
    notes = [
        "debate against single_agent: seed 1, 2 left out, which only one of them has",
        "mappo against single_agent: no seed in common, so all of both count",
    ]
    assert [part.notes for part in screen(summary)] == [[], notes]
    assert [line[2:].replace("\\", "") for line in markdown(summary).splitlines() if line.startswith("- ")] == notes
    assert [c["seeds_left_out"] for c in csv.DictReader(io.StringIO(csv_text(summary["comparisons"])))] == ["1; 2", ""]


def test_markdown_of_odd_names(odd: dict[str, Any]) -> None:
    text = markdown(odd)
    tables = markdown_tables(text)
    assert len(tables) == 3 and all(len({len(row) for row in table}) == 1 for table in tables)
    assert [row[0] for row in tables[0]][3] == f"{ODD} team"
    plain = re.sub(r"\\.", "", text)  # what is left means something to Markdown
    assert "<" not in plain and "`" not in plain and "[" not in plain
    assert plain.count("*") == 2  # the line above the oracles
    assert all(line.startswith("### a") for line in text.splitlines() if line.startswith("#"))


def latex_cells(text: str) -> list[list[str]]:
    """Rows of all tables, as LaTeX reads them; checks braces and environments."""
    depth, opened = 0, []
    for token in re.findall(r"\\begin\{\w+\}|\\end\{\w+\}|\\.|[{}]|(?<!\\)%[^\n]*", text):
        if token.startswith(r"\begin"):
            opened.append(token[7:-1])
        elif token.startswith(r"\end{"):
            assert opened.pop() == token[5:-1]
        else:
            depth += {"{": 1, "}": -1}.get(token, 0)
            assert depth >= 0
    assert depth == 0 and opened == []
    rows = [line[:-3] for line in text.splitlines() if line.endswith(r" \\")]
    return [[plain_latex(cell) for cell in re.split(r"(?<!\\) & ", row)] for row in rows]


def plain_latex(text: str) -> str:
    words = {
        "textbackslash": "\\",
        "textasciitilde": "~",
        "textasciicircum": "^",
        "textless": "<",
        "textgreater": ">",
        "textbar": "|",
    }
    for word, character in words.items():
        text = text.replace(f"\\{word}{{}}", f"\0{ord(character)};")
    text = text.replace("-{}", "-")
    text = re.sub(r"\\([&%$#_{}])", lambda m: f"\0{ord(m[1])};", text.replace("{[}", "[").replace("$-$", "-"))
    assert not re.search(r"[\\&%$#_{}~^<>|]", text) or r"\emph" in text
    return re.sub("\0(\\d+);", lambda m: chr(int(m[1])), text)


def test_latex_holds_the_same_figures(summary: dict[str, Any]) -> None:
    rows = latex_cells(latex(summary))
    names, *found = rows[:7]
    assert names[:3] == ["method", "accuracy", "95 % over questions"]
    assert [row[0] for row in found] == [
        "single_agent",
        "debate",
        "self_consistency@5",
        "mappo FAILED",
        r"\multicolumn{8}{l}{\emph{upper bounds, no baselines}}",
        "best_of_k@5 ORACLE",
    ]
    assert found[1][1] == "0.500" and found[5][1] == "0.750"
    assert rows[7][:4] == ["method", "generations", "prompt tokens", "completion tokens"]
    assert rows[8][:4] == ["single_agent", "1.0", "20.0", "5.0"]
    comparison = next(c for c in summary["comparisons"] if c["family"] == "vote of equal cost")
    difference = [f"{comparison[n]:+.3f}" for n in ("difference", "low", "high")]
    assert [
        "debate",
        "self_consistency@5 (completion tokens)",
        difference[0],
        f"{difference[1]} to {difference[2]}",
    ] in [r[:4] for r in rows]
    assert difference[1].startswith("-") and f"{difference[1].replace('-', '$-$')} to" in latex(summary)


def test_latex_of_odd_names(odd: dict[str, Any]) -> None:
    rows = latex_cells(latex(odd))
    assert f"{ODD} team" in [row[0] for row in rows]
    assert latex_cells(r"\begin{tabular}{l}" + "\n" + r"a\_b \\" + "\n" + r"\end{tabular}") == [["a_b"]]


@settings(max_examples=200, deadline=None)
@given(name=st.text(st.sampled_from(list("ab \\|*_`<>&[]{}~^#$%-.")), min_size=1, max_size=12).filter(str.strip))
def test_any_name_survives_every_format(name: str) -> None:
    name = " ".join(name.split())
    pooled = [{"method": name, "oracle": False, "runs": 10, "iqm": 0.5, "low": 0.4, "high": 0.6}]
    summary = {"rows": [], "comparisons": [], "pooled": pooled}
    assert [row[0] for row in markdown_tables(markdown(summary))[0]] == ["method", "---", name]
    assert latex_cells(latex(summary))[1][0] == name
    assert list(csv.DictReader(io.StringIO(csv_text(pooled))))[0]["method"] == name


def test_csv_holds_every_figure_in_full(summary: dict[str, Any]) -> None:
    read = list(csv.DictReader(io.StringIO(csv_text(summary["rows"]))))
    assert [r["method"] for r in read] == [r["method"] for r in summary["rows"]]
    for row, shown in zip(summary["rows"], read, strict=True):
        for name in ("accuracy", "low", "high", "completion_tokens"):
            assert float(shown[name]) == row[name]
        assert shown["greedy"] == ("" if row["greedy"] is None else str(row["greedy"]))
        assert shown["oracle"] == str(row["oracle"])
        seeds = [pair.split(":") for pair in shown["seeds"].split("; ")]
        assert [(int(s), float(a)) for s, a in seeds] == [(s["seed"], s["accuracy"]) for s in row["seeds"]]
    by_method = {r["method"]: r for r in read}
    assert by_method["self_consistency@5"]["matched"] == "debate:completion; debate:all"
    assert by_method["mappo"]["failed"] == "1:ValueError: no, no\nmemory"
    compared = list(csv.DictReader(io.StringIO(csv_text(summary["comparisons"]))))
    assert [float(c["p_holm"]) for c in compared] == [c["p_holm"] for c in summary["comparisons"]]


def test_files(summary: dict[str, Any], odd: dict[str, Any], tmp_path: Path) -> None:
    written = write_tables(summary, tmp_path / "new" / "folder")
    assert [file.name for file in written] == ["results.md", "results.tex", "methods.csv", "comparisons.csv"]
    assert written[0].read_text(encoding="utf-8") == markdown(summary)
    assert written[1].read_text(encoding="utf-8") == latex(summary)
    keys = ("rows", "comparisons", "pooled", "speedups", "rounds", "flips", "gaps")
    nothing = write_tables({key: [] for key in keys}, tmp_path / "nothing")
    assert [file.name for file in nothing] == ["results.md", "results.tex"]


def test_a_terminal_gets_fewer_columns(summary: dict[str, Any]) -> None:
    methods, votes, _ = screen(summary)
    assert methods.heading == "sums, accuracy"
    assert methods.names == ["method", "mean", "95 %", "every seed", "greedy", "tokens"]
    debate = next(r for r in summary["rows"] if r["method"] == "debate")
    ends = [f"{debate[n]:.3f}".removeprefix("0") for n in ("low", "high")]
    assert methods.rows[1] == ["debate", ".500", "-".join(ends), ".500 .500", "1.00", "5.0"]
    assert methods.rows[3][0] == "mappo FAILED"
    assert [row[0] for row in methods.oracles] == ["best_of_k@5 ORACLE"]
    assert [row[0] for row in votes.rows] == ["debate against self_consistency@5"]  # matched in both ways: one line
    assert votes.rows[0][1].startswith("+.") and votes.oracles == []


def test_many_seeds_are_shown_by_their_ends_on_a_terminal(tmp_path: Path) -> None:
    found = [cell("debate", records([1] * n + [0] * (4 - n)), seed=n) for n in range(4)]
    (methods,) = screen(summarise(load_results([study(tmp_path / "s", found)])))
    assert methods.rows[0][methods.names.index("every seed")] == ".000 .. .750"
    assert "greedy" not in methods.names


def test_pooled_figures_have_a_table(tmp_path: Path) -> None:
    found = [
        cell(method, records([1] * right + [0] * (4 - right)), seed=seed, oracle=oracle)
        for method, right, oracle in (("best_of_k@5", 4, True), ("single_agent", 1, False), ("debate", 2, False))
        for seed in range(10)
    ]
    summary = summarise(load_results([study(tmp_path / "s", found)]))
    table = markdown_tables(markdown(summary))[-1]
    assert table[0] == [
        "method",
        "runs",
        "interquartile mean",
        "95 %",
        "beats a single agent with probability",
        "95 % of it",
    ]
    assert [row[:3] for row in table[2:4]] == [["single_agent", "10", "0.250"], ["debate", "10", "0.500"]]
    assert table[3][4] == "1.000"
    assert table[4][0] == "*upper bounds, no baselines*"
    assert table[5][0] == "best_of_k@5 (ORACLE: knows the gold answer)" and table[5][4] == ""
    assert screen(summary)[-1].names[2] == "IQM"
    assert [file.name for file in write_tables(summary, tmp_path / "t")][-1] == "pooled.csv"
