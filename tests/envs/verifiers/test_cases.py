"""Cases as data: what a text's answer is, and whether it is right. One line of cases/*.jsonl is one case:

{"verifier": word or settings, "gold", "text", "verdict": true, false or null (no answer), "answer" or null, "why", "metadata" (optional)}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maporl.registry import build
from maporl.types import Question

CASES = {
    f"{path.stem}:{number}": json.loads(line)
    for path in sorted((Path(__file__).parent / "cases").glob("*.jsonl"))
    for number, line in enumerate(path.read_bytes().splitlines(), 1)
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_verdict_and_the_answer_are_the_cases(case: dict[str, Any]) -> None:
    question = Question("?", case["gold"], metadata=case.get("metadata", {}))
    score = build("verifier", case["verifier"])(question, case["text"])
    verdict = None if score.status == "no_answer" else score.correct
    assert score.status == ("no_answer" if case["verdict"] is None else "ok"), case["why"]
    assert (verdict, score.answer) == (case["verdict"], case["answer"]), case["why"]
