"""Asserts from examples, as a question shows them: ``>>> double(2)`` and below it ``4``."""

from __future__ import annotations

import ast
import builtins
import doctest
import re

from maporl.envs.tasks.coding.extraction import parsed

__all__ = ["asked_name", "examples_as_asserts"]

_QUOTES = re.compile(
    r"(?:\"{3}|'{3})[ \t]*$", re.MULTILINE
)  # the end of a docstring, which is no part of its last example


def examples_as_asserts(text: str) -> str:
    """Python with an assert for every example in a text that shows a value, or prints one; "" if there are none.

    Examples whose lines do not line up are none; of those that raise nothing is asserted.
    """
    try:
        examples = doctest.DocTestParser().get_examples(_QUOTES.sub("", text))
    except ValueError:
        return ""
    return "\n".join(filter(None, (_assert(e.source.strip(), e.want.strip()) for e in examples if e.exc_msg is None)))


def _assert(source: str, want: str) -> str:
    tree = parsed(source).tree
    if tree is None:
        return ""
    if not want or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return source  # what the examples below it need
    call = tree.body[0].value
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "print" and len(call.args) == 1 and not call.keywords:
        return f"assert str({ast.unparse(call.args[0])}) == {want!r}"
    try:
        ast.literal_eval(want)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return f"assert repr({source}) == {want!r}"
    return f"assert ({source}) == {want}"


def asked_name(text: str, tests: str) -> str:
    """The function that is asked for: the last one that the text defines, as a prompt does that is to be gone on with; else the first name
    that the tests call, and neither they nor Python define; "" if there is none."""
    tree = parsed(text).tree
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] if tree is not None else []
    if defined:
        return defined[-1]
    asking = parsed(tests).tree
    if asking is None:
        return ""
    nodes = list(ast.walk(asking))
    own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {
        (a.asname or a.name).split(".")[0] for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
    }
    called = [node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    called.sort(key=lambda name: (name.lineno, name.col_offset))
    return next((name.id for name in called if name.id not in own and not hasattr(builtins, name.id)), "")
