"""Results read back from studies and runs: whole, half written, or of another version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_toys import SMALL
from study_toys import SCRIPTED

import maporl
from maporl.benchmarks.matrix import run_study
from maporl.benchmarks.results import Results, load_results
from maporl.benchmarks.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of a debate, complete."""
    run_study(Study().merged({**SCRIPTED, "methods": ["debate"], "output_dir": str(tmp_path / "study")}))
    return tmp_path / "study"


def _statuses(results: Results) -> dict[str, str]:
    return {c.method: c.status for c in results.cells}


WHOLE = dict.fromkeys(["single_agent", "debate", "self_consistency@4", "self_consistency@6"], "complete")


def test_a_whole_study(study: Path) -> None:
    results = load_results([study])
    assert _statuses(results) == WHOLE and results.problems == ()
    debate = results.cells[1]
    assert (debate.task, debate.label, debate.seed, debate.team, debate.trained) == (
        "study_toys:Numbers",
        "debate",
        0,
        True,
        False,
    )
    assert debate.folder == study / "cells/study_toys~Numbers/debate/seed_0" and debate.runs == ()
    assert len(debate.records()) == 24 and debate.problems == []
    assert not results.cells[0].team and results.cells[2].matched == (("debate", "completion"),)
    assert results.title == "study"  # the folder's, where it was given none


def test_a_study_named_twice_counts_once(study: Path) -> None:
    assert len(load_results([study, study / ".." / "study"]).cells) == 4


def test_cells_that_wait_and_run(study: Path) -> None:
    place = study / "cells/study_toys~Numbers"
    (place / "debate/seed_0/cell.json").unlink()
    for file in (place / "single_agent/seed_0").iterdir():
        file.unlink()
    (place / "single_agent/seed_0").rmdir()
    assert _statuses(load_results([study])) == {**WHOLE, "single_agent": "waiting", "debate": "running"}
    waiting = load_results([study]).cells[0]
    assert waiting.records() == [] and waiting.costs == {}


@pytest.mark.parametrize("text", ['{"version": 1, "status": "comp', "", "[]", "null"])
def test_half_a_cell(text: str, study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/cell.json"
    file.write_text(text)
    results = load_results([study])
    assert _statuses(results) == {**WHOLE, "debate": "running"}
    (problem,) = results.problems
    assert str(file) in problem and problem.endswith("taken as interrupted")
    run_study(Study.load(study / "study.yaml"))  # and the study mends it
    assert _statuses(load_results([study])) == WHOLE


def test_half_a_file_of_records(study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/records.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    debate = load_results([study]).cells[1]
    assert len(debate.records()) == len(debate.records()) == 23
    assert debate.problems == [f"{file}: 1 broken line left out (half written?)"]  # once, however often it is read


@pytest.mark.parametrize(("name", "text"), [("plan.json", '[{"version"'), ("plan.json", "{}"), ("plan.json", "")])
def test_half_a_plan(name: str, text: str, study: Path) -> None:
    (study / name).write_text(text)
    results = load_results([study])
    assert results.cells == () and len(results.problems) == 1 and name in results.problems[0]


def test_a_study_that_has_just_begun(tmp_path: Path) -> None:
    Study().merged(SCRIPTED).save(tmp_path / "study.yaml")
    assert load_results([tmp_path]).cells == ()


@pytest.mark.parametrize(("name", "text"), [("machine.json", '{"command": "mapo'), ("study.yaml", "methods: [deb")])
def test_half_of_the_settings(name: str, text: str, study: Path) -> None:
    (study / name).write_text(text)
    results = load_results([study])
    assert _statuses(results) == WHOLE and name in results.problems[0]


def test_a_cell_of_another_version(study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/cell.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 2}))
    results = load_results([study])
    assert "debate" not in _statuses(results) and len(results.cells) == 3
    assert "of version 2, not 1" in results.problems[0]
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps([{**entry, "version": 0} for entry in plan]))
    assert load_results([study]).cells == ()


def test_records_of_another_version(study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/records.jsonl"
    file.write_text(file.read_text().replace('"version": 1', '"version": 7'))
    debate = load_results([study]).cells[1]
    assert debate.records() == [] and "records of version 7" in debate.problems[0]


def test_neither_a_study_nor_a_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="neither a study nor a run"):
            load_results([path])


# -- runs ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    values: dict[str, Any] = {**SMALL, "env": "run_toys:Letters", "algorithm": "run_toys:Idle", "num_iterations": 1}
    maporl.train(model=tiny_model, output_dir=folder, **values)
    return folder


def test_a_run_is_its_evaluations_and_discussions(run: Path) -> None:
    cells = load_results([run]).cells
    assert [(c.method, c.label) for c in cells] == [
        ("mine/test", "mine, test"),
        ("mine/iteration_0000", "mine, iteration 0000"),
        ("mine/iteration_0001", "mine, iteration 0001"),
        ("mine/training iteration_0001", "mine, training iteration 0001"),
    ]
    assert {(c.task, c.seed, c.status, c.team, c.trained) for c in cells} == {
        ("run_toys:Letters", 0, "complete", True, True)
    }
    assert [len(c.records()) for c in cells] == [4, 4, 4, 8] and all(c.runs == (run,) for c in cells)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"status": "interrupted"}, "running"),
        ({"status": "failed", "error": "ZeroDivisionError: x"}, "failed"),
        (None, "running"),
    ],
)
def test_how_a_run_stands(status: dict[str, str] | None, shown: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("env: arithmetic\nseed: 3\nnum_agents: 1\n")
    if status is not None:
        (tmp_path / "status.json").write_text(json.dumps(status))
    (cell,) = load_results([tmp_path]).cells
    assert (cell.status, cell.error, cell.seed, cell.team) == (shown, (status or {}).get("error"), 3, False)
    assert cell.records() == []


def test_a_cell_that_two_studies_have_is_told(tmp_path: Path) -> None:
    """Which of them counts must not be a secret."""
    for name in ("a", "b"):
        run_study(Study().merged({**SCRIPTED, "methods": ["single_agent"], "output_dir": str(tmp_path / name)}))
    results = load_results([tmp_path / "a", tmp_path / "b"])
    assert len(results.problems) == 1 and "is there already; the first one counts" in results.problems[0]
