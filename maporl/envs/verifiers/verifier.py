"""What a verifier is: it says whether a response is right, and what that is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from maporl.errors import ServerUnavailable, UserError
from maporl.hooks import each, misreturned, one
from maporl.reasoning import spoken
from maporl.types import Completion, Question, Score, Transcript

__all__ = [
    "AnswerVerifier",
    "TeamVerifier",
    "TranscriptVerifier",
    "Verifier",
    "VerifierFailed",
    "VerifierRefused",
    "VerifierUnavailable",
    "judged",
    "no_answer",
    "scores_of",
    "verdict",
]


class VerifierFailed(RuntimeError):
    """A verifier raised an error of its own, the `__cause__`. Nothing is wrong with the agents or with what they have learned.

    Attributes:
        verifier: Which.
    """

    def __init__(self, message: str, verifier: object = None) -> None:
        super().__init__(message)
        self.verifier = verifier


class VerifierRefused(VerifierFailed, UserError):
    """A verifier says what is wrong with what it was given, and names the remedy."""


class VerifierUnavailable(VerifierFailed, ServerUnavailable):
    """A verifier cannot be reached, for now. What it would have said is not known, so nothing may go on as if it were."""


class Verifier(ABC):
    """Scores one response to one question.

    A verifier never raises because of what a model wrote: no answer, a time-out and a failure of its own are statuses of
    the `Score`. It declares two things about itself, because comparisons depend on them:

    Attributes:
        uses_gold: It looks at `Question.answer`. A method that lets such a verifier choose, weight or stop is an oracle.
        rule_based: Its verdict is a fact, not a prediction, so it may serve as the ground truth.
    """

    uses_gold: bool = True
    rule_based: bool = True

    @abstractmethod
    def __call__(self, question: Question, response: str) -> Score:
        """The verdict on `response`. Must not raise, whatever the text."""

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        """One verdict per (question, response) pair; a verifier that gains from batches overrides this."""
        return [self(question, response) for question, response in zip(questions, responses, strict=True)]

    def score_completions(self, questions: Sequence[Question], completions: Sequence[Completion]) -> list[Score]:
        """One verdict per message, of which it may be known how it was sampled; a verifier that reads more than texts overrides this."""
        return self.score_batch(questions, [completion.text for completion in completions])

    def begin(self, iteration: int, num_iterations: int) -> None:
        """A training begins an iteration, from 0."""
        return None

    def metrics(self) -> dict[str, float]:
        """What it has to report of the iteration."""
        return {}

    def prepare(self) -> None:
        """Load what scoring needs, so that what is wrong with it shows before a run begins.

        Raises:
            ValueError: It cannot be loaded.
        """
        return None

    def check_gold(self, question: Question) -> None:
        """Nothing, if this verifier can read the gold answer of `question`.

        Raises:
            ValueError: It cannot; the message names the question, the value and the remedy.
        """
        return None

    def seen_questions(self) -> frozenset[str]:
        """Hashes (`Question.hash`) of the questions that this verifier was fitted to: no team is trained or measured on them."""
        return frozenset()

    def equivalent(self, a: str, b: str) -> bool:
        """Whether two extracted answers (`Score.answer`) are the same vote."""
        return a == b


class AnswerVerifier(Verifier):
    """One that reads the answer off what a response says, `judge`.

    Reasoning blocks (`maporl.reasoning`) are no part of an answer, and one that is not finished leaves none: they are taken out here, for
    every verifier of this kind.
    """

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        said = [self.said(response) for response in responses]
        pairs = [(question, text) for question, text in zip(questions, said, strict=True) if text is not None]
        scores = iter(self.judge_batch([question for question, _ in pairs], [text for _, text in pairs]))
        return [no_answer("reasoning that is not finished") if text is None else next(scores) for text in said]

    def said(self, response: str) -> str | None:
        """What of a response is read; None is no answer."""
        return spoken(response)

    @abstractmethod
    def judge(self, question: Question, text: str) -> Score:
        """The verdict on what a response says. Must not raise, whatever the text."""

    def judge_batch(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        """One verdict per (question, text) pair; a verifier that gains from batches overrides this."""
        return [self.judge(question, text) for question, text in zip(questions, texts, strict=True)]


class TeamVerifier(ABC):
    """Scores what a whole team said in one completed round (code that is run together, a text written in parts).

    Attributes: as in `Verifier`.
    """

    uses_gold: bool = True
    rule_based: bool = True

    @abstractmethod
    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        """The verdict on the joint action `responses`, agent name -> its last message of the round. Must not raise, whatever the texts."""

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        """One verdict per joint action, of any number of discussions; one that gains from batches overrides this."""
        return [self(question, joint) for question, joint in zip(questions, responses, strict=True)]


class TranscriptVerifier(ABC):
    """Scores a whole discussion, once it is over. Given as `team_verifier`; shaping "discussion_score" pays what it says.

    Attributes: as in `Verifier`.
    """

    uses_gold: bool = True
    rule_based: bool = True

    @abstractmethod
    def __call__(self, transcript: Transcript) -> Score:
        """The verdict on the finished discussion. Must not raise, whatever was said."""

    def score_batch(self, transcripts: Sequence[Transcript]) -> list[Score]:
        """One verdict per discussion; one that gains from batches overrides this."""
        return [self(transcript) for transcript in transcripts]


def judged(verifier: Any, questions: Sequence[Question], completions: Sequence[Completion]) -> list[Score]:
    """The verdicts of a verifier, which may be one of your own that is no `Verifier` and scores texts alone."""
    if hasattr(verifier, "score_completions"):
        return scores_of(verifier, verifier.score_completions(questions, completions), len(completions))
    texts = [completion.text for completion in completions]
    return scores_of(verifier, verifier.score_batch(questions, texts), len(completions))


def scores_of(verifier: Any, scores: Any, number: int) -> list[Score]:
    """What a verifier returned, if it is a score of each of `number` things.

    Raises:
        TypeError: It is not.
    """
    found = [one(verifier, "", x, Score) for x in each(verifier, "score_batch", scores, object, number)]
    for score in found:
        if not isinstance(score.value, Real) or not isinstance(score.correct, bool | np.bool_ | None):
            wanted = "a Score whose value is a number and whose correct is True, False or None"
            raise misreturned(verifier, "", score, wanted)
    return found


def verdict(correct: bool, answer: str | None, explanation: str = "") -> Score:
    """A plain right (1) or wrong (0)."""
    return Score(float(correct), correct, answer, explanation=explanation)


def no_answer(explanation: str) -> Score:
    """An answer that cannot be found is wrong, and counted as such (the parse rate is reported beside the accuracy)."""
    return Score(0.0, False, None, "no_answer", explanation)
