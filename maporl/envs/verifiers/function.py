"""Your own function as a verifier: any Python function, or a reward function written for TRL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maporl.envs.verifiers.verifier import Verifier, verdict
from maporl.errors import UserTypeError, UserValueError
from maporl.registry import load
from maporl.types import Question, Score

__all__ = ["Function", "TRLReward"]


@dataclass(frozen=True)
class Function(Verifier):
    """Any ``function(question, response)`` that returns a bool (right or wrong), a number (worth) or a `Score`.

    It is your code, so what it raises comes through: a slip in it must not pass for wrong answers.

    Args:
        function: The function, or ``package.module:name``.
        uses_gold: It looks at the gold answer. Say False where it does not, or comparisons call its use an oracle.
        rule_based: Its verdict is a fact. Say False for a learned one or a judge, so that it is not taken for the truth.
        threshold: A number of at least this is correct; without it a number says nothing about right and wrong.

    Raises:
        TypeError: `function` cannot be called, or returned something else; the message names it.
    """

    function: Callable[[Question, str], Any] | str
    uses_gold: bool = True
    rule_based: bool = True
    threshold: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", _resolved(self.function))

    def __call__(self, question: Question, response: str) -> Score:
        assert callable(self.function)
        result = self.function(question, response)
        if isinstance(result, Score):
            return result
        if isinstance(result, (bool, np.bool_)):
            return verdict(bool(result), None)
        return _worth(result, self.threshold, self.function)


@dataclass(frozen=True)
class TRLReward(Verifier):
    """A TRL-style reward function: ``function(prompts=, completions=, **columns) -> list[float | None]``.

    A batch is one call. The columns are the gold answer, as ``answer`` and as ``solution``, the question's ``id``, and every
    entry of its metadata that all questions of the batch have. None means that the function does not apply: worth 0, correct
    None. The function is your code, so what it raises comes through.

    Args:
        function: The reward function, or ``package.module:name`` (``trl.rewards:accuracy_reward``).
        uses_gold: It looks at the gold answer.
        rule_based: Its verdict is a fact, not a learned model's.
        threshold: A reward of at least this is correct; without it a reward says nothing about right and wrong.
        conversational: Prompts and completions are lists of messages (TRL's own reward functions), not strings.

    Raises:
        TypeError: `function` cannot be called, or returned something other than numbers and None.
        ValueError: It returned another number of rewards than there are completions.
    """

    function: Callable[..., Sequence[float | None]] | str
    uses_gold: bool = True
    rule_based: bool = True
    threshold: float | None = None
    conversational: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", _resolved(self.function))

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        assert callable(self.function)
        if not responses:
            return []
        rewards = self.function(
            prompts=[self._message("user", question.text) for question in questions],
            completions=[self._message("assistant", response) for response in responses],
            **_columns(questions),
        )
        if len(rewards) != len(responses):
            raise UserValueError(
                f"{_name(self.function)} gave {len(rewards)} rewards for {len(responses)} completions."
            )
        nothing = Score(0.0, None, explanation="the reward function does not apply")
        return [nothing if r is None else _worth(r, self.threshold, self.function) for r in rewards]

    def _message(self, role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if self.conversational else text


def _columns(questions: Sequence[Question]) -> dict[str, list[Any]]:
    rows: list[Mapping[str, Any]] = [
        {"answer": q.answer, "solution": q.answer, "id": q.id, **q.metadata} for q in questions
    ]
    shared = [name for name in rows[0] if all(name in row for row in rows) and name not in ("prompts", "completions")]
    return {name: [row[name] for row in rows] for name in shared}


def _resolved(function: Any) -> Any:
    function = load("verifier", function)
    if not callable(function):
        raise UserTypeError(f"{function!r} cannot be called; give a function or 'package.module:name'.")
    return function


def _worth(value: Any, threshold: float | None, function: Any) -> Score:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, str):
        raise UserTypeError(f"{_name(function)} returned {value!r}; it must return a bool, a finite number or a Score.")
    return Score(number, None if threshold is None else number >= threshold)


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
