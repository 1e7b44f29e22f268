"""The command: sections by name, a table, a JSON file with what the figures depend on, and one line when a package is missing."""

from __future__ import annotations

import json
import re
import runpy
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch

from bench import Row, Settings
from bench.__main__ import SECTIONS, main

NAME = "bench.share"  # any section: the tests put their own module in its place


def section(monkeypatch: pytest.MonkeyPatch, rows: object) -> None:
    module = types.ModuleType(NAME)
    module.rows = rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, NAME, module)


def test_rows_are_shown_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Settings, int]] = []

    def rows(settings: Settings) -> list[Row]:
        seen.append((settings, torch.get_num_threads()))
        return [
            Row("share", "fast", 12345.0, 12000.0, 13000.0, "tokens/s"),
            Row("share", "times", 2.5, 2.0, 3.0, "x", ">= 3", note="as measured"),
        ]

    section(monkeypatch, rows)
    threads = torch.get_num_threads()
    file = tmp_path / "out.json"
    assert main(["share", "--json", str(file), "--seed", "3", "--num_threads", "1", "--repetitions", "2"]) == 0
    assert seen == [(Settings(repetitions=2, seed=3), 1)]
    assert torch.get_num_threads() == threads, "torch's threads are as they were"
    out = capsys.readouterr().out
    assert (
        "12,345" in out and "12,000 to 13,000" in out and ">= 3" in out and "NO" in out and "times: as measured" in out
    )
    written = json.loads(file.read_text())
    assert [row["name"] for row in written["rows"]] == ["fast", "times"]
    assert written["rows"][1]["reached"] is False
    assert written["settings"]["seed"] == 3 and written["versions"]["torch"] == torch.__version__
    assert written["command"].endswith("share --json " + str(file) + " --seed 3 --num_threads 1 --repetitions 2")
    assert written["machine"]["cores"] >= 1 and "share" in written["section_seconds"]


def test_a_missing_optional_package_is_one_line_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(settings: Settings) -> list[Row]:
        raise ModuleNotFoundError("No module named 'comlrl.trainers'", name="comlrl.trainers")

    section(monkeypatch, rows)
    assert main(["share"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'share' needs comlrl" in error and "pip install -e '.[bench]'" in error


def test_another_missing_module_is_a_bug_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(settings: Settings) -> list[Row]:
        raise ModuleNotFoundError("No module named 'maporl.nothing'", name="maporl.nothing")

    section(monkeypatch, rows)
    with pytest.raises(ModuleNotFoundError):
        main(["share"])


def test_a_slip_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--geometry", "huge"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'huge' is unknown" in error and "tiny" in error
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "unknown section 'nothing'" in capsys.readouterr().err


def test_every_section_is_a_module() -> None:
    import importlib.util

    missing = [s for s in SECTIONS if importlib.util.find_spec(f"bench.{s}") is None]
    assert not missing


def test_a_checkpoint_is_made_once(tmp_path: Path) -> None:
    settings = Settings()
    path = settings.checkpoint(tmp_path)
    before = (Path(path) / "model.safetensors").stat().st_mtime_ns
    assert settings.checkpoint(tmp_path) == path
    assert (Path(path) / "model.safetensors").stat().st_mtime_ns == before
    assert sum(p.numel() for p in settings.policy(tmp_path).model.parameters()) < 1_000_000


def test_a_checkout_is_enough(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """None of these is installed; all of them are run as modules of the repository (here in this process, which has torch)."""
    modules = ["bench", "bench.verifier_agreement", "examples.collaboration_game"]
    for module in modules:
        monkeypatch.setattr(sys, "argv", ["", "--help"])
        with warnings.catch_warnings(), pytest.raises(SystemExit, match="^0$"):
            warnings.simplefilter("ignore", RuntimeWarning)  # it may have been imported before
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert re.findall(r"^usage: python -m (\S+) ", capsys.readouterr().out, re.MULTILINE) == modules
