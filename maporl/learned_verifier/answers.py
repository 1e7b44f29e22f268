"""Labelled answers: what a verifier learns from. Read from files, balanced per question, divided by question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maporl.errors import UserValueError, warn
from maporl.text_files import read_jsonl
from maporl.types import Question

__all__ = ["Balance", "LabelledAnswer", "balanced", "by_question", "divided", "read_answers", "seen", "write_answers"]

SHARES = {"train": 0.7, "calibration": 0.1, "held_out": 0.2}
"""Of the questions; which is which is decided by their hashes."""


@dataclass(frozen=True)
class LabelledAnswer:
    """One answer and whether it is right.

    Attributes:
        question: What was asked, gold answer included (for its hash; a verifier never reads it).
        response: What was said.
        correct: Whether it is right.
        generator: Who said it ("" if nobody knows).
        round: In which round, from 0.
    """

    question: Question
    response: str
    correct: bool
    generator: str = ""
    round: int = 0


@dataclass(frozen=True)
class Balance:
    """What balancing did.

    Attributes:
        k: Answers of each kind to a question.
        questions, dropped: Questions kept; those with too few answers of a kind.
        answers: Answers kept.
        right_before, right_after: Share of right answers.
    """

    k: int | None
    questions: int
    dropped: int
    answers: int
    right_before: float
    right_after: float

    def __str__(self) -> str:
        if self.k is None:
            return f"{self.answers} answers to {self.questions} questions, {self.right_before:.0%} right, not balanced"
        return (
            f"{self.questions} questions with {self.k} right and {self.k} wrong answers; {self.dropped} dropped, which have fewer "
            f"({self.right_before:.0%} of all answers are right)"
        )


def read_answers(path: str | Path) -> list[LabelledAnswer]:
    """Labelled answers of a jsonl file.

    A row has ``question`` (text), ``gold`` or ``answer``, ``response``, ``correct`` (true or false), and, if known, ``generator`` or
    ``model``, ``round`` (from 0) and ``private`` ({agent: what it alone knows}).

    Raises:
        ValueError: No such file, no rows, or a malformed row; names file, line and field.
    """
    file = Path(path)
    if not file.is_file():
        raise UserValueError(f"answers {str(path)!r}: there is no such file; give a jsonl file of labelled answers.")
    found = []
    for number, row in read_jsonl(file):
        where = f"{path}, line {number}"
        if not isinstance(row, Mapping):
            raise UserValueError(
                f"{where}: a {type(row).__name__}; a row is an object with question, gold, response, correct."
            )
        found.append(_answer(row, where))
    if not found:
        raise UserValueError(f"answers {str(path)!r} has no rows.")
    return found


def _answer(row: Mapping[str, Any], where: str) -> LabelledAnswer:
    def field(names: Sequence[str], kind: type | tuple[type, ...], default: Any = None) -> Any:
        name = next((n for n in names if n in row), names[0])
        value = row.get(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            wanted = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
            raise UserValueError(f"{where}: {name!r} is {value!r}; it must be {wanted}.")
        return value

    gold = field(("gold", "answer"), (str, int, float))
    private = field(("private",), dict, {})
    if not all(isinstance(view, str) for view in private.values()):
        raise UserValueError(f"{where}: 'private' is {private!r}; it must map agents to texts.")
    question = Question(field(("question",), str), str(gold), private=private)
    generator = field(("generator", "model"), str, "")
    return LabelledAnswer(
        question, field(("response",), str), field(("correct",), bool), generator, field(("round",), int, 0)
    )


def write_answers(path: str | Path, answers: Iterable[LabelledAnswer]) -> None:
    """Write rows that `read_answers` reads."""
    lines = []
    for a in answers:
        row = {"question": a.question.text, "gold": a.question.answer, "response": a.response, "correct": a.correct}
        row |= {"generator": a.generator, "round": a.round, "private": dict(a.question.team or a.question.private)}
        lines.append(json.dumps(row, ensure_ascii=True) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def by_question(answers: Iterable[LabelledAnswer]) -> dict[str, list[LabelledAnswer]]:
    """Answers by their question's hash, in the order in which questions come."""
    found: dict[str, list[LabelledAnswer]] = {}
    for answer in answers:
        found.setdefault(answer.question.hash, []).append(answer)
    return found


