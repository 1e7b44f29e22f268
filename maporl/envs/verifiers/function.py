"""Your own function as a verifier: any Python function, or a reward function written for TRL."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np

from maporl.envs.verifiers.verifier import Verifier, verdict
from maporl.errors import UserTypeError, UserValueError
from maporl.messages import tokens_known, whole_text
from maporl.registry import build, load
from maporl.types import Completion, Question, Score

__all__ = ["Function", "TRLReward"]

GOLD = ("answer", "solution", "ground_truth")
"""The names by which reward functions ask for the gold answer."""


@dataclass(frozen=True)
class Function(Verifier):
    """Any ``function(question, response)`` that returns a bool (right or wrong), a number (worth) or a `Score`.

    It is your code, so what it raises comes through: a slip in it must not pass for wrong answers.

    Args:
        function: The function, ``package.module:name``, or, of one that makes functions, ``{name: package.module:name, ...arguments}``.
        uses_gold: It looks at the gold answer. Say False where it does not, or comparisons call its use an oracle.
        rule_based: Its verdict is a fact. Say False for a learned one or a judge, so that it is not taken for the truth.
        threshold: A number of at least this is correct; without it a number says nothing about right and wrong.

    Raises:
        TypeError: `function` cannot be called, or returned something else; the message names it.
    """

    function: Callable[[Question, str], Any] | str | Mapping[str, Any]
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


@dataclass
class TrainingState:
    """How far a training has come, as TRL's functions read it (``trainer_state``); outside of one nothing of one step is done."""

    global_step: int = 0
    max_steps: int = 1

    @property
    def epoch(self) -> float:
        """Share of the steps that are done."""
        return self.global_step / self.max_steps


