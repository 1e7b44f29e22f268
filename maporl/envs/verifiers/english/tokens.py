"""A text as names, words that do something to them, content, and the ends of clauses and sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from maporl.envs.verifiers.english.vocabulary import LONGEST, STARTS, Kind, kind_of, phrase

__all__ = ["Name", "Token", "lexer", "tokens_of", "words_of"]


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
        rf"{names or '(?!)'}|(?P<open>\\f?box(?:ed)?(?![a-z])|####|<answer>)|(?P<end></answer>|[.!?]+(?=[\s\"')*]|$)|\n)"
        r"|(?P<word>[^\W_](?:[\w.'-]*\w)?(?!\w))|(?P<mark>[-=]{0,2}>|[→⇒]|[,:;=&/|–—]|(?<!\w)-(?!\w))",
        re.IGNORECASE,
    )


Words = tuple[str, ...]


def tokens_of(
    text: str, split: re.Pattern[str], name_of: Callable[[re.Match[str]], Name], named: Mapping[Words, Name]
) -> list[Token]:
    """The tokens of `text`.

    Args:
        text: Any text.
        split: A `lexer`.
        name_of: What a match of its pattern of names stands for.
        named: What certain words stand for, as `words_of` gives them.
    """
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
    return list(_joined(tokens, named))


def words_of(text: str, split: re.Pattern[str]) -> Words:
    """How `tokens_of` would find `text`, without an article before it."""
    words = [match.group().lower() for match in split.finditer(text) if not match.group().isspace()]
    while words and words[-1] in (".", "!", "?"):
        words.pop()
    return tuple(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


def _joined(tokens: list[Token], named: Mapping[Words, Name]) -> Iterator[Token]:
    """Words that name something, or do something together, are one token."""
    starts, longest = {words[0] for words in named}, max(map(len, named), default=0)
    at = 0
    while at < len(tokens):
        token, step = tokens[at], 1
        if token.text.lower() in starts:
            for number in range(min(longest, len(tokens) - at), 0, -1):
                words = tuple(t.text.lower() for t in tokens[at : at + number])
                if words in named:
                    token, step = Token("name", " ".join(words), named[words]), number
                    break
        if token.kind is Kind.WORD:
            token, step = _phrase(tokens, at)
        yield token
        at += step


def _phrase(tokens: list[Token], at: int) -> tuple[Token, int]:
    token = tokens[at]
    for number in range(LONGEST if token.text in STARTS else 1, 1, -1):
        words = tuple(t.text for t in tokens[at : at + number] if t.kind is Kind.WORD)
        if len(words) == number and (kind := phrase(words)) is not None:
            return Token(kind, " ".join(words)), number
    return token._replace(kind=kind_of(token.text)), 1
