"""CoopHumanEval: 82 functions that two can write together (MAGRPO 2508.04652).

| specification | |
|---|---|
| question, answer, agents, reward, rows | as HumanEval's |
| hub | ``OpenMLRL/CoopHumanEval``: 82 rows, of which MAGRPO tests on the first 16, which are HumanEval's, and trains on the others |
"""

from __future__ import annotations

from typing import Any, ClassVar

from maporl.envs.data import HubSource
from maporl.envs.tasks.coding.rows import CheckedRows

__all__ = ["CoopHumanEval"]

_OF_HUMANEVAL = (150, 72, 124, 104, 34, 2, 144, 54, 157, 82, 39, 59, 75, 80, 94, 25)
"""Which of HumanEval's functions CoopHumanEval's first ones are, in other words and with other asserts."""


class CoopHumanEval(CheckedRows):
    """A team writes the functions of CoopHumanEval."""

    metadata: dict[str, Any] = {"name": "coophumaneval"}
    hub: ClassVar[HubSource] = HubSource(train=("OpenMLRL/CoopHumanEval", ("all",)), test=None)
    default_test_rows: ClassVar[int] = 16

    def asks(self, task_id: str) -> str:
        number = task_id.rpartition("/")[2]
        known = number.isdigit() and int(number) < len(_OF_HUMANEVAL)
        return f"HumanEval/{_OF_HUMANEVAL[int(number)]}" if known else task_id
