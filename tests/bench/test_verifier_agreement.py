"""The verifiers against known labels: the figures that docs/verifiers.md states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.verifier_agreement import CONFLICTS, EXTRACTORS, agreement, gold_cases, main, read_cases
from maporl.envs.tasks.gsm8k import GSM8K


@pytest.mark.parametrize(
    ("name", "extractor", "total", "agree"),
    [
        ("gsm8k_tora_70b", "last number", 1319, 1241),
        ("gsm8k_tora_70b", "marker, else last number", 1319, 1319),
        ("gsm8k_model_solutions", "last number", 5276, 5276),
        ("gsm8k_model_solutions", "marker, else last number", 5276, 5276),
        ("math_verify_cases", "Math-Verify, default", 269, 263),
    ],
)
def test_agreement(data_dir: Path, name: str, extractor: str, total: int, agree: int) -> None:
    result = agreement(read_cases(data_dir, name), EXTRACTORS[extractor][1])
    assert (result.total, result.total - len(result.disagreements)) == (total, agree)


def test_the_default_of_gsm8k_agrees_in_at_least_995_of_1000(data_dir: Path) -> None:
    verifier = GSM8K().verifier
    for name in ("gsm8k_tora_70b", "gsm8k_model_solutions"):
        cases = read_cases(data_dir, name)
        result = agreement(cases, lambda case: verifier(case["question"], case["response"]).correct is True)
        assert result.share >= 0.995


@pytest.mark.parametrize(
    ("name", "extractor", "total"),
    [
        ("other_equivalence_cases", "MathExpression, in a box", 54),
        ("math_verify_cases", "Math-Verify, row's options", 269),
    ],
)
def test_only_the_listed_conventions_conflict(data_dir: Path, name: str, extractor: str, total: int) -> None:
    cases = read_cases(data_dir, name)
    result = agreement(cases, EXTRACTORS[extractor][1])
    assert result.total == total and set(result.disagreements) == set(CONFLICTS) & {case["id"] for case in cases}


@pytest.mark.parametrize(
    ("name", "extractor", "total"), [("math500 gold", "MathExpression, in a box", 1000), ("csqa gold", "Choice", 2442)]
)
def test_gold_answers_are_right_and_others_wrong(data_dir: Path, name: str, extractor: str, total: int) -> None:
    result = agreement(gold_cases(data_dir, name), EXTRACTORS[extractor][1])
    assert (result.total, result.disagreements) == (total, ())


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "verifier_cases"
    folder.mkdir()
    solution = '{"id": "s%d", "gold": "%d", "response": "The answer is 5. I used 3.", "correct": true}\n'
    for name in ("gsm8k_tora_70b", "gsm8k_model_solutions"):
        (folder / f"{name}.jsonl").write_text(solution % (1, 5) + solution % (2, 3))
    options = '"match_types": ["latex"], "precision": 6, "strict": true, "allow_set_relation_comp": false'
    pair = '{"id": "eq-001", "gold": "$x$", "pred": "$y$", "expected": %s, ' + options + "}\n"
    (folder / "math_verify_cases.jsonl").write_text(pair % "false")
    (folder / "other_equivalence_cases.jsonl").write_text(pair % "true")
    (tmp_path / "math").mkdir()
    (tmp_path / "math" / "math500_test.jsonl").write_text('{"problem": "?", "answer": "x"}\n')
    choices = '[{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]'
    (tmp_path / "csqa").mkdir()
    row = f'{{"id": "c", "answerKey": "B", "question": {{"stem": "?", "choices": {choices}}}}}\n'
    (tmp_path / "csqa" / "dev.jsonl").write_text(row)
    main(["--data", str(tmp_path), "--disagreements"])
    printed = capsys.readouterr().out
    assert re.search(r"gsm8k_tora_70b\W+marker, else last number\W+1\W+2\W+0\.5000", printed)
    assert re.search(r"math_verify_cases\W+Math-Verify, row's options\W+1\W+1\W+1\.0000", printed)
    assert re.search(r"csqa gold\W+Choice\W+2\W+2\W+1\.0000", printed)
    assert "gsm8k_tora_70b, last number: s1\n" in printed and "eq-001 (a bare list" in printed
    assert "math-verify 0." in printed


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--data", str(tmp_path)])
    assert caught.value.code == 2
    assert "gsm8k_tora_70b.jsonl'; give the folder that holds verifier_cases/" in capsys.readouterr().err
