"""Pairwise judges against labels: of a right and a wrong answer to one question, is the first one better?"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from bench.verifier_agreement.cases import Case
from bench.verifier_agreement.measure import Measured
from maporl.judges import PairwiseJudge
from maporl.types import Score

__all__ = ["compared"]


def compared(judge: PairwiseJudge, cases: Sequence[Case], number: int | None = None) -> Measured | None:
    """Each pair as its first answer, which is right or not, with how likely the judge prefers it; None without pairs.

    Args:
        judge: Asked in both orders.
        cases: Of every question as many pairs as it has right and wrong answers; which stands first is drawn.
        number: At most so many cases in pairs, drawn at random; None takes all.
    """
    draw = random.Random(0)
    sides: dict[str, tuple[list[Case], list[Case]]] = {}
    for case in cases:
        sides.setdefault(case.question.text, ([], []))[case.right].append(case)
    pairs = [pair for question, answers in sides.items() if question for pair in zip(*answers, strict=False)]
    if number is not None:
        pairs = draw.sample(pairs, min(number // 2, len(pairs)))
    if not pairs:
        return None
    ordered = [draw.sample(pair, 2) for pair in pairs]
    firsts, seconds = zip(*ordered, strict=True)
    start = time.perf_counter()
    found = judge.compare([c.question for c in firsts], [c.response for c in firsts], [c.response for c in seconds])
    seconds_taken = time.perf_counter() - start
    scores = tuple(Score(0.0, None, status="error") if p.first is None else Score(p.first, None) for p in found)
    return Measured(firsts, scores, seconds_taken)
