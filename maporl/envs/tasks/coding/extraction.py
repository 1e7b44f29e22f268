"""The module that a message answers with: out of code fences, out of prose, or as the rest of the function that was asked for."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from maporl.envs.tasks.coding.pieces import lines_of, pieces_of
from maporl.envs.tasks.coding.structure import defines, in_scope
from maporl.reasoning import spoken

__all__ = ["LONGEST", "Code", "code_of", "parsed"]

LONGEST = 65_536
"""Characters of a message; a longer one is no answer to a question for one function."""

_BUDGET = 20 * LONGEST
"""Characters that are parsed in all to find what of a message is code: a text may be tried from many of its lines."""
_BEGINS = re.compile(r"(?:async\s+def|def|class|import|from|@|if|for|while|try|with|\w+\s*(?::[^=\n]+)?=[^=])")


@dataclass(frozen=True)
class Code:
    """What code a message holds.

    Attributes:
        source: The whole module, imports, constants and helpers included; "" if there is none. It may not parse.
        fault: Why there is none, or why it does not parse; "" if all is well.
        tree: The module, parsed; None if it does not parse.
    """

    source: str = ""
    fault: str = ""
    tree: ast.Module | None = None


def parsed(source: str) -> Code:
    """A module, and what is wrong with it: nothing that it may be raises."""
    if len(source) > LONGEST:
        return Code(fault=f"longer than {LONGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none
            return Code(source, tree=ast.parse(source))
    except SyntaxError as error:
        return Code(source, f"line {error.lineno}: {error.msg}" if error.lineno else f"no Python: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:  # NUL, half a surrogate pair, nested too deeply
        return Code(source, f"no Python: {error or type(error).__name__}")


def code_of(message: str, wanted: str = "", prompt: str = "") -> Code:
    """The module in a message.

    Of a message with code fences, its Python blocks up to the last one that defines `wanted`: what follows shows how it is used. Else the
    pieces of the text that are code. If neither defines `wanted`, and the text goes on where `prompt` ends, `prompt` and text.

    Args:
        message: What was said, reasoning included.
        wanted: The function that was asked for; "" if any will do.
        prompt: Source that ends within that function, after its docstring; "" if there is none.
    """
    if len(message) > LONGEST:
        return Code(fault=f"longer than {LONGEST:,} characters")
    text = spoken(message)
    if text is None:
        return Code(fault="reasoning that is not finished")
    text = text.replace("\ufeff", "")  # which editors put before a file
    pieces = pieces_of(text)
    fenced = any(piece.kind == "fence" for piece in pieces)
    blocks = [f"{piece.text}\n" for piece in pieces if fenced and piece.kind == "python"]
    found = _of_blocks(blocks, wanted) if blocks else _of_text(text)
    if found.tree is not None and (not wanted or defines(found.tree, wanted)):
        return found
    if prompt and (whole := _completed(prompt, blocks[0] if blocks else text, wanted)) is not None:
        return whole
    return found if found.source else Code(fault="no code")


def _of_blocks(blocks: list[str], wanted: str) -> Code:
    """All blocks up to the last one that defines what is wanted; of the others those that define anything, and of those after it the ones
    that do nothing else."""
    codes = [_dedented(block) for block in blocks]
    defining = [n for n, code in enumerate(codes) if code.tree is not None and wanted and defines(code.tree, wanted)]
    if not defining:  # the longest try, so that what is wrong with it can be said
        return max(codes, key=lambda code: (not wanted and code.tree is not None, len(code.source)))
    last = defining[-1]
    before = [code for code in codes[:last] if code.tree is not None and any(map(_is_definition, code.tree.body))]
    after = [c for c in codes[last + 1 :] if c.tree is not None and all(map(_only_defines, c.tree.body))]
    return parsed("\n\n".join(code.source.strip("\n") for code in (*before, codes[last], *after)))


def _dedented(text: str) -> Code:
    """A text as it is, if that is code: without the indentation of all its lines a text within it may not be the same."""
    whole = parsed(text)
    return whole if whole.tree is not None else parsed(textwrap.dedent(text))


_NAMES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, (*_NAMES, ast.Assign, ast.AnnAssign))


def _only_defines(node: ast.stmt) -> bool:
    """Whether a statement gives something a name, and calls nothing: an example of how code is used does."""
    constant = isinstance(node, ast.Assign | ast.AnnAssign) and not any(isinstance(p, ast.Call) for p in ast.walk(node))
    return constant or isinstance(node, _NAMES)


def _of_text(text: str) -> Code:
    """The pieces of a text that are code, prose before, between and after them left out; without any, the text and its fault."""
    whole = _dedented(text)
    pieces = list(_pieces(lines_of(whole.source)))
    if not pieces:
        return Code(whole.source, whole.fault) if any(_BEGINS.match(line) for line in text.splitlines()) else Code()
    return parsed("\n".join(pieces))


def _pieces(lines: list[str]) -> Iterator[str]:
    """The longest runs of statements that begin like code, from the top."""
    start, budget = 0, _Budget()
    while start < len(lines):
        if not _BEGINS.match(lines[start]):
            start += 1
            continue
        end, code = _run(lines, start, budget)
        if code is not None:
            yield _without_words(code)
        start = max(end, start + 1)


class _Budget:
    """How many characters may still be parsed."""

    def __init__(self) -> None:
        self.left = _BUDGET

    def allows(self, text: str) -> bool:
        self.left -= len(text)
        return self.left >= 0


def _run(lines: list[str], start: int, budget: _Budget) -> tuple[int, Code | None]:
    """The end of the longest run of whole statements from line `start`, and the run; None if there is none, or the budget is spent."""
    end = len(lines)
    while budget.allows(text := "".join(lines[start:end])):
        code = parsed(text)
        if code.tree is not None:
            return end, code
        broken = re.match(r"line (\d+)", code.fault)
        end = min(start + int(broken[1]) - 1 if broken else start, end - 1)
        while end > start and not _begins_statement(lines[end]):
            end -= 1
        if end <= start:
            break
    return start, None


def _begins_statement(line: str) -> bool:
    return bool(line.strip()) and not line[0].isspace() and line[0] not in ")]}"


def _without_words(code: Code) -> str:
    """A run of statements without those that are bare words, which prose of one word is, and which do nothing in code."""
    assert code.tree is not None
    lines = lines_of(code.source)
    for node in code.tree.body:
        if isinstance(node, ast.Expr) and not any(isinstance(part, ast.Call | ast.Constant) for part in ast.walk(node)):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = "\n"
    return "".join(lines)


def _completed(prompt: str, text: str, wanted: str) -> Code | None:
    """`prompt` with the text as the rest of its last function, as far as that is code; None if the text is no such rest."""
    text = text.strip("\n")
    alone = parsed(text).tree
    lost = alone is None or _returns_at_top(alone)
    bodies = [
        text,
        *(["    " + text, textwrap.indent(text, "    ")] if lost else []),
    ]  # its first indent lost; all lost
    for body in bodies:
        lines = lines_of(f"{prompt.rstrip()}\n{body}\n")
        _, code = _run(lines, 0, _Budget())
        if (
            code is not None
            and code.tree is not None
            and _has_body(code.tree, wanted)
            and not _returns_at_top(code.tree)
        ):
            return code
    return None


def _returns_at_top(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Return) for node in in_scope(tree.body))


def _has_body(tree: ast.Module, wanted: str) -> bool:
    """Whether the function has more than its docstring."""
    functions = [n for n in in_scope(tree.body) if isinstance(n, ast.FunctionDef) and n.name == wanted]
    return bool(functions) and any(not isinstance(statement, ast.Expr) for statement in functions[-1].body)
