"""The verifiers against known labels: the figures that docs/verifier_calibration.md states."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.verifier_agreement.__main__ import main
from bench.verifier_agreement.cases import SHARED, Case, balanced, read_cases
from bench.verifier_agreement.degenerate import above, within
from bench.verifier_agreement.disagreements import reason
from bench.verifier_agreement.measure import Measured, measured
from bench.verifier_agreement.pairs import compared
from bench.verifier_agreement.report import MARK
from bench.verifier_agreement.verifiers import SUBJECTS
from maporl.envs.verifiers.mathematics.shape import too_hard
from maporl.envs.verifiers.mathematics.spelling import spelled
from maporl.judges import Ballot, JudgeModel, PairwiseJudge, Reply
from maporl.types import Question, Score

BY_NAME = {subject.name: subject for subject in SUBJECTS}


def on(data_dir: Path, name: str, verifier: str) -> Measured:
    found = measured(BY_NAME[verifier], list(SHARED[name](data_dir)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "verifier", "total", "agree"),
    [
        ("gsm8k_tora_70b", "number", 1319, 1319),
        ("gsm8k_tora_70b", "number, extract: last", 1319, 1241),
        ("gsm8k_model_solutions", "number", 5276, 5276),
        ("gsm8k_model_solutions", "number, extract: last", 5276, 5276),
        ("gsm8k gold", "number", 2638, 2638),
        ("gsm8k_model_solutions", "math", 5276, 5276),
        ("math500 gold", "math", 1000, 1000),
        ("csqa gold", "choice", 2442, 2442),
        ("anli r3 gold", "choice", 2396, 2396),
        ("strategyqa gold", "choice", 458, 458),
    ],
)
def test_agreement(data_dir: Path, name: str, verifier: str, total: int, agree: int) -> None:
    found = on(data_dir, name, verifier)
    assert (found.total, found.total - len(found.disagreements) - len(found.undecided)) == (total, agree)


def test_99_of_100_phrasings_are_read(data_dir: Path) -> None:
    found = on(data_dir, "csqa phrasings", "choice")
    assert found.recall >= 0.99 and found.precision == 1


@pytest.mark.parametrize(
    ("name", "verifier"),
    [
        ("other_equivalence_cases", "math"),
        ("other_equivalence_cases", "number"),
        ("math_verify_cases", "math, the row's options"),
        ("math_verify_cases", "math"),
        ("math500 gold", "number"),
        ("gsm8k_tora_70b", "math"),
    ],
)
def test_only_what_is_listed_with_its_reason_differs(data_dir: Path, name: str, verifier: str) -> None:
    found = on(data_dir, name, verifier)
    assert "not explained" not in {reason(verifier, one) for one in (*found.disagreements, *found.undecided)}


# The measures, on labels and verdicts that are counted by hand.

FOUR = [
    ("5", "The answer is 5.", True),
    ("3", "The answer is 5.", False),
    ("5", "The answer is 5.", False),
    ("7", "?", True),
]


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def four(path: Path) -> Path:
    return written(path, [{"id": f"s{n}", "gold": g, "response": t, "correct": c} for n, (g, t, c) in enumerate(FOUR)])


def test_the_measures(tmp_path: Path) -> None:
    found = measured(BY_NAME["number"], read_cases(four(tmp_path / "four.jsonl")))
    assert found is not None and found.disagreements == ("s2", "s3") and found.undecided == ()
    assert (found.agreement, found.precision, found.recall, found.read) == (0.5, 0.5, 0.5, 0.75)
    assert found.interval == pytest.approx((0.15003899, 0.84996101))  # z = 1.959964


def test_a_time_out_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    rows = [
        {"gold": "x", "pred": f"\\boxed{{{above(1)[0]}}}", "expected": False},
        {"gold": "x", "pred": "\\boxed{x}", "expected": True},
    ]
    found = measured(BY_NAME["math"], read_cases(written(tmp_path / "late.jsonl", rows)))
    assert found is not None and found.undecided == ("line 1",) and found.disagreements == ()
    assert (found.agreement, found.precision, found.recall) == (0.5, 1, 1)


def test_degenerate_texts_are_refused_or_parsed_by_their_shape() -> None:
    assert all(too_hard(spelled(answer)) for n in (1, 128) for answer in above(n))
    assert not any(too_hard(spelled(answer)) for n in (1, 64) for answer in within(n))


# The command.


def test_a_file_by_name_is_measured_by_all_that_can_read_it_and_written_into_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Ours\n\n{MARK}\n\nmeasured before\n", encoding="utf-8")
    main(
        [
            str(four(tmp_path / "four.jsonl")),
            "--verifier",
            "number",
            "exact",
            "{name: number, tolerance: 0}",
            "--disagreements",
            "--markdown",
            str(page),
        ]
    )
    printed = capsys.readouterr().out
    assert re.search(r"four\W+number\W+4\W+0\.5000\W+0\.150-0\.850\W+0\.5000\W+0\.5000\W+0\.7500\W+0 ", printed)
    assert "four, number: not explained: `s2`, `s3`" in printed and "math-verify 0." in printed
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Ours\n\n{MARK}\n\n## Agreement\n") and "measured before" not in text
    assert re.search(r"\| four \| \{name: number, tolerance: 0\} \| 4 \| 0\.5000 \|", text)


def test_choices_and_rows_about_one_verifier(tmp_path: Path) -> None:
    rows = [
        {"gold": "B", "text": "It is B.", "verdict": True, "choices": {"A": "x", "B": "y"}},
        {"gold": "no", "text": "So no.", "verdict": True, "verifier": {"name": "choice", "labels": ["yes", "no"]}},
        {"gold": "no", "text": "5?", "verdict": None, "verifier": "number"},
    ]
    found = measured(BY_NAME["choice"], read_cases(written(tmp_path / "rows.jsonl", rows)))
    assert found is not None and (found.total, found.agreement) == (2, 1)


ROW = {"gold": "5", "response": "5", "correct": True}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([ROW, {"response": "5", "correct": True}], "line 2: no field 'gold'; a row has 'gold', 'response'"),
        ([{"gold": "5", "correct": True}], "line 1: no field 'response' or 'pred' or 'text'"),
        ([{**ROW, "correct": "yes"}], "line 1: correct is 'yes'; write true or false."),
        ([{**ROW, "gold": ["5"]}], "line 1: gold is \"['5']\"; write a text or a number."),
        ([ROW, [1]], "line 2: '[1]' is no object"),
        ([], "no row; a row has"),
        ([ROW, ROW, {**ROW, "gold": "five?"}], "line 3: number: question"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[Any], fault: str
) -> None:
    path = written(tmp_path / "bad.jsonl", rows)
    with pytest.raises(SystemExit) as caught:
        main([str(path), "--verifier", "number"])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert caught.value.code == 2 and str(path) in error and fault in error


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--data", "nowhere"], "there is no folder 'nowhere'"),
        (["nowhere.jsonl"], "there is no file 'nowhere.jsonl'"),
        (["--verifier", "numbr"], "number"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    fault: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(arguments)
    assert fault in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_page_without_the_mark_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(four(tmp_path / "four.jsonl")), "--verifier", "number", "--markdown", str(page)])
    assert "has no line" in capsys.readouterr().err and page.read_text(encoding="utf-8") == "mine"


def graded(data: Sequence[tuple[bool, float]], status: str = "ok") -> Measured:
    cases = tuple(Case(str(n), Question("q", "5"), "", right, "here") for n, (right, _) in enumerate(data))
    return Measured(cases, tuple(Score(value, None, status=status) for _, value in data), 1.0)


def test_values_that_are_no_facts() -> None:
    """Right: .9, .4; wrong: .4, .1, .6. Called right from .5 on; of 6 pairs 4 are in order and 1 is a tie."""
    found = graded([(True, 0.9), (True, 0.4), (False, 0.4), (False, 0.1), (False, 0.6)])
    assert found.disagreements == ("1", "4") and found.undecided == () and found.agreement == pytest.approx(0.6)
    assert found.auroc == pytest.approx(4.5 / 6) and found.precision == 0.5 and found.recall == 0.5
    failed = graded([(True, 0.0), (False, 0.0)], status="error")
    assert failed.undecided == ("0", "1") and failed.auroc is None


def test_a_sample_is_balanced_and_the_same_again() -> None:
    cases = [Case(str(n), Question("q", "5"), "", n % 3 == 0, "here") for n in range(60)]
    drawn = balanced(cases, 20)
    assert sum(case.right for case in drawn) == 10 == len(drawn) / 2 and drawn == balanced(cases, 20)


def test_pairs_of_one_question() -> None:
    """A judge that prefers longer texts: right where the right answer is the longer one, whatever stands first."""

    class Longer(JudgeModel):
        def ask(self, ballots: Sequence[Ballot]) -> list[Reply]:
            said = [re.findall(r"<answer-\d-\w+>\n(.*?)\n<", b.user, re.DOTALL) for b in ballots]
            return [
                Reply({"first": float(len(a) > len(b)), "second": float(len(b) > len(a)), "tie": 0.0}, 1, 1)
                for a, b in said
            ]

    texts = {"one": ("right 5", "no"), "two": ("yes", "wrong 7"), "three": ("well 5", "-")}
    cases = [
        Case(f"{name} {right}", Question(name, "5"), text, right, "here")
        for name, both in texts.items()
        for right, text in zip((True, False), both, strict=True)
    ]
    lone = Case("lone", Question("four", "5"), "5", True, "here")
    found = compared(PairwiseJudge(Longer()), [*cases, lone])
    assert found is not None and found.total == 3 and {case.question.text for case in found.cases} == set(texts)
    assert [one.partition(" ")[0] for one in found.disagreements] == ["two"]
    assert compared(PairwiseJudge(Longer()), [lone]) is None


def test_without_a_folder_of_data_it_says_where_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("MAPORL_DATA", raising=False)
    for arguments, fault in (
        ([], "no evaluation data: name its folder with --data or the variable MAPORL_DATA, or give FILE"),
        (
            ["--data", str(tmp_path / "x")],
            f"there is no folder '{tmp_path / 'x'}'; name that of the evaluation data with --data",
        ),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert fault in capsys.readouterr().err
