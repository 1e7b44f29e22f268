"""What of a message is code, and what is prose: for those who look for the answer in it, and for those who show it."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import Literal, NamedTuple

__all__ = ["Piece", "lines_of", "pieces_of"]

_PYTHON = {"", "python", "python3", "py", "py3", "ipython"}
_DEFINES = re.compile(r"^(?:async +def|def|class) +\w+ *[(:]", re.MULTILINE)
_BEGINS = re.compile(r"^(?:(?:async +def|def|class) +\w+ *[(:]|import +\w|from +[\w.]+ +import\b|@\w)", re.MULTILINE)
_LANGUAGE = re.compile(
    r"""\s*\{?\.?([\w+-]*)(?:\s+[\w-]+=(?:"[^"]*"|[^\s"}]+))*\}?"""
)  # python, {.python}, python title="a.py"
_INDENTED = 4
_BUDGET = 20 * 65_536


class Piece(NamedTuple):
    """A part of a text; all parts of it, one after the other, are the text."""

    kind: Literal[
        "text", "fence", "python", "code"
    ]  # a fence of three backticks or tildes, Python, code of another language
    text: str


def pieces_of(text: str) -> list[Piece]:
    """The pieces of a text: between fences code, of Python unless they say otherwise. One that is not closed goes on to the end, and words
    may stand before a fence. Of a text without fences: from the first definition or import on, if something is defined; or all of it, if
    it is the body of a function."""
    if "```" in text or "~~~" in text:
        pieces = list(_fenced(text))
        if any(piece.kind == "fence" for piece in pieces):
            return pieces
    if _is_body(text):
        return [Piece("python", text)]
    begins = _BEGINS.search(text) if _DEFINES.search(text) else None
    cut = len(text) if begins is None else begins.start()
    parts = Piece("text", text[:cut]), Piece("python", text[cut:])
    return [piece for piece in parts if piece.text]


def lines_of(text: str) -> list[str]:
    """Its lines with their ends, as Python counts them: other characters that end a line elsewhere may stand in a text of the code."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _fenced(text: str) -> Iterator[Piece]:
    kind: Literal["text", "python", "code"] = "text"
    fence, lines, in_text = "", list[str](), _WithinText()
    for line in lines_of(text):
        bare = line.rstrip()
        if kind == "text":
            before, mark, language = bare.rpartition("```" if "```" in bare else "~~~")
            if bare.count(mark or "`") != 1 or (named := _LANGUAGE.fullmatch(language)) is None:
                lines.append(line)
                continue
            fence, opened = mark, named[1].lower() in _PYTHON
            if before or lines:
                yield Piece("text", "".join([*lines, before]))
            kind = "python" if opened else "code"
        elif bare.endswith(fence) and not (kind == "python" and in_text(lines)):
            before = bare.rstrip(fence[0])
            yield Piece(kind, "".join([*lines, before]))
            kind = "text"
        else:
            lines.append(line)
            continue
        yield Piece("fence", line[len(before) :])
        lines = []
    if lines or kind != "text":
        yield Piece(kind, "".join(lines))


class _WithinText:
    """Whether code breaks off within a text of three quotes, such as a docstring that shows an example in a fence of its own; no longer
    after so many characters have been read for it that a message must be made of little else."""

    def __init__(self) -> None:
        self.left = _BUDGET

    def __call__(self, lines: list[str]) -> bool:
        code = "".join(lines)
        self.left -= len(code)
        if self.left < 0 or not ('"""' in code or "'''" in code):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that are none
                ast.parse(textwrap.dedent(code))
        except SyntaxError as error:
            return "unterminated triple-quoted" in error.msg
        except (ValueError, RecursionError, MemoryError):
            pass
        return False


def _is_body(text: str) -> bool:
    if not text.startswith(" " * _INDENTED) or len(text) > 65_536:
        return False
    try:
        ast.parse(f"def f():\n{text}")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
