"""Arithmetic: sums and differences that everybody sees. No hidden information; a check that a team loses nothing.

| specification | |
|---|---|
| agents | any number |
| private | nothing |
| answer | "Answer: 42", read by the number verifier |
| reward | own score |
| ceiling | 1, for a team and for a lone agent |
| questions | `num_questions` distinct ones drawn with `task_seed` from a + b and a - b, 0 <= a, b <= max_operand; a fifth "test" |
| source | this project; the kind of question of Du et al. 2023 (arXiv 2305.14325, section 3.1) |
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import TEST_SHARE
from maporl.errors import UserValueError
from maporl.types import Question

__all__ = ["Arithmetic"]


class Arithmetic(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents: Agents.
        num_rounds: Rounds of the discussion.
        max_operand: The largest operand.
        num_questions: How many questions, or as many as there are if that is fewer.
        task_seed: Of the drawing and of the split.
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: `max_operand` below 1 or `num_questions` below 5 (no test part).
    """

    metadata: dict[str, Any] = {"name": "arithmetic"}
    instruction = 'Reply with "Answer: " and the number.'
    reads_data: ClassVar[bool] = False
    default_verifier: ClassVar[Any] = "number"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        max_operand: int = 99,
        num_questions: int = 2000,
        task_seed: int = 0,
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        if max_operand < 1 or num_questions < 5:
            raise UserValueError(
                f"max_operand {max_operand} must be at least 1 and num_questions {num_questions} at least 5."
            )
        self.max_operand, self.num_questions, self.task_seed = max_operand, num_questions, task_seed

    def load(self, split: str) -> Iterator[Question]:
        """The questions of the split."""
        size = self.max_operand + 1
        total = 2 * size**2
        count = min(self.num_questions, total)
        chosen = random.Random(self.task_seed).sample(range(total), count)
        first = int(TEST_SHARE * count)
        for number in chosen[:first] if split == "test" else chosen[first:]:
            pair, minus = divmod(number, 2)
            a, b = divmod(pair, size)
            answer = a - b if minus else a + b
            yield Question(f"What is {a} {'-' if minus else '+'} {b}?", str(answer))
