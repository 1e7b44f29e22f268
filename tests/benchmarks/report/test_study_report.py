"""What a study leaves: files that hold the same figures, and tables on a screen of 80 columns or in a pipe."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from study_on_disk import cell, records, study

from maporl.benchmarks.report.study_report import present
from maporl.cli import main

LONG = "alone_then_team/my_magrpo2"
VOTE = "self_consistency@13/magrpo"


def shown(paths: list[Path], folder: Path, width: int | None) -> list[str]:
    """Lines on a terminal of `width` columns, or in a pipe (None)."""
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=width, highlight=False, color_system=None)
    present(paths, folder, Console(file=file, highlight=False) if width is None else terminal)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = []
    for seed in (0, 1, 2):
        cells += [
            cell("single_agent", records([0, 0, 0, 1]), seed=seed),
            cell(LONG, records([1, 1, seed == 1, 0]) + records([1], greedy=True), seed=seed, team=True),
            cell(VOTE, records([1, 0, 0, 0]), seed=seed, matched_to=[(LONG, "completion"), (LONG, "all")]),
            cell("best_of_k@5", records([1, 1, 1, 1]), seed=seed, oracle=True),
        ]
    return study(tmp_path_factory.mktemp("study") / "s", cells)


def test_files_of_a_study(folder: Path, tmp_path: Path) -> None:
    lines = shown([folder], tmp_path / "new", None)
    names = {file.relative_to(tmp_path / "new").as_posix() for file in (tmp_path / "new").rglob("*.*")}
    expected = {"results.md", "results.tex", "methods.csv", "comparisons.csv", "report.html"}
    assert names == expected | {
        f"plots/sums_{name}.{suffix}" for name in ("accuracy", "cost") for suffix in ("png", "svg")
    }
    assert "0.583" in (tmp_path / "new" / "results.md").read_text(encoding="utf-8")
    assert lines[-2:] == [f"page: {tmp_path / 'new' / 'report.html'}", f"tables and plots: {tmp_path / 'new'}"]


def test_long_words_fit_a_terminal(folder: Path, tmp_path: Path) -> None:
    lines = shown([folder], tmp_path, 80)
    tables = lines[: next(n for n, line in enumerate(lines) if line.startswith("page: "))]
    assert max(map(len, tables)) <= 80 and not any("…" in line for line in tables)
    (team,) = [line for line in tables if line.startswith(f" {LONG} ") and " against" not in line]
    assert team.split() == [LONG, ".583", *team.split()[2:3], ".500", ".750", ".500", "1.00", "5.0"]
    assert any(f" {VOTE} " in line for line in tables)
    start = next(n for n, line in enumerate(tables) if line.startswith(f" {LONG} against"))
    assert tables[start + 1].strip() == VOTE  # the words are broken, the figures are not
    assert re.search(r" \+\.333  [+-]\.\d{3} to \+(\.\d{3}|1\.00) +(\.\d{3}|1\.00) *$", tables[start])
    oracle = next(n for n, line in enumerate(tables) if line.startswith(" best_of_k@5 ORACLE "))
    assert tables[oracle - 1].strip() == "" and tables[oracle - 2].strip() != ""  # apart from the others


def test_nothing_is_broken_or_cut_in_a_pipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = shown([folder], tmp_path, None)
    assert any(line.startswith(f" {LONG} against {VOTE}  ") for line in lines)
    assert not any(line != line.rstrip() or "…" in line for line in lines)


def test_a_narrow_terminal_gets_the_table_of_a_wider_one(folder: Path, tmp_path: Path) -> None:
    lines = shown([folder], tmp_path, 60)
    assert any(line.startswith(f" {LONG} ") and ".583" in line and "1.00" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_names_are_no_markup(tmp_path: Path) -> None:
    place = study(tmp_path / "s", [cell("[red]team[/]", records([1, 0]), team=True)])
    assert any(line.startswith(" [red]team[/] ") for line in shown([place], tmp_path / "o", 80))


def test_a_study_without_figures(tmp_path: Path) -> None:
    place = study(tmp_path / "s", [cell("debate", None, team=True, status="failed", error="no")])
    lines = shown([place], tmp_path / "o", 80)
    assert any("debate FAILED" in line for line in lines)
    assert " debate, seed 0 failed: no" in lines
    assert list((tmp_path / "o" / "plots").iterdir()) == []


def test_report_writes_tables_and_plots_where_it_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", str(folder), "--output", str(tmp_path / "page.html")]
    assert main([*words]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert main([*words, "--tables", str(tmp_path / "paper" / "new")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'paper' / 'new'}: tables and plots"
    present([folder], tmp_path / "same", Console(file=io.StringIO()))
    for file in (tmp_path / "same").rglob("*.*"):
        if file.suffix != ".html":
            twin = tmp_path / "paper" / "new" / file.relative_to(tmp_path / "same")
            assert twin.read_bytes() == file.read_bytes()


def test_report_says_that_tables_need_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["report", str(folder), "--output", str(tmp_path / "p.html"), "--tables", str(tmp_path / "file")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()
