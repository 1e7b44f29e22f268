"""From labelled answers to a verifier that is calibrated and judged: what ``maporl verifier train`` does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from maporl.errors import UserValueError
from maporl.learned_verifier.answers import Balance, LabelledAnswer, balanced, divided, seen, write_answers
from maporl.learned_verifier.evaluation import Report, evaluate, temperature_of, values_of
from maporl.learned_verifier.model import Card, Reading
from maporl.learned_verifier.training import Settings, fit
from maporl.learned_verifier.verifier import LearnedVerifier

__all__ = ["HELD_OUT", "TRAINED_ON", "check_free", "make_verifier"]

HELD_OUT, TRAINED_ON = "held_out.jsonl", "trained_on.jsonl"
"""Answers that are kept beside a verifier, so that it can be judged again."""

Say = Callable[[str], None]


def make_verifier(
    answers: Sequence[LabelledAnswer],
    base: str,
    output: str | Path,
    *,
    k: int | None = 10,
    controls: bool = False,
    settings: Settings | None = None,
    reading: Reading | None = None,
    chat_template: str | None = None,
    say: Say = lambda line: None,
) -> tuple[Balance, Report]:
    """Balance, divide by question, train, calibrate, judge; writes a verifier's folder.

    Seven tenths of the questions are learned from, one tenth gives the temperature, two tenths are judged on; which is which is decided
    by their hashes. The folder keeps the held-out answers and the figures.

    Args:
        answers: Labelled answers.
        base: Checkpoint folder or hub id.
        output: The folder to write; it must not hold a verifier yet.
        k: Right and wrong answers to each question; None does not balance (with a warning).
        controls: Train two more verifiers, of the question and of the response alone, which takes as long again twice over.
        settings, reading, chat_template: See `fit`.
        say: Told what happens.

    Raises:
        ValueError: Of `balanced`, `divided` and `fit`; a folder that holds a verifier.
    """
    folder, settings, reading = Path(output), settings or Settings(), reading or Reading()
    check_free(folder)
    kept, balance = balanced(answers, k, seed=settings.seed)
    say(_told(balance))
    parts = divided(kept)
    card = _fitted(parts, base, folder, settings, reading, chat_template)
    verifier = LearnedVerifier(folder, device=settings.device)
    others = {}
    for reads in ("question", "response") if controls else ():
        say(f"control: {reads} only")
        place = folder / "controls" / reads
        _fitted(parts, base, place, settings, replace(reading, reads=reads), chat_template)
        others[f"{reads} only"] = LearnedVerifier(place, device=settings.device)
    report = evaluate(
        verifier, parts["held_out"], temperature=card.temperature, controls=others, learned_from=parts["train"]
    )
    write_answers(folder / HELD_OUT, parts["held_out"])
    write_answers(folder / TRAINED_ON, parts["train"])
    report.save(folder)
    measured = {**card.measured, "balance": vars(balance), "auroc": report.verifier.auroc}
    replace(card, measured=measured).save(folder)
    return balance, report


def check_free(folder: str | Path) -> None:
    """Raise a ValueError if a folder holds a verifier."""
    if (Path(folder) / "verifier.json").exists():
        raise UserValueError(f"{str(folder)!r} holds a verifier already; choose another folder, or delete it.")


def _told(balance: Balance) -> str:
    if balance.k is None:
        return f"{balance.answers} answers to {balance.questions} questions, {balance.right_before:.0%} right, not balanced"
    return (
        f"{balance.questions} questions with {balance.k} right and {balance.k} wrong answers; {balance.dropped} dropped, which have fewer "
        f"({balance.right_before:.0%} of all answers are right)"
    )


def _fitted(
    parts: dict[str, list[LabelledAnswer]],
    base: str,
    folder: Path,
    settings: Settings,
    reading: Reading,
    chat_template: str | None,
) -> Card:
    """Train on one part, calibrate on another; the card then knows the questions of both."""
    card = fit(parts["train"], base, folder, settings=settings, reading=reading, chat_template=chat_template)
    calibration = parts["calibration"]
    raw = values_of(LearnedVerifier(folder, device=settings.device), calibration)
    temperature = temperature_of(raw, [a.correct for a in calibration])
    if not 0.1 < temperature < 20:
        warnings.warn(
            f"the temperature is {temperature:.2f}: on {len(calibration)} answers the scores say next to nothing, or everything; look at "
            "the AUROC.",
            stacklevel=3,
        )
    questions = sorted({*card.questions, *seen(calibration)})
    card = replace(card, temperature=temperature, questions=tuple(questions))
    card.save(folder)
    return card
