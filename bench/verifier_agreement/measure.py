"""Verdicts against labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bench.verifier_agreement.cases import Case
from bench.verifier_agreement.verifiers import Subject
from maporl.envs.verifiers.quality import wilson
from maporl.envs.verifiers.verifier import Verifier
from maporl.errors import UserValueError
from maporl.types import Score

__all__ = ["Measured", "measured", "readable"]

_BATCH = 256
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Measured:
    """How one verifier did on one set.

    Attributes:
        cases: Those whose gold answer it can read; the others are left out.
        scores: Its verdict on each.
        seconds: Wall time.
        left_out: How many cases were left out.
    """

    cases: tuple[Case, ...]
    scores: tuple[Score, ...]
    seconds: float
    left_out: int = 0

    @property
    def total(self) -> int:
        return len(self.cases)

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Ids of the cases where it says right and the label wrong, or the other way round; a case without a verdict is none."""
        pairs = zip(self.cases, self.scores, strict=True)
        return tuple(case.id for case, score in pairs if _says(score) not in (case.right, None))

    @property
    def undecided(self) -> tuple[str, ...]:
        """Ids of the cases on which it has no verdict: a time-out, a failure, or a gold answer of which it says that it cannot read it."""
        return tuple(case.id for case, score in zip(self.cases, self.scores, strict=True) if _says(score) is None)

    @property
    def agreement(self) -> float:
        """Share of all cases on which verdict and label are the same."""
        return 1 - (len(self.disagreements) + len(self.undecided)) / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the agreement."""
        return wilson(self.agreement, self.total, _Z)

    @property
    def precision(self) -> float | None:
        """Share of what it calls right that is right; None if it calls nothing right."""
        return _share([case.right for case, score in zip(self.cases, self.scores, strict=True) if _says(score) is True])

    @property
    def recall(self) -> float | None:
        """Share of what is right that it calls right; None if nothing is."""
        return _share([_says(score) is True for case, score in zip(self.cases, self.scores, strict=True) if case.right])

    @property
    def auroc(self) -> float | None:
        """Of one whose values are no facts: how often a right text has a higher value than a wrong one, ties a half."""
        decided = [(c.right, s) for c, s in zip(self.cases, self.scores, strict=True) if _says(s) is not None]
        right, wrong = ([score.value for label, score in decided if label is side] for side in (True, False))
        if all(score.correct is not None for _, score in decided) or not right or not wrong:
            return None
        return sum((a > b) + (a == b) / 2 for a in right for b in wrong) / (len(right) * len(wrong))

    @property
    def read(self) -> float:
        """Share of the texts in which it finds an answer."""
        return 1 - sum(score.status == "no_answer" for score in self.scores) / self.total

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.total / self.seconds if self.seconds else float("inf")


def _says(score: Score) -> bool | None:
    """Right or wrong; of one whose value is no fact whether it is at least a half; None without a verdict."""
    return score.value >= 0.5 if score.correct is None and score.status == "ok" else score.correct


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def readable(subject: Subject, cases: Sequence[Case], strict: bool = False) -> list[tuple[Case, Verifier]]:
    """The cases that a verifier is for and whose gold answer it can read, with what judges each.

    Raises:
        ValueError: `strict`, and it cannot read one.
    """
    found = []
    for case in cases:
        verifier = subject.verifier(case)
        try:
            if verifier is not None:
                verifier.check_gold(case.question)
                found.append((case, verifier))
        except UserValueError as error:
            if strict:
                raise UserValueError(f"{case.where}: {subject.name}: {error}") from None
    return found


def measured(subject: Subject, cases: Sequence[Case], strict: bool = False) -> Measured | None:
    """A verifier on a set of cases; None where it cannot read at least half of the gold answers of those that are for it.

    Args:
        subject: The verifier.
        cases: The set.
        strict: It must read all of them.

    Raises:
        ValueError: `strict`, and it cannot read one; with file and line.
    """
    its_own = [case for case in cases if subject.verifier(case) is not None]
    pairs = readable(subject, its_own, strict)
    if not pairs or 2 * len(pairs) < len(its_own):
        return None
    scores: dict[int, Score] = {}
    groups: dict[int, list[int]] = {}
    for n, (_, verifier) in enumerate(pairs):
        groups.setdefault(id(verifier), []).append(n)
    start = time.perf_counter()
    for numbers in groups.values():
        verifier = pairs[numbers[0]][1]
        for first in range(0, len(numbers), _BATCH):
            batch = numbers[first : first + _BATCH]
            asked = [pairs[n][0] for n in batch]
            found = verifier.score_batch([case.question for case in asked], [case.response for case in asked])
            scores.update(zip(batch, found, strict=True))
    seconds = time.perf_counter() - start
    return Measured(
        tuple(case for case, _ in pairs),
        tuple(scores[n] for n in range(len(pairs))),
        seconds,
        len(its_own) - len(pairs),
    )
