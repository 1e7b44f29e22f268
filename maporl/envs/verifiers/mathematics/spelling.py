r"""One spelling per mathematical answer, so that whoever counts answers may compare strings, and no parser misreads what is left.

Rewritten are conventions of writing (``\dfrac12``, ``1\,000``, ``18 dollars``, ``0.\overline{3}``, ``x = 5``), nothing that needs algebra.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from maporl.envs.verifiers.mathematics.notation import balanced, compact, split_top, tidied
from maporl.envs.verifiers.number_spelling import canonical

__all__ = ["brackets", "close", "is_text", "name_of", "plain_number", "same_text", "spelled"]

_LONGEST = 1000  # characters; what is longer is no answer that a person would write, and stays as it is

_PLAIN = re.compile(
    r"(-?)(?:\\frac\{([0-9]{1,999})\}\{([0-9]{1,999})\}|([0-9]{1,999}(?:\.[0-9]{1,999})?)(?:/([0-9]{1,999}))?)(\\%)?"
)


def plain_number(text: str) -> tuple[Fraction, bool, bool] | None:
    """(value, has a decimal point, is a per cent) of an answer that is nothing but digits, a point and one fraction bar."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    sign, above, below, number, divisor, percent = match.groups()
    divisor = below or divisor or "1"
    if int(divisor) == 0:
        return None
    value = Fraction(above or number) / int(divisor)
    return (-value if sign else value), number is not None and "." in number, percent is not None


_NAME = r"(?:\\?[A-Za-z]+'{0,3}(?:_\{[^{}]*\})?(?:\([A-Za-z](?:, ?[A-Za-z])*\))?|\((?:[A-Za-z], ?)+[A-Za-z]\))"
_ASSIGNED = re.compile(rf"({_NAME})\s*(=|\\in(?![A-Za-z]))\s*(?=\S)")
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne|in|approx|equiv)(?![A-Za-z])")
_UNKNOWN = re.compile(r"(?<![A-Za-z\\])(?:[A-Za-hj-z]|[A-Za-z]{2,})(?![A-Za-z])")


def _assignment(text: str) -> tuple[str | None, str]:
    r"""(name, value) of ``x = 5`` or ``x = 2 + 3 = 5``, (None, set) of ``x \in [0,1]``; (None, text) of anything else.

    Such as ``y = 2x``, which may be equal to ``2x - y = 0``.
    """
    match = _ASSIGNED.match(text)
    if match is None or len(split_top(text)) > 1:  # x = 1, y = 2
        return None, text
    value = text[match.end() :].rpartition("=")[2].strip()
    bare = re.sub(r"\\[A-Za-z]+", " ", value)
    if not value or _RELATION.search(value) or (match[2] == "=" and _UNKNOWN.search(bare) and not is_text(value)):
        return None, text
    return (match[1] if match[2] == "=" else None), value


@lru_cache(maxsize=65536)
def name_of(answer: str) -> str | None:
    """The unknown that an answer names: x of ``x = 5``."""
    return None if len(answer) > _LONGEST else _assignment(tidied(answer))[0]


@lru_cache(maxsize=65536)
def spelled(answer: str) -> str:
    r"""`answer` in the one spelling of its kind; spelling it again changes nothing.

    | kind | spelling |
    |---|---|
    | integers, decimals, fractions, mixed and repeating numbers, with units, currency, thousands or a scale in words | 72, 0.5, 1/3 |
    | percentages | 50\% (which may be equal to 50, and to 0.5) |
    | pairs, sets, intervals, lists | (3, 4), \{1, 2\}, 1, 2, each element spelled |
    | words, numerals of a base | as they are: Evelyn, 101_{2} |
    | other expressions | LaTeX with the braces it needs, and without needless space |

    The name in ``x = 5`` is dropped, see `name_of`.
    """
    if len(answer) > _LONGEST:
        return " ".join(answer[: 2 * _LONGEST].split())[:_LONGEST]
    text = answer
    for _ in range(4):  # a unit may hide another
        before, text = text, _spelled(_assignment(tidied(text))[1], 0)
        if text == before:
            break
    return text


def _spelled(text: str, depth: int) -> str:
    if is_text(text):
        return _words(text)
    text = compact(text)
    number = plain_number(text)
    if number is not None:
        return canonical(number[0]) + "\\%" * number[2]
    if depth < 4:
        opening, inner, closing = _delimited(text)
        parts = split_top(inner)
        if len(split_top(inner.replace(";", ","))) > len(parts) > 1:
            return text  # p = 5, q = 2; p = 7, q = 2
        if not opening and len({_assignment(part)[0] for part in parts} - {None}) == 1 and len(parts) > 1:
            named = [_assignment(part) for part in parts]
            parts = [value for _, value in named] if all(name for name, _ in named) else parts  # x = 1, x = -1
        if len(parts) > 1 or (opening and opening != "("):
            return opening + ", ".join(_spelled(tidied(part), depth + 1) for part in parts) + closing
        if opening and (plain_number(inner) is not None or inner.isalpha()):  # (73), (C)
            return inner if inner.isalpha() else _spelled(inner, depth + 1)
    return text


