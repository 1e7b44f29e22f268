"""A verifier of what a trained team says: its answers to the questions that the run kept for verifiers."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_toys import SMALL

import maporl
from maporl.cli import main
from maporl.learned_verifier.answers import by_question, read_answers
from maporl.learned_verifier.model import Card
from maporl.training.run_folder import RunFolder

TRAINING = ["--k", "1", "--num_iterations", "4", "--r", "4", "--alpha", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return maporl.train(
        env="run_toys:Letters",
        env_args={"verifier_share": 0.4},
        model=tiny_model,
        algorithm="mappo",
        num_threads=1,
        output_dir=str(tmp_path_factory.mktemp("runs") / "letters"),
        **SMALL,
    )


def test_the_team_speaks_and_its_model_is_the_base(
    run: RunFolder, tiny_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "v"
    assert main(["verifier", "train", str(folder), "--run", str(run.path), *TRAINING]) == 0
    assert "questions with enough answers 100%" in capsys.readouterr().out
    card, answers = Card.load(folder), read_answers(folder / "trained_on.jsonl")
    assert card.base == tiny_model and {a.generator for a in answers} == {str(run.path)}
    kept = {q.hash for q in run.config.build_env().questions("verifier")}
    assert set(by_question(answers)) < set(card.questions) & kept
    # And so it may reward a team on the run's own task: none of its questions is trained or measured on.
    verifier = {"name": "learned", "path": str(folder), "device": "cpu"}
    env = run.config.merged({"env_args": {"verifier": verifier}}).build_env()
    assert env.questions("train") and env.questions("test")
    env.reset(seed=0)
    env.step("abc")
    assert env.transcript.turns[0].correct is False and 0 < env.transcript.turns[0].value < 1


def test_another_base_and_what_cannot_be(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_model: str
) -> None:
    other = tmp_path / "other"
    assert main(["make-model", str(other), "--hidden_size", "32", "--num_layers", "1", "--seed", "3"]) == 0
    folder = tmp_path / "v"
    words = ["verifier", "train", str(folder), "--run", str(run.path), "--model", str(other), *TRAINING]
    assert main(words) == 0
    assert Card.load(folder).base == str(other)
    capsys.readouterr()
    assert main(["verifier", "train", str(tmp_path / "w"), "--run", str(tmp_path), *TRAINING]) == 2
    assert "is not a run folder" in capsys.readouterr().err
