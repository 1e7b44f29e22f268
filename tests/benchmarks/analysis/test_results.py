"""Results read back from studies and runs: whole, half written, or of another version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_toys import SMALL
from study_on_disk import cell, records
from study_on_disk import study as study_on_disk
from study_toys import SCRIPTED

import maporl
from maporl.benchmarks.analysis.results import Results, load_results
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def _study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "study"
    return run_study(Study().merged({**SCRIPTED, "methods": ["debate"], "output_dir": str(folder)}))


@pytest.fixture
def study(_study: Path, tmp_path: Path) -> Path:
    """A study of a debate, complete; a copy of the test's own."""
    return shutil.copytree(_study, tmp_path / "study")


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
    run_study(Study.load(study / "study.yaml").merged({"output_dir": str(study)}))  # and the study mends it
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


@pytest.mark.parametrize("gone", [True, False])
def test_a_complete_cell_whose_records_are_gone(gone: bool, study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/records.jsonl"
    file.write_text("")
    if gone:
        file.unlink()
    results = load_results([study])
    assert _statuses(results) == {**WHOLE, "debate": "running"}
    assert results.problems == (
        f"{file.parent}: complete, but its records are gone; taken as interrupted, run the study again",
    )


@pytest.mark.parametrize(
    "entry", [5, {"version": 1}, {"version": 1, "folder": 7}, {"version": 1, "folder": "cells/x", "runs": None}]
)
def test_an_entry_of_the_plan_that_is_none(entry: Any, study: Path) -> None:
    plan = json.loads((study / "plan.json").read_text())
    (study / "plan.json").write_text(json.dumps([entry, *plan]))
    results = load_results([study])
    assert _statuses(results) == WHOLE  # the others are read
    assert len(results.problems) == 1 and "left out, run the study again" in results.problems[0].replace(";", ",")


def test_a_cell_that_names_no_seed(study: Path) -> None:
    file = study / "cells/study_toys~Numbers/debate/seed_0/cell.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seed": "x", "costs": None}))
    results = load_results([study])
    assert "debate" not in _statuses(results) and len(results.cells) == 3 and len(results.problems) == 1


def test_the_baseline_of_a_cell(study: Path) -> None:
    baselines = {cell.method: cell.baseline for cell in load_results([study]).cells}
    assert (baselines["single_agent"], baselines["debate"]) == (None, "single_agent")


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
        ("mine/iteration_0000", "mine, validation at 0"),
        ("mine/training iteration_0001", "mine, training at 1"),
        ("mine/iteration_0001", "mine, validation at 1"),
        ("mine/test", "mine, test"),
    ]
    assert [(c.split, c.iteration) for c in cells] == [
        ("validation", 0),
        ("training", 1),
        ("validation", 1),
        ("test", 1),
    ]
    assert {(c.task, c.seed, c.status, c.team, c.trained) for c in cells} == {
        ("run_toys:Letters", 0, "complete", True, True)
    }
    assert [len(c.records()) for c in cells] == [4, 8, 4, 4] and all(c.runs == (run,) for c in cells)


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


