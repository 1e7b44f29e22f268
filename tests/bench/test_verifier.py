"""Both ways of scoring say the same, so that their speeds can be compared; and the section's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.settings import Settings
from bench.verifier import PlainScorer, answers, rows
from maporl.learned_verifier import LearnedVerifier
from maporl.learned_verifier.training import Settings as Training
from maporl.learned_verifier.training import fit

QUICK = Settings(quick=True, repetitions=1)


def test_the_plain_way_gives_the_same_scores(tmp_path: Path) -> None:
    settings = Training(batch_size=8, learning_rate=1e-2, epochs=3, device="cpu")
    fit(answers(8, 2, seed=0), QUICK.checkpoint(tmp_path), tmp_path / "v", settings=settings)
    some = answers(6, 4, seed=1)
    questions, responses = [a.question for a in some], [a.response for a in some]
    ours = np.array([s.value for s in LearnedVerifier(tmp_path / "v", device="cpu").score_batch(questions, responses)])
    plain = PlainScorer(tmp_path / "v", QUICK)
    plain.batch = 5
    assert np.ptp(ours) > 1e-3
    assert plain(questions, responses) == pytest.approx(ours, abs=1e-5)


def test_answers_are_all_different() -> None:
    some = answers(20, 4, seed=0)
    assert len({(a.question.hash, a.response) for a in some}) == 80 and len({a.question.hash for a in some}) == 20
    assert sum(a.correct for a in some) == 40


def test_the_rows() -> None:
    threads = torch.get_num_threads()
    found = {row.name: row for row in rows(QUICK)}
    assert torch.get_num_threads() == threads
    for questions, per_question in ((32, "1 answer to each"), (4, "8 answers to each")):
        ours, plain = (
            found[f"{what}, {questions} questions, {per_question}"] for what in ("score_batch", "plain batched forward")
        )
        over = found[f"score_batch over the plain forward, {questions} questions, {per_question}"]
        assert over.value == pytest.approx(ours.value / plain.value) and over.target == ">= 0.9"
    over = found["iteration, learned over rule"]
    sides = (found[f"an iteration, {what} verifier"].value for what in ("learned", "rule"))
    assert over.value == pytest.approx(next(sides) / next(sides)) and over.target == "<= 1.5"
