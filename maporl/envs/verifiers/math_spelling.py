"""One spelling for mathematical answers that are the same number, so that whoever counts answers may compare strings."""

from __future__ import annotations

import re
from fractions import Fraction

from maporl.envs.verifiers.number import canonical

__all__ = ["plain_number", "spelled"]

_PLAIN = re.compile(
    r"(-?)(?:\\[dt]?frac\{([0-9]{1,30})\}\{([0-9]{1,30})\}|([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:/([0-9]{1,30}))?)"
)
_LONGEST = 200  # characters; a longer answer is no number that a person would write


def plain_number(text: str) -> tuple[Fraction, bool] | None:
    """(value, has a decimal point) of an answer that is nothing but digits, a point and one fraction bar."""
    match = _PLAIN.fullmatch(text.strip())
    if match is None:
        return None
    sign, above, below, number, divisor = match.groups()
    divisor = below or divisor or "1"
    if int(divisor) == 0:
        return None
    value = Fraction(above or number) / int(divisor)
    return (-value if sign else value), number is not None and "." in number


_STYLE = r"\\(?:text(?:normal|bf|it|rm)?|math(?:rm|bf|it)|mbox)\s?"
_PART = r"\s?(?:([0-9])|\{\s?(-?[0-9]+)\s?\})"  # \frac12 is \frac{1}{2}
_TIDY = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        # A unit; but a per cent is another number, and "5 and 6" is a list.
        (
            rf"(?<=[0-9}}.\s,;:])\s?{_STYLE}\{{(?!\s*(?:percent|pct|and\b|or\b))[^{{}}0-9\\]*\}}(?:\^\{{?[0-9]\}}?)?$",
            "",
        ),
        (rf"^{_STYLE}\{{([^{{}}]*)\}}$", r"\1"),
        (r"\\?\$|\\displaystyle|\\!\s?", ""),
        (r"^\s+|(?:\s|\\[,;:])+$", ""),
        ("\u2212", "-"),
        (r"\s?\{\s?,\s?\}", ","),
        (rf"\\[dtc]?frac{_PART}{_PART}(?![0-9])", r"\\frac{\1\2}{\3\4}"),
        (r"^\\frac\{(?:-([0-9]+)\}\{|([0-9]+)\}\{-)", r"-\\frac{\1\2}{"),
        (r"^-\s", "-"),
        (r"^\+\s?(?=[0-9.\\])", ""),
        (r"^(-?)\.(?=[0-9])", r"\g<1>0."),
        (r"(?<=[0-9])\s?/\s?(?=[0-9])", "/"),
    )
)
"""From the spellings of a number that Math-Verify reads to those of `plain_number`, step by step."""
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3}){1,9}(?:\.[0-9]+)?")


def spelled(answer: str) -> str:
    r"""`answer` in the one spelling of its value, if it is a simple one; else the LaTeX that it was, with single spaces.

    Simple are integers, decimals and fractions, with whatever dollar sign, \text, unit in \text, thousands separator or trailing zero
    they come: \dfrac{2}{4}, .50 and 1/2 are "0.5", \$1,000 is "1000", \frac{2}{6} is "1/3". A percentage stays one, "50\%",
    because it may be equal to 50 or to 0.5. What Math-Verify holds to be different is never spelled alike.
    """
    text = " ".join(answer.split())
    if len(text) > _LONGEST:
        return text
    percent = text.endswith("%")
    simple = text.removesuffix("%").removesuffix("\\") if percent else text
    for pattern, form in _TIDY:
        simple = pattern.sub(form, simple)
    if _THOUSANDS.fullmatch(simple):
        simple = simple.replace(",", "")
    number = plain_number(simple)
    return text if number is None else canonical(number[0]) + "\\%" * percent