@dataclass(frozen=True)
class TRLReward(Verifier):
    """A reward function written for TRL's ``GRPOTrainer``, called as that calls it, once for a batch.

    It is called by keyword with the columns that it names, with all of them where it takes ``**kwargs``:

    - ``prompts``, ``completions``: questions and messages, reasoning included; texts, or lists of messages if `conversational`.
      TRL's own functions always get messages, for they read nothing else.
    - ``completion_ids``: the tokens of each message as it was sampled. Where nobody knows them (a person's message, a given text), a
      function that needs them does not apply.
    - ``answer``, ``solution``, ``ground_truth``: the gold answer; ``id``; and every entry of the metadata that all questions of the
      batch have, which comes before these.
    - ``trainer_state`` (``global_step``, ``max_steps``, ``epoch``); ``log_extra(column, values)``, which explains the scores;
      ``log_metric(name, value)``, which becomes a metric of the training, ``verifier/name``.

    It may be ``async``. None means that it does not apply: status "not_applicable", worth 0, and no part of a `WeightedSum`. The function
    is your code, so what it raises comes through.

    Args:
        function: The reward function, ``package.module:name`` (``trl.rewards:accuracy_reward``), or, of a function that makes them,
            ``{name: trl.rewards:get_soft_overlong_punishment, max_completion_len: 256, soft_punish_cache: 64}``.
        uses_gold: It looks at the gold answer.
        rule_based: Its verdict is a fact, not a learned model's.
        threshold: A reward of at least this is correct; without it a reward says nothing about right and wrong.
        conversational: Prompts and completions are lists of messages (``completion[0]["content"]``), not strings.

    Raises:
        TypeError: `function` cannot be called, asks for a column that is not there, reads the other form of prompts and completions, or
            returned something other than numbers and None.
        ValueError: It returned another number of rewards than there are completions.
    """

    function: Callable[..., Any] | str | Mapping[str, Any]
    uses_gold: bool = True
    rule_based: bool = True
    threshold: float | None = None
    conversational: bool = False
    _state: TrainingState = field(default_factory=TrainingState, init=False, compare=False, repr=False)
    _logged: dict[str, list[float]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", _resolved(self.function))
        object.__setattr__(self, "conversational", self.conversational or _module(self.function).startswith("trl."))

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        return self.score_completions(questions, [Completion(response) for response in responses])

    def score_completions(self, questions: Sequence[Question], completions: Sequence[Completion]) -> list[Score]:
        named, needed = _parameters(self.function)
        without = Score(0.0, None, status="not_applicable", explanation="the tokens of this message are not known")
        scores = [without] * len(completions)
        fitting = [n for n, c in enumerate(completions) if "completion_ids" not in needed or tokens_known(c)]
        if fitting:
            given, extra = self._columns([questions[n] for n in fitting], [completions[n] for n in fitting])
            if lacking := sorted(needed - set(given)):
                raise UserTypeError(
                    f"{_name(self.function)} asks for {', '.join(lacking)}; there are {', '.join(given)}: what TRL gives, the gold "
                    "answer, and what the metadata of every question of the batch holds."
                )
            asked = {name: value for name, value in given.items() if named is None or name in named}
            rewards = self._rewards(asked, len(fitting))
            for place, n in enumerate(fitting):
                columns = {name: values for name, values in extra.items() if len(values) == len(fitting)}
                scores[n] = self._score(rewards[place], {name: values[place] for name, values in columns.items()})
        return scores

    def begin(self, iteration: int, num_iterations: int) -> None:
        self._state.global_step, self._state.max_steps = iteration, max(num_iterations, 1)
        self._logged.clear()

    def metrics(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self._logged.items()}

    def _columns(
        self, questions: Sequence[Question], completions: Sequence[Completion]
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """What the function is called with, and where it logs extra columns."""
        extra: dict[str, list[Any]] = {}
        given: dict[str, Any] = {
            **_columns(questions),
            "prompts": [self._message("user", question.text) for question in questions],
            "completions": [self._message("assistant", whole_text(completion)) for completion in completions],
            "trainer_state": self._state,
            "log_extra": lambda column, values: extra.setdefault(column, []).extend(values),
            "log_metric": lambda name, value: self._logged.setdefault(name, []).append(float(value)),
        }
        if all(tokens_known(completion) for completion in completions):
            given["completion_ids"] = [completion.completion_ids.tolist() for completion in completions]
        return given, extra

    def _rewards(self, columns: Mapping[str, Any], number: int) -> list[Any]:
        assert callable(self.function)
        try:
            rewards = _awaited(self.function(**columns))
        except (TypeError, AttributeError, LookupError) as error:
            if not self._reads_the_other_form(columns):
                raise
            given, read = "lists of messages", "texts"
            if not self.conversational:
                given, read = "texts", "lists of messages"
            raise UserTypeError(
                f"{_name(self.function)} was given {given}, but reads {read} ({type(error).__name__}: {error}); "
                f"set conversational to {not self.conversational}."
            ) from error
        if not isinstance(rewards, Iterable):
            raise UserTypeError(
                f"{_name(self.function)} returned {rewards!r}, not a reward for each completion; of a function that makes reward "
                "functions write {name: package.module:name, ...arguments}."
            )
        rewards = list(rewards)
        if len(rewards) != number:
            raise UserValueError(f"{_name(self.function)} gave {len(rewards)} rewards for {number} completions.")
        return rewards

    def _reads_the_other_form(self, columns: Mapping[str, Any]) -> bool:
        """Whether the function, which failed, can read the same prompts and completions as messages instead of texts, or as texts."""
        assert callable(self.function)

        def turned(given: Any) -> Any:
            return given[0]["content"] if self.conversational else [{"role": "assistant", "content": given}]

        other = {name: list(map(turned, columns[name])) for name in ("prompts", "completions") if name in columns}
        try:
            _awaited(self.function(**{**columns, **other}))
        except Exception:
            return False
        return bool(other)

    def _score(self, reward: Any, extra: Mapping[str, Any]) -> Score:
        told = "; ".join(" ".join(f"{name}: {value}".split())[:100] for name, value in extra.items())
        if reward is None:
            return Score(0.0, None, status="not_applicable", explanation=told or "the reward function does not apply")
        return replace(_worth(reward, self.threshold, self.function), explanation=told)

    def _message(self, role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if self.conversational else text


def _columns(questions: Sequence[Question]) -> dict[str, list[Any]]:
    rows: list[Mapping[str, Any]] = [{**dict.fromkeys(GOLD, q.answer), "id": q.id, **q.metadata} for q in questions]
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: [row[name] for row in rows] for name in shared}


def _parameters(function: Any) -> tuple[frozenset[str] | None, frozenset[str]]:
    """The keywords that a function takes, None for any; those that it cannot do without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of something built in
        return None, frozenset()
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    named = None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(p.name for p in by_name)
    return named, frozenset(p.name for p in by_name if p.default is p.empty)


def _awaited(result: Any) -> Any:
    """What an ``async`` function gives in the end; anything else as it is."""
    if not inspect.isawaitable(result):
        return result

    async def awaited() -> Any:
        return await result

    return asyncio.run_coroutine_threadsafe(awaited(), _loop(os.getpid())).result()


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The loop of this process, in a thread of its own: what a function keeps open between its calls lives on in it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async rewards", daemon=True).start()
    return loop


def _module(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__module__", None) or "")


def _resolved(function: Any) -> Any:
    function = build("verifier", function) if isinstance(function, Mapping) else load("verifier", function)
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
