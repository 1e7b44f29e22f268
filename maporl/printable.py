"""Text that any terminal can show, and any file hold, whoever wrote it."""

from __future__ import annotations

import re

__all__ = ["encodable", "printable"]

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing: control characters but for newline and tab, and what turns the direction of writing."""


def encodable(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def printable(text: str, encoding: str | None = None) -> str:
    """`text` with everything escaped that a terminal cannot show or would obey.

    That is what `encoding` lacks (a lone surrogate, an emoji), and control characters: no message can move the cursor, colour the
    screen or hide what was said before.

    Args:
        text: Any text.
        encoding: Of the terminal; UTF-8 if None.
    """
    name = encoding or "utf-8"
    shown = _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    return shown.encode(name, "backslashreplace").decode(name, "replace")
