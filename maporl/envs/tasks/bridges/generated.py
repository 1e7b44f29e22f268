"""Tasks that another package makes item by item, from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.errors import Unwritten, UserValueError
from maporl.types import Question

__all__ = ["Generated"]


class Generated(DiscussionEnv):
    """Base of such tasks: the first items are the test's, those after them are for training, without any that the test has, too.

    Args:
        num_agents, num_rounds: As in `DiscussionEnv`.
        config: The item maker's own settings.
        num_train, num_test: How many items.
        task_seed: What the items are made from.
        **arguments: Of `DiscussionEnv`.

    Attributes:
        config: The settings as JSON.

    Raises:
        ValueError: No training items.
    """

    reads_data: ClassVar[bool] = False

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        num_train: int = 400,
        num_test: int = 100,
        task_seed: int = 0,
        **arguments: Any,
    ) -> None:
        if num_train < 1 or num_test < 0:
            raise UserValueError(f"num_train is {num_train} and num_test {num_test}; they are at least 1 and 0.")
        self.config = json.dumps(config or {}, sort_keys=True)
        self.num_train, self.num_test, self.task_seed = num_train, num_test, task_seed
        super().__init__(num_agents, num_rounds, **arguments)

    def question(self, number: int) -> Question:
        """Item `number`, from 0. The same whenever and wherever it is asked for."""
        raise Unwritten(f"{type(self).__name__} has no question(number); write one that returns a Question.")

    def load(self, split: str) -> Iterator[Question]:
        """The items of the split; whether two ask the same is told up to case and spaces (`Question.asked`)."""
        test = [self.question(number) for number in range(self.num_test)]
        if split == "test":
            yield from test
            return
        asked = {question.asked for question in test}
        items = (self.question(self.num_test + number) for number in range(self.num_train))
        yield from (question for question in items if question.asked not in asked)
