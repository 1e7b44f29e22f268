"""What a study will do and can cost at most, by hand and against what it then really says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_toys import SMALL
from study_toys import SCRIPTED, Toy, seats

from maporl.benchmarks.study.expected import expected, print_expected
from maporl.benchmarks.study.measuring import measure
from maporl.benchmarks.study.study import Study
from maporl.benchmarks.study.trainers import train


@pytest.mark.parametrize(
    ("method", "messages"),
    [
        ("single_agent", 12 * (2 + 1)),  # two samples and a greedy one
        ("self_consistency@4", 12 * 2 * 4),
        ("debate", 12 * ((2 + 1) * 4 + 2 * 2)),  # and the last round of both samples again
        ("self_refine", 12 * (2 + 1) * 3),
        ("study_toys:VoteOfDebates", 12 * 2 * 2 * 4),
    ],
)
@pytest.mark.parametrize("ablate", [True, False])
def test_messages_of_an_evaluation(method: str, messages: int, ablate: bool, tmp_path: Path) -> None:
    values = {**SCRIPTED, "methods": [method], "num_samples": 2, "ablate_messages": ablate}
    study = Study().merged({**values, "max_new_tokens": 10, "partners": seats("Coin")})
    row = list(expected(study))[-1]
    spoken = messages - (0 if ablate or method != "debate" else 12 * 4)
    assert (row.eval_generations, row.train_generations, row.runs) == (spoken, 0, 0)
    assert row.max_tokens == 10 * spoken
    Toy.calls = 0
    measure(study, [c for c in study.cells() if c.named.word == method], tmp_path)
    assert Toy.calls == spoken


def test_seats_seeds_and_questions() -> None:
    study = Study().merged(
        {**SCRIPTED, "tasks": ["study_toys:Views"], "seeds": [0, 1, 2], "num_questions": 5, "methods": ["debate"]}
    )
    rows = {e.named.word: e.eval_generations for e in expected(study)}
    assert rows == {"single_agent": 3 * 5 * 2 * 2, "debate": 3 * 5 * (2 * 4 + 2)}


def test_trainings_that_are_shared_count_once() -> None:
    """8 discussions an iteration, 2 iterations, 3 evaluations of 4: 28; 2 seeds; on a task with two seats two runs alone."""
    values: dict[str, Any] = {**SMALL, "tasks": ["study_toys:Views"], "seeds": [0, 1], "num_rounds": 2}
    words = ["mappo", "single_agent/mappo", "self_consistency@2/mappo", "train_one/mappo", "alone_then_team/mappo"]
    study = Study().merged({**values, "methods": words})
    assert {e.named.word: (e.runs, e.train_generations) for e in expected(study)} == {
        "single_agent": (0, 0),
        "mappo": (2, 2 * 28 * 4),
        "single_agent/mappo": (4, 4 * 28),
        "self_consistency@2/mappo": (0, 0),
        "train_one/mappo": (4, 4 * 28 * 4),
        "alone_then_team/mappo": (0, 0),
    }


def test_an_own_word_first_among_those_that_share() -> None:
    values: dict[str, Any] = {**SMALL, "tasks": ["study_toys:Views"], "methods": ["alone_then_team/mappo"]}
    row = list(expected(Study().merged(values)))[-1]
    # Of lone agents that speak once, though a team of them discusses.
    assert (row.runs, row.train_generations) == (2, 2 * 28)


@pytest.mark.parametrize(("iterations", "every"), [(0, 1), (1, 1), (3, 1), (3, 2), (4, 2)])
def test_messages_of_a_training(iterations: int, every: int, tmp_path: Path, tiny_model: str) -> None:
    """Half of the messages are the scripted partner's, which counts them."""
    values = {**SMALL, "num_iterations": iterations, "eval_every": every, "num_rounds": 1, "model": tiny_model}
    values |= {
        "tasks": ["study_toys:Numbers"],
        "methods": ["run_toys:Idle"],
        "partners": {"agent_1": "study_toys:Coin"},
    }
    study = Study().merged(values)
    row = list(expected(study))[-1]
    (training,) = study.trainings("study_toys:Numbers", row.named, 0)
    Toy.calls = 0
    train(training, tmp_path / "run")
    assert row.train_generations == 2 * Toy.calls > 0


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_expected(Study().merged({**SCRIPTED, "methods": ["debate"], "max_new_tokens": 10}))
    printed = capsys.readouterr().out
    # 12 x 2 messages alone and 12 x (2 x 4 + 2) of the team, of at most 10 tokens
    assert "2 cells, 0 trainings, at most 1,440 completion tokens" in printed