@pytest.mark.parametrize("text", ["", "[1, 2]", "env: [arith", "seed: [1]\nenv: x", "seed: many\nenv: x"])
def test_a_run_whose_configuration_is_half_written(text: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    results = load_results([tmp_path, run])
    assert len(results.cells) == 4 and all(c.folder == run for c in results.cells)
    (problem,) = results.problems
    assert problem.startswith(f"{tmp_path / 'config.yaml'}: ") and problem.endswith("; the run is left out")


@pytest.mark.parametrize("text", ["", '{"status": "comp', "[]", "null"])
def test_a_run_whose_status_is_half_written(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("env: arithmetic\nseed: 3\n")
    (tmp_path / "status.json").write_text(text)
    results = load_results([tmp_path])
    assert [c.status for c in results.cells] == ["running"]
    assert len(results.problems) == 1 and results.problems[0].endswith("; taken as running")


@pytest.mark.parametrize("status", ["{}", '{"status": null}', '{"status": 5}'])
def test_a_run_whose_status_says_nothing(status: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("env: arithmetic\n")
    (tmp_path / "status.json").write_text(status)
    assert [c.status for c in load_results([tmp_path]).cells] == ["running"]


def test_half_written_metrics_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"iteration": 1}\n[2]\n3\n\n{"iteration": 4}\n{"note": "\xc3')
    assert RunFolder(tmp_path).metrics == [{"iteration": 1}, {"iteration": 4}]
    assert RunFolder(tmp_path / "nowhere").metrics == []


def test_runs_of_the_same_name_are_two_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("exp1/run", "exp2/run", "exp2/other", "deep/exp1/run")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("env: arithmetic\nseed: 3\n")
    results = load_results(folders)
    assert [c.method for c in results.cells] == [
        f"{tmp_path.name}/exp1/run/test",
        "exp2/run/test",
        "other/test",
        "deep/exp1/run/test",
    ]
    assert results.cells[1].label == "exp2/run, test" and results.problems == ()
    monkeypatch.chdir(folders[0])
    assert load_results(["."]).cells[0].method == "run/test"


def test_a_word_that_means_two_things_in_two_studies_is_told(tmp_path: Path) -> None:
    def one(name: str, **changes: Any) -> Path:
        values = {**SCRIPTED, "methods": [{"name": "debate", "label": "mine", "num_rounds": 2}], "title": name}
        run_study(Study().merged({**values, "output_dir": str(tmp_path / name), **changes}))
        return tmp_path / name

    first, same = one("a"), one("b", seeds=[1])
    assert load_results([first, same]).problems == ()
    longer = one("c", seeds=[2], methods=[{"name": "debate", "label": "mine", "num_rounds": 3}])
    (problem,) = load_results([first, longer]).problems
    assert (
        problem == f"{longer}: other settings (num_rounds) than in {first}, and yet one row: mine on study_toys:Numbers"
    )
    other = one("d", seeds=[3], max_new_tokens=77)
    (problem,) = load_results([first, other]).problems
    assert "other settings (max_new_tokens)" in problem and "mine on" in problem and "single_agent on" in problem


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("algorithms", {"mappo": {"num_iterations": 9}}, ["mappo", "self_consistency@3/mappo"]),
        ("algorithms", {"ippo": {"num_iterations": 9}}, []),
        ("tasks", {"sums": {"num_iterations": 9}}, ["debate", "mappo", "self_consistency@3/mappo"]),
        ("tasks", {"words": {"num_iterations": 9}}, []),
        ("methods", [{"name": "mappo", "settings": {"num_iterations": 9}}], ["mappo"]),
    ],
)
def test_whose_meaning_a_setting_changes(key: str, value: Any, expected: list[str], tmp_path: Path) -> None:
    folders = []
    for seed, changed in enumerate(({}, {key: value})):
        trained = {"debate": None, "mappo": "mappo", "self_consistency@3/mappo": "mappo"}
        cells = [cell(m, records([1]), seed=seed, algorithm=by) for m, by in trained.items()]
        folders.append(study_on_disk(tmp_path / str(seed), cells))
        (folders[-1] / "study.yaml").write_text(json.dumps({"methods": ["debate", "mappo"], **changed}))
    problems = load_results(folders).problems
    assert [p.split("one row: ")[1].split(", ") for p in problems] == (
        [[f"{m} on sums" for m in expected]] if expected else []
    )


def test_a_cell_that_two_studies_have_is_told(tmp_path: Path) -> None:
    """Which of them counts must not be a secret."""
    for name in ("a", "b"):
        run_study(Study().merged({**SCRIPTED, "methods": ["single_agent"], "output_dir": str(tmp_path / name)}))
    results = load_results([tmp_path / "a", tmp_path / "b"])
    assert len(results.problems) == 1 and "is there already; the first one counts" in results.problems[0]
