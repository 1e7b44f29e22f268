"""Rows of coding benchmarks that are one file each: which of them train and which test, and their tests by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.tasks.coding.task import CodingTask
from maporl.errors import UserValueError
from maporl.sandbox.asserts import asserts_of
from maporl.types import Question

__all__ = ["CheckedRows", "by_name"]


class CheckedRows(CodingTask):
    """Base of HumanEval and those in its form: rows of ``prompt``, ``entry_point`` and ``test``, which defines ``check(candidate)``.

    Args:
        num_agents, num_rounds: As in `CodingTask`.
        test_rows: How many of the first rows are the test; the others train. Left out: as many as in MAGRPO, and none of a file of
            one's own that has no more than that. Where the data has a test file, that is the test.
        **arguments: Of `CodingTask`.
    """

    hub: ClassVar[HubSource]
    default_test_rows: ClassVar[int]

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        test_rows: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        self.test_rows = test_rows
        if test_rows is not None and test_rows < 0:
            raise UserValueError(f"test_rows is {test_rows}; it cannot be negative.")

    def load(self, split: str) -> Iterator[Question]:
        """The questions of a split."""
        tests = [*read_rows(self.data, "test", self.hub)]
        if split == "test" and tests:
            rows = tests
        else:
            rows = [*read_rows(self.data, "train", self.hub)]
            if not tests:
                rest = self.default_test_rows if len(rows) > self.default_test_rows else 0
                first = rest if self.test_rows is None else self.test_rows
                rows = rows[:first] if split == "test" else rows[first:]
        for row in rows:
            yield self.of_row(row)

    def of_row(self, row: Row) -> Question:
        """The question of a row."""
        prompt, entry_point, task_id = (
            row.text("prompt"),
            row.text("entry_point"),
            str(row.fields.get("task_id", row.id)),
        )
        return self.question(
            prompt,
            by_name(row, row.text("test"), entry_point),
            entry_point,
            prompt=prompt,
            id=task_id,
            asks=self.asks(task_id),
        )

    def asks(self, task_id: str) -> str:
        """What the question is called wherever it is asked (`Question.asked`)."""
        return task_id


def by_name(row: Row, test: str, entry_point: str) -> str:
    """The tests of a row with ``candidate``, the argument of ``check``, under its own name."""
    try:
        tree = ast.parse(test)
    except SyntaxError as error:
        raise row.error(f"field 'test' is no Python (line {error.lineno}: {error.msg}).") from None
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if not checks or entry_point == "check":
        raise row.error(
            f"field 'test' must define check(candidate) about another function than {entry_point!r} by that name."
        )
    if not asserts_of(test):
        raise row.error("field 'test' has no assert that asks anything.")
    argument = checks[-1].args.args[0].arg if checks[-1].args.args else ""
    checks[-1].args.args = []
    for node in ast.walk(checks[-1]):
        if isinstance(node, ast.Name) and node.id == argument:
            node.id = entry_point
    return f"{ast.unparse(tree)}\n\ncheck()"
