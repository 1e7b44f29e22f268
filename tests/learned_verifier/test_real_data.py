"""Real labelled answers: to GSM8K's test questions, so a verifier of theirs may judge nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from maporl.cli import main
from maporl.envs.tasks.gsm8k import GSM8K
from maporl.learned_verifier import LearnedVerifier
from maporl.learned_verifier.answers import LabelledAnswer, balanced, by_question, divided, read_answers
from maporl.learned_verifier.training import Settings, fit


@pytest.fixture(scope="module")
def solutions(data_dir: Path) -> list[LabelledAnswer]:
    return read_answers(data_dir / "verifier_cases" / "gsm8k_model_solutions.jsonl")


def test_the_rows_and_their_balance(solutions: list[LabelledAnswer]) -> None:
    """5,276 answers of four models to 1,319 questions; 731 questions have right and wrong ones."""
    assert len(solutions) == 5276 and len(by_question(solutions)) == 1319
    assert len({a.generator for a in solutions}) == 4 and not any(a.question.private for a in solutions)
    kept, balance = balanced(solutions, 1)
    assert (balance.questions, balance.dropped, len(kept)) == (731, 588, 1462)
    assert balance.right_before == pytest.approx(2001 / 5276)
    parts = divided(kept)
    assert {name: len(by_question(part)) for name, part in parts.items()} == {
        "train": 521,
        "calibration": 62,
        "held_out": 148,
    }


@pytest.fixture(scope="module")
def verifier(solutions: list[LabelledAnswer], tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verifiers") / "gsm8k"
    few = divided(balanced(solutions, 1)[0])["train"][:60]
    fit(few, tiny_model, folder, settings=Settings(max_length=512, device="cpu"))
    return folder


@pytest.mark.filterwarnings("ignore:.*longer than")
def test_it_is_refused_on_gsm8k(verifier: Path, data_dir: Path) -> None:
    spec = {"name": "learned", "path": str(verifier)}
    seen = LearnedVerifier(verifier).seen_questions()
    assert len(seen) == 60, "each question by its hash, and by what is asked"
    env = GSM8K(data=data_dir / "gsm8k", verifier=spec)
    with pytest.raises(ValueError, match="fitted to 30 of the 1319 test questions of gsm8k"):
        env.questions("train")  # not only when the run has been trained and is tested


def test_a_run_is_refused_before_it_begins(
    verifier: Path, data_dir: Path, tiny_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--env", "gsm8k", "--data", str(data_dir / "gsm8k"), "--model", tiny_model]
    words += ["--env_args.verifier", f"{{name: learned, path: {verifier}}}", "--output_dir", str(tmp_path / "run")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "the verifier was fitted to 30 of the 1319 test questions of gsm8k" in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()
