"""How far one gets without reading the question: the answer that always returns the same value."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from maporl.envs.tasks.coding.programs import Runner, asked_for, whole_program
from maporl.sandbox import Report
from maporl.types import Question

__all__ = ["Constant", "best_constant"]


@dataclass(frozen=True)
class Constant:
    """What a constant earns.

    Attributes:
        value: Python for it.
        passed: Share of all asserts.
        passed_mean: Mean over the questions of the share of their asserts, as "passed" of the scores is.
        solved: Share of the questions all of whose asserts pass.
    """

    value: str
    passed: float
    passed_mean: float
    solved: float


def best_constant(
    questions: Sequence[Question], runner: Runner | None = None, *, each: bool = False, tried: int = 8
) -> Constant:
    """The constant that passes most asserts, of those that the asserts most often compare with.

    Args:
        questions: Of a coding task.
        runner: Runs the asserts.
        each: Every question has a best constant of its own: what can be had by learning questions by heart.
        tried: How many constants are tried.
    """
    run = runner or Runner()
    if not each:
        everywhere = {v: [(n, v) for n in range(len(questions))] for v in _expected(questions, tried)}
        return max((_earned(v, _tried(of, questions, run)) for v, of in everywhere.items()), key=lambda c: c.passed)
    values = [(n, value) for n, question in enumerate(questions) for value in _expected([question], tried)]
    best: dict[int, Report] = {}
    for (n, _), report in zip(values, _tried(values, questions, run), strict=True):
        best[n] = max(best.get(n, report), report, key=lambda report: report.num_passed)
    return _earned("one for each question", list(best.values()))


def _tried(values: Sequence[tuple[int, str]], questions: Sequence[Question], run: Runner) -> list[Report]:
    """What comes of constants: (number of the question, value) each."""
    asked = [asked_for(questions[n]) for n, _ in values]
    sources = [
        f"def {a.entry_point}(*arguments, **named):\n    return {v}" for a, (_, v) in zip(asked, values, strict=True)
    ]
    return run([whole_program(a, source) for a, source in zip(asked, sources, strict=True)])


def _earned(value: str, reports: Sequence[Report]) -> Constant:
    shares = [report.num_passed / len(report.asserts) for report in reports]
    passed, number = sum(r.num_passed for r in reports), sum(len(r.asserts) for r in reports)
    return Constant(value, passed / number, sum(shares) / len(shares), sum(r.passed for r in reports) / len(reports))


def _expected(questions: Sequence[Question], most: int) -> list[str]:
    """The literals with which asserts compare, the most frequent first."""
    found: Counter[str] = Counter()
    for question in questions:
        for node in ast.walk(ast.parse(question.answer)):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
                found.update(ast.unparse(side) for side in node.test.comparators if _is_literal(side))
    return [value for value, _ in found.most_common(most)] or ["None"]


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
