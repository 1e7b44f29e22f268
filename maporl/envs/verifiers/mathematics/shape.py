r"""What no parser of mathematics is given, because it might never come back: seen by shape, in microseconds.

Such an answer is compared as text. A model that degenerates writes little else, and must not stall the training of its team.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["too_hard"]

LONGEST = 300  # characters. The longest answer of MATH-500 has 40
DEEPEST = 6  # brackets within brackets; there 3
MOST_OPERATIONS = 40  # there 15
MOST_FUNCTIONS = 5  # roots, sines, logarithms ...; there 2
LARGEST_POWER = 5_000  # an exponent, or the product of those of something in brackets
LARGEST_EXPANSION = 30  # an exponent of a sum with letters
LARGEST_FACTORIAL = 500  # also what is above in a binomial, and below its double
LONGEST_INTEGER = 60  # digits; beside a root or power, for which factors are sought, a third
LARGEST_SUM = 100  # terms

_HARD = re.compile(r"\\(?:o|i|ii)?int(?![A-Za-z])|\\prod(?![A-Za-z])")
_SOME = re.compile(r"\\(?:sum|lim|binom|Gamma|zeta)(?![A-Za-z])")
_FUNCTION = re.compile(r"\\(?:sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|arc(?:sin|cos|tan)|sinh|cosh|tanh)(?![A-Za-z])")
_FACTORIAL = re.compile(r"([0-9]*)\s*[)}]*\s*!")
_OF_FACTORIAL = re.compile(r"!\s*[)}\]]*\s*[!^]")  # n!!, (n!)!, (n!)^k
_NUMBER = re.compile(r"[0-9]+")
_SUM = re.compile(r"[A-Za-z].*[-+]|[-+].*[A-Za-z]")
_OPERATION = re.compile(r"[-+*/^_=<>!]|\\[A-Za-z]+")
_DIGITS = re.compile(r"-?[0-9.]*")
_EXPONENT = re.compile(r"(?:\*\*|\^)\s*\(?\{?")


@lru_cache(maxsize=65536)
def too_hard(text: str) -> str | None:
    """Why `text` is not parsed, None if it may be."""
    if len(text) > LONGEST:
        return f"longer than {LONGEST} characters"
    if _depth(text) > DEEPEST:
        return f"nested deeper than {DEEPEST} levels"
    if len(_OPERATION.findall(text)) > MOST_OPERATIONS:
        return f"more than {MOST_OPERATIONS} operations"
    if len(_FUNCTION.findall(text)) > MOST_FUNCTIONS:
        return f"more than {MOST_FUNCTIONS} functions"
    numbers = _NUMBER.findall(text)
    if _HARD.search(text) or len(_SOME.findall(text)) > 2 or ("\\sum" in text and _above(numbers, LARGEST_SUM)):
        return "an integral, a product or a long sum"
    if _powers(text) > LARGEST_POWER:
        return f"a power above {LARGEST_POWER:,}"
    factorials = _FACTORIAL.findall(text)
    stacked = _OF_FACTORIAL.search(text) or ("^" in text and re.search(r"[)}]\s*!", text))
    chosen = "\\binom" in text and _above(numbers, 2 * LARGEST_FACTORIAL)
    if stacked or chosen or len(factorials) > 6 or _above(factorials, LARGEST_FACTORIAL):
        return f"a factorial above {LARGEST_FACTORIAL}"
    if max(map(len, numbers), default=0) > (
        LONGEST_INTEGER // 3 if "\\sqrt" in text or "^" in text else LONGEST_INTEGER
    ):
        return "a very long integer"
    return None


def _above(numbers: list[str], limit: int) -> bool:
    return any(len(number) > 9 or int(number or 0) > limit for number in numbers)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return max(deepest, abs(depth))


def _powers(text: str) -> int:
    """A bound of the largest exponent: exponents of exponents are raised, those of something in brackets multiplied with those within."""
    bound = 1
    for match in _EXPONENT.finditer(text):
        bracketed = match[0].rstrip()[-1] in "({"
        exponent = _inside(text, match.end()) if bracketed else _DIGITS.match(text, match.end())[0]  # type: ignore[index]
        base = _bracketed_before(text[: match.start()].rstrip())
        size = _size(exponent)
        if size > LARGEST_EXPANSION and _SUM.search(base):
            return LARGEST_POWER + 1
        bound = max(bound, min(size * (_powers(base) if base else 1), LARGEST_POWER + 1))
    return bound


def _bracketed_before(text: str) -> str:
    """What the brackets at the end of `text` enclose, if it ends with some."""
    if not text.endswith((")", "}", "]")):
        return ""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in ")}]") - (text[place] in "([{")
        if depth <= 0:
            return text[place + 1 : -1]
    return text[:-1]


def _inside(text: str, start: int) -> str:
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] in "({") - (text[place] in ")}")
        if depth == 0:
            return text[start:place]
    return text[start:]


def _size(exponent: str) -> int:
    """How large an exponent may be: its numbers multiplied, a power within it raised; above the limit, where that cannot be seen."""
    numbers = [int(number) for number in re.findall(r"[0-9]{1,6}", exponent)]
    if re.search(r"[0-9]{7}", exponent) or ("!" in exponent and any(n > 7 for n in numbers)):
        return LARGEST_POWER + 1
    if len(re.findall(r"\^|\*\*", exponent)) > 1:
        return LARGEST_POWER + 1
    if "^" in exponent and len(numbers) > 1:
        return min(max(numbers) ** min(max(numbers[1:]), 20), LARGEST_POWER + 1)
    product = 1
    for number in numbers:
        product = min(product * max(number, 1), LARGEST_POWER + 1)
    return product
