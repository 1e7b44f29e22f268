"""How a number is written: ``1,200`` = ``1200.0`` = ``$1200`` = ``1.2 \\times 10^3``."""

from __future__ import annotations

import math
import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

__all__ = [
    "COMPOUND",
    "DIGITS",
    "GOES_ON",
    "MOST_DIGITS",
    "NUMBER",
    "PART_OF",
    "RATIO",
    "SIGN_APART",
    "TOKEN",
    "canonical",
    "parse_number",
    "tidy",
    "value_of",
]

DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?"  # Indian groups
    r"|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
)
NUMBER = (
    r"(?=[-$€£¥₹.0-9])(?<![A-Za-z_#])(?<![A-Za-z_]-)(?P<sign>(?<![\w)\]}.-])-)?(?:[$€£¥₹]\s?(?P<inner>-)?)?"
    r"(?![0-9][0-9,]{0,20}(?:st|nd|rd|th)\b)(?![0-9.,]{1,20}\s(?:squared|cubed)\b)"  # an ordinal is no amount, a power not its base
    rf"(?P<number>{DIGITS})"
    r"(?:\s{1,2}(?P<above>[0-9]{1,9})/(?P<below>[0-9]{1,9})(?![0-9/])"  # 1 1/2
    rf"|\s?/\s?\(?(?P<divisor>-?{DIGITS})\)?"  # 3/4
    r"|\s?(?:\\times|×|\*|x)\s?10\s?\^\s?\{?(?P<power>[+-]?[0-9]{1,3})\}?"  # 1.2 x 10^3
    r"|[eE](?P<exponent>[+-]?[0-9]{1,3})(?![\w.])"
    r"|(?P<scale>(?-i:k|K|M)\b|(?:\s?(?:hundred|thousand|million|billion|trillion|dozen)\b){1,3}))?"
)
_SCALES = {
    "k": 1000,
    "m": 10**6,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
TOKEN = re.compile(NUMBER)
_FRACTION = re.compile(
    rf"(?P<whole>[0-9]\s?)?\\[dtc]?frac\s?(?:\{{\s?(?P<a>-?{DIGITS})\s?\}}\s?\{{\s?(?P<b>-?{DIGITS})\s?\}}"
    r"|(?P<c>[0-9])\s?(?P<d>[0-9]))"
)
MOST_DIGITS = 400  # a longer number is a model repeating itself, and Python's own conversion has a limit too
GOES_ON = re.compile(
    r"\s?(?:[-*/×÷]\s?[0-9(\\]|[+^]\s?[\w(\\{]|_\{?[0-9]|[π√]|sqrt|\\(?:times|cdot|div|sqrt|pi)(?![A-Za-z])|[xyz]\b(?!\s[a-z]))"
    r"|\s?(?:%|percent)\sof\s\$?[0-9]|(?:\s{1,2}[a-z]{1,20}){0,2}\s?(?:[-+*/×÷]\s|\b(?:plus|minus|times|divided\sby|multiplied\sby|added\sto|less|(?:more|less|fewer)\sthan)\s)[$(]?[0-9]"
    r"|(?:\s[a-z]{1,20}){0,4}\s?=",
    re.IGNORECASE,
)
"""An expression goes on: what was read is only its beginning."""
PART_OF = (
    r"(?:\b(?:twice|thrice|double|triple|quadruple|times|half\s(?:of|the|as)"
    r"|(?:halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|percent|[0-9]/[0-9]{1,3})\sof)|%\sof)"
    r"(?:\s(?:of|the|as|many|much)){0,4}\s\$?$"
)
"""Words before a number that make another one of it: "twice 5", "half of 10"."""
_UNIT, _LESSER_UNIT = (
    r"(?:years?|months?|weeks?|days?|hours?|hrs?|minutes?|mins?|feet|foot|yards?|pounds?|lbs?|gallons?|dollars?|met(?:re|er)s?|kilograms?|kg)",
    r"(?:months?|weeks?|days?|hours?|hrs?|minutes?|mins?|seconds?|secs?|inch(?:es)?|feet|ounces?|oz|cents?|quarts?|centimet(?:re|er)s?|cm"
    r"|grams?)",
)
COMPOUND = re.compile(rf"(?<![0-9.,]){DIGITS}\s?-?{_UNIT}(?:,?\sand)?\s{DIGITS}\s?-?{_LESSER_UNIT}\b", re.IGNORECASE)
"""One amount in two units, of which neither number is the amount: "1 hour and 30 minutes"."""
RATIO = re.compile(r"(?<![0-9.:])[0-9]+(?::[0-9]+)+(?![0-9])|(?<![0-9])[0-9]+\s:\s[0-9]+")
"""A ratio, or a time of day."""
SIGN_APART = re.compile(r"^-\s{1,3}")
_SQUARED = re.compile(r"(?<![A-Za-z])([kcdm]?m|ft|in|yd|mi|units?|feet|inches|met(?:re|er)s?)[²³]")
_SPACES = "\u00a0\u2007\u2009\u202f"  # spaces that hold a number together
_PLAIN = str.maketrans(
    dict.fromkeys("\u2212\u2013\u2010\u2011\uff0d", "-")
    | {"。": ". ", "²": "^2", "³": "^3", "’": "'"}
    | {0xFF10 + digit: str(digit) for digit in range(10)}
    | {sign: f" {unicodedata.normalize('NFKC', sign).replace(chr(0x2044), '/')}" for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
)
_GROUPED = re.compile(
    rf"(?<![0-9.,])[0-9]{{1,3}}(?:(?:(?:[{_SPACES}'_]|\\,)[0-9]{{3}})+|(?: [0-9]{{3}}){{2,}})(?![0-9])"
)
_DOTTED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![0-9]|\.[0-9])")
_MINUS = re.compile(
    r"(?:\bnegative|(?:(?<=^)|(?<=\bis\s)|(?<=\bto\s)|(?<=[:=]\s))minus)\s(?=[$€£¥₹]?[0-9])", re.IGNORECASE
)
_CURRENCY = re.compile(r"\b(?:Rs\.?|INR|USD|EUR|GBP|US(?=\$))\s?(?=[$0-9])")


def _fraction(match: re.Match[str]) -> str:
    above, below = match["a"] or match["c"], match["b"] or match["d"]
    return f"{(match['whole'] or '').strip()} {above}/{below}" if match["whole"] else f"{above}/{below}"


def tidy(text: str) -> str:
    """LaTeX and typographic spellings of a number in plain ones."""
    if "²" in text or "³" in text:
        text = _SQUARED.sub(r"\1", text)  # the power of a unit is no number
    text = text.translate(_PLAIN)
    for written, meant in (("i.e.", "i.e"), ("\\$", "$"), ("\\%", "%"), ("{,}", ","), ("\\!", "")):
        text = text.replace(written, meant)
    text = _GROUPED.sub(lambda match: re.sub(r"\\,|[^0-9]", ",", match.group()), text)
    text = _DOTTED.sub(lambda match: match.group().replace(".", ","), text)
    text = _CURRENCY.sub("", _MINUS.sub("-", text))
    return _FRACTION.sub(_fraction, text) if "frac" in text else text


def value_of(match: re.Match[str]) -> Fraction | None:
    """The number that a `TOKEN` match spells, None if it is not finite or too long to be meant."""
    if len(match.group()) > MOST_DIGITS:
        return None
    digits = match["number"].replace(",", "")
    value = Fraction(int(digits)) if digits.isdecimal() else Fraction(digits)
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
        value *= math.prod(_SCALES[word] for word in match["scale"].lower().split())
    return -value if match["sign"] or match["inner"] else value


@lru_cache(maxsize=65536)
def parse_number(text: str) -> Fraction | None:
    """The number that `text` as a whole is, units and currency allowed (``"-1,200.50 dollars"``), else None."""
    if len(text) > MOST_DIGITS:
        return None
    text = SIGN_APART.sub("-", tidy(text).strip(" \t\r\n$*+").rstrip("."))
    match = TOKEN.match(text)
    if match is None or TOKEN.search(text, match.end()) or GOES_ON.match(text, match.end()):
        return None
    return value_of(match)


def canonical(value: Fraction) -> str:
    """One spelling per number: ``"72"``, ``"-0.5"``, ``"1/3"``."""
    if value.denominator == 1:
        return str(value.numerator)
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
