"""A text as names, words that do something to them, content, and the ends of clauses and sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from maporl.envs.verifiers.english.vocabulary import LONGEST, STARTS, Kind, kind_of, phrase

__all__ = ["Name", "Token", "lexer", "tokens_of"]


class Name(NamedTuple):
    """One thing that is named.

    Attributes:
        value: What it stands for.
        label: It is a label, which beats a text beside it; and a claim of it cannot mean anything else.
        bare: It counts in some places only: a "letter" may be a word ("A", "I") or belong to one ("plan B"), a "particle"
            may be an article ("no").
        start, end: Its place in the text.
    """

    value: str
    label: bool = True
    bare: str = ""
    start: int = 0
    end: int = 0


class Token(NamedTuple):
    kind: Kind | str  # a `Kind`, "name", "end", "open", or a punctuation mark
    text: str
    name: Name | None = None


def lexer(names: str) -> re.Pattern[str]:
    """Splits a text, given a pattern of what may be named; its groups' names begin with "name"."""
    return re.compile(
        rf"{names}|(?P<open>\\f?box(?:ed)?(?![a-z])|####|<answer>)|(?P<end></answer>|[.!?]+(?=[\s\"')*]|$)|\n)"
        r"|(?P<word>[^\W_](?:[\w.'-]*\w)?(?!\w))|(?P<mark>[-=]{0,2}>|[→⇒]|[,:;=&/|–—]|(?<!\w)-(?!\w))",
        re.IGNORECASE,
    )


def tokens_of(text: str, split: re.Pattern[str], name_of: Callable[[re.Match[str]], Name]) -> list[Token]:
    """The tokens of `text`, split by a `lexer`; `name_of` says what a match of its pattern of names stands for."""
    tokens: list[Token] = []
    for match in split.finditer(text):
        kind = match.lastgroup or ""
        said = match.group()
        if kind.startswith("name"):
            tokens.append(Token("name", said, name_of(match)))
        elif kind == "word":
            tokens.append(Token(Kind.WORD, said.lower()))
        elif kind == "mark":
            tokens.append(Token("=" if said[-1] in ">→⇒" else said, said))
        else:
            tokens.append(Token(kind, said))
    return list(_phrases(tokens))


def _phrases(tokens: list[Token]) -> Iterator[Token]:
    """Words that do something together are one token."""
    at = 0
    while at < len(tokens):
        token, step = tokens[at], 1
        if token.kind is Kind.WORD:
            kind = kind_of(token.text)
            if token.text in STARTS:
                for number in range(LONGEST, 1, -1):
                    words = tokens[at : at + number]
                    found = all(w.kind is Kind.WORD for w in words) and phrase(tuple(w.text for w in words))
                    if found:
                        kind, step = found, len(words)
                        token = Token(kind, " ".join(w.text for w in words))
                        break
            token = token._replace(kind=kind)
        yield token
        at += step
