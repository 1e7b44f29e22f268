r"""LaTeX as people and models write it, in plainer LaTeX: steps that need no algebra."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction

__all__ = ["balanced", "compact", "group_end", "split_top", "tidied"]

_CHARACTERS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-", "\uff0d": "-", "\u2019": "'", "\u2032": "'",
        "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "\\div ", "±": "\\pm ", "√": "\\sqrt ", "∞": "\\infty ",
        "π": "\\pi ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ",
        "≈": "\\approx ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "°": "^\\circ ", "²": "^2", "³": "^3",
        "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}",
        "€": "\\$", "£": "\\$", "¥": "\\$", "₹": "\\$", "\u200b": "", "\u200e": "", "\ufeff": "",
    }
)  # fmt: skip

_SPACE = r"(?:(?<!\\)\\[,;:> ]|~|\s)"
_STYLE = r"\\(?:text(?:normal|bf|it|rm|sf|tt|sc|up)?|math(?:rm|bf|it|sf|tt|normal|up)|mbox|hbox|emph|operatorname\*?|boldsymbol|bm)"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_AMOUNT = r"[0-9]{1,30}(?:,[0-9]{3}){0,9}(?:\.[0-9]{1,30})?"
_INTEGER = r"[0-9]{1,30}"


def _fraction(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _styled(match: re.Match[str]) -> str:
    r"""\text{ and } is a comma, \text{percent} a sign; \mathbf{17} and \text{E} are what they hold; words stay in \text{}."""
    content = " ".join(re.sub(_SPACE, " ", match[1]).split())
    word = content.lower().strip(" ,.")
    if word in ("and", "or"):
        return ", "
    if word in _PERCENT:
        return "\\%"
    if not re.search(r"[A-Za-z]{2}", content) or re.fullmatch(r"\\[A-Za-z]+", content):
        return content
    return f"\\text{{{content}}}"


_PERCENT = ("percent", "per cent", "percentage", "pct", "%", "\\%")


def _repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6} is 15/90."""
    whole, before, period = match[1] or "0", match[2], match[3]
    repeated = Fraction(int(whole + before + period) - int(whole + before), (10 ** len(period) - 1) * 10 ** len(before))
    return _fraction(repeated)


def _mixed(match: re.Match[str]) -> str:
    """5 1/2 is 11/2; 5 9/2 is whatever it is."""
    whole, above, below = map(int, match.groups())
    return f"\\frac{{{whole * below + above}}}{{{below}}}" if 0 < above < below else match[0]


def _scaled(match: re.Match[str]) -> str:
    return _fraction(Fraction(match[1].replace(",", "")) * 10 ** _SCALES[match[2].lower()])


def _unit(match: re.Match[str]) -> str:
    return "\\pi" if match[0].lstrip().startswith("\\pi") else ""


_Form = str | Callable[[re.Match[str]], str]


def _steps(*steps: tuple[str, _Form]) -> tuple[tuple[re.Pattern[str], _Form], ...]:
    return tuple((re.compile(pattern), form) for pattern, form in steps)


