"""A study whose verifier goes away: its cells fail with the reason, once, and the same command goes on where they stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from run_toys import SMALL
from study_toys import SCRIPTED, Toy

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.study import measuring
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.envs.verifiers import Remote, Verifier
from maporl.training.run_folder import RunFolder
from maporl.types import Question, Score

NOBODY = Remote("http://127.0.0.1:9", patience=0)  # no server listens there


class Leaves(Verifier):
    """Worth 1 whatever is said; after `left` calls nobody is there."""

    rule_based = False
    uses_gold = False
    left: ClassVar[int] = 10**9
    refused: ClassVar[int] = 0

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        Leaves.left -= 1
        if Leaves.left < 0:
            Leaves.refused += 1
            NOBODY(questions[0], responses[0])
        return [Score(1.0, None)] * len(responses)


@pytest.fixture(autouse=True)
def _back() -> Iterator[None]:
    yield
    Leaves.left, Leaves.refused = 10**9, 0


def run(folder: Path, **values: Any) -> list[str]:
    """The errors that are told."""
    told: list[str] = []
    settings = {**SCRIPTED, "output_dir": str(folder), "env_args": {"verifier": "test_outage:Leaves"}, **values}
    run_study(Study().merged(settings), lambda news: told.append(news.error) if news.error else None)
    return told


def contents(folder: Path) -> dict[str, str]:
    return {f.relative_to(folder).as_posix(): f.read_text() for f in sorted(folder.glob("cells/**/records.jsonl"))}


def test_cells_wait_once_and_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 3)  # discussions at a time, so a question or two
    Toy.calls = 0
    run(tmp_path / "whole", methods=["debate"])
    all_calls = Toy.calls
    Leaves.left, Toy.calls = 10, 0
    told = run(tmp_path / "cut", methods=["debate"])
    assert told and all(
        "VerifierUnavailable: the verifier at http://127.0.0.1:9 gave no usable reply" in t for t in told
    )
    assert Leaves.refused == 1, "both cells of the task are told at once; neither waits again"
    assert {c.status for c in load_results([tmp_path / "cut"]).cells} == {"failed"}
    before = Toy.calls
    Leaves.left = 10**9
    assert run(tmp_path / "cut", methods=["debate"]) == []
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert before > 0 and Toy.calls - all_calls < before, "less is said twice than was said before the outage"


def test_rows_of_other_verifiers_go_on(tmp_path: Path) -> None:
    Leaves.left = 0
    rule = {"name": "debate", "label": "by_rule"}
    gone = {"name": "debate", "label": "gone", "settings": {"env_args": {"verifier": "test_outage:Leaves"}}}
    told = run(tmp_path, env_args={}, methods=[rule, gone])
    assert len(told) == len(Study().merged({**SCRIPTED, "methods": [gone]}).seeds) and Leaves.refused == 1
    status = {c.method: c.status for c in load_results([tmp_path]).cells}
    assert status.pop("gone") == "failed" and set(status.values()) == {"complete"} and "by_rule" in status


def test_a_training_stops_and_the_same_command_goes_on(tmp_path: Path, tiny_model: str) -> None:
    values: dict[str, Any] = {
        **{k: v for k, v in SMALL.items() if k != "trackers"},
        "tasks": ["run_toys:Letters"], "partners": {}, "model": tiny_model, "num_questions": 3, "num_eval_questions": 2,
        "algorithms": {"run_toys:Idle": {}}, "methods": ["run_toys:Idle"],
    }  # fmt: skip
    run(tmp_path / "whole", **values)
    Leaves.left = 3  # the first evaluation and half of the first training's first iteration
    told = run(tmp_path / "cut", **values)
    assert any("its training failed" in t and "gave no usable reply" in t for t in told)
    statuses = {RunFolder(f.parent).status for f in (tmp_path / "cut" / "runs").rglob("config.yaml")}
    assert statuses == {"interrupted"}
    Leaves.left = 10**9
    assert run(tmp_path / "cut", **values) == []
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
