"""Labelled cases: a text, the gold answer, and whether the text is right; from files, and made of the gold answers of tasks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maporl.envs.tasks.anli import ANLI, SPELLINGS
from maporl.envs.tasks.csqa import CSQA
from maporl.envs.tasks.gsm8k import GSM8K
from maporl.envs.tasks.math import Math
from maporl.envs.tasks.strategyqa import LABELS, StrategyQA
from maporl.errors import UserValueError
from maporl.text_files import read_jsonl, read_text
from maporl.types import Question

__all__ = ["CHOICES", "SHARED", "Case", "balanced", "labelled_sets", "read_cases"]


@dataclass(frozen=True)
class Case:
    """One labelled text.

    Attributes:
        id: Its name in the lists of disagreements.
        question: With the gold answer, and in its metadata the choices if there are some.
        response: The text.
        right: The label.
        where: File and line.
        verifier: The settings of the only verifier that it is about; None for any.
        options: Arguments of `MathExpression` under which the label holds.
    """

    id: str
    question: Question
    response: str
    right: bool
    where: str
    verifier: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


# Files.

_TEXTS = ("response", "pred", "text")
_VERDICTS = ("correct", "expected", "verdict")
_OPTIONS = ("match_types", "precision", "strict", "allow_set_relation_comp")
_FORM = "a row has 'gold', 'response' (or 'pred', 'text') and 'correct' (or 'expected', 'verdict')"


def read_cases(path: Path, form: str = "{}") -> list[Case]:
    """The cases of a file of JSON lines with the fields

    - gold: a text or a number; choices or metadata (optional): as in `Question.metadata`;
    - response, pred or text: a text or a number; null says nothing;
    - correct, expected or verdict: whether it is right; null (no answer) is not;
    - id, and verifier (the only one that the row is about), match_types, precision, strict, allow_set_relation_comp (optional).

    Args:
        path: The file.
        form: What the response is put into, ``\\boxed{{{}}}`` for one that is only an answer.

    Raises:
        ValueError: There is no such file, or a row is not of this form; one line with file, line, value and remedy.
    """
    if not path.is_file():
        raise UserValueError(
            f"there is no file {str(path)!r}; give a file of JSON lines, or --data the folder that holds it."
        )
    cases = [_case(row, number, f"{path}, line {number}", form) for number, row in read_jsonl(path)]
    if not cases:
        raise UserValueError(f"{path}: no row; {_FORM}.")
    return cases


def _case(row: Any, number: int, where: str, form: str) -> Case:
    if not isinstance(row, dict):
        raise UserValueError(f"{where}: {str(row)[:80]!r} is no object; {_FORM}.")
    gold, response = _text(row, ("gold",), where), _text(row, _TEXTS, where)
    verdict = _first(row, _VERDICTS, where)
    if not isinstance(row[verdict], bool) and not (row[verdict] is None and verdict == "verdict"):
        raise UserValueError(f"{where}: {verdict} is {row[verdict]!r}; write true or false.")
    metadata = dict(row.get("metadata") or {}) | ({"choices": row["choices"]} if "choices" in row else {})
    return Case(
        str(row.get("id", f"line {number}")),
        Question(str(row.get("question", "")), gold, id=str(row.get("id", where)), metadata=metadata),
        form.format(response),
        row[verdict] is True,
        where,
        row.get("verifier"),
        {name: row[name] for name in _OPTIONS if row.get(name) is not None},
    )


def _first(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    name = next((name for name in names if name in row), None)
    if name is None:
        raise UserValueError(f"{where}: no field {' or '.join(map(repr, names))}; {_FORM}.")
    return name


def _text(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    name = _first(row, names, where)
    value = row[name]
    if value is None and name != "gold":
        return ""  # it says nothing
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserValueError(f"{where}: {name} is {str(value)[:80]!r}; write a text or a number.")
    return str(value)


# The gold answers of tasks, once right and with one wrong answer each.


def _gold(task: Any, path: Path, form: str) -> Iterator[Case]:
    for question in task(data=path).load("test"):
        if task is ANLI or task is StrategyQA:
            choices = SPELLINGS if task is ANLI else dict.fromkeys(LABELS, "")
            question = Question(question.text, question.answer, id=question.id, metadata={"choices": choices})
        for answer, right in ((question.answer, True), (_wrong(question), False)):
            yield Case(f"{question.id} {answer}", question, form.format(answer), right, f"{path}, {question.id}")


def _phrased(task: Any, path: Path) -> Iterator[Case]:
    """The questions in turn with `phrasings.txt`, each saying the gold choice, and another one."""
    phrasings = read_text(Path(__file__).with_name("phrasings.txt")).split("\n")[:-1]
    for number, question in enumerate(task(data=path).load("test")):
        texts = question.metadata["choices"]
        written = phrasings[number % len(phrasings)].replace("\\n", "\n")
        gold, wrong = question.answer, _wrong(question)
        for said, other, right in ((gold, wrong, True), (wrong, gold, False)):
            text = written.format(l=said, t=texts[said], o=other)
            yield Case(
                f"{question.id}, phrasing {number % len(phrasings) + 1}, {said}", question, text, right, str(path)
            )


def _wrong(question: Question) -> str:
    choices = question.metadata.get("choices")
    if choices is None:
        return (
            f"{question.answer} + 1"
            if not question.answer.removeprefix("-").isdigit()
            else str(int(question.answer) + 1)
        )
    gold = choices[question.answer]  # some questions of CommonsenseQA have it twice
    return next(label for label, text in choices.items() if label != question.answer and (not text or text != gold))


_CASES = "verifier_cases"
_OWN = Path(__file__).parents[2] / "tests" / "envs" / "verifiers" / "cases"
_BOX, _PHRASE = "\\boxed{{{}}}", "The answer is {}."

SHARED: dict[str, Any] = {
    "gsm8k_tora_70b": lambda data: read_cases(data / _CASES / "gsm8k_tora_70b.jsonl"),
    "gsm8k_model_solutions": lambda data: read_cases(data / _CASES / "gsm8k_model_solutions.jsonl"),
    "math_verify_cases": lambda data: read_cases(data / _CASES / "math_verify_cases.jsonl"),
    "other_equivalence_cases": lambda data: read_cases(data / _CASES / "other_equivalence_cases.jsonl", _BOX),
    "gsm8k gold": lambda data: _gold(GSM8K, data / "gsm8k/test.jsonl", _PHRASE),
    "math500 gold": lambda data: _gold(Math, data / "math/math500_test.jsonl", _BOX),
    "csqa gold": lambda data: _gold(CSQA, data / "csqa/dev.jsonl", "It is quiet there.\nThe answer is ({})."),
    "csqa phrasings": lambda data: _phrased(CSQA, data / "csqa/dev.jsonl"),
    **{f"anli r{n} gold": lambda data, n=n: _gold(ANLI, data / f"anli/r{n}_dev.jsonl", _PHRASE) for n in (1, 2, 3)},
    "strategyqa gold": lambda data: _gold(StrategyQA, data / "strategyqa/dev.jsonl", _PHRASE),
    "own mathematics": lambda data: read_cases(_OWN / "math.jsonl"),
    "own texts": lambda data: read_cases(_OWN / "text.jsonl"),
}
"""Name -> the cases, given the folder of shared data."""
CHOICES = tuple(name for name in SHARED if name.startswith(("csqa", "anli", "strategyqa")))
"""Those of multiple choice."""


def balanced(cases: Sequence[Case], number: int) -> list[Case]:
    """At most `number` of the cases, half of them right, drawn at random and always the same."""
    draw = random.Random(0)
    sides = [[case for case in cases if case.right is right] for right in (True, False)]
    taken = [draw.sample(side, min(number // 2, len(side))) for side in sides]
    return sorted([case for side in taken for case in side], key=lambda case: case.id)


def labelled_sets(data: Path) -> Iterator[tuple[str, list[Case]]]:
    """Every set of `SHARED`.

    Raises:
        ValueError: A file is missing or malformed.
    """
    for name, cases in SHARED.items():
        yield name, list(cases(data))
