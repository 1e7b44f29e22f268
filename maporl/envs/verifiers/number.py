"""Numeric answers: ``1,200`` = ``1200.0`` = ``$1200``. Plain Python, microseconds a response."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from maporl.envs.verifiers.english.claims import Group, Name, Stance, groups_of, lexer
from maporl.envs.verifiers.english.numerals import WORDS, numeral
from maporl.envs.verifiers.markers import marked, plain
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Number", "canonical", "parse_number"]

_DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?"  # Indian groups
    r"|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
)
_NUMBER = (
    r"(?<![A-Za-z_])(?<![A-Za-z_]-)(?P<sign>(?<![\w)\]}.-])-)?(?:[$€£¥₹]\s?(?P<inner>-)?)?"
    rf"(?P<number>{_DIGITS})"
    r"(?:\s{1,2}(?P<above>[0-9]{1,9})/(?P<below>[0-9]{1,9})(?![0-9/])"  # 1 1/2
    rf"|\s?/\s?\(?(?P<divisor>-?{_DIGITS})\)?"  # 3/4
    r"|\s?(?:\\times|×|\*|x)\s?10\s?\^\s?\{?(?P<power>[+-]?[0-9]{1,3})\}?"  # 1.2 x 10^3
    r"|[eE](?P<exponent>[+-]?[0-9]{1,3})(?![\w.])"
    r"|(?P<scale>k\b|\s?(?:thousand|million|billion|trillion)\b(?!\s?[a-z]*illion)))?"
)
_SCALES = {"k": 1000, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_TOKEN = re.compile(_NUMBER)
_FRACTION = re.compile(
    rf"(?P<whole>[0-9]\s?)?\\[dtc]?frac\s?(?:\{{\s?(?P<a>-?{_DIGITS})\s?\}}\s?\{{\s?(?P<b>-?{_DIGITS})\s?\}}"
    r"|(?P<c>[0-9])\s?(?P<d>[0-9]))"
)
_LONGEST = 20_000  # characters that are read, from the end, where nothing marks the answer
_SENTENCE = re.compile(r"(?<=[.!?])\s|\n")
_MOST_DIGITS = 400  # a longer number is a model repeating itself, and Python's own conversion has a limit too
_GOES_ON = re.compile(
    r"\s?(?:[-*/×÷]\s?[0-9(\\]|[+^]\s?[\w(\\{]|[π√]|sqrt|\\(?:times|cdot|div|sqrt|pi)\b|[xyz]\b(?!\s[a-z]))"
    r"|(?:\s[a-z]{1,20}){0,2}\s?(?:[-+*/×÷]\s|\b(?:plus|minus|times|divided\sby|multiplied\sby|added\sto|less)\s)[$(]?[0-9]"
    r"|(?:\s[a-z]{1,20}){0,4}\s?=",
    re.IGNORECASE,
)
"""An expression goes on: what was read is only its beginning."""
_SIGN_APART = re.compile(r"^-\s{1,3}")
_BEFORE = re.compile(r"(?:[\w)}]\s?[-+*/^×÷]\s?|[-√]\s?|\\?sqrt\s?[({]?)$")
_ONE_OF_MANY = re.compile(rf"(?:\s[a-z]{{1,20}}){{0,2}}\s(?:to|and)\s\$?{_DIGITS}|[.,:]\s?[0-9]|\s?[-~]\s?[0-9]|\s[0-9]", re.IGNORECASE)
"""Another number stands beside: a range, a list, a time of day."""
_RESULT = re.compile(
    r"(?:\bwhich\s(?:is|equals|makes|gives)|\bthat\sis|\bi\.e|\bor|\bso|\bthus|\btherefore|\bmaking|\bgiving|\bgives|\bequals|\bequal\sto"
    rf"|\bfor\sa\stotal\sof|=|:)[\s,.:]{{0,3}}(?={_NUMBER})",
    re.IGNORECASE,
)
"""Before what an expression comes to."""

_SPACES = "\u00a0\u2007\u2009\u202f"  # spaces that hold a number together
_PLAIN = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\uff0d": "-", "。": ". ", "²": "^2", "³": "^3", "’": "'"}
    | {0xFF10 + digit: str(digit) for digit in range(10)}
    | {sign: f" {unicodedata.normalize('NFKC', sign).replace(chr(0x2044), '/')}" for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
)
_GROUPED = re.compile(rf"(?<![0-9.,])[0-9]{{1,3}}(?:(?:[{_SPACES}'_]|\\,)[0-9]{{3}})+(?![0-9])|(?<![0-9.,])[0-9]{{1,3}}(?: [0-9]{{3}}){{2,}}(?![0-9])")
_DOTTED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![0-9]|\.[0-9])")
_ONE_GROUP = re.compile(r"(?<![0-9.,] )(?<![0-9.,])([0-9]{1,3}) ([0-9]{3})(?![0-9])")
_MINUS = re.compile(r"(?:\bnegative|(?:(?<=^)|(?<=\bis\s)|(?<=\bto\s)|(?<=[:=]\s))minus)\s(?=[$€£¥₹]?[0-9])", re.IGNORECASE)
_CURRENCY = re.compile(r"\b(?:Rs\.?|INR|USD|EUR|GBP|US(?=\$))\s?(?=[$0-9])")


def _fraction(match: re.Match[str]) -> str:
    above, below = match["a"] or match["c"], match["b"] or match["d"]
    return f"{(match['whole'] or '').strip()} {above}/{below}" if match["whole"] else f"{above}/{below}"


def _tidy(text: str) -> str:
    """LaTeX and typographic spellings of a number in plain ones."""
    text = text.translate(_PLAIN).replace("i.e.", "i.e").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",").replace("\\!", "")
    text = _GROUPED.sub(lambda match: re.sub(r"\\,|[^0-9]", ",", match.group()), text)
    text = _DOTTED.sub(lambda match: match.group().replace(".", ","), text)
    text = _CURRENCY.sub("", _MINUS.sub("-", text))
    return _FRACTION.sub(_fraction, text) if "frac" in text else text


def _value(match: re.Match[str]) -> Fraction | None:
    """The number that a `_TOKEN` match spells, None if it is not finite or too long to be meant."""
    if len(match.group()) > _MOST_DIGITS:
        return None
    value = Fraction(match["number"].replace(",", ""))
    if match["above"]:
        below = int(match["below"])
        value = value + Fraction(int(match["above"]), below) if below else value
    elif match["divisor"]:
        divisor = Fraction(match["divisor"].replace(",", ""))
        if divisor == 0:
            return None
        value /= divisor
    elif match["power"] or match["exponent"]:
        value *= Fraction(10) ** int(match["power"] or match["exponent"])
    elif match["scale"]:
        value *= _SCALES[match["scale"].strip().lower()]
    return -value if match["sign"] or match["inner"] else value


@lru_cache(maxsize=65536)
def parse_number(text: str) -> Fraction | None:
    """The number that `text` as a whole is, units and currency allowed (``"-1,200.50 dollars"``), else None."""
    if len(text) > _MOST_DIGITS:
        return None
    tidy = _SIGN_APART.sub("-", _tidy(text).strip(" \t\r\n$*+").rstrip("."))
    match = _TOKEN.match(tidy)
    if match is None or _TOKEN.search(tidy, match.end()) or _GOES_ON.match(tidy, match.end()):
        return None
    return _value(match)


def canonical(value: Fraction) -> str:
    """One spelling per number: ``"72"``, ``"-0.5"``, ``"1/3"``."""
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places == 0:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _last_number(text: str) -> Fraction | None:
    last = None
    for last in _TOKEN.finditer(_tidy(text)):  # noqa: B007
        pass
    return _value(last) if last is not None else None


_DIGITAL, _VERBAL = lexer(f"(?P<name>{_NUMBER})"), lexer(f"(?P<name>{WORDS})")


def _in_digits(match: re.Match[str]) -> Name:
    value = _value(match)
    return Name("" if value is None else canonical(value), start=match.start(), end=match.end())


def _in_words(match: re.Match[str]) -> Name:
    value = numeral(match.group())
    return Name("" if value is None else str(value), start=match.start(), end=match.end())


def _named(text: str, words: bool = True) -> list[Group]:
    """The numbers that `text` names; those in words, if it has no other that counts."""
    groups = groups_of(text, _DIGITAL, _in_digits) if any(map(str.isdigit, text)) else []
    if not words or any(group.stance is not Stance.ASIDE for group in groups):
        return groups
    spelled = groups_of(text, _VERBAL, _in_words)
    return groups + [g for g in spelled if g.alone or g.stance is Stance.CLAIMED or text[g.names[0].start : g.names[0].end].lower() != "one"]


def _only(text: str, group: Group) -> Fraction | None:
    """The one number of a group; several, such as "5 or 6", are none, but those in brackets only explain."""
    start, values = group.names[0].end, {group.names[0].value}
    for name in group.names[1:]:
        if "(" in text[start : name.start]:
            break
        values.add(name.value)
        start = name.end
    return Fraction(values.pop()) if len(values) == 1 and "" not in values else None


def _after_marker(text: str) -> tuple[bool, Fraction | None]:
    """(a marker with a number was found, the number). An expression is not a number: ``\\boxed{2x + 3}`` is no answer."""
    for snippet, bounded, before in marked(text):
        snippet = _ONE_GROUP.sub(r"\1,\2", _tidy(plain(snippet)))
        if not bounded:
            snippet = re.split(r"[.;](?=\s|$)", snippet, maxsplit=1)[0]
        snippet = _SIGN_APART.sub("-", snippet.strip(" $*+"))
        sentence = f"{_tidy(before)} {snippet}"
        groups = [group for group in _named(sentence) if group.names[-1].start >= len(sentence) - len(snippet)]
        live = [group for group in groups if group.stance is not Stance.ASIDE]
        if live:
            return True, _read(sentence, live, bounded)
    return False, None


def _read(text: str, groups: list[Group], bounded: bool) -> Fraction | None:
    """The first number; of an expression, what it comes to."""
    first = groups[0].names[0]
    said, rest = text[: first.start], text[groups[0].names[0].end :]
    if _GOES_ON.match(rest) or _BEFORE.search(said) or (bounded and rest.startswith("!")):
        results = [match for match in _RESULT.finditer(rest) if not _GOES_ON.match(rest, _end(rest, match.end()))]
        return _value(_TOKEN.match(rest, results[-1].end())) if results else None
    return None if _ONE_OF_MANY.match(rest) else _only(text, groups[0])


def _end(text: str, start: int) -> int:
    match = _TOKEN.match(text, start)
    return match.end() if match else start


def _in_the_open(text: str) -> Fraction | None:
    """What the last sentence with a number names: the result that stands before it, if it repeats that, else its last number.

    Where it only puts numbers aside, the last that a sentence before takes as its answer.
    """
    tidy = _tidy(text[-_LONGEST:])
    words = not any(map(str.isdigit, tidy))
    last: tuple[str, list[Group]] | None = None
    aside = False
    for sentence in reversed(_SENTENCE.split(tidy)):
        if not words and not any(map(str.isdigit, sentence)):
            continue
        groups = _named(sentence, words)
        claimed = [group for group in groups if group.stance is Stance.CLAIMED]
        if last is not None:
            result = _only(sentence, claimed[-1]) if claimed else None
            repeated = groups_of(last[0], _VERBAL, _in_words) + last[1]
            if result is not None and canonical(result) in {value for group in repeated for value in group.values}:
                return result
            break
        live = claimed if aside else [group for group in groups if group.stance is not Stance.ASIDE]
        if live:
            last = sentence, live
            if aside:
                break
        aside = aside or bool(groups)
    return _only(last[0], last[1][-1]) if last is not None else None


def _marker_else_open(text: str) -> Fraction | None:
    found, value = _after_marker(text)
    return value if found else _in_the_open(text)


_EXTRACTORS: dict[str, Callable[[str], Fraction | None]] = {
    "answer": _marker_else_open,
    "marker": lambda text: _after_marker(text)[1],
    "last": _last_number,
}


@dataclass(frozen=True)
class Number(AnswerVerifier):
    """The response's number equals the gold one.

    Currency, units and a percent sign are dropped, the sign stays: ``$1,200`` = ``1200.0 dollars`` = 1200 and ``20%`` = 20
    (GSM8K's convention), but -5 is not 5. Fractions, mixed numbers and powers of ten are read; words are not.

    Args:
        extract: Where the response's number is: "answer" (after the last explicit marker that has one, else the last
            number), "marker" (explicit markers only) or "last" (the last number of the text).
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
        return abs(a - b) <= Fraction(self.tolerance) * min(Fraction(1), max(abs(a), abs(b)))
