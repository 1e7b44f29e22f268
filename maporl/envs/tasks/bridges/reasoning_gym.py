"""Reasoning Gym: about a hundred generators of puzzles, each with a score of its own (Stojanovski et al. 2505.24760).

| specification | |
|---|---|
| question | an item's question |
| answer | all that follows the last "Answer:", in any number of lines; the gold answer is the item's |
| value | the data set's own `score_answer`, cut to [0, 1]; many give a part of it to wrong answers |
| correct | a score of 1 |
| questions | items of one generator; see `Generated` |
| refused | data sets whose score says nothing, or runs the answer as Python (docs/bridges.md) |

The package is an extra, `maporl[reasoning_gym]`, and is imported when the first question is asked for.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from maporl.envs.tasks.bridges.generated import Generated
from maporl.envs.tasks.bridges.isolation import isolated
from maporl.envs.tasks.bridges.refused import ANSWERS, DATASETS
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["ReasoningGym", "ReasoningGymScore", "generator"]

_LONGEST = 5000  # characters of an answer that are scored, beyond twice the length of the gold answer
_MARKER = re.compile(r"\banswer\**:\**", re.IGNORECASE)


@lru_cache(maxsize=16)
def generator(dataset: str, config: str, seed: int, size: int) -> Any:
    """The items of a data set. `config` is JSON.

    Raises:
        ValueError: The package is missing, the data set unknown or refused, or its configuration wrong.
    """
    try:
        from reasoning_gym import create_dataset
        from reasoning_gym.factory import DATASETS as known
    except ImportError:
        raise UserValueError("Reasoning Gym is not installed: pip install 'maporl[reasoning_gym]'") from None
    if dataset in DATASETS:
        raise UserValueError(f"dataset {dataset!r} is refused: {DATASETS[dataset]}; use another one.")
    if dataset not in known:
        raise UserValueError(f"unknown dataset {dataset!r}; one of: {', '.join(sorted({*known} - {*DATASETS}))}.")
    try:
        with isolated(seed):
            return create_dataset(dataset, **{"seed": seed, "size": size}, **json.loads(config))
    except (TypeError, AssertionError, ValueError) as error:
        raise UserValueError(f"config {config} of dataset {dataset!r}: {error}") from None


@dataclass(frozen=True)
class ReasoningGymScore(AnswerVerifier):
    """A data set's own score of an answer to one of its items, which the question has in its metadata.

    Args:
        dataset, config, seed, size: As in `generator`.
    """

    dataset: str
    config: str
    seed: int
    size: int

    def judge(self, question: Question, text: str) -> Score:
        *_, last = [None, *_MARKER.finditer(text)]
        return no_answer('no "Answer:"') if last is None else self._score(question, text[last.end() :].strip())

    def _score(self, question: Question, answer: str) -> Score:
        longest = _LONGEST + 2 * len(question.answer)
        if len(answer) > longest or not re.fullmatch(ANSWERS.get(self.dataset, r"[\s\S]*"), answer):
            return Score(0.0, False, answer[:longest], explanation="too long, or of signs that no answer has")
        item = copy.deepcopy(question.metadata["item"])
        try:
            with isolated(self.seed):
                score = float(generator(self.dataset, self.config, self.seed, self.size).score_answer(answer, item))
        except Exception as error:  # of a score that cannot read an answer
            return Score(0.0, False, answer, explanation=f"{type(error).__name__}: {error}"[:200])
        return Score(min(max(score, 0.0), 1.0), score >= 1, answer, explanation=f"{self.dataset} gives {score:.3g}")

    def check_gold(self, question: Question) -> None:
        score = self._score(question, question.answer.strip())
        if not score.correct:
            raise UserValueError(
                f"question {question.id}: dataset {self.dataset!r} gives its own answer {question.answer[:40]!r} a score of "
                f"{score.value:g}, not 1 ({score.explanation}); use another one."
            )


class ReasoningGym(Generated):
    """The task of the card above.

    Args:
        *team: `num_agents` and `num_rounds`, as in `DiscussionEnv`.
        dataset: The name of a data set; `config` are its own settings, such as ``{"min_animals": 2}``.
        **arguments: Of `Generated`. `task_seed` is the generator's seed, `num_train` + `num_test` its size.

    Raises:
        ValueError: As `Generated`; when questions are asked for, as `generator`.
    """

    metadata: dict[str, Any] = {"name": "reasoning_gym"}
    instruction = 'Reason step by step. End with "Answer: " and nothing but the answer.'

    def __init__(self, *team: Any, dataset: str = "leg_counting", **arguments: Any) -> None:
        self.dataset = dataset
        super().__init__(*team, **arguments)

    def own_verifiers(self) -> tuple[Any, Any]:
        return ReasoningGymScore(self.dataset, self.config, self.task_seed, self.num_train + self.num_test), None

    def question(self, number: int) -> Question:
        items = generator(self.dataset, self.config, self.task_seed, self.num_train + self.num_test)
        name = f"{self.dataset}:{self.task_seed}:{number}"
        with isolated(name):  # a few draw from the global generators
            item = copy.deepcopy(items[number])
        if not isinstance(item["answer"], str):
            raise UserValueError(
                f"dataset {self.dataset!r} has no gold answers, so nothing shows that it gives 1 to any; use another one."
            )
        return Question(item["question"], item["answer"], name, metadata={"item": item})
