"""HumanEval: 164 functions to be completed (Chen et al. 2107.03374).

| specification | |
|---|---|
| question | the head of a function, with its docstring |
| answer | the tests: asserts, of which feedback may tell the first (`visible`) |
| agents | a helper, who writes ``aux``, and a main programmer, at once (see `CodingTask`) |
| reward | MAGRPO's, over its maximum of 4 |
| rows | ``task_id``, ``prompt``, ``entry_point``, ``test`` |
| hub | ``openai/openai_humaneval``: 164 rows, of which MAGRPO tests on the first 33 and trains on the others |
"""

from __future__ import annotations

from typing import Any, ClassVar

from maporl.envs.data import HubSource
from maporl.envs.tasks.coding.rows import CheckedRows

__all__ = ["HumanEval"]


class HumanEval(CheckedRows):
    """A team completes the functions of HumanEval."""

    metadata: dict[str, Any] = {"name": "humaneval"}
    hub: ClassVar[HubSource] = HubSource(train=("openai/openai_humaneval", ("test",)), test=None)
    default_test_rows: ClassVar[int] = 33
