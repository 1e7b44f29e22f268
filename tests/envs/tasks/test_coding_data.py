"""The coding benchmarks' real rows: every reference passes, faults are repaired, labelled solutions are judged as they are labelled.

Where a step is a test's argument, it takes every third row, or all of them: `pytest -m slow tests/envs/tasks/test_coding_data.py`.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from maporl.cli.evaluation import unseen
from maporl.envs.data import read_rows
from maporl.envs.tasks.coding.constants import best_constant
from maporl.envs.tasks.coding.coophumaneval import CoopHumanEval
from maporl.envs.tasks.coding.humaneval import HumanEval
from maporl.envs.tasks.coding.mbpp import MBPP
from maporl.sandbox.asserts import asserts_of
from maporl.training.config import RunConfig

CLOSE = (29, 32, 45, 65, 76, 78, 87, 105, 115, 117, 141, 162, 172)


THIRD_OR_ALL = pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def humaneval(data_dir: Path) -> Path:
    return data_dir / "humaneval" / "HumanEval.jsonl"


@pytest.fixture
def sanitized(data_dir: Path) -> Path:
    return data_dir / "mbpp" / "sanitized_mbpp.jsonl"


@pytest.fixture
def raw(data_dir: Path) -> Path:
    return data_dir / "mbpp" / "magrpo_mbpp_raw.jsonl"


@THIRD_OR_ALL
def test_every_reference_of_humaneval_passes_as_a_module_and_as_the_rest_of_the_prompt(
    humaneval: Path, step: int
) -> None:
    env = HumanEval(1, data=humaneval, test_rows=164)
    questions, references = env.questions("test"), rows(humaneval)
    whole = env.verifier.score_batch(
        questions[::step], [r["prompt"] + r["canonical_solution"] for r in references[::step]]
    )
    rest = env.verifier.score_batch(questions, [r["canonical_solution"] for r in references])
    assert len(rest) == 164 and all(score.correct for score in (*whole, *rest))
    statements = [n for q in questions for n in ast.walk(ast.parse(q.answer)) if isinstance(n, ast.Assert)]
    assert sum(len(asserts_of(q.answer)) for q in questions) == len(statements) - 48  # `assert True` is nothing to pass
    team = HumanEval(data=humaneval, test_rows=164)
    parts = [{"helper_0": "", "main_0": r["prompt"] + r["canonical_solution"]} for r in references[::step]]
    scores = team.team_verifier.score_batch(questions[::step], parts)
    assert all(score.correct and score.measures["reward"] == 2.1 for score in scores)


@THIRD_OR_ALL
def test_labelled_solutions_of_humaneval(humaneval: Path, data_dir: Path, step: int) -> None:
    env = HumanEval(1, data=humaneval, test_rows=164)
    known = {question.id: question for question in env.questions("test")}
    cases = rows(data_dir / "verifier_cases" / "code_humaneval_solutions.jsonl")[::step]
    scores = env.verifier.score_batch([known[c["task_id"]] for c in cases], [c["solution"] for c in cases])
    assert [score.correct for score in scores] == [case["rerun_pass"] for case in cases]
    assert {case["rerun_pass"] for case in cases} == {True, False}


def test_helpers_in_prompts_are_there_for_answers_and_tests(humaneval: Path) -> None:
    env = HumanEval(1, data=humaneval, test_rows=164)
    known = {question.id: question for question in env.questions("test")}
    alone = {
        "HumanEval/10": "def make_palindrome(s):\n    at = next((i for i in range(len(s)) if is_palindrome(s[i:])), 0)\n"
        "    return s + s[:at][::-1]",
        "HumanEval/38": "def decode_cyclic(s):\n    return encode_cyclic(encode_cyclic(s))",
        "HumanEval/0": "def has_close_elements(xs: List[float], t: float) -> bool:\n"
        "    return any(abs(a - b) < t for i, a in enumerate(xs) for b in xs[i + 1:])",
    }
    for name, source in alone.items():
        assert env.verifier(known[name], source).correct, name
    wrong = {
        "HumanEval/32": "def find_zero(xs):\n    return 0.0",
        "HumanEval/50": "def decode_shift(s):\n    return s",
        "HumanEval/53": "def add(x, y):\n    return x + y if x < 10 else 0",
    }
    for name, source in wrong.items():
        assert not env.verifier(known[name], source).correct, name


@THIRD_OR_ALL
def test_every_reference_of_mbpp_passes(sanitized: Path, step: int) -> None:
    env = MBPP(1, data=sanitized)
    references = {f"MBPP/{r['task_id']}": r["code"] for r in rows(sanitized)}
    first = [row for row in read_rows(sanitized, "train", env.hub) if row.fields["task_id"] < 11]  # of no split
    scores = env.verifier.score_batch([env._sanitized(r) for r in first], [r.fields["code"] for r in first])
    assert [score.correct for score in scores] == [True] * 7
    sizes = {}
    for split in ("train", "validation", "test"):
        questions = env.questions(split)
        sizes[split] = len(questions)
        questions = questions[::step]
        scores = env.verifier.score_batch(questions, [references[q.id] for q in questions])
        assert [(q.id, s.explanation) for q, s in zip(questions, scores, strict=True) if not s.correct] == []
    assert sizes == {"train": 120, "validation": 43, "test": 257}
    assert all(511 <= int(q.id[5:]) <= 600 for q in env.questions("validation"))


@THIRD_OR_ALL
def test_magrpos_rows_are_repaired(raw: Path, sanitized: Path, step: int) -> None:
    """Each is one of MBPP's test rows; what passes there passes here, and no constant passes any."""
    env = MBPP(1, data=raw, test_rows=257)
    theirs, ours = env.questions("test"), {q.asked: q for q in MBPP(1, data=sanitized).questions("test")}
    assert all(question.asked in ours for question in theirs)
    references = {f"MBPP/{r['task_id']}": r["code"] for r in rows(sanitized)}
    answers, tried = [], [question for question in theirs if int(question.id[5:]) % step == 0]
    for question in tried:
        original, name = ours[question.asked], question.metadata["entry_point"]
        called = original.metadata["entry_point"]
        code = references[original.id]
        named = f"\n\n_reference = {called}\n\ndef {name}(*given):\n    return _reference(*given)"
        answers.append(code if called == name else code + named)
    scores = env.verifier.score_batch(tried, answers)
    wrong = [(q.id, s.explanation) for q, s in zip(tried, scores, strict=True) if not s.correct]
    assert [name for name, _ in wrong] == ["MBPP/21"]  # it asks for the helper that its reference calls
    repaired = {q.id: q for q in theirs}
    for number in (56, 79, 104):
        assert "set(" in repaired[f"MBPP/{number}"].answer
        constant = f"def {repaired[f'MBPP/{number}'].metadata['entry_point']}(*given):\n    return 7"
        assert env.verifier(repaired[f"MBPP/{number}"], constant).value == 0
    for number in CLOSE:
        assert "math.isclose(" in repaired[f"MBPP/{number}"].answer
    assert [repaired[f"MBPP/{n}"].metadata["entry_point"] for n in (5, 8, 88)] == [
        "remove_dirty_chars",
        "is_one_less_than_twice_reverse",
        "are_equivalent",
    ]
    assert best_constant(theirs[::step], each=True).solved == 0