_FIRST = _steps(
    (r"(?<!\\)\\\\(?=(?:[dtc]?frac|sqrt|text|left|right|pi|cdot|times|le|ge|infty|in|cup|pm)(?![A-Za-z]))", r"\\"),
    (r"(?<!\\)\\(?:m?left|m?right|[bB]igg?[lr]?)(?![A-Za-z])\s?", ""),
    (r"\\(?:displaystyle|textstyle|limits|nolimits)(?![A-Za-z])|\\color\s?\{[^{}]*\}", ""),
    (r"(?<=[0-9])\s?(?:\{\s?,\s?\}|,\s?\\!|\\!)\s?(?=[0-9]{3}(?![0-9]))", ""),  # 1{,}000
    (r"\\!|\\?\$|`|\*\*", ""),
    (
        rf"(?<![0-9.,/^_{{])[1-9][0-9]{{0,2}}(?:{_SPACE}[0-9]{{3}})+(?![0-9/]|{_SPACE}[0-9])",  # 1\,000
        lambda match: re.sub(r"[^0-9]", "", match[0]),
    ),
    (rf"{_SPACE}|\\q?quad(?![A-Za-z])", " "),
    (rf"(?<=[0-9}}])\s?{_STYLE}\s?\{{\s?[mgshlLVWNJ]\s?\}}(?:\^\{{?[0-9]\}}?)?\.?\s?$", ""),  # 18\text{ m}
    (rf"{_STYLE}\s?\{{([^{{}}]*)\}}", _styled),
    (r"^\s*\\text\{[^{}]*(?:\bis|\bare|:|=)\}\s?(?=\S)", ""),  # \text{The answer is } 17
    (r"\s*\b(?:percent(?:age)?|per cent|pct)\b|\s*\\?%", r"\\%"),
    (r"(?<=[0-9}])\s*\^\s?(?:\{\s?\\circ\s?\}|\\circ(?![A-Za-z]))(?:\s?[CF]$)?", ""),  # 90^\circ
    (r"(?<![A-Za-z\\])(?:infinity|infty)\b", r"\\infty"),
    (r"(?<![A-Za-z\\])(sqrt|pi|theta|alpha|beta)(?![A-Za-z])", r"\\\1"),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
    (r"^\(([0-9A-F]+)\)(?=_)", r"\1"),  # (101)_2
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(le|ge|ne)q?(?![A-Za-z])", r"\\\1 "),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=", r"\\ne "),
)
_UNITS = "mm|cm|dm|km|kg|mg|ml|cl|dl|kl|ft|yd|mi|lbs?|oz|hrs?|mins?|secs?|mph|kph|km/h|m/s|ft/s|cm/s|mi/h|yrs?|gal|sq|cu|usd|eur"
_NO_UNIT = r"(?!(?:and|or|is|are|if|not|for|where|when|than|to|mod|only|but|sin|cos|tan|log|[xyz]{2,3})\b)"
_SECOND = _steps(
    (rf"({_INTEGER})?\.([0-9]{{0,30}})\\(?:overline|bar)\s?\{{?({_INTEGER})\}}?", _repeating),
    (rf"(?<![0-9.}}^_/])({_INTEGER})\s?\\frac\{{({_INTEGER})\}}\{{({_INTEGER})\}}", _mixed),
    (rf"(?<![0-9.}}^_/])({_INTEGER})\s({_INTEGER})\s?/\s?({_INTEGER})(?![0-9.])", _mixed),
    (rf"(?i)(?<![0-9.])({_AMOUNT})\s?(?:\\text\{{)?({'|'.join(_SCALES)})s?\b(?:[a-z ]*\}})?", _scaled),
    # A unit: words in \text after a number, or words in the open.
    (rf"(?<=[0-9}}])(?:\s?\\pi)?\s?\\text\{{(?:{_NO_UNIT}[^{{}}0-9\\ ]+ ?)*\}}(?:\^\{{?[0-9]\}}?)?$", _unit),
    (rf"(?i)(?<=[0-9}}])\s?(?:{_UNITS})\b(?:\s?\^\{{?[0-9]\}}?)?$", ""),
    (rf"(?<=[0-9}}])\s{_NO_UNIT}[A-Za-z]{{3,20}}(?:\s{_NO_UNIT}[A-Za-z]{{2,20}}){{0,3}}(?:\^\{{?[0-9]\}}?)?\.?$", ""),
    (r",?\s*(?<![A-Za-z\\])(?:and|or)(?![a-z])\s*(?=[-+0-9\\({\[]|[A-Za-z]\b)", ", "),
    (r"^[^,]+$", lambda match: match[0].replace(";", ",")),
    (r",\s*,", ", "),
    (r"^[\s,:]+|(?:\s|[,.:]|\\$)+$", ""),
    (r"^\+\s?(?=[0-9.\\(])", ""),
    (r"^(-?0),(?=[0-9]{3,}$)", r"\1."),  # a decimal comma: no list has a member 0123
    (r"(?<![0-9.])\.(?=[0-9])", "0."),
    (r"\\frac\{-\s?([^{}+-]*)\}\{-\s?", r"\\frac{\1}{"),
    (r"\\frac\{(?:-\s?([^{}+-]*)\}\{|([^{}+-]*)\}\{-\s?)", r"-\\frac{\1\2}{"),
    (r"([0-9])\s?/\s?\(\s?-\s?([0-9]+)\s?\)", r"-\1/\2"),
    (r"^-\s?-", ""),
    (
        r"(?:(?<=^)|(?<=[=-]))\s?([1-9][0-9]{0,2}(?:,[0-9]{3}){1,9})(?=(?:\.[0-9]+)?(?:/[0-9]+)?(?:\\%)?$)",  # 1,000
        lambda match: match[1].replace(",", ""),
    ),
)  # fmt: skip


