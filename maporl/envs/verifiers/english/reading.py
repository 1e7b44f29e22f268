"""A text is read by parts, from its end, so that who looks for the last answer need not read what leads to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maporl.envs.verifiers.english.claims import Scan
from maporl.envs.verifiers.english.groups import Group
from maporl.envs.verifiers.english.tokens import Names, Token, tokens_of
from maporl.envs.verifiers.english.vocabulary import ends_clause, kind_of

__all__ = ["groups_in", "groups_of", "parts_of"]


def groups_of(text: str, names: Names) -> list[Group]:
    """What `text` names, in order; linear in its length. Lines are counted within each part (`parts_of`) only."""
    found: list[list[Group]] = []
    for start, end in parts_of(text):
        if names.sign is None or names.sign.search(text, start, end):
            found.append(groups_in(text, start, end, names)[0])
            if names.sign is not None and not names.sign.search(text, 0, start):
                break
    return [group for groups in reversed(found) for group in groups]


def groups_in(text: str, start: int, end: int, names: Names) -> tuple[list[Group], int]:
    """(what one part of `text` names, the number of its lines)."""
    scan = Scan()
    tokens = [*tokens_of(text, start, end, names), _END, _END, _END]
    for token, following, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.name is not None and token.name.bare and not scan.takes(token.name, token, following):
            token = Token(kind_of(token.text.lower()), token.text.lower())
        scan.read(token, following, second)
    return scan.groups, scan.line


_END = Token("end", "\n")
_STOP = re.compile(r"[.!?](?=\s)")
_OPENS = re.compile(r"box|####|<answer>", re.IGNORECASE)
_LONGEST_WORD = 60  # what is longer is content
_LAST = re.compile(r"[^\W_][\w.'-]*\Z")


def parts_of(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of parts, the last first, none of which says anything about how another is to be read: sentences, and lines that do
    not end in the middle of one."""
    end = stop = len(text)
    while stop:
        line = text.rfind("\n", 0, stop - 1) + 1
        for match in reversed([*_STOP.finditer(text, line, stop)]):
            yield match.end(), end
            end = match.end()
        if line and _ends(text, text.rfind("\n", 0, line - 1) + 1, line - 1):
            yield line, end
            end = line
        stop = line
    yield 0, end


def _ends(text: str, start: int, end: int) -> bool:
    """Whether a line ends a sentence, or in a word after which no answer is waited for in the next one."""
    if text[end - 1 : end] in (".", "!", "?"):
        return True
    last = _LAST.search(text[start:end].rstrip(" \t)]}\"'`$*")[-_LONGEST_WORD:])
    return last is not None and ends_clause(last.group().lower()) and not _OPENS.search(text, start, end)
