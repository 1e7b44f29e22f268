"""MBPP: mostly basic Python problems, by their sentence and the head of a function (Austin et al. 2108.07732).

| specification | |
|---|---|
| question | the head of the reference, with the sentence as its docstring |
| answer, agents, reward | as HumanEval's |
| rows | of the sanitized set ``task_id``, ``prompt``, ``code``, ``test_imports``, ``test_list``; or MAGRPO's, in HumanEval's form |
| hub | ``google-research-datasets/mbpp``, configuration ``sanitized``: 427 rows; tasks 11 to 510 test, 511 to 600 validate, 601 to 974 train, and the first ten are examples for prompts |
| MAGRPO's rows | 257, all of them from MBPP's test; those that cannot be passed, or that any answer passes, are repaired |

A file of MAGRPO's rows is divided by `test_rows`, as HumanEval is: 15 in its configuration.
"""  # noqa: E501

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.tasks.coding.extraction import parsed
from maporl.envs.tasks.coding.rows import CheckedRows
from maporl.sandbox.asserts import asserts_of
from maporl.types import Question

__all__ = ["MBPP"]

_SPLITS = {"test": range(11, 511), "validation": range(511, 601), "train": range(601, 975)}
_SETS = ("MBPP/56", "MBPP/79", "MBPP/104")
"""MAGRPO's rows in which ``set`` has become ``candidate``, so that any constant passes."""
_CLOSE = tuple(f"MBPP/{n}" for n in (29, 32, 45, 65, 76, 78, 87, 105, 115, 117, 141, 162, 172))
"""Those in which ``isclose`` has, so that nothing passes."""
_HELPERS: Mapping[str, tuple[str, str]] = {
    "MBPP/5": ("str_to_list(string)", "remove_dirty_chars(string, second_string)"),
    "MBPP/8": ("rev(num)", "is_one_less_than_twice_reverse(n)"),
    "MBPP/88": ("div_sum(n)", "are_equivalent(num1, num2)"),
}
"""Those that ask for a helper of the reference, and its head; the head of the function that their asserts are about."""


class MBPP(CheckedRows):
    """A team writes the functions of MBPP."""

    metadata: dict[str, Any] = {"name": "mbpp"}
    hub: ClassVar[HubSource] = HubSource(
        train=("google-research-datasets/mbpp", ("all",)), test=None, config="sanitized"
    )
    default_test_rows: ClassVar[int] = 15
    has_validation: ClassVar[bool] = True

    def load(self, split: str) -> Iterator[Question]:
        rows = [row for part in ("train", "test") for row in read_rows(self.data, part, self.hub)]
        if rows and "test_list" in rows[0].fields:
            yield from (self._sanitized(row) for row in rows if row.get("task_id", int) in _SPLITS[split])
        elif split != "validation":
            yield from super().load(split)

    def of_row(self, row: Row) -> Question:
        """The question of one of MAGRPO's rows."""
        question = super().of_row(_repaired(row))
        if "math.candidate(" in question.answer:
            raise row.error("its asserts call math.candidate, which there is not; write math.isclose.")
        return _named(question)

    def _sanitized(self, row: Row) -> Question:
        tests, task_id = "\n".join(map(str, row.get("test_list", list))), row.get("task_id", int)
        head, entry_point = _head(row, tests)
        prompt = f'{head}\n    """{row.text("prompt").strip()}"""\n'
        setup = "\n".join(map(str, row.fields.get("test_imports") or ()))
        return _named(self.question(prompt, tests, entry_point, setup=setup, prompt=prompt, id=f"MBPP/{task_id}"))


def _named(question: Question) -> Question:
    """The question under the name of its asserts: the same in the sanitized set and in MAGRPO's rows."""
    entry_point = question.metadata["entry_point"]
    asserts = [re.sub(rf"\b{entry_point}\(", "candidate(", source) for source in asserts_of(question.answer)]
    return replace(question, metadata={**question.metadata, "asks": f"MBPP {'; '.join(asserts)}"})


def _head(row: Row, tests: str) -> tuple[str, str]:
    """The head of the function of the reference that the asserts call, and its name."""
    asserts, reference = parsed(tests).tree, parsed(row.text("code")).tree
    calls = (node for node in (ast.walk(asserts) if asserts is not None else ()) if isinstance(node, ast.Call))
    called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    for node in reference.body if reference is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name in called:
            return f"def {node.name}({ast.unparse(node.args)}):", node.name
    raise row.error("the asserts call no function that 'code' defines.")


def _repaired(row: Row) -> Row:
    """One of MAGRPO's rows, its known fault put right."""
    fields, name = dict(row.fields), str(row.fields.get("task_id"))
    test = row.text("test")
    if name in _SETS:
        fields["test"] = re.sub(r"(assert |== ?)candidate\(", r"\1set(", test)
    elif name in _CLOSE:
        fields["test"] = "import math\n" + test.replace("math.candidate(", "math.isclose(")
    elif name in _HELPERS and row.text("entry_point") == _HELPERS[name][0].partition("(")[0]:
        wrong, right = _HELPERS[name]
        fields |= {"entry_point": right.partition("(")[0], "prompt": row.text("prompt").replace(wrong, right, 1)}
    return replace(row, fields=fields)
