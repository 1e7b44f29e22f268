"""Which questions train, which validate, which test. A function of the questions' hashes alone, so it never drifts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

from maporl.types import Question

__all__ = ["SPLITS", "check_split", "is_validation", "split_questions", "unique"]

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.05


def check_split(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; one of: {', '.join(SPLITS)}.")
    return split


def is_validation(question: Question) -> bool:
    """Whether a question of the training data is held out: its hash, read as a fraction of one, falls below 5 %."""
    return int(question.hash[:8], 16) / 2**32 < VALIDATION_SHARE


def unique(questions: Iterable[Question], where: str) -> tuple[Question, ...]:
    """`questions` without duplicates (by hash), in their order; a TypeError names the first thing that is no Question."""
    kept: dict[str, Question] = {}
    for index, question in enumerate(questions):
        if not isinstance(question, Question):
            raise TypeError(
                f"{where} yields a {type(question).__name__} at place {index}; it must yield Question objects."
            )
        kept.setdefault(question.hash, question)
    return tuple(kept.values())


def split_questions(load: Callable[[str], tuple[Question, ...]], split: str, task: str) -> tuple[Question, ...]:
    """The questions of a split.

    "validation" is the 5 % of ``load("train")`` chosen by hash, "train" is the rest, "test" is ``load("test")``. A task too
    small to hold anything out validates on its training questions, and a task without test questions is tested on its
    validation questions: both with a warning.

    Args:
        load: "train" or "test" -> the task's questions, without duplicates.
        split: "train", "validation" or "test".
        task: The task's name, for messages.

    Raises:
        ValueError: Unknown split, or there are no training questions.
    """
    check_split(split)
    if split == "test":
        questions = load("test")
        if questions:
            return questions
        warnings.warn(f"{task} has no test questions; its validation questions stand in.", stacklevel=4)
    everything = load("train")
    if not everything:
        raise ValueError(f"{task} has no questions: load('train') yielded nothing.")
    held_out = tuple(question for question in everything if is_validation(question))
    kept = tuple(question for question in everything if not is_validation(question))
    if not held_out or not kept:
        if split == "validation":
            warnings.warn(
                f"{task} is too small to hold anything out ({len(everything)} questions); "
                "its training questions stand in for validation.",
                stacklevel=4,
            )
        return everything
    return kept if split == "train" else held_out
