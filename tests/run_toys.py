"""Tasks, partners and algorithms for tests of whole runs, named on command lines as ``run_toys:Name``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from maporl.agents import ScriptedAgent
from maporl.algorithms import Algorithm
from maporl.algorithms.algorithm import Update
from maporl.envs import DiscussionEnv, OwnScore
from maporl.training.callbacks import Callback
from maporl.training.evaluation import Evaluation
from maporl.types import Episode, Question, Score, Transcript

SMALL: dict[str, Any] = {
    "episodes_per_iteration": 8,
    "max_new_tokens": 5,
    "num_eval_questions": 4,
    "num_iterations": 2,
    "learning_rate": 1e-3,
    "trackers": (),
    "preflight": "off",
}
"""Settings of a run of a second or two."""


def share_of_letters(question: Question, response: str) -> Score:
    """A reward that varies on random text."""
    letters = sum(c.isalpha() for c in response)
    return Score(letters / max(len(response), 1), letters % 2 == 0, answer=response[:1] or None)


class Letters(DiscussionEnv):
    """Say letters."""

    default_verifier = staticmethod(share_of_letters)

    def load(self, split: str) -> Iterator[Question]:
        for number in range(200 if split == "train" else 20):
            yield Question(f"{split} {number}", answer="even")


class NoTest(Letters):
    """A task without test questions, whose shaping is written in a mapping."""

    def load(self, split: str) -> Iterator[Question]:
        return super().load(split) if split == "train" else iter(())


class Careless(Letters):
    """A task that is tested on what it trains on."""

    metadata = {"name": "careless"}

    def load(self, split: str) -> Iterator[Question]:
        return super().load("train")


class FailsLater(OwnScore):
    """A shaping with a bug that shows in the middle of a run."""

    calls = 0

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        type(self).calls += len(transcript.turns) == 4
        if self.calls > 4 + 8 + 4:  # evaluation, iteration 1, half of iteration 2
            raise ZeroDivisionError("a bug of the user's")
        return super().__call__(transcript)


class StopsLater(FailsLater):
    """Ctrl-C at the same place."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        try:
            return super().__call__(transcript)
        except ZeroDivisionError:
            raise KeyboardInterrupt from None


class Heard(Callback):
    """Remembers of every iteration and evaluation that it is over: ("iteration" or the evaluation's name, iteration)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.metrics: list[dict[str, float]] = []

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self.metrics.append(dict(metrics))
        self._hear("iteration", iteration)

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        self._hear(name, iteration)

    def _hear(self, event: str, iteration: int) -> None:
        self.told.append((event, iteration))


class Stop(Heard):
    """Ctrl-C when a certain thing is over."""

    def __init__(self, event: str, iteration: int) -> None:
        super().__init__()
        self.when = (event, iteration)

    def _hear(self, event: str, iteration: int) -> None:
        super()._hear(event, iteration)
        if (event, iteration) == self.when:
            raise KeyboardInterrupt


class Parrot(ScriptedAgent):
    """A partner that always says the same."""

    def __init__(self) -> None:
        super().__init__(lambda observation, rng: "parrot")


class Idle(Algorithm):
    """Learns nothing, and names none of the settings of a run."""

    def update(self, episodes: Sequence[Episode]) -> Update:
        return Update({"train/turns": float(sum(len(e.said) for e in episodes))})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
