"""Whole numbers in English words, up to a million: "seventy-two", "two thousand three hundred and five"."""

from __future__ import annotations

import re

__all__ = ["WORD", "WORDS", "numeral"]

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen"""
_ONES = {word: value for value, word in enumerate(_SMALL.split())}
_TENS = {
    word: 10 * n
    for n, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
WORD = "|".join(sorted([*_ONES, *_TENS, *_SCALES], key=len, reverse=True))

WORDS = (
    r"(?<![\w'-])(?<!half\s)(?<!third\s)(?<!quarter\s)(?<!half a\s)(?<!\d\s)"
    rf"(?:(?:minus|negative)\s)?(?:an?\s(?=hundred|thousand|million))?(?:{WORD})"
    rf"(?:(?:[\s-]|,\s|\sand\s(?<=hundred\sand\s)|\sand\s(?<=thousand\sand\s))(?:{WORD})(?![a-z])){{0,12}}(?![\w'])"
    r"(?!-[a-z])(?!\s(?:and\s(?:an?|one)\s)?(?:hal(?:f|ves)|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?)\b)"
    r"(?!\s(?:dozens?|squared|cubed)\b)"
)
"""A pattern of numbers in words that are no part of a fraction, an ordinal or another word. Case must be ignored."""


def numeral(text: str) -> int | None:
    """The number that a match of `WORDS` spells; None if it is none ("two five"), or above a million."""
    total, part, least = 0, 0, 10**9
    words = re.findall(r"[a-z]+", text.lower())
    negative = words[0] in ("minus", "negative")
    for word in words[negative:]:
        if word in ("a", "an"):
            part += 1
        elif word == "hundred":
            if part >= 100 or not part:
                return None
            part *= 100
        elif word in _SCALES:
            scale = _SCALES[word]
            if scale >= least or not part:
                return None
            total, part, least = total + part * scale, 0, scale
        elif word in _TENS and part % 100 == 0:
            part += _TENS[word]
        elif word in _ONES and (part % 100 == 0 or (part % 10 == 0 and part % 100 >= 20 and 0 < _ONES[word] < 10)):
            part += _ONES[word]
        elif word != "and":
            return None
    total += part
    return None if total > 10**6 else -total if negative else total
