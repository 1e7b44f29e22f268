"""``maporl benchmark``, end to end."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import study_toys
import yaml
from study_toys import Stops, Toy

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.study.study import Study
from maporl.cli import main

FLAGS = [
    *("--tasks", "study_toys:Numbers", "--num_agents", "2", "--num_questions", "6"),
    *("--partners.agent_0", "study_toys:Coin", "--partners.agent_1", "study_toys:Stops"),
]


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    Stops.left, study_toys.Breaks.broken = 10**9, True
    yield
    Stops.left, study_toys.Breaks.broken = 10**9, True


def benchmark(folder: Path, *words: str) -> int:
    return main(["benchmark", *FLAGS, "--output_dir", str(folder), *words])


def test_from_flags_to_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(tmp_path / "s", "--methods", "debate", "self_consistency@3", "--seeds", "0", "1") == 0
    out, err = capsys.readouterr()
    assert err == "" and "debate" in out and "self_consistency@3" in out and str(tmp_path / "s") in out
    results = load_results([tmp_path / "s"])
    assert {c.status for c in results.cells} == {"complete"}
    assert len({c.method for c in results.cells}) * 2 == len(results.cells)
    for name in ("report.html", "results.md", "results.tex", "methods.csv", "comparisons.csv"):
        assert (tmp_path / "s" / name).stat().st_size > 100, name
    with (tmp_path / "s" / "methods.csv").open(encoding="utf-8") as file:
        assert {"debate", "self_consistency@3", "single_agent"} <= {
            value for row in csv.DictReader(file) for value in row.values()
        }
    assert results.settings["command"].startswith("maporl benchmark --")
    Toy.calls = 0
    assert benchmark(tmp_path / "s", "--methods", "debate", "self_consistency@3", "--seeds", "0", "1") == 0
    assert Toy.calls == 0  # everything is there


def test_from_a_file_with_flags_on_top(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "title": "From a file",
        "methods": ["self_refine", {"name": "debate", "num_rounds": 3, "label": "long debate"}],
        "tasks": {
            "small": {"env": "study_toys:Numbers"},
            "study_toys:Views": {"partners": {"agent_1": "study_toys:Witness"}},
        },
        "partners": {"agent_0": "study_toys:Witness", "agent_1": "study_toys:Knows"},
        "num_agents": 2,
        "num_questions": 6,
        "output_dir": str(tmp_path / "wrong"),
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    words = ["--config", str(tmp_path / "study.yaml"), "--output_dir", str(tmp_path / "s"), "--num_questions", "3"]
    assert main(["benchmark", *words]) == 0
    capsys.readouterr()
    assert not (tmp_path / "wrong").exists()
    study = Study.load(tmp_path / "s" / "study.yaml")
    assert (study.num_questions, study.title, list(study.tasks)) == (3, "From a file", ["small", "study_toys:Views"])
    found = {(c.task, c.method): c for c in load_results([tmp_path / "s"]).cells}
    long = found["small", "long debate"]
    assert {len(r["turns"]) for r in long.records()} == {6} and len(long.records()) == 6
    assert main(["benchmark", "--config", str(tmp_path / "s" / "study.yaml")]) == 0  # what it left says the same


def test_the_plan_writes_nothing_and_says_how_long_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(tmp_path / "s", "--methods", "debate", "mappo", "--plan") == 0
    out = capsys.readouterr().out
    assert "3 cells, 1 trainings" in out and "mappo" in out
    assert re.search(
        r"^It takes about \d+:\d\d here \(evaluations \d+:\d\d\), as measured in \d+ seconds\.$", out, re.MULTILINE
    )
    assert "No time is known for training mappo on study_toys:Numbers: " in out  # scripts learn nothing
    assert not (tmp_path / "s").exists()


def test_a_failed_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, which and why in a line, and the report of the rest."""
    assert benchmark(tmp_path / "s", "--methods", "study_toys:Breaks", "debate") == 1
    out, err = capsys.readouterr()
    assert (
        err
        == "maporl: failed: study_toys:Numbers / study_toys:Breaks / seed 0: ZeroDivisionError: a bug of the user's\n"
    )
    assert "debate" in out and (tmp_path / "s" / "report.html").is_file()
    assert "study_toys:Breaks (failed: seed 0)" in (tmp_path / "s" / "results.md").read_text(encoding="utf-8")
    study_toys.Breaks.broken = False
    assert benchmark(tmp_path / "s", "--methods", "study_toys:Breaks", "debate") == 0
    assert "failed" not in (tmp_path / "s" / "results.md").read_text(encoding="utf-8")


