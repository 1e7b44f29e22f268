"""Where a message reasons, and what it says: reasoning blocks are no part of an answer, for any verifier."""

from __future__ import annotations

import re

__all__ = ["MARKS", "spoken"]

MARKS = (
    ("<think>", "</think>"),  # the marks that chat templates write themselves stand first
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
"""How a reasoning block begins and ends, as models that are trained to reason, and prompts that ask for it, write it."""

_MARK = re.compile("|".join(re.escape(mark) for pair in MARKS for mark in pair), re.IGNORECASE)
_ENDS = {begin.casefold(): end.casefold() for begin, end in MARKS}


def spoken(text: str) -> str | None:
    """`text` without its reasoning blocks; None if the last of them is not finished, for then nothing has been said yet.

    A block that ends without having begun was begun by the chat template: all before it is reasoning.
    """
    said, start, end = "", 0, ""  # `end` is what the open block waits for
    for match in _MARK.finditer(text):
        mark = match.group().casefold()
        if end and mark != end:
            continue  # a mark that the reasoning speaks of
        if not end and mark in _ENDS:
            said, end = said + text[start : match.start()], _ENDS[mark]
        elif end:
            end = ""
        else:
            said = ""
        start = match.end()
    return None if end else said + text[start:]
