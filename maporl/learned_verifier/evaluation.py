"""How good a learned verifier is, on questions that it has not seen, beside controls that know less."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from maporl.atomic_files import write_whole
from maporl.envs.verifiers import Verifier
from maporl.envs.verifiers.quality import Bin, accuracy, auroc, auroc_interval, brier, ece, reliability
from maporl.errors import UserValueError
from maporl.learned_verifier.answers import LabelledAnswer

__all__ = ["Figures", "Report", "evaluate", "figures", "generator_rates", "temperature_of", "values_of"]


@dataclass(frozen=True)
class Figures:
    """What scores say about labels. The interval is clustered by question.

    Attributes:
        answers, questions: How many.
        accuracy, auroc, low, high, ece, brier: See `maporl.envs.verifiers.quality`; None where all answers are right, or wrong.
    """

    answers: int
    questions: int
    accuracy: float
    auroc: float | None
    low: float | None
    high: float | None
    ece: float
    brier: float


@dataclass(frozen=True)
class Report:
    """An evaluation on held-out questions.

    Attributes:
        verifier: As it is used.
        uncalibrated: ECE without the temperature.
        temperature: That one.
        controls: Name -> figures of scores that know less.
        by_round, by_generator: Of the verifier, round by round (from 1) and within each generator.
        bins: Of the reliability plot.
    """

    verifier: Figures
    uncalibrated: float
    temperature: float
    controls: Mapping[str, Figures]
    by_round: Mapping[str, Figures]
    by_generator: Mapping[str, Figures]
    bins: Sequence[Bin]

    def save(self, folder: str | Path) -> None:
        """Write evaluation.json, evaluation.md and the reliability plot."""
        from maporl.learned_verifier.plots import reliability_plot

        target = Path(folder)
        values = {**asdict(self), "bins": [b._asdict() for b in self.bins]}
        write_whole(target / "evaluation.json", json.dumps(values, indent=1) + "\n")
        write_whole(target / "evaluation.md", self.markdown())
        reliability_plot(self.bins, target / "reliability")

    def rows(self) -> list[tuple[str, ...]]:
        """The table: name, answers, questions, accuracy, AUROC with interval, ECE, Brier."""
        named = {"verifier": self.verifier, **{f"control: {n}": f for n, f in self.controls.items()}}
        if len(self.by_round) > 1:
            named |= {f"round {n}": f for n, f in self.by_round.items()}
        if len(self.by_generator) > 1:
            named |= {f"within {n}": f for n, f in self.by_generator.items()}
        return [(name, *_cells(f)) for name, f in named.items()]

    def markdown(self) -> str:
        table = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in table
        ]
        note = f"ECE is {self.uncalibrated:.3f} without the temperature of {self.temperature:.2f}. AUROC: 95 %, clustered by question."
        return "\n".join([*lines, "", note, ""])


HEADER = ("held-out answers", "answers", "questions", "accuracy", "AUROC", "ECE", "Brier")


def _cells(f: Figures) -> tuple[str, ...]:
    area = "-" if f.auroc is None else f"{f.auroc:.3f}"
    if f.low is not None and f.high is not None:
        area += f" ({f.low:.3f} to {f.high:.3f})"
    return str(f.answers), str(f.questions), f"{f.accuracy:.3f}", area, f"{f.ece:.3f}", f"{f.brier:.3f}"


def figures(values: Sequence[float] | np.ndarray, answers: Sequence[LabelledAnswer]) -> Figures:
    """Of scores of labelled answers; at least one."""
    labels = [a.correct for a in answers]
    clusters = [a.question.hash for a in answers]
    both, several = len(set(labels)) == 2, len(set(clusters)) > 1
    low, high = auroc_interval(values, labels, clusters) if both and several else (None, None)
    return Figures(
        answers=len(answers),
        questions=len(set(clusters)),
        accuracy=accuracy(values, labels),
        auroc=auroc(values, labels) if both else None,
        low=low,
        high=high,
        ece=ece(values, labels),
        brier=brier(values, labels),
    )


def values_of(verifier: Verifier, answers: Sequence[LabelledAnswer]) -> np.ndarray:
    """[N] what a verifier says of each answer."""
    scores = verifier.score_batch([a.question for a in answers], [a.response for a in answers])
    return np.array([score.value for score in scores])


def evaluate(
    verifier: Verifier,
    answers: Sequence[LabelledAnswer],
    *,
    temperature: float = 1.0,
    controls: Mapping[str, Verifier] | None = None,
    learned_from: Sequence[LabelledAnswer] = (),
) -> Report:
    """Judge a verifier on labelled answers to questions that it was not fitted to.

    Args:
        verifier: The verifier.
        answers: Labelled; right and wrong ones.
        temperature: That of the verifier, already in its scores.
        controls: Others that were trained on less ("question only", "response only").
        learned_from: The answers that it was trained on: their share of right ones is the control "constant", and that of each
            generator the control "generator".

    Raises:
        ValueError: It has seen some of the questions, or there are no answers.
    """
    if not answers:
        raise UserValueError("there are no answers to judge a verifier on; give some.")
    known, asked = verifier.seen_questions(), {a.question.hash: a.question for a in answers}
    overlap = [q for q in asked.values() if q.hash in known or q.asked in known]
    if overlap:
        raise UserValueError(
            f"the verifier was fitted to {len(overlap)} of these {len(asked)} questions; judge it on others, such as its own held-out ones."
        )
    values = values_of(verifier, answers)
    found = {name: figures(values_of(control, answers), answers) for name, control in (controls or {}).items()}
    if learned_from:
        share = float(np.mean([a.correct for a in learned_from]))
        found["constant"] = figures([share] * len(answers), answers)
        rates = generator_rates(learned_from)
        if len(rates) > 1:
            found["generator"] = figures([rates.get(a.generator, share) for a in answers], answers)
    return Report(
        verifier=figures(values, answers),
        uncalibrated=ece(_softened(values, temperature), [a.correct for a in answers]),
        temperature=temperature,
        controls=found,
        by_round=_split(values, answers, [str(a.round + 1) for a in answers]),
        by_generator=_split(values, answers, [a.generator for a in answers]),
        bins=reliability(values, [a.correct for a in answers]),
    )


def generator_rates(answers: Iterable[LabelledAnswer]) -> dict[str, float]:
    """Generator -> its share of right answers."""
    found: dict[str, list[bool]] = {}
    for answer in answers:
        found.setdefault(answer.generator, []).append(answer.correct)
    return {name: float(np.mean(labels)) for name, labels in sorted(found.items())}


def _split(values: np.ndarray, answers: Sequence[LabelledAnswer], names: Sequence[str]) -> dict[str, Figures]:
    places = {name: [n for n, other in enumerate(names) if other == name] for name in sorted(set(names))}
    return {name: figures(values[mine], [answers[n] for n in mine]) for name, mine in places.items()}


def _logit(values: np.ndarray) -> np.ndarray:
    inside = np.clip(values, 1e-12, 1 - 1e-12)
    return np.log(inside) - np.log1p(-inside)


def _softened(values: np.ndarray, factor: float) -> np.ndarray:
    """Scores whose logits are multiplied by `factor`."""
    return 1 / (1 + np.exp(-_logit(values) * factor))


def temperature_of(values: Sequence[float] | np.ndarray, labels: Sequence[bool]) -> float:
    """The temperature that makes scores most likely: argmin over T of the NLL of sigmoid(logit / T) (Guo et al. 1706.04599).

    Args:
        values: [N] uncalibrated scores.
        labels: [N]; True where the answer is right.
    """
    logits, signs = _logit(np.asarray(values, float)), np.where(np.asarray(labels, bool), 1.0, -1.0)

    def nll(log_t: float) -> float:
        return float(np.mean(np.logaddexp(0.0, -signs * logits / np.exp(log_t))))

    return float(np.exp(minimize_scalar(nll, bounds=(np.log(0.05), np.log(50.0)), method="bounded").x))