def balanced(
    answers: Sequence[LabelledAnswer], k: int | None, *, seed: int = 0
) -> tuple[list[LabelledAnswer], Balance]:
    """k right and k wrong answers to every question; questions that have fewer are dropped (MAPoRL: k = 10).

    Unbalanced answers teach how hard a question is, not whether an answer is right. Different texts are taken first; the same text comes
    again only where there are not enough different ones, as on tasks with few possible answers.

    Args:
        answers: Labelled ones.
        k: None keeps all, with a warning if they are far from balanced.
        seed: Of the choice.

    Raises:
        ValueError: k below 1, or no question has k of both.
    """
    before = float(np.mean([a.correct for a in answers])) if answers else 0.0
    groups = by_question(answers)
    if k is None:
        onesided = float(np.mean([len({a.correct for a in group}) < 2 for group in groups.values()])) if groups else 0.0
        if not 0.4 <= before <= 0.6 or onesided > 0.5:
            warn(
                f"{before:.0%} of {len(answers)} answers are right, and {onesided:.0%} of {len(groups)} questions have right or wrong ones "
                "only: a verifier of unbalanced answers learns how hard questions are. Give k to balance them."
            )
        return list(answers), Balance(None, len(groups), 0, len(answers), before, before)
    if k < 1:
        raise UserValueError(f"k is {k}; at least one right and one wrong answer to each question are needed.")
    rng = np.random.default_rng([seed, k])
    kept: list[LabelledAnswer] = []
    dropped = 0
    for group in groups.values():
        halves = [[a for a in group if a.correct is kind] for kind in (True, False)]
        if min(map(len, halves)) < k:
            dropped += 1
            continue
        for half in halves:
            kept += _different_first(half, k, rng)
    if not kept:
        most = max((min(sum(a.correct for a in g), sum(not a.correct for a in g)) for g in groups.values()), default=0)
        raise UserValueError(
            f"none of {len(groups)} questions has {k} right and {k} wrong answers; the most of both is {most}. Lower k, or sample more."
        )
    return kept, Balance(k, len(groups) - dropped, dropped, len(kept), before, 0.5)


def _different_first(answers: Sequence[LabelledAnswer], k: int, rng: np.random.Generator) -> list[LabelledAnswer]:
    order = rng.permutation(len(answers)).tolist()
    first = {answers[n].response: n for n in reversed(order)}.values()
    chosen = sorted(order, key=lambda n: n not in set(first))  # stable
    return [answers[n] for n in chosen[:k]]


def divided(answers: Sequence[LabelledAnswer]) -> dict[str, list[LabelledAnswer]]:
    """ "train", "calibration" and "held_out" answers, no question in two of them; a function of the questions' hashes alone.

    Raises:
        ValueError: A part has no right or no wrong answer.
    """
    parts: dict[str, list[LabelledAnswer]] = {name: [] for name in SHARES}
    edges = np.cumsum(list(SHARES.values()))
    for answer in answers:
        place = (
            int(answer.question.hash[16:24], 16) / 2**32
        )  # not the digits that choose validation and verifier questions
        parts[list(SHARES)[int(np.searchsorted(edges, place, side="right").clip(max=len(SHARES) - 1))]].append(answer)
    for name, part in parts.items():
        if len({a.correct for a in part}) < 2:
            number = len(by_question(answers))
            raise UserValueError(
                f"the {name} part of {number} questions has {len(part)} answers and not both right and wrong ones; give more questions."
            )
    return parts


def seen(answers: Iterable[LabelledAnswer]) -> frozenset[str]:
    """The hashes of their questions, and of what is asked in them, by which they are known in other spellings."""
    questions = {a.question.hash: a.question for a in answers}.values()
    return frozenset(known for q in questions for known in (q.hash, q.asked))
