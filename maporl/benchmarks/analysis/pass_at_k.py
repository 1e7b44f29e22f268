"""pass@k: how often at least one of k answers is right (Chen et al. 2107.03374). Choosing that one takes the gold answer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from maporl.errors import UserValueError

__all__ = ["mean_pass_at", "pass_at_k", "pass_at_powers"]


def pass_at_k(answers: int, right: int, k: int) -> float:
    """The unbiased estimate of pass@k from n >= k answers to a question, c of which are right: 1 - C(n-c, k) / C(n, k).

    Of all choices of k of the answers, the share that holds a right one. Exact up to the last rounding, for any n.

    Raises:
        ValueError: k is not between 1 and n, or c not between 0 and n.
    """
    if not 1 <= k <= answers:
        raise UserValueError(
            f"k is {k} with {answers} answers to a question; pass@k needs at least k of them, and k at least 1."
        )
    if not 0 <= right <= answers:
        raise UserValueError(f"{right} of {answers} answers cannot be right.")
    choices = math.comb(answers, k)
    return (choices - math.comb(answers - right, k)) / choices  # whole numbers of any size, divided once


def mean_pass_at(outcomes: Mapping[str, Sequence[float]], k: int) -> float:
    """The mean of `pass_at_k` over questions.

    Args:
        outcomes: Question -> its answers, 1 (right) or 0 each.
        k: Answers among which one right one is enough.

    Raises:
        ValueError: No questions, an answer that is neither right nor wrong, or a question with fewer than k answers.
    """
    if not outcomes:
        raise UserValueError("there is no question to estimate pass@k from.")
    broken = next((value for values in outcomes.values() for value in values if value not in (0, 1)), None)
    if broken is not None:
        raise UserValueError(f"an answer is worth {broken}; pass@k takes 1 (right) and 0 (wrong).")
    return math.fsum(pass_at_k(len(values), int(sum(values)), k) for values in outcomes.values()) / len(outcomes)


def pass_at_powers(runs: Collection[Mapping[str, Sequence[float]]]) -> dict[int, float]:
    """k -> the mean over runs of pass@k, for k = 1, 2, 4, ... and the number of answers; {} where a run has one answer to a question, or
    answers that are neither right nor wrong (a tied vote is right by chance)."""
    lengths = [len(values) for outcomes in runs for values in outcomes.values()]
    most = min(lengths, default=0)
    if most < 2 or any(value not in (0, 1) for outcomes in runs for values in outcomes.values() for value in values):
        return {}
    powers = sorted({*(2**i for i in range(most.bit_length())), most})
    return {k: math.fsum(mean_pass_at(outcomes, k) for outcomes in runs) / len(runs) for k in powers if k <= most}
