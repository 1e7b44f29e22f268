"""Numeric answers: ``1,200`` = ``1200.0`` = ``$1200``. Plain Python, microseconds a response."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from maporl.envs.verifiers.markers import marked
from maporl.envs.verifiers.verifier import AnswerVerifier, no_answer, verdict
from maporl.errors import UserValueError
from maporl.types import Question, Score

__all__ = ["Number", "canonical", "parse_number"]

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_TOKEN = re.compile(
    r"(?P<sign>(?<![\w)\]}.])-)?(?:[$€£¥₹]\s?(?P<inner>-)?)?"
    rf"(?P<number>{_DIGITS})"
    r"(?:\s{1,2}(?P<above>[0-9]{1,9})/(?P<below>[0-9]{1,9})(?![0-9/])"  # 1 1/2
    rf"|\s?/\s?\(?(?P<divisor>-?{_DIGITS})\)?"  # 3/4
    r"|\s?(?:\\times|×|\*|x)\s?10\s?\^\s?\{?(?P<power>[+-]?[0-9]{1,3})\}?"  # 1.2 x 10^3
    r"|[eE](?P<exponent>[+-]?[0-9]{1,3})(?![\w.]))?"
)
_FRACTION = re.compile(
    rf"(?P<whole>[0-9]\s?)?\\[dtc]?frac\s?(?:\{{\s?(?P<a>-?{_DIGITS})\s?\}}\s?\{{\s?(?P<b>-?{_DIGITS})\s?\}}"
    r"|(?P<c>[0-9])\s?(?P<d>[0-9]))"
)
_MOST_DIGITS = 400  # a longer number is a model repeating itself, and Python's own conversion has a limit too
_GOES_ON = re.compile(r"\s?(?:[-*/×÷]\s?[0-9(\\]|[+^]\s?[\w(\\{]|\\(?:times|cdot|div|sqrt|pi)\b|[xyz]\b(?!\s[a-z]))")
_SIGN_APART = re.compile(r"^-\s{1,3}")
_BEFORE = re.compile(r"(?:[\w)}]\s?[-+*/^×÷]\s?|\\sqrt\s?\{?)$")


def _fraction(match: re.Match[str]) -> str:
    above, below = match["a"] or match["c"], match["b"] or match["d"]
    return f"{(match['whole'] or '').strip()} {above}/{below}" if match["whole"] else f"{above}/{below}"


def _tidy(text: str) -> str:
    """LaTeX and typographic spellings of a number in plain ones."""
    text = text.replace("\u2212", "-").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",").replace("\\!", "")
    text = re.sub(r"(?<=[0-9])\\,(?=[0-9]{3})", ",", text)
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


def _after_marker(text: str) -> tuple[bool, Fraction | None]:
    """(a marker with a number was found, the number). An expression is not a number: ``\\boxed{2x + 3}`` is no answer."""
    for snippet, in_box in marked(text):
        snippet = _tidy(snippet)
        if not in_box:
            snippet = re.split(r"[.;](?=\s|$)", snippet, maxsplit=1)[0]
        snippet = _SIGN_APART.sub("-", snippet.rpartition("=")[2].strip(" $*+"))
        match = _TOKEN.search(snippet)
        if match is None:
            continue
        if _GOES_ON.match(snippet, match.end()) or _BEFORE.search(snippet[: match.start()]):
            return True, None
        return True, _value(match)
    return False, None


def _last_number(text: str) -> Fraction | None:
    last = None
    for last in _TOKEN.finditer(_tidy(text)):  # noqa: B007
        pass
    return _value(last) if last is not None else None


def _marker_else_last(text: str) -> Fraction | None:
    found, value = _after_marker(text)
    return value if found else _last_number(text)


_EXTRACTORS: dict[str, Callable[[str], Fraction | None]] = {
    "answer": _marker_else_last,
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