_OUTER = (("\\{", "\\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"))


def _delimited(text: str) -> tuple[str, str, str]:
    """(opening, inner, closing) of a text that one pair of delimiters encloses, ("", text, "") of any other."""
    for opening, closing in _OUTER:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            if balanced(inner):
                return opening, inner.strip(), closing
    return "", text, ""


def brackets(spelling: str) -> str | None:
    r"""The brackets around several members: "{" of a set, "(" of a tuple or an interval; None without them."""
    opening, inner, _ = _delimited(spelling)
    return None if not opening or len(split_top(inner)) < 2 else "{" if opening == "\\{" else "("


_LETTERS = re.compile(r"\\(?:begin|end)\{[a-z]*\*?\}|\\[A-Za-z]+|[A-Za-z]{2,}")
_ONLY_LETTERS = re.compile(r"[A-Za-z\s'’.,:!?()-]+")
_LONGEST_PRODUCT = 3  # letters in a row that may be a product beside other mathematics: 6xyz
FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"]
)
"""Words of mathematics that are no products of letters."""
_SMALL_WORDS = {
    "and",
    "or",
    "the",
    "is",
    "are",
    "not",
    "no",
    "if",
    "for",
    "all",
    "any",
    "of",
    "to",
    "on",
    "none",
    "one",
}
_NUMERAL = re.compile(r"[0-9](?:_\{| [0-9])")


@lru_cache(maxsize=65536)
def is_text(spelling: str) -> bool:
    r"""Whether an answer is to be compared letter by letter: words, which a parser of mathematics reads as products of letters, and
    numerals of a base (``101_{2}``), whose base it drops, and numbers side by side (``3 4``), which it adds."""
    if "\\text{" in spelling or _NUMERAL.search(spelling):
        return True
    if not spelling.isascii():
        return True
    runs = [run for run in _LETTERS.findall(spelling) if not run.startswith("\\") and run.lower() not in FUNCTIONS]
    if _ONLY_LETTERS.fullmatch(spelling):
        return bool(runs)
    return any(
        not run.isupper() and (len(run) > _LONGEST_PRODUCT or run in _SMALL_WORDS) for run in runs
    )  # AB is a segment


_TEXT = re.compile(r"\\text\{([^{}]*)\}")


def _words(text: str) -> str:
    text = " ".join(_TEXT.sub(r" \1 " if not text.startswith("\\text") else r"\1 ", text).split())
    text = text.strip(" .,:;!?\"'") or text
    return text[1:-1].strip() if text.startswith("(") and text.endswith(")") and "(" not in text[1:] else text


def same_text(a: str, b: str) -> bool:
    """Whether two texts are equal but for capitals, and space that does not stand between digits."""
    one, two = (re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", text).casefold() for text in (a, b))
    return one == two


def close(gold: str, answer: str, precision: int, votes: bool = False) -> bool | None:
    """Whether two spelled numbers are equal, None if one of them is no plain number.

    Where one has a decimal point they are rounded, to `precision` places, at least to two digits. A gold per cent is its per cent or its
    number; a gold number is also a per cent: of the same digits from 1 upwards, of its value below.

    Args:
        gold: The gold answer.
        answer: The answer.
        precision: Decimal places that count.
        votes: Neither is gold: equal are all that are right by the same gold.
    """
    one, two = plain_number(gold), plain_number(answer)
    if one is None or two is None:
        return None
    (a, a_point, a_percent), (b, b_point, b_percent) = one, two
    rounds = a_point or b_point or (votes and (a.denominator > 1 or b.denominator > 1))

    def same(x: Fraction, y: Fraction) -> bool:
        return x == y or (rounds and _rounded(x, precision) == _rounded(y, precision))

    if a_percent == b_percent:
        return same(a, b)
    plain, percent = (b, a) if a_percent else (a, b)
    if votes:
        return same(plain, percent) or same(plain, percent / 100)
    return same(plain, percent) if a_percent or abs(plain) >= 1 else same(plain, percent / 100)


def _rounded(value: Fraction, precision: int) -> Fraction:
    while value and abs(value) * 10**precision < 10:
        precision += 1
    return round(value, precision)
