"""Verifiers made of verifiers: a weighted sum, and a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from maporl.envs.merged_metrics import merged_metrics
from maporl.envs.verifiers.function import Function
from maporl.envs.verifiers.verifier import Verifier, judged
from maporl.errors import UserValueError
from maporl.registry import build
from maporl.types import Completion, Question, Score

__all__ = ["Composite", "Gate", "WeightedSum", "verifier_of"]


def verifier_of(spec: Any) -> Any:
    """A part from any form that an environment's `verifier` takes."""
    built = build("verifier", spec)
    return built if hasattr(built, "rule_based") else Function(built)


class Composite(Verifier):
    """What sums and gates share: they use gold if a part does, are a fact if all parts are, and answer as `_main` does."""

    parts: tuple[Any, ...]

    @property
    def uses_gold(self) -> bool:  # type: ignore[override]
        return any(part.uses_gold for part in self.parts)

    @property
    def rule_based(self) -> bool:  # type: ignore[override]
        return all(part.rule_based for part in self.parts)

    @property
    def _main(self) -> int:
        """The part whose answer and equivalence stand for the whole: the first fact about the gold answer, else the first that uses it."""
        using = [index for index, part in enumerate(self.parts) if part.uses_gold]
        return next((index for index in using if self.parts[index].rule_based), next(iter(using), 0))

    def check_gold(self, question: Question) -> None:
        for part in self.parts:
            part.check_gold(question)

    def prepare(self) -> None:
        for part in self.parts:
            part.prepare()

    def seen_questions(self) -> frozenset[str]:
        return frozenset().union(*(part.seen_questions() for part in self.parts))

    def equivalent(self, a: str, b: str) -> bool:
        return bool(self.parts[self._main].equivalent(a, b))

    def begin(self, iteration: int, num_iterations: int) -> None:
        for part in self.parts:
            if hasattr(part, "begin"):
                part.begin(iteration, num_iterations)

    def metrics(self) -> dict[str, float]:
        return merged_metrics(part.metrics() for part in self.parts if hasattr(part, "metrics"))

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        return self.score_completions(questions, [Completion(response) for response in responses])

    def score_completions(self, questions: Sequence[Question], completions: Sequence[Completion]) -> list[Score]:
        columns = [judged(part, questions, completions) for part in self.parts]
        together = [(self._combine(scores), scores) for scores in zip(*columns, strict=True)]
        return [
            replace(
                whole,
                judge_tokens=sum(s.judge_tokens for s in scores),
                measures=merged_metrics(s.measures for s in scores),
                checks=tuple(check for s in scores for check in s.checks),
            )
            for whole, scores in together
        ]

    def _combine(self, scores: Sequence[Score]) -> Score:
        raise NotImplementedError


@dataclass(frozen=True)
class WeightedSum(Composite):
    """The weighted mean of several verifiers' values, so it stays in [0, 1] if they do; a part that does not apply is not counted.

    Right or wrong is decided by the parts that use the gold answer (by all, if none does): wrong if one of them says wrong,
    else unknown if one does not know or none applies, else right. A format bonus thus changes the value, never the truth. Answer and status
    are those of the first part that uses gold; a time-out or error of any part is the whole's status.

    Args:
        parts: Verifiers, in any form that an environment's `verifier` takes.
        weights: One non-negative number per part, not all zero. Default: equal.

    Raises:
        ValueError: No parts, or weights that do not fit them.
    """

    parts: tuple[Any, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        parts = tuple(verifier_of(spec) for spec in self.parts)
        weights = tuple(float(weight) for weight in self.weights) or (1.0,) * len(parts)
        if not parts or len(weights) != len(parts) or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise UserValueError(
                f"weights={self.weights!r} for {len(parts)} parts; give one non-negative number per part."
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "weights", weights)

    def _combine(self, scores: Sequence[Score]) -> Score:
        main, rows = scores[self._main], zip(self.weights, scores, self.parts, strict=True)
        counted = [row for row in rows if row[1].status != "not_applicable"]
        total = sum(weight for weight, _, _ in counted)
        if not total:
            return replace(main, value=0.0, correct=None, status="not_applicable")
        value = sum(weight * score.value for weight, score, _ in counted) / total
        facts = [score.correct for _, score, part in counted if part.uses_gold == self.uses_gold]
        correct = False if False in facts else None if None in facts or not facts else True
        first = next((s for _, s, _ in counted if s.status in ("timeout", "error")), main)
        status = "ok" if first.status == "not_applicable" else first.status
        return replace(first, value=value, correct=correct, answer=main.answer, status=status)


@dataclass(frozen=True)
class Gate(Composite):
    """`verifier`'s score, if `gate` passes; otherwise worth nothing and wrong.

    A gate passes when it says correct, or, where it does not say, when its value reaches `threshold`. A gate that timed out
    or failed gives worth 0 and correct None; one that does not apply holds nothing back.

    Args:
        verifier: What is scored.
        gate: What must hold first (``{"name": "regex", "pattern": ..., "uses_gold": False}``).
        threshold: The least value that passes.
    """

    verifier: Any
    gate: Any
    threshold: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifier", verifier_of(self.verifier))
        object.__setattr__(self, "gate", verifier_of(self.gate))

    @property
    def parts(self) -> tuple[Any, ...]:  # type: ignore[override]
        return (self.verifier, self.gate)

    @property
    def _main(self) -> int:
        return 0

    def _combine(self, scores: Sequence[Score]) -> Score:
        inner, gate = scores
        if gate.status in ("timeout", "error"):
            return Score(0.0, None, inner.answer, gate.status, f"gate: {gate.explanation}")
        if "not_applicable" in (inner.status, gate.status):
            return inner
        passes = gate.correct if gate.correct is not None else gate.value >= self.threshold
        return inner if passes else replace(inner, value=0.0, correct=False, explanation=f"gate: {gate.explanation}")
