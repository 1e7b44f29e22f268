"""The tutorial: the notebook is the page, its cells run one after the other, and (slow) they print what the page says."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maporl.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SHORT = [
    "--num_iterations", "1", "--episodes_per_iteration", "8", "--num_eval_questions", "4", "--device", "cpu", "--trackers", "--preflight",
    "off",
]  # fmt: skip


def cells() -> list[dict[str, Any]]:
    return [
        c
        for c in json.loads((ROOT / "docs" / "tutorial.ipynb").read_text("utf-8"))["cells"]
        if c["cell_type"] == "code"
    ]


def test_the_notebook_is_the_page() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "make_notebook.py"))["written"]
    assert (ROOT / "docs" / "tutorial.ipynb").read_text("utf-8") == written(PAGE), "run python docs/make_notebook.py"


def run_cells(run: Callable[[list[str]], str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every cell in order, as a notebook's kernel does; returns (what it printed, what the notebook says that it did)."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    space: dict[str, Any] = {}
    printed = []
    for cell in cells():
        source = "".join(cell["source"])
        if source.startswith("%%writefile "):
            head, _, body = source.partition("\n")
            Path(head.split()[1]).write_text(body, encoding="utf-8")
        elif source.startswith("!"):
            shown = "".join(line for output in cell["outputs"] for line in output["text"])
            printed.append((run(shlex.split(source.removeprefix("!maporl "))), shown))
        else:
            exec(compile(source, "tutorial.ipynb", "exec"), space)
    sys.modules.pop("my_task", None)
    return printed


def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At small sizes."""

    def run(words: list[str]) -> str:
        more = SHORT if words[0] in ("train", "benchmark") else []
        if words[0] == "benchmark":  # one seed, two questions
            at = words.index("--seeds")
            words, more = [*words[: at + 2], *words[at + 4 :]], [*more, "--num_questions", "2"]
        assert main([*words, *more]) == 0, words
        return capsys.readouterr().out

    assert len(run_cells(run, tmp_path, monkeypatch)) >= 7


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full, about four minutes of one core. Of figures only that they are there: they depend on the processor."""

    def run(words: list[str]) -> str:
        code = "import sys; from maporl.cli import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        return done.stderr + done.stdout

    for printed, shown in run_cells(run, tmp_path, monkeypatch):
        there = {_skeleton(line) for line in printed.splitlines()}
        for line in shown.splitlines():
            assert line == "..." or _skeleton(line) in there, (line, printed)


def _skeleton(line: str) -> str:
    """A line without its figures, ids and widths."""
    return re.sub(r"\s+|[━─]+", " ", re.sub(r"\b[0-9a-f]{16}\b|[\d.,:]+", "#", line))