def test_everything_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No model: there is nothing to compare, and a report that says so."""
    words = ["benchmark", "--tasks", "study_toys:Numbers", "--methods", "debate", "--output_dir", str(tmp_path / "s")]
    assert main(words) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all("no model; name a checkpoint folder" in line for line in err)
    assert (tmp_path / "s" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "debat"], "unknown method 'debat'. Did you mean 'debate'?"),
        (["--tasks", "aritmetic"], "unknown env 'aritmetic'. Did you mean 'arithmetic'?"),
        (["--method", "debate"], "unknown flag '--method'. Did you mean '--methods'?"),
        (["--env", "arithmetic"], "unknown flag '--env'"),
        (["--seeds", "0", "0"], "seeds is [0, 0]"),
        (["--seeds", "one"], "seeds is ('one',); it must be a list of whole numbers"),
        (["--num_samples", "0"], "num_samples is 0"),
        (["--algorithms.mapo.num_iterations", "3"], "unknown algorithm 'mapo'. Did you mean 'mappo'?"),
        (
            ["--config", "nowhere.yaml"],
            "config 'nowhere.yaml': no such file. Shipped configurations: coding, heterogeneous",
        ),
        (["--methods", "train_one"], "write train_one/mappo"),
        (["--methods", "no_such_file:Mine"], "there is no module 'no_such_file'"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--plan"]])
def test_slips(
    words: list[str], message: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(tmp_path / "s", *words, *more) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("maporl: error: ") and err.count("\n") == 1 and message in err
    assert not (tmp_path / "s").exists()


def test_another_study_in_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(tmp_path / "s") == 0
    capsys.readouterr()
    assert benchmark(tmp_path / "s", "--num_samples", "3") == 2
    err = capsys.readouterr().err
    assert "holds study_toys:Numbers / single_agent / seed 0 with num_samples 1, not 3; choose another folder" in err


def test_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Stops.left = 10
    assert benchmark(tmp_path / "s", "--methods", "debate") == 130
    err = capsys.readouterr().err
    assert err == f"maporl: interrupted; the same command goes on with what is missing in {tmp_path / 's'}\n"
    Stops.left = 10**9
    assert benchmark(tmp_path / "s", "--methods", "debate") == 0


OWN = '''from maporl.benchmarks.methods.method import DebateMethod
from maporl.envs.team_answer import last_speaker


class LastWord(DebateMethod):
    """A debate that whoever speaks last decides."""

    title = "last word"

    def answer(self, env, episodes):
        return last_speaker(episodes[0].transcript)
'''


def test_a_method_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten lines in a file where the command is typed, with arguments of the class it is made of."""
    (tmp_path / "own_method_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    spec = json.dumps({"name": "own_method_of_mine:LastWord", "num_rounds": 1, "label": "last word"})
    assert benchmark(tmp_path / "s", "--methods", spec, "own_method_of_mine:LastWord") == 0
    assert "last word" in capsys.readouterr().out
    found = {c.method: c for c in load_results([tmp_path / "s"]).cells}
    assert {len(r["turns"]) for r in found["last word"].records()} == {2}
    for record in found["own_method_of_mine:LastWord"].records():
        assert record["team_correct"] == float(record["turns"][-1]["truth"]["correct"])
    assert found["last word"].team and not found["last word"].oracle
