"""What of a sentence may hold its number: not what only says when, explains, or says of what a result is."""

from __future__ import annotations

import re

from maporl.envs.verifiers.number_spelling import GOES_ON, NUMBER, TOKEN

__all__ = ["carried_out", "told"]

_LABEL = re.compile(
    r"\b(?:on|of|in|by|at|after|for|from|until|since|during)\s(?:day|week|month|year|hour|minute|round|lap|game|level|stage|step|page|chapter)"
    r"\s[0-9]{1,4}(?=[.,;:!?)]|\s*$)",
    re.IGNORECASE,
)
_REMARK = re.compile(
    rf"(?<=[0-9a-z%])\s\((?!\W*(?:(?:or|i\.?e|that\sis|which\sis|equals|about|approximately)\b\W*)*{NUMBER}%?(?:\s[a-z]{{1,20}}){{0,2}}\))"
    r"(?=[^()\n]*[a-z])[^()\n]{1,200}\)",
    re.IGNORECASE,
)
"""What only says when, or explains: "on day 3", "40 (he already did 20 of 60)"; not "1.5 hours (90 minutes)"."""
_EQUALS = re.compile(r"=\s{0,2}")
_OF_WHAT = re.compile(
    r"\b(?:for|of|in|per|over|during|from|with|at|among|every|each)\s(?:[a-z]{1,20}\s){0,3}\$?$", re.IGNORECASE
)


def carried_out(sentence: str) -> str:
    """`sentence` up to the result of its last equation, where the numbers that follow only say of what it is: "= $460 for 45 hours"."""
    result = TOKEN.match(sentence, _EQUALS.search(sentence, sentence.rfind("=")).end()) if "=" in sentence else None  # type: ignore[union-attr]
    if result is None or GOES_ON.match(sentence, result.end()):
        return sentence
    others = [match.start() for match in TOKEN.finditer(sentence, result.end())]
    return (
        sentence[: result.end()]
        if all(_OF_WHAT.search(sentence[max(result.end(), n - 80) : n]) for n in others)
        else sentence
    )


def told(sentence: str) -> str:
    """A sentence without what only says when, or explains, if a number is left."""
    for beside in (_LABEL, _REMARK):
        rest = beside.sub(" ", sentence) if any(map(str.isdigit, sentence)) else sentence
        sentence = rest if any(map(str.isdigit, rest)) else sentence
    return sentence