def tidied(text: str) -> str:
    r"""`text` in plain LaTeX: \frac{a}{b} and \sqrt{a} with their braces; no sizes, colours, fonts, units or separators of thousands."""
    text = " ".join(text.translate(_CHARACTERS).split())
    text = _all(_SECOND, _with_braces(_all(_FIRST, text))).strip()
    while text.startswith("{") and group_end(text, 0) == len(text):
        text = text[1:-1].strip(" ,")
    return text


def _all(steps: Iterable[tuple[re.Pattern[str], _Form]], text: str) -> str:
    for pattern, form in steps:
        text = pattern.sub(form, text)
    return text


_GAPS = re.compile(r"(\s*,\s*)|((?<=[A-Za-z])\s+(?=[A-Za-z])|(?<=[0-9])\s+(?=[0-9.]))|\s+")


def compact(text: str) -> str:
    """Mathematics without needless space, and with one after each comma, so that ``1, 234`` is never taken for a thousand."""
    return _GAPS.sub(lambda gap: ", " if gap[1] else " " if gap[2] else "", text).strip()


def group_end(text: str, start: int) -> int:
    r"""Where the braces that open at `start` have closed; -1 if they do not. ``\{`` is no brace."""
    depth, place = 0, start
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        place += 1
        if depth == 0:
            return place
    return -1


def balanced(text: str) -> bool:
    """Whether every bracket of whatever kind closes one that opened."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def split_top(text: str) -> list[str]:
    """The parts between the commas that no bracket encloses."""
    if not balanced(text) or "\\begin" in text:
        return [text]
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


_TOKEN = re.compile(r"\s?(\\[A-Za-z]+|\\?.)")
_SCRIPT = re.compile(r"\s?(-?[0-9]+|\\[A-Za-z]+|\\?.)")
_TAKES = re.compile(r"\\(?:frac|sqrt|overline|bar)(?![A-Za-z])|[\^_]|\\[A-Za-z]+|\\.")
_ARGUMENTS = {"\\frac": 2, "\\sqrt": 1, "\\overline": 1, "\\bar": 1, "^": 1, "_": 1}


def _with_braces(text: str) -> str:
    r"""Every argument in braces: \frac12, \sqrt 2, a_1. An exponent of one character goes without: x^2."""
    parts, place = [], 0
    while match := _TAKES.search(text, place):
        command = match[0]
        parts.append(text[place : match.end()])
        place = match.end()
        if command == "\\sqrt" and text.startswith("[", place) and (end := text.find("]", place)) > 0:
            parts.append(text[place : end + 1])
            place = end + 1
        for _ in range(_ARGUMENTS.get(command, 0)):
            argument, place = _argument(text, place, command)
            if argument is not None:
                inner = _with_braces(argument).strip()
                parts.append(inner if command == "^" and len(inner) == 1 else f"{{{inner}}}")
    parts.append(text[place:])
    return "".join(parts)


def _argument(text: str, place: int, command: str) -> tuple[str | None, int]:
    """(argument of a command, where it ends), (None, place) where there is none."""
    start = place + (text[place : place + 1] == " ")
    if text.startswith("{", start):
        end = group_end(text, start)
        return (text[start + 1 : end - 1], end) if end > 0 else (None, place)
    if text.startswith("(", start) and command in ("\\sqrt", "^"):
        end = _closing(text, start)
        return (text[start + 1 : end - 1], end) if end > 0 else (None, place)
    match = (_SCRIPT if command in "^_" else _TOKEN).match(text, place)
    if match is None or match[1] in ("}", ")", "]", ","):
        return None, place
    return match[1], match.end()


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place + 1
    return -1
