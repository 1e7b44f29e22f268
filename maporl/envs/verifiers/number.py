"""Numeric answers: ``1,200`` = ``1200.0`` = ``$1200``. Plain Python, microseconds a response."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from maporl.envs.verifiers.english.groups import Group, Stance
from maporl.envs.verifiers.english.numerals import WORD, WORDS, numeral
from maporl.envs.verifiers.english.places import FIRM, put_aside
from maporl.envs.verifiers.english.reading import groups_of
from maporl.envs.verifiers.english.tokens import Name, Names, lexer
from maporl.envs.verifiers.markers import marked, plain
from maporl.envs.verifiers.number_sentences import carried_out, told
from maporl.envs.verifiers.number_spelling import (
    COMPOUND,
    DIGITS,
    GOES_ON,
    MOST_DIGITS,
    NUMBER,
    PART_OF,
    RATIO,
    SIGN_APART,
    TOKEN,
    canonical,
    parse_number,
    tidy,
    value_of,
)
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Number", "canonical", "in_the_open", "parse_number"]

_LONGEST = 20_000  # characters that are read, from the end, where nothing marks the answer
_SENTENCE = re.compile(r"(?<=[.!?])\s|\n")
_PART_OF = re.compile(PART_OF, re.IGNORECASE)
_PART_ENDS = ("of", "the", "as", "many", "much", "twice", "thrice", "double", "triple", "quadruple", "times")
_BEFORE = re.compile(rf"(?:[\w)}}]\s?[-+*/^×÷]\s?|[-√]\s?|\\?sqrt\s?[({{]?)$|{PART_OF}", re.IGNORECASE)
_OF_ANOTHER = re.compile(r"\sof\s\$?[0-9]")
_ONE_OF_MANY = re.compile(
    rf"(?:\s[a-z]{{1,20}}){{0,2}}\s(?:to|and)\s\$?{DIGITS}|[.,:]\s?[0-9]|\s?[-~]\s?[0-9]|\s[0-9]", re.IGNORECASE
)
"""Another number stands beside: a range, a list, a time of day."""
_RESULT = re.compile(
    r"(?:\bwhich\s(?:is|equals|makes|gives)|\bthat\sis|\bi\.e|\bor|\bso|\bthus|\btherefore|\bmaking|\bgiving|\bgives|\bequals|\bequal\sto"
    rf"|\bfor\sa\stotal\sof|=|:)[\s,.:]{{0,3}}(?={NUMBER})",
    re.IGNORECASE,
)
"""Before what an expression comes to."""

_ABOUT = re.compile(
    r"^\W{0,4}(?!(?:answer|result|total|value|number|solution)\b)[a-z]{2,20}\s[0-9]{1,3}(?=:[\s*_]+[^\s*_])"
    r"|\bconfiden(?:ce|t)\b[^\n.!?0-9]{0,20}[0-9]+(?:\.[0-9]+)?(?:\s?%|/[0-9]+)?"
    r"|\b[0-9]+(?:\.[0-9]+)?\s?(?:%|percent)\s(?:sure|certain|confident|confidence)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Numbers of the text's own parts ("Step 2: ...") and of how sure one is count nothing."""
_ONE_GROUP = re.compile(r"(?<![0-9.,] )(?<![0-9.,])([0-9]{1,3}) ([0-9]{3})(?![0-9])")


def _last_number(text: str) -> Fraction | None:
    last = None
    for last in TOKEN.finditer(tidy(text[-_LONGEST:])):  # noqa: B007
        pass
    return value_of(last) if last is not None else None


def _part(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 40) : match.start()]
    return before.rstrip(" \t\n$").lower().endswith(_PART_ENDS) and _PART_OF.search(before) is not None


def _in_digits(match: re.Match[str]) -> Name:
    value = None if _part(match) else value_of(match)
    return Name("" if value is None else canonical(value), start=match.start(), end=match.end())


def _in_words(match: re.Match[str]) -> Name:
    value = None if _part(match) else numeral(match.group())
    return Name("" if value is None else str(value), start=match.start(), end=match.end())


