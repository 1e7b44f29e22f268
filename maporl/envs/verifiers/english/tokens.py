"""A text as names, words that do something to them, content, and the ends of clauses and sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from maporl.envs.verifiers.english.vocabulary import LONGEST, STARTS, Kind, kind_of, phrase

__all__ = ["Name", "Names", "Token", "Words", "lexer", "tokens_of", "words_of"]


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
        r"|(?P<word>(?:agent|peer)\s#?[0-9]{1,3}(?:'s)?(?!\w)|[^\W_](?:[\w.'-]*\w)?(?!\w))|(?P<mark>[-=]{1,2}>|[→⇒]|[,:;=&/|–—]|(?<!\w)-(?!\w))",
        re.IGNORECASE,
    )


Words = tuple[str, ...]


class Names:
    """What may be named.

    Args:
        split: A `lexer`.
        of: What a match of its pattern of names stands for.
        words: What certain words stand for, as `words_of` gives them.
        sign: Without a match of it, nothing is named.
    """

    def __init__(
        self,
        split: re.Pattern[str],
        of: Callable[[re.Match[str]], Name],
        words: Mapping[Words, Name] = MappingProxyType({}),
        sign: re.Pattern[str] | None = None,
    ) -> None:
        self.split, self.of, self.words, self.sign = split, of, words, sign
        self.starts = frozenset(key[0] for key in words)
        self.longest = max(map(len, words), default=0)


def tokens_of(text: str, start: int, end: int, names: Names) -> list[Token]:
    """The tokens of a part of `text`; words that name something, or do something together, are one."""
    tokens: list[Token] = []
    for match in names.split.finditer(text, start, end):
        kind, said = match.lastgroup or "", match.group()
        if kind == "word":
            tokens.append(_word(said.lower()))
        elif kind[:4] == "name":
            tokens.append(Token("name", said, names.of(match)))
        elif kind == "mark":
            tokens.append(Token("=" if said[-1] in ">→⇒" else said, said))
        else:
            tokens.append(Token(kind, said))
    starts, joined, at = names.starts, [], 0
    while at < len(tokens):
        token, step = tokens[at], 1
        if token.text in STARTS and token.kind != "name":
            token, step = _phrase(tokens, at)
        if starts and tokens[at].text.lower() in starts:
            token, step = _named(tokens, at, names) or (token, step)
        joined.append(token)
        at += step
    return joined


@lru_cache(maxsize=16384)
def _word(word: str) -> Token:
    return Token(kind_of(word), word)


def _named(tokens: list[Token], at: int, names: Names) -> tuple[Token, int] | None:
    words = tuple(token.text.lower() for token in tokens[at : at + names.longest])
    for number in range(len(words), 0, -1):
        if name := names.words.get(words[:number]):
            return Token("name", " ".join(words[:number]), name), number
    return None


def _phrase(tokens: list[Token], at: int) -> tuple[Token, int]:
    words = tuple(token.text if isinstance(token.kind, Kind) else "" for token in tokens[at : at + LONGEST])
    for number in range(len(words), 1, -1):
        if kind := phrase(words[:number]):
            return Token(kind, " ".join(words[:number])), number
    return tokens[at], 1


def words_of(text: str, split: re.Pattern[str]) -> Words:
    """How `tokens_of` would find `text`, without an article before it."""
    if text.isascii() and text.replace(" ", "").isalnum():
        words = text.lower().split()
    else:
        words = [match.group().lower() for match in split.finditer(text) if not match.group().isspace()]
    while words and words[-1] in (".", "!", "?"):
        words.pop()
    return tuple(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)
