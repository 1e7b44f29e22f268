"""A task's questions: loaded once, checked, divided, and told to the agents as they may know them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from maporl.envs.scoring import Verifiers
from maporl.envs.splits import SPLITS, VERIFIER, Leakage, divided, repeated, split_questions, unique
from maporl.envs.views import is_seat, private_seats, told, unread
from maporl.errors import UserValueError, warn
from maporl.types import Question

__all__ = ["Questions"]


@dataclass
class Questions:
    """What `DiscussionEnv.questions` answers.

    Attributes:
        task: Its name, for messages.
        load: "train" or "test" -> what the task yields.
        verifiers: They must be able to read every gold answer, and not have been fitted to what is asked.
        agents: Who is asked.
        view: Whose private information they are given (see `DiscussionEnv`).
        verifier_share: Of the training questions, kept for learned verifiers.
        has_validation: `load` knows "validation", too.
        lost: Seats that only a larger team has -> what is said of their private information, of all that has been loaded.
    """

    task: str
    load: Callable[[str], Iterable[Question]]
    verifiers: Verifiers
    agents: Sequence[str]
    view: str | None = None
    verifier_share: float = 0.0
    has_validation: bool = False
    lost: dict[str, str] = field(default_factory=dict, init=False)
    _told: dict[str, tuple[Question, ...]] = field(default_factory=dict)
    _split: dict[str, tuple[Question, ...]] = field(default_factory=dict)
    _loaded: dict[str, tuple[Question, ...]] = field(default_factory=dict)

    def of(self, split: str) -> tuple[Question, ...]:
        """The questions of a split as these agents are asked them."""
        if split not in self._told:
            self._check_view(self.private_seats(split))
            if split != VERIFIER:
                self._check_unseen()
            self._told[split] = tuple(map(self.told, self._teams(split)))
        return self._told[split]

    def private_seats(self, split: str) -> tuple[str, ...]:
        """For which seats the questions of a split have private information, whoever is asked here."""
        return private_seats(self._teams(split))

    def told(self, question: Question) -> Question:
        """One of `load`'s questions as these agents are asked it."""
        return told(question, self.view, self.agents)

    @cached_property
    def leakage(self) -> Leakage:
        """The questions of "validation" and "test" that are training questions, too. What stands in for a split is no part of it."""
        if not self.loaded("train"):
            return Leakage(self.task, {}, {})
        parts = divided(self.loaded, self.task, self.verifier_share, self.has_validation)
        held_out = {"validation": () if parts.small else parts.validation, "test": self.loaded("test")}
        leaked = {split: repeated(parts.train, questions) for split, questions in held_out.items()}
        return Leakage(self.task, {split: len(questions) for split, questions in held_out.items()}, leaked)

    def _teams(self, split: str) -> tuple[Question, ...]:
        """The questions of a split with everybody's private information."""
        if split not in self._split:
            self._split[split] = split_questions(
                self.loaded, split, self.task, self.verifier_share, self.has_validation
            )
        return self._split[split]

    def loaded(self, part: str) -> tuple[Question, ...]:
        """What `load` yields, once: without duplicates, every gold answer and every private view checked."""
        if part not in self._loaded:
            questions = unique(self.load(part), f"{self.task}: load({part!r})")
            for question in questions:
                self.verifiers.check_gold(question)
            self._check_private(questions)
            self._loaded[part] = questions
        return self._loaded[part]

    def _check_private(self, questions: Iterable[Question]) -> None:
        """Information for a seat that only a larger team has is lost with a warning; that for any other name is a slip."""
        if self.view == "all" or len(self.agents) == 1:  # then `view` decides who is told what
            return
        found = unread(questions, self.agents)
        if slips := [fault for key, fault in found.items() if not is_seat(key)]:
            raise UserValueError(f"{self.task}: {slips[0]}")
        if news := found.keys() - self.lost.keys():
            last, *others = sorted(news, key=lambda seat: (len(seat), seat), reverse=True)
            more = f" So it is with {', '.join(others)}." if others else ""
            warn(f"{self.task}: {found[last]}{more}")
            self.lost |= found

    def _check_view(self, seats: tuple[str, ...]) -> None:
        if self.view is None or self.view in seats or (self.view == "all" and seats):
            return
        if not seats:
            raise UserValueError(f"view is {self.view!r} but {self.task} has no private information; leave it out.")
        raise UserValueError(f"view {self.view!r} is no seat of {self.task}; use one of {', '.join(seats)}, or 'all'.")

    def _check_unseen(self) -> None:
        """A learned verifier's scores of questions that it was fitted to mean nothing; all splits, before anything is trained."""
        seen = self.verifiers.seen_questions()
        for split in SPLITS if seen else ():
            if split != "test" and not self.loaded("train"):
                continue  # nothing but a test set
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # asking for the split itself says what there is to say
                questions = self._teams(split)
            overlap = sum(question.hash in seen or question.asked in seen for question in questions)
            if overlap:
                raise UserValueError(
                    f"the verifier was fitted to {overlap} of the {len(questions)} {split} questions of {self.task}: what it says about "
                    "those means nothing. Use one that was trained on other questions: verifier_share keeps some of the training "
                    "questions for it, and must be the same here as in the verifier's training."
                )
