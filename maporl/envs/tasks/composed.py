"""Composed: a function of two steps, each called by a word that only experience explains.

| specification | |
|---|---|
| agents | helper_0, told the first word, writes ``aux``; main_0, told the second, writes ``f``, at once; 1: a lone agent, see `view` |
| private | "First gorp x." and "Then fim it." |
| words | 16 of one syllable; each stands for ``x + 3``, ``x * 2``, ``7 - x`` or ``x * x``, dealt by hash, four words each |
| answer | six asserts: three about ``aux``, which does the first step, three about ``f``, which does both |
| reward | the share of the asserts that pass, of a team's parts together (MAGRPO's reward is measured beside it). Right: all pass |
| ceiling | 1 for who has learned the words, a team or a lone agent told both; 1/4 for a lone agent told one; 1/16 by guessing |
| questions | first word x second word = 16 x 16 = 256, a fifth of those of every first word held out as "test" |
| source | this project; the shape is MAGRPO's coding (2508.04652): a helper's ``aux``, and a main function that uses it |

No two steps do the same one after the other as two others, nor give the same for any of the asserts' numbers: nothing passes by
chance.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from maporl.envs.tasks.coding.programs import HELPER, MAIN
from maporl.envs.tasks.coding.scoring import PartsTests
from maporl.envs.tasks.coding.task import CodingTask
from maporl.envs.tasks.combinations import of_split
from maporl.errors import UserValueError
from maporl.types import Observation, Question, Score

__all__ = ["MEANINGS", "STEPS", "WORDS", "Composed", "ceiling", "guessed", "written"]

WORDS = (
    *("gorp", "fim", "blick", "tam", "dax", "wug", "zop", "lerp"),
    *("nib", "quaf", "stob", "vek", "yam", "hux", "prel", "mog"),
)
STEPS: Mapping[str, Callable[[int], int]] = {
    "{}+3": lambda x: x + 3,
    "{}*2": lambda x: x * 2,
    "7-{}": lambda x: 7 - x,
    "{}*{}": lambda x: x * x,
}
"""What a word can stand for: source, of a variable's name -> what it does."""
NUMBERS = (11, 20, 34)
"""What `aux` and `f` are asked for."""


def _dealt() -> Iterator[tuple[str, str]]:
    """Every four words have the four steps among them, in an order that is arbitrary."""
    for start in range(0, len(WORDS), len(STEPS)):
        words = sorted(WORDS[start : start + len(STEPS)], key=lambda word: hashlib.sha256(word.encode()).hexdigest())
        yield from zip(words, STEPS, strict=True)


MEANINGS: Mapping[str, str] = dict(_dealt())
"""Word -> its step."""


def ceiling(num_words: int = len(WORDS)) -> float:
    """The best a lone agent can do that knows one of two words: the likeliest step in the other's place."""
    return -(-num_words // len(STEPS)) / num_words


def written(first: str, second: str, agent: str = "") -> str:
    """The code of two steps: a helper's part, a main programmer's, or, of anybody else, both."""
    aux = f"def aux(x):\n return {first.format('x', 'x')}"
    main = f"def f(x):\n y=aux(x)\n y={second.format('y', 'y')}\n return y"
    return {HELPER: aux, MAIN: main}.get(agent.rpartition("_")[0], f"{aux}\n{main}")


def guessed(observation: Observation, rng: np.random.Generator) -> str:
    """What somebody writes who knows the form and no word: steps at random."""
    first, second = ([*STEPS][int(n)] for n in rng.integers(len(STEPS), size=2))
    return written(first, second, observation["agent"])


class PassedTogether(PartsTests):
    """The share of the asserts that a team's parts pass together: a lone agent's reward. MAGRPO's is measured, too."""

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        scores = super().score_batch(questions, responses)
        return [replace(score, value=score.measures["passed"]) for score in scores]


class Composed(CodingTask):
    """The task of the card above.

    Args:
        num_agents: Who writes. With other protocols than "parts" everybody writes the whole; a third agent is told nothing.
        num_rounds: Rounds.
        num_words: Of the 16 words, the first so many.
        **arguments: Of `CodingTask`.

    Raises:
        ValueError: A number of words that there are not.
    """

    metadata: dict[str, Any] = {"name": "composed"}
    instruction = (
        "Two words stand for what is done to x, one after the other; each means one of "
        f"{', '.join(step.format('x', 'x') for step in STEPS)}. aux does the first, f does both. {CodingTask.instruction}"
    )
    reads_data: ClassVar[bool] = False

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        num_words: int = len(WORDS),
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        if not 1 <= num_words <= len(WORDS):
            raise UserValueError(f"num_words is {num_words}; there are 1 to {len(WORDS)}.")
        self.num_words = num_words

    def own_verifiers(self) -> tuple[Any, Any]:
        alone, team = super().own_verifiers()
        return alone, team and PassedTogether(self.runner)

    def load(self, split: str) -> Iterator[Question]:
        """The pairs of words of the split."""
        pairs = itertools.product(WORDS[: self.num_words], repeat=2)
        for first, second in of_split(pairs, split, group=lambda pair: pair[0]):
            inner, outer = STEPS[MEANINGS[first]], STEPS[MEANINGS[second]]
            tests = "\n".join(
                [f"assert aux({x}) == {inner(x)}" for x in NUMBERS]
                + [f"assert f({x}) == {outer(inner(x))}" for x in NUMBERS]
            )
            question = self.question("Write aux and f.", tests, "f", words=[first, second], item=first)
            private = {"agent_0": f"First {first} x.", "agent_1": f"Then {second} it."}
            yield replace(question, private=private, id="")
