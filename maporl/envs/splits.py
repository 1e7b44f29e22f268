"""Which questions train, which validate, which test, which a verifier may learn from (by hash); and whether they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from maporl.errors import UserTypeError, UserValueError, warn
from maporl.types import Question

__all__ = [
    "SPLITS",
    "VERIFIER",
    "Division",
    "Leakage",
    "check_share",
    "check_split",
    "divided",
    "is_validation",
    "repeated",
    "split_questions",
    "unique",
]

SPLITS = ("train", "validation", "test")
VERIFIER = "verifier"
"""The training questions that are kept for learned verifiers, and that no team is trained or measured on."""
VALIDATION_SHARE = 0.05


def check_split(split: str) -> str:
    if split not in (*SPLITS, VERIFIER):
        raise UserValueError(f"unknown split {split!r}; one of: {', '.join(SPLITS)}, {VERIFIER}.")
    return split


def check_share(share: float) -> float:
    """`share` if it is a share of the training questions that leaves some of them."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise UserValueError(f"verifier_share is {share!r}; give a number from 0 to below 1, such as 0.3.")
    return float(share)


def is_validation(question: Question) -> bool:
    """Whether a question of the training data is held out: its hash, read as a fraction of one, falls below 5 %."""
    return int(question.hash[:8], 16) / 2**32 < VALIDATION_SHARE


def _is_verifiers(question: Question, share: float) -> bool:
    """Whether a training question is kept for learned verifiers: by other digits of its hash than validation is chosen by."""
    return int(question.hash[8:16], 16) / 2**32 < share


def unique(questions: Iterable[Question], where: str) -> tuple[Question, ...]:
    """`questions` without duplicates (by hash), in their order; a TypeError names the first thing that is no Question."""
    if not isinstance(questions, Iterable) or isinstance(questions, str):
        raise UserTypeError(
            f"{where} returned {questions!r}; it must return a list of Question objects, or yield them."
        )
    kept: dict[str, Question] = {}
    for index, question in enumerate(questions):
        if not isinstance(question, Question):
            raise UserTypeError(
                f"{where} yields a {type(question).__name__} at place {index}; it must yield Question objects."
            )
        kept.setdefault(question.hash, question)
    return tuple(kept.values())


@dataclass(frozen=True)
class Division:
    """A task's training questions, divided.

    Attributes:
        train, validation, verifier: The questions of each part.
        small: There were too few to hold any out, so that the training questions stand in for validation.
    """

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    verifier: tuple[Question, ...]
    small: bool


def divided(
    load: Callable[[str], tuple[Question, ...]], task: str, verifier_share: float = 0.0, has_validation: bool = False
) -> Division:
    """The 5 % of ``load("train")`` chosen by hash for validation, the given share of the rest, also by hash, for a verifier, what is left.

    Args:
        load: "train", or "validation" if it `has_validation` -> the task's questions, without duplicates.
        task: The task's name, for messages.
        verifier_share: Of the training questions, kept for learned verifiers.
        has_validation: ``load("validation")`` may be asked for, too; if it has any questions, they are what validates.

    Raises:
        ValueError: There are no training questions, or none is left for the verifier or for training.
    """
    everything = load("train")
    if not everything:
        raise UserValueError(
            f"{task} has no training questions; give it a training file (--data), or let its load('train') yield some. A file that is a "
            "test set by its name (test, dev, validation) is never learned from: ask for the split 'test'."
        )
    own = load("validation") if has_validation else ()
    held_out = own or tuple(question for question in everything if is_validation(question))
    kept = everything if own else tuple(question for question in everything if not is_validation(question))
    small = not held_out or not kept
    train, verifiers = _shared_out(everything if small else kept, verifier_share, task)
    return Division(train, train if small else held_out, verifiers, small)


def split_questions(
    load: Callable[[str], tuple[Question, ...]],
    split: str,
    task: str,
    verifier_share: float = 0.0,
    has_validation: bool = False,
) -> tuple[Question, ...]:
    """The questions of a split: "test" is ``load("test")``, the others are those of `divided`.

    A task too small to hold anything out validates on its training questions, and a task without test questions is tested on its
    validation questions: both with a warning.

    Args:
        load: "train" or "test" (or "validation") -> the task's questions, without duplicates.
        split: "train", "validation", "test" or "verifier".
        task, verifier_share, has_validation: As in `divided`.

    Raises:
        ValueError: Unknown split, or of `divided`.
    """
    check_split(split)
    if split == "test" and (questions := load("test")):
        return questions
    parts = divided(load, task, verifier_share, has_validation)
    if split == VERIFIER:
        if not verifier_share:
            raise UserValueError(f"{task} keeps no questions for a verifier; set verifier_share, for example 0.3.")
        return parts.verifier
    if split == "test":
        warn(
            f"{task} has no test questions: its {len(parts.validation)} validation questions stand in for them. A file named test* beside "
            "the training file would be its test set."
        )
    if split == "validation" and parts.small:
        warn(
            f"{task} is too small to hold anything out ({len(load('train'))} questions); "
            "its training questions stand in for validation."
        )
    return parts.train if split == "train" else parts.validation


def _shared_out(
    questions: tuple[Question, ...], share: float, task: str
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """The questions that train a team, and those kept for learned verifiers."""
    train = tuple(question for question in questions if not _is_verifiers(question, share))
    verifiers = tuple(question for question in questions if _is_verifiers(question, share))
    if share and not (train and verifiers):
        raise UserValueError(
            f"verifier_share {share:g} of {task}'s {len(questions)} training questions leaves {len(train)} for training and "
            f"{len(verifiers)} for the verifier; choose another share, or use more questions."
        )
    return train, verifiers


def repeated(known: Sequence[Question], questions: Sequence[Question]) -> tuple[Question, ...]:
    """Those of `questions` that are among the `known` ones.

    Two are the same if the agents are told the same, up to case and white space (`Question.asked`), and the answer is the same, too.
    The answer does not matter where they are told exactly the same and all known questions told so have one answer: another
    reference text makes no other question. In a game with a hidden number, whose text is always the same, it does.
    """
    told: dict[str, list[Question]] = {}
    for question in known:
        told.setdefault(question.asked, []).append(question)

    def is_known(question: Question) -> bool:
        same = told.get(question.asked, [])
        answers = {_plain(other.answer) for other in same}
        return _plain(question.answer) in answers or (len(answers) == 1 and same[0].text == question.text)

    return tuple(filter(is_known, questions))


def _plain(answer: str) -> str:
    return " ".join(answer.split()).casefold()


@dataclass(frozen=True)
class Leakage:
    """Which held-out questions are training questions, too; true if there are any, and in words what is wrong, with a remedy.

    Attributes:
        task: The task's name.
        sizes: Split -> how many questions it has.
        leaked: Split -> those of them that are training questions.
    """

    task: str
    sizes: Mapping[str, int]
    leaked: Mapping[str, tuple[Question, ...]]

    def __bool__(self) -> bool:
        return any(self.leaked.values())

    def __str__(self) -> str:
        counts = [f"{len(found)} of the {self.sizes[s]} {s} questions" for s, found in self.leaked.items() if found]
        if not counts:
            return ""
        first = next(found[0] for found in self.leaked.values() if found)
        return (
            f"{' and '.join(counts)} of {self.task} are training questions, such as {first.id!r} ({first.text[:60]!r}): figures measured "
            "on them say nothing about new questions. Let load(split) yield other questions for each split; of a task that reads files, "
            "take them out of the training file; questions that only sound alike are told apart by metadata['asks']."
        )