def test_a_row_of_this_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    test = "def check(candidate):\n    assert math.candidate(candidate(1), 0.5)"
    row = {"task_id": "MBPP/900", "prompt": "def f(x):\n    '''Half.'''\n", "entry_point": "f", "test": test}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1: its asserts call math\.candidate"):
        list(MBPP(data=path).load("train"))


def test_coophumanevals_first_functions_are_humanevals(
    humaneval: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = {row["entry_point"]: row["task_id"] for row in rows(humaneval)}
    path = data_dir / "coophumaneval" / "coophumaneval.jsonl"
    coop = CoopHumanEval(data=path)
    assert len(coop.questions("test")) == 16 and len(coop.questions("train")) + len(coop.questions("validation")) == 66
    assert [q.metadata["asks"] for q in coop.questions("test")] == [
        theirs[q.metadata["entry_point"]] for q in coop.questions("test")
    ]
    trained = RunConfig(env="humaneval", data=str(humaneval))
    asked = RunConfig(env="coophumaneval", data=str(path))
    left = unseen(trained, asked, coop.questions("test"))
    assert [q.id for q in left] == ["CoopHumanEval/5", "CoopHumanEval/15"]
    said = "14 of the 16 questions of coophumaneval are training questions of humaneval, where this run learned: they are left out."
    assert said in capsys.readouterr().out
    with pytest.raises(ValueError, match="14 of the 14 questions .* evaluate on others"):
        unseen(trained, asked, [q for q in coop.questions("test") if q not in left])
    assert unseen(asked, trained, trained.build_env().questions("test")) == list(trained.build_env().questions("test"))


@pytest.mark.slow
def test_what_constants_earn_of_humaneval(humaneval: Path) -> None:
    """A constant of its own for every question passes more than a third of all asserts, and solves one of 164."""
    best = best_constant(HumanEval(1, data=humaneval, test_rows=164).questions("test"), each=True)
    assert 0.35 < best.passed < 0.38 and best.solved * 164 == pytest.approx(1)
