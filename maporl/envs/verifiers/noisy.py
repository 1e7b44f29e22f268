"""A verifier that is wrong for a known share of the messages: how much noise does a reward bear?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from maporl.envs.verifiers.compose import Composite, verifier_of
from maporl.envs.verifiers.verifier import judged
from maporl.errors import UserValueError
from maporl.types import Completion, Question, Score

__all__ = ["Noisy"]


@dataclass(frozen=True)
class Noisy(Composite):
    """Another verifier's values, turned into their opposite (v becomes 1 - v) for a share of all (question, response) pairs.

    Which ones is decided by a hash of question, response and seed, so that the same message always gets the same noise, in
    training, in an evaluation and in another process. What it says is no fact: `correct` is None, and the ground truth stays the
    task's own verifier. The answer stays, for it is what votes are counted by. A time-out or failure of the inner verifier is no
    verdict and stays as it is.

    Args:
        verifier: What is disturbed, in any form that an environment's `verifier` takes; left out there, the task's own.
        flip_rate: The share, from 0 (nothing changes) to 1 (every value is turned).
        seed: Another one turns others.

    Raises:
        ValueError: No verifier, or a rate out of [0, 1].
    """

    verifier: Any = None
    flip_rate: float = 0.1
    seed: int = 0

    rule_based = False

    def __post_init__(self) -> None:
        if self.verifier is None:
            raise UserValueError("noisy disturbs another verifier; say which: {name: noisy, verifier: number}.")
        if not 0 <= self.flip_rate <= 1:
            raise UserValueError(
                f"flip_rate is {self.flip_rate}; give the share of values that are turned, from 0 to 1."
            )
        object.__setattr__(self, "verifier", verifier_of(self.verifier))

    @property
    def parts(self) -> tuple[Any, ...]:  # type: ignore[override]
        return (self.verifier,)

    def score_completions(self, questions: Sequence[Question], completions: Sequence[Completion]) -> list[Score]:
        scores = judged(self.verifier, questions, completions)
        return [self._disturbed(q, c.text, score) for q, c, score in zip(questions, completions, scores, strict=True)]

    def _disturbed(self, question: Question, response: str, score: Score) -> Score:
        if score.status in ("timeout", "error", "not_applicable") or not self.flips(question, response):
            return replace(score, correct=None)
        return replace(score, value=1 - score.value, correct=None, explanation=f"turned by noise: {score.explanation}")

    def flips(self, question: Question, response: str) -> bool:
        """Whether the value of this response to this question is turned."""
        pair = "\x1e".join((str(self.seed), question.hash, response)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(pair).digest()[:8], "big") < self.flip_rate * 2**64