_DIGITAL = Names(lexer(f"(?P<name>{NUMBER})"), _in_digits, sign=re.compile("[0-9]"))
_VERBAL = Names(lexer(f"(?P<name>{WORDS})"), _in_words, sign=re.compile(WORD, re.IGNORECASE))


def _named(text: str, words: bool = True) -> list[Group]:
    """The numbers that `text` names; those in words, if it has no other that counts."""
    groups = groups_of(text, _DIGITAL)
    if not words or any(group.stance is not Stance.ASIDE for group in groups):
        return groups
    spelled = groups_of(text, _VERBAL)
    return groups + [group for group in spelled if not _pronoun(text, group)]


def _pronoun(text: str, group: Group) -> bool:
    """Whether it is a "one" that counts nothing: "this one", "the one answer"."""
    first = group.names[0]
    if text[first.start : first.end].lower() != "one":
        return False
    return group.stance is not Stance.CLAIMED or (group.alone and re.match(r"\s[a-z]", text[first.end :]) is not None)


def _only(text: str, group: Group) -> Fraction | None:
    """The one number of a group; several, such as "5 or 6", are none, but those in brackets only explain."""
    start, values = group.names[0].end, {group.names[0].value}
    for amounts in (COMPOUND, RATIO):
        if any(match.start() <= start - 1 < match.end() for match in amounts.finditer(text)):
            return None
    for name in group.names[1:]:
        if "(" in text[start : name.start]:
            break
        values.add(name.value)
        start = name.end
    return Fraction(values.pop()) if len(values) == 1 and "" not in values else None


def _after_marker(text: str) -> tuple[bool, Fraction | None]:
    """(a marker with a number was found, the number). An expression is not a number: ``\\boxed{2x + 3}`` is no answer."""
    found = list(marked(text))
    bounds = [(one.start, one.end) for one in found if one.bounded]
    aside = put_aside(text, bounds) if bounds else {}
    if all(one.start in aside for one in found):
        aside = {start: source for start, source in aside.items() if source in FIRM}
    for snippet, bounded, before, start, _ in found:
        if start in aside:
            continue
        digits = snippet.strip().removesuffix("" if bounded else ".")
        if digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS and _takes(before):
            return True, Fraction(int(digits))
        snippet = _ONE_GROUP.sub(r"\1,\2", tidy(plain(snippet)))
        if not bounded:
            snippet = re.split(r"[.;](?=\s|$)", snippet, maxsplit=1)[0]
        snippet = SIGN_APART.sub("-", snippet.strip(" $*+"))
        sentence = f"{tidy(before)} {snippet}"
        groups = [group for group in _named(sentence) if group.names[-1].start >= len(sentence) - len(snippet)]
        live = [group for group in groups if group.stance is not Stance.ASIDE]
        if live:
            return True, _read(sentence, live, bounded)
    return False, None


@lru_cache(maxsize=4096)
def _takes(before: str) -> bool:
    """Whether digits after this are the answer, whichever they are."""
    sentence = f"{tidy(before)} 7"
    live = [group for group in _named(sentence) if group.stance is not Stance.ASIDE]
    return not any(map(str.isdigit, before)) and bool(live) and _read(sentence, live, False) == 7


def _read(text: str, groups: list[Group], bounded: bool) -> Fraction | None:
    """The first number; of an expression, what it comes to."""
    first = groups[0].names[0]
    said, rest = text[: first.start], text[groups[0].names[0].end :]
    part = "/" in text[first.start : first.end] and _OF_ANOTHER.match(rest)  # 1/2 of 150
    if part or GOES_ON.match(rest) or _BEFORE.search(said) or (bounded and rest.startswith("!")):
        results = [match for match in _RESULT.finditer(rest) if not GOES_ON.match(rest, _end(rest, match.end()))]
        result = TOKEN.match(rest, results[-1].end()) if results else None
        return value_of(result) if result else None
    return None if _ONE_OF_MANY.match(rest) else _only(text, groups[0])


