"""Tests that compare an answer with a reference: calls, whose values both have to agree on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maporl.envs.tasks.coding.extraction import parsed
from maporl.envs.tasks.coding.programs import joined
from maporl.envs.tasks.coding.structure import functions

__all__ = ["Compared", "compared"]

_LENT = "_lent_"
_SETUP = """
import builtins as _builtins, math as _math, sys as _sys, types as _types

_reference = _sys.modules["reference"] = _types.ModuleType("reference")
_reference.__builtins__ = _builtins  # else it would find the answer's names
_reference.answer = _reference


def _expected(call):
    return eval(call, vars(_reference))


def _same(given, expected):
    if isinstance(expected, float) or isinstance(given, float):
        if not (isinstance(given, (int, float)) and isinstance(expected, (int, float))):
            return False
        if given != given or expected != expected:
            return given != given and expected != expected
        return _math.isclose(given, expected, rel_tol=1e-9, abs_tol=1e-12)
    for kind in (list, tuple):
        if isinstance(expected, kind):
            return isinstance(given, kind) and len(given) == len(expected) and all(map(_same, given, expected))
    if isinstance(expected, dict):
        return (
            isinstance(given, dict)
            and given.keys() == expected.keys()
            and all(_same(given[key], value) for key, value in expected.items())
        )
    return given == expected


"""


@dataclass(frozen=True)
class Compared:
    """Tests of a question, from calls and a reference.

    Attributes:
        entry_point: The function of the reference that is called; "" if none is.
        asserts: One for every call that is an expression.
        setup: What they need: the reference, which runs in the process of the tests and not in the answer's.
        lent: Imports for the answer: what the calls need of the reference's imports, under names of their own.
    """

    entry_point: str
    asserts: tuple[str, ...]
    setup: str
    lent: str


def compared(reference: ast.Module, calls: Sequence[str]) -> Compared:
    """The tests that an answer passes if its calls give what the reference's give.

    Values are the same as in Python, but that floats may differ in the last digits (1e-9 of them), and that NaN is NaN.
    """
    trees = [tree for call in calls if (tree := _expression(call)) is not None]
    defined = functions(reference)
    called = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    entry_point = next((f.id for f in called if isinstance(f, ast.Name) and f.id in defined), "")
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = {name: source for name, source in _imports(reference) if name in used}
    lent, sources = "\n".join(imports.values()), [ast.unparse(_Lending(set(imports)).visit(tree)) for tree in trees]
    module = joined([lent, ast.unparse(reference)])
    return Compared(
        entry_point,
        tuple(f"assert _same({source}, _expected({source!r}))" for source in sources),
        f"{_SETUP}exec(compile({module!r}, '<reference>', 'exec'), vars(_reference))",
        lent,
    )


def _expression(call: str) -> ast.expr | None:
    code = parsed(call.strip())
    if code.tree is not None and len(code.tree.body) == 1 and isinstance(code.tree.body[0], ast.Expr):
        return code.tree.body[0].value
    return None


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a module imports by name: (the name, the same import under the name that is lent)."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__") and not node.level:
            for alias in node.names:
                if alias.name != "*":
                    name = alias.asname or alias.name
                    yield name, f"from {node.module} import {alias.name} as {_LENT}{name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                yield name, f"import {alias.name if alias.asname else name} as {_LENT}{name}"


class _Lending(ast.NodeTransformer):
    """What is lent is the answer's, so that objects made of it need not be copied to it."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.names:
            return node
        return ast.Attribute(ast.Name("answer", ast.Load()), f"{_LENT}{node.id}", ast.Load())
