"""The larger number: each of two agents knows one, and the team is to name the larger of the two."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs import DiscussionEnv
from maporl.types import Question

__all__ = ["MyTask"]

THINGS = ("apples", "pears", "plums", "figs", "nuts")


class MyTask(DiscussionEnv):
    """Two agents know a number each; the team is to name the larger one, which nobody knows alone."""

    metadata: dict[str, Any] = {"name": "my_task"}
    instruction = 'Reply with "Answer: " and the larger number.'
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d)"}
    default_shaping: ClassVar[Any] = "outcome_credit"  # an early message earns what the team makes of it
    reads_data: ClassVar[bool] = False  # the questions are made here; of a file: see maporl.envs.data.read_rows

    def load(self, split: str) -> Iterator[Question]:
        """The questions of "train" or "test". No pair of digits is in both."""
        for first, second, thing in itertools.product(range(10), range(10), THINGS):
            if split == ("test" if (first + 2 * second) % 5 == 0 else "train"):
                yield Question(
                    f"How many {thing} has the one who has more?",
                    answer=str(max(first, second)),
                    private={"agent_0": f"Your {thing}: {first}.", "agent_1": f"Your {thing}: {second}."},
                )
