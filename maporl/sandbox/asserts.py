"""The assert statements of tests: found, and made to report one by one."""

from __future__ import annotations

import ast
from functools import lru_cache

__all__ = ["BEGIN", "ERRORS", "FAILED", "HELD", "RAISED", "asserts_of", "keep_to_themselves", "reporting"]

BEGIN, HELD, FAILED, RAISED = "__assert_begin__", "__assert_held__", "__assert_failed__", "__assert_raised__"
ERRORS = "__assert_errors__"  # what ends an assert, and not the tests


def _asks_nothing(statement: ast.Assert) -> bool:
    """`assert True`, which any answer passes."""
    return isinstance(statement.test, ast.Constant) and bool(statement.test.value)


@lru_cache(maxsize=4096)
def asserts_of(tests: str) -> tuple[str, ...]:
    """The assert statements, in the order of the source, wherever they stand; not those that hold of themselves.

    Raises:
        SyntaxError, ValueError: The tests are no Python.
    """
    return tuple(ast.unparse(ast.Assert(node.test, None)) for node in _found(ast.parse(tests)))


_PURE = {
    *("math", "cmath", "copy", "random", "re", "string", "typing", "collections", "itertools", "functools", "operator"),
    *("heapq", "bisect", "json", "fractions", "statistics", "numbers"),
}
_REACHING = {
    *(
        "setattr",
        "delattr",
        "exec",
        "eval",
        "compile",
        "globals",
        "vars",
        "__import__",
        "__builtins__",
        "open",
        "input",
    ),
}


@lru_cache(maxsize=4096)
def keep_to_themselves(setup: str, tests: str) -> bool:
    """Whether tests cannot change anything that others see: they set no attributes, import modules without a state, and call nothing that
    reaches further. After any other tests their process is replaced.

    Raises:
        SyntaxError, ValueError: They are no Python.
    """
    for node in (*ast.walk(ast.parse(setup)), *ast.walk(ast.parse(tests))):
        if isinstance(node, ast.Attribute) and (not isinstance(node.ctx, ast.Load) or node.attr.startswith("__")):
            return False
        if isinstance(node, ast.Name) and node.id in _REACHING:
            return False
        if (
            isinstance(node, ast.Subscript)
            and not isinstance(node.ctx, ast.Load)
            and not isinstance(node.value, ast.Name)
        ):
            return False
        if isinstance(node, ast.ImportFrom) and node.module not in _PURE:
            return False
        if isinstance(node, ast.Import) and not {alias.name for alias in node.names} <= _PURE:
            return False
    return True


def _found(tree: ast.Module) -> list[ast.Assert]:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Assert) and not _asks_nothing(node))
    return sorted(nodes, key=lambda node: (node.lineno, node.col_offset))


def reporting(tests: str) -> ast.Module:
    """The tests in which every assert says whether it held instead of ending everything: assert number n becomes

    try: begin(n); held(n) if TEST else failed(n)
    except ERRORS: raised(n)
    """
    tree = ast.parse(tests, "<tests>")
    numbers = {id(node): number for number, node in enumerate(_found(tree))}
    return ast.fix_missing_locations(_Reporting(numbers).visit(tree))  # type: ignore[no-any-return]


class _Reporting(ast.NodeTransformer):
    def __init__(self, numbers: dict[int, int]) -> None:
        self.numbers = numbers

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if id(node) not in self.numbers:
            return ast.copy_location(ast.Pass(), node)

        def say(what: str) -> ast.stmt:
            return ast.Expr(ast.Call(ast.Name(what, ast.Load()), [ast.Constant(self.numbers[id(node)])], []))

        body = [say(BEGIN), ast.If(node.test, [say(HELD)], [say(FAILED)])]
        handler = ast.ExceptHandler(ast.Name(ERRORS, ast.Load()), None, [say(RAISED)])
        return ast.copy_location(ast.Try(body, [handler], [], []), node)
