"""What is measured: every verifier that reads gold, in its modes, and beside them two of other libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from bench.verifier_agreement.cases import CHOICES, Case
from maporl.envs.verifiers import TRLReward, Verifier
from maporl.envs.verifiers.mathematics.workers import shared_workers
from maporl.envs.verifiers.verifier import no_answer, verdict
from maporl.errors import UserValueError
from maporl.registry import build
from maporl.types import Question, Score

__all__ = ["PATTERN", "SUBJECTS", "Accuracy", "MathVerify", "Subject", "named"]

PATTERN = r"(?:####|\bA:|\banswer is|\\boxed\{)\s*\$?\(?(-?[\w.,/\\]*\w)"
"""Of `regex`: what people write for the answers of these sets."""


class MathVerify(Verifier):
    """Math-Verify without what `MathExpression` adds; in the same processes, so that it can be stopped.

    The texts are as they are; a gold answer without delimiters gets them, for only then is LaTeX surely found.
    """

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        requests = [_request(question.answer, text) for question, text in zip(questions, responses, strict=True)]
        return [_score(reply) for reply in shared_workers().ask_all(requests, 5.0, 5.0 * len(requests))]

    def check_gold(self, question: Question) -> None:
        reply = shared_workers().ask(5.0, **_request(question.answer, "$1$"))
        if reply["status"] == "error":
            raise UserValueError(
                f"question {question.id}: Math-Verify finds nothing in the gold answer {question.answer[:80]!r}."
            )


def _delimited(gold: str) -> str:
    return gold if any(mark in gold for mark in ("$", "\\(", "\\[", "\\boxed")) else f"${gold}$"


def _request(gold: str, response: str) -> dict[str, Any]:
    options = {"match_types": ("latex", "expr"), "precision": 6, "strict": True, "allow_set_relation_comp": False}
    return {"gold": _delimited(gold), "response": response, **options}


def _score(reply: Mapping[str, Any]) -> Score:
    if reply["status"] == "no_answer":
        return no_answer("")
    return (
        Score(0.0, None, None, reply["status"])
        if reply["correct"] is None
        else verdict(reply["correct"], reply["answer"])
    )


class Accuracy(TRLReward):
    """TRL's own reward for mathematics."""

    def __init__(self) -> None:
        super().__init__("trl.rewards:accuracy_reward", threshold=1)

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        given = [replace(question, answer=_delimited(question.answer)) for question in questions]
        scores = super().score_batch(given, responses)
        return [no_answer(score.explanation) if "[unparseable]" in score.explanation else score for score in scores]

    def check_gold(self, question: Question) -> None:
        MathVerify().check_gold(question)


@dataclass(frozen=True)
class Subject:
    """A verifier that is measured.

    Attributes:
        name: In the table.
        settings: Of the verifier, as in a configuration.
        word: Of cases that are about one verifier, it gets those of this one, and if `own`, with their settings; None for none of them.
        not_on: Names of the sets on which it makes no sense.
        row_options: Each case is judged under its own options (`Case.options`); only cases with some are judged.
    """

    name: str
    settings: Any
    word: str | None = None
    own: bool = True
    not_on: tuple[str, ...] = ()
    row_options: bool = False

    def verifier(self, case: Case) -> Verifier | None:
        """What judges a case; None if it is not for this verifier."""
        if case.verifier is not None:
            word = case.verifier["name"] if isinstance(case.verifier, Mapping) else case.verifier
            if word != self.word:
                return None
            return _made(case.verifier if self.own else self.settings)
        if not self.row_options:
            return _made(self.settings)
        return _made({"name": self.settings, **case.options}) if case.options else None


def _made(settings: Any) -> Verifier:
    return settings if isinstance(settings, Verifier) else _built(json.dumps(settings, sort_keys=True))


@cache
def _built(settings: str) -> Verifier:
    made: Verifier = build("verifier", json.loads(settings))
    return made


SUBJECTS = (
    Subject("number", "number", "number"),
    Subject("number, extract: marker", {"name": "number", "extract": "marker"}),
    Subject("number, extract: last", {"name": "number", "extract": "last"}),
    Subject("math", "math", "math", not_on=CHOICES),
    Subject("math, the row's options", "math", row_options=True),
    Subject("choice", "choice", "choice"),
    Subject("exact", "exact", "exact"),
    Subject("regex", {"name": "regex", "pattern": PATTERN}, "regex", not_on=("math_verify_cases",)),
    Subject("TRL accuracy_reward", Accuracy(), "math", own=False, not_on=(*CHOICES, "own texts")),
    Subject("Math-Verify", MathVerify(), "math", own=False, not_on=(*CHOICES, "own texts")),
)


def named(words: Sequence[str]) -> tuple[Subject, ...]:
    """The subjects of these names; a word, ``package.module:Class`` or ``{name: ..., argument: ...}`` in YAML makes one of its own.

    Raises:
        ValueError: There is no such verifier.
    """
    return tuple(_named(word) for word in words)


def _named(word: str) -> Subject:
    for subject in SUBJECTS:
        if subject.name == word:
            return subject
    try:
        settings = yaml.safe_load(word) if word.startswith("{") else word
    except yaml.YAMLError:
        raise UserValueError(f"--verifier {word!r} is no YAML; write {{name: WORD, argument: value}}.") from None
    return Subject(word, build("verifier", settings), word)
