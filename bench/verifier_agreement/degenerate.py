"""How fast is mathematics that nobody means? Texts of the shapes that a degenerate model writes, just above the limits of
`maporl.envs.verifiers.mathematics.shape`, so that no parser gets them, and within the limits; all different, all harmless."""

from __future__ import annotations

import time

from maporl.envs.verifiers import MathExpression
from maporl.envs.verifiers.mathematics import shape
from maporl.types import Question

__all__ = ["above", "degenerate", "within"]

_BATCH = 256


def above(n: int) -> tuple[str, ...]:
    """The n-th answer of each shape that is refused."""
    return (
        "+".join([f"a_{n}"] * (shape.LONGEST // 4)),
        "(" * (shape.DEEPEST + 1) + f"a+{n}" + ")" * (shape.DEEPEST + 1),
        f"{n}" + "-a" * (shape.MOST_OPERATIONS + 1),
        f"{n}^{{{shape.LARGEST_POWER + n}}}",
        f"(a+{n})^{{{shape.LARGEST_EXPANSION + n}}}",
        f"{shape.LARGEST_FACTORIAL + n}!",
        f"\\int {n}x dx",
        "+".join([f"\\sin {n}x"] * (shape.MOST_FUNCTIONS + 1)),
    )


def within(n: int) -> tuple[str, ...]:
    """The n-th answer of each shape that is parsed, however odd it is."""
    return (
        "(" * (shape.DEEPEST - 2) + f"a+{n}" + ")" * (shape.DEEPEST - 2),
        f"{n}" + "-a" * (shape.MOST_OPERATIONS // 4),
        f"2^{{{n}}}-1",
        f"(a+{n})^2",
        "+".join([f"\\sin {n}x"] * 2),
        f"\\sqrt{{{n}}}+1",
    )


def degenerate(number: int = 128) -> str:
    """How many answers a second `math` judges, against the gold answer x + 1, in batches of 256: `number` of each shape above the limits,
    and half as many within them."""
    refused, parsed = (
        [answer for n in range(1, number // part + 1) for answer in of(n)] for of, part in ((above, 1), (within, 2))
    )
    return (
        f"Degenerate mathematics in batches of {_BATCH}: {len(refused):,} texts above a limit of shape {_rate(refused):,.0f} texts/s (aim: "
        f"at least 200), {len(parsed):,} within the limits, which are parsed, {_rate(parsed):,.0f} texts/s."
    )


def _rate(answers: list[str]) -> float:
    verifier, question = MathExpression(), Question("", "x+1")
    start = time.perf_counter()
    for first in range(0, len(answers), _BATCH):
        batch = [f"\\boxed{{{answer}}}" for answer in answers[first : first + _BATCH]]
        verifier.score_batch([question] * len(batch), batch)
    return len(answers) / (time.perf_counter() - start)
