"""What the source of a module says about its functions, by its syntax tree: what they define, return, call and ignore.

Nothing here runs anything. Code that cannot be reached (after a `return`, under ``if False``) counts as if it were not there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

__all__ = [
    "Function",
    "calls",
    "defines",
    "functions",
    "ignores",
    "in_scope",
    "is_more_than_a_wrapper",
    "reached",
    "returns",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_LINES = 2
"""A function of so many statements that do something, or fewer, is a wrapper."""


def _live(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block that can be reached."""
    for statement in body:
        yield statement
        if isinstance(statement, _ENDS):
            return


def _blocks(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """The blocks of a compound statement that can be reached."""
    if isinstance(statement, ast.If | ast.While) and isinstance(statement.test, ast.Constant):
        yield statement.body if statement.test.value else statement.orelse
        return
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def in_scope(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a scope that can be reached, those of its blocks included, those of functions and classes in it not."""
    waiting = [_live(body)]  # no recursion: a chain of elif is as deep as it is long
    while waiting:
        statement = next(waiting[-1], None)
        if statement is None:
            waiting.pop()
            continue
        yield statement
        if not isinstance(statement, _SCOPES):
            waiting += [_live(block) for block in reversed(list(_blocks(statement)))]


def _parts(statement: ast.stmt) -> Iterator[ast.AST]:
    """What stands in a statement itself, and not in its blocks; of a function that it defines, what defaults and decorators say."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("body", "orelse", "finalbody", "handlers", "cases") and not isinstance(node, ast.expr):
                continue
            waiting += [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, ast.AST)]


def _everything(function: Function) -> Iterator[ast.AST]:
    """All that can be reached in a function, functions in it included."""
    if isinstance(function, ast.Lambda):
        yield from ast.walk(function.body)
        return
    for statement in in_scope(function.body):
        yield from _parts(statement)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _everything(statement)
        elif isinstance(statement, ast.ClassDef):
            yield from ast.walk(statement)


def functions(tree: ast.Module) -> dict[str, Function]:
    """The functions that a module defines, the last of each name, by all their names; one that is later given something else is none."""
    found: dict[str, Function] = {}
    for node in in_scope(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = found.get(node.value.id) if isinstance(node.value, ast.Name) else node.value  # another name of one
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.pop(target.id, None)
                    if isinstance(value, Function):
                        found[target.id] = value
    return found


def defines(tree: ast.Module, name: str) -> bool:
    """Whether a module defines a function."""
    return name in functions(tree)


def returns(function: Function) -> bool:
    """Whether a function returns a value somewhere, or yields any."""
    if isinstance(function, ast.Lambda):
        return True
    for statement in in_scope(function.body):
        if isinstance(statement, ast.Return) and statement.value is not None:
            return True
        if not isinstance(statement, _SCOPES) and any(
            isinstance(p, ast.Yield | ast.YieldFrom) for p in _parts(statement)
        ):
            return True
    return False


def reached(tree: ast.Module, name: str) -> dict[str, Function]:
    """The function and all others of its module that it mentions, or that these do; of a class all methods, by ``Class.method``."""
    known, found, waiting = functions(tree), dict[str, Function](), [name]
    classes = {node.name: node for node in in_scope(tree.body) if isinstance(node, ast.ClassDef)}
    while waiting:
        now = waiting.pop()
        if now in classes and now not in known:
            cls = classes.pop(now)
            methods = [node for node in in_scope(cls.body) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            known.update((f"{now}.{method.name}", method) for method in methods)
            waiting += [f"{now}.{method.name}" for method in methods]
            waiting += [part.id for part in ast.walk(cls) if isinstance(part, ast.Name)]  # its bases among them
        elif now in known and now not in found:
            found[now] = known[now]
            waiting += [
                n.id for n in _everything(known[now]) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
            ]
    return found


def _own_names(function: Function) -> set[str]:
    """The names that a function itself gives a value: its arguments, and what it assigns or defines."""
    given = {part.arg for part in ast.walk(function.args) if isinstance(part, ast.arg)}
    for node in _everything(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            given.add(node.name)
    return given


def calls(function: Function, name: str) -> bool:
    """Whether a function calls the one of that name, or hands it to another that does (``map(aux, rows)``)."""
    if name in _own_names(function):
        return False  # that is another one
    calling = [node for node in _everything(function) if isinstance(node, ast.Call)]
    for call in calling:
        handed = [call.func, *call.args, *(keyword.value for keyword in call.keywords)]
        if any(isinstance(part, ast.Name) and part.id == name for part in handed):
            return True
    return False


def ignores(function: Function, name: str) -> bool:
    """Whether a function calls the one of that name and makes nothing of what it returns: the call stands alone, its result goes to a
    variable that is never read, or an ``if`` on which nothing depends asks for it."""
    if isinstance(function, ast.Lambda):
        return False
    read = {n.id for n in _everything(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    every = list(_everything(function))
    nodes = [node for node in every if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign)]
    idle = [
        node for node in every if isinstance(node, ast.If) and not any(map(_does_something, node.body + node.orelse))
    ]
    if any(isinstance(p, ast.Name) and p.id == name for node in idle for p in ast.walk(node.test)):
        return True
    shared = {n for node in _everything(function) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names}
    for node in nodes:
        if not (
            isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name) and node.value.func.id == name
        ):
            continue
        targets = [] if isinstance(node, ast.Expr) else node.targets if isinstance(node, ast.Assign) else [node.target]
        parts = [part for target in targets for part in ast.walk(target) if not isinstance(part, ast.expr_context)]
        kept = any(
            not isinstance(p, ast.Name | ast.Tuple | ast.List | ast.Starred) for p in parts
        )  # an attribute, an item
        if not kept and not any(isinstance(p, ast.Name) and p.id in read | shared for p in parts):
            return True
    return False


def is_more_than_a_wrapper(tree: ast.Module, name: str) -> bool:
    """Whether a function, or one of its module that it uses, has more than two statements that do something.

    Nothing is done by a docstring, ``pass``, an import, a declaration, or giving a value a second name.
    """
    return any(
        isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and sum(map(_does_something, in_scope(function.body))) > _LINES
        for function in reached(tree, name).values()
    )


def _does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return any(isinstance(part, ast.Call | ast.Await | ast.Yield | ast.YieldFrom) for part in ast.walk(statement))
    if isinstance(statement, ast.Assign | ast.AnnAssign):  # a second name for a value, or no value
        return not (statement.value is None or isinstance(statement.value, ast.Name))
    if isinstance(statement, ast.If | ast.While) and isinstance(statement.test, ast.Constant):
        return False  # what it does are the statements in it
    if isinstance(statement, ast.Assert):
        return not isinstance(statement.test, ast.Constant)
    return not isinstance(statement, ast.Pass | ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal | ast.Delete)