def _end(text: str, start: int) -> int:
    match = TOKEN.match(text, start)
    return match.end() if match else start


def in_the_open(text: str) -> Fraction | None:
    """What the last sentence with a number names: the result that stands before it, if it repeats that, else its last number.

    Where it only puts numbers aside, the last that a sentence before takes as its answer.
    """
    text = _ABOUT.sub(" ", tidy(text[-_LONGEST:]))
    words = not any(map(str.isdigit, text))
    last: tuple[str, list[Group]] | None = None
    aside = False
    for sentence in reversed(_SENTENCE.split(text)):
        if not words and not any(map(str.isdigit, sentence)):
            continue
        sentence = carried_out(told(sentence))
        groups = _named(sentence, words)
        claimed = [group for group in groups if group.stance is Stance.CLAIMED]
        if last is not None:
            result = _only(sentence, claimed[-1]) if claimed else None
            if result is None:
                break
            repeated = groups_of(last[0], _VERBAL) + last[1]
            return (
                result
                if canonical(result) in {value for group in repeated for value in group.values}
                else _only(last[0], last[1][-1])
            )
        live = claimed if aside else [group for group in groups if group.stance is not Stance.ASIDE]
        if live:
            last = sentence, live
            if aside:
                break
        aside = aside or bool(groups)
    return _only(last[0], last[1][-1]) if last is not None else None


def _marker_else_open(text: str) -> Fraction | None:
    found, value = _after_marker(text)
    return value if found else in_the_open(text)


_EXTRACTORS: dict[str, Callable[[str], Fraction | None]] = {
    "answer": _marker_else_open,
    "marker": lambda text: _after_marker(text)[1],
    "last": _last_number,
}


@dataclass(frozen=True)
class Number(AnswerVerifier):
    """The response's number equals the gold one.

    Currency, units and a percent sign are dropped, the sign stays: ``$1,200`` = ``1200.0 dollars`` = 1200 and ``20%`` = 20
    (GSM8K's convention), but -5 is not 5. Fractions, mixed numbers and powers of ten are read, and words up to a million where no digits
    are. A number that is denied or a peer's, one of several, and an expression that is not carried out are no answer.

    Args:
        extract: Where the response's number is: "answer" (after the last explicit marker that has one, else in the last sentence
            that has one), "marker" (explicit markers only) or "last" (the last number of the text).
        tolerance: Numbers this close are equal: absolute, and relative to the larger one below 1 (ToRA's .001).
    """

    extract: Literal["answer", "marker", "last"] = "answer"
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.extract not in _EXTRACTORS:
            raise UserValueError(f"extract={self.extract!r}; one of: {', '.join(_EXTRACTORS)}.")
        if not 0 <= self.tolerance < 1:
            raise UserValueError(f"tolerance={self.tolerance!r}; it must be in [0, 1).")

    def judge(self, question: Question, text: str) -> Score:
        value = _EXTRACTORS[self.extract](text)
        if value is None:
            return no_answer("no number in the response")
        answer, gold = canonical(value), parse_number(question.answer)
        if gold is None:
            return Score(0.0, None, answer, "error", f"gold answer {question.answer[:80]!r} is not a number")
        return verdict(self._equal(value, gold), answer, f"{answer} against {canonical(gold)}")

    def check_gold(self, question: Question) -> None:
        if parse_number(question.answer) is None:
            raise UserValueError(
                f"question {question.id}: gold answer {question.answer[:80]!r} is not a number; "
                "correct the row, or choose another verifier ('math', 'exact')."
            )

    def equivalent(self, a: str, b: str) -> bool:
        first, second = parse_number(a), parse_number(b)
        return a == b if first is None or second is None else self._equal(first, second)

    def _equal(self, a: Fraction, b: Fraction) -> bool:
        # Exact arithmetic throughout: a float would overflow on a model's 300 digits.
        if a == b or a.denominator == b.denominator == 1:
            return a == b  # the tolerance is below 1
        return abs(a - b) <= Fraction(self.tolerance) * min(Fraction(1), max(abs(a), abs(b)))
