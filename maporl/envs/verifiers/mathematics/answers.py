r"""Where a message says what its mathematical answer is: the last box, phrase ("the answer is ...") or, without these, formula or number.

The answer is what a message *ends on*. Several boxes are one answer only where they stand together as a list, so a quoted peer's box
spoils nothing, and naming many earns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from maporl.envs.verifiers.english.groups import FAR
from maporl.envs.verifiers.english.places import FIRM, put_aside
from maporl.envs.verifiers.english.vocabulary import Kind
from maporl.envs.verifiers.markers import BOX, box
from maporl.envs.verifiers.mathematics.formulas import (
    NUMBER,
    PERCENT,
    REACH,
    bare,
    formulas,
    items,
    listed,
    spelled_out,
)
from maporl.envs.verifiers.number import canonical, in_the_open, parse_number
from maporl.envs.verifiers.number_spelling import COMPOUND

__all__ = ["answer_in"]

_LONGEST = 20_000  # characters of a message, its end, that are read
_MOST = 64  # boxes and phrases, the last ones, that are looked at


class _Found(NamedTuple):
    """Something that may be the answer; not `firm` is what merely follows a phrase (``the answer is 2 more than ...``), `marked` a box."""

    end: int
    start: int
    answer: str
    firm: bool = True
    marked: bool = False


def answer_in(text: str, kinds: tuple[str, ...] = ("latex", "expr")) -> str | None:
    """The answer of a message as it stands there, None if there is none.

    Args:
        text: The message.
        kinds: "latex" (boxes, formulas), "expr" (plain numbers), or both.
    """
    text = text[-_LONGEST:]
    found = sorted([*(_boxes(text) if "latex" in kinds else ()), *_phrases(text, kinds)])
    if found:
        aside = put_aside(text, [(one.start, one.end) for one in found])
        own = [one for one in found if one.start not in aside]
        found = own or [one for one in found if one.marked and aside[one.start] not in FIRM]
        return next((one for one in reversed(found) if one.firm), found[-1]).answer if found else None
    text = _finished(text)
    number = NUMBER.fullmatch(text.strip())
    if number and number["comma"] and ("latex" not in kinds or len(number["comma"]) > 2):
        return spelled_out(number)  # 2,74 is a decimal comma, 1,2 a list
    whole = bare(text.strip(), kinds) if len(text) < REACH else None
    if whole is not None and not text.strip()[whole[1] :].strip(" .\n`*_$"):
        return whole[0]
    last = _last(text, kinds)
    prose = "expr" in kinds and "=" not in text.strip().rpartition("\n")[2]
    if last is None or not prose or (named := parse_number(last)) is None:
        return last
    value = in_the_open(NUMBER.sub(spelled_out, text))  # "5 cars came in the first 15 minutes", after "output 5", is 5
    return None if value is None else last if value == named else canonical(value)


def _last(text: str, kinds: tuple[str, ...], lead: str = "") -> str | None:
    """The last formula or number that `text`, after the words `lead`, does not put aside."""
    found = [(start + len(lead), end + len(lead), answer) for start, end, answer in items(text, kinds)]
    aside = put_aside(lead + text, [(start, end) for start, end, _ in found])
    own = [answer for start, _, answer in found if start not in aside]
    own = own or [
        answer for start, _, answer in found if aside[start] in (Kind.DENY, FAR)
    ]  # "it's not 10 it's 9": 10 is none of them
    return own[-1] if own else None


def _finished(text: str) -> str:
    """All before a box that never closes: what stands in it is part of an answer at most."""
    cut = next((match.start() for match in BOX.finditer(text) if box(text, match.end()) is None), len(text))
    return text[:cut]


# Boxes.


def _boxes(text: str) -> Iterator[_Found]:
    """The boxes, those that form a list as one."""
    members: list[str] = []
    end = begin = 0
    for match in list(BOX.finditer(text))[-_MOST:]:
        inside = box(text, match.end()) if match.start() >= end else None
        if inside is None:
            continue
        if members and not _joins(text[end : match.start()]):
            yield _Found(end, begin, listed(members), marked=True)
            members = []
        begin, end = begin if members else match.end(), inside[1]
        while nested := BOX.search(inside[0]):
            inside = box(inside[0], nested.end()) or (inside[0][: nested.start()], 0)
        members.append(inside[0] + "\\%" * (PERCENT.match(text, end) is not None))
    if any(member.strip() for member in members):
        yield _Found(end, begin, listed(members), marked=True)


_LATEX_SPACE = re.compile(r"\\q?quad\b|\\[,;:!> ()\[\]]|[$*&+]|~|\\text\s?\{([^{}]*)\}")
_CONNECTED = re.compile(
    r"(?P<words>(?:[A-Za-z]+|\([a-z]\))(?:\s(?:[A-Za-z]+|\([a-z]\))){0,2})??\s*[,;]?\s*(?:and|or|[,;])?\s*"
    r"(?P<name>[A-Za-z](?:_\{?\w\}?)?\s?=\s*)?"
)
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|[,;]")
_CLAUSE = re.compile(
    r"\b(?:is|are|was|were|got|gets?|says?|said|but|not|no|wrong|right|i|we|he|she|it|they|you|then|than|so|by|to)\b",
    re.I,
)


def _joins(between: str) -> bool:
    """Whether two boxes with this between them are members of one list: nothing, or a connective, perhaps after a noun or two."""
    if len(between) > 80:
        return not between.strip()
    plain = " ".join(_LATEX_SPACE.sub(lambda m: f" {m[1] or ''} ", between).split())
    match = _CONNECTED.fullmatch(plain)
    if match is None or (plain and not _CONNECTIVE.search(plain)):
        return False
    return not _CLAUSE.search(plain)


# Phrases.

_PHRASE = re.compile(
    r"(?P<tag><answer>)|\#\#\#\#|^[ \t*_>]*(?-i:A):(?=\s)"
    r"|(?<!this\s)(?<!that\s)(?<!whose\s)\banswers?\b[*_\"')\s]{0,4}(?:\([^()\n]{0,40}\)\s?)?(?:(?:to|for|of)\s[^.\n:]{1,80}?\s)?"
    r"(?:(?:is|was|are|equals?|becomes|(?:would|will|must|should)\s(?:then\s)?be)\b|=|:)(?!\s{1,3}not\b)"
    r"|^[ \t#*_]*(?:final[ ])?answer[ \t*_]*$",
    re.MULTILINE | re.IGNORECASE,
)
_CHECKED = re.compile(r"\b(?:check|verify|confirm)(?:ing)?\s(?:[a-z]+\s)?$", re.IGNORECASE)  # to check our answer: ...
_BEFORE = re.compile(
    r"[\s:*_\"'#]*(?:(?:[a-z]{2,20}ly|therefore|thus|hence|now|then|just|indeed|still|also|equal to|given by|either|about)\b,?\s*)*"
    r"[\s:*_\"']*",
    re.IGNORECASE,
)
_FIRM = re.compile(r"[$*_\"')\]\\\s]*(?:[^\W\d]+\s?){0,3}[*_]*(?:[.,;!?()<]|\n|$|because\b|since\b|as\b|which\b)")
_SENTENCE = re.compile(r"[.!?](?=\s|$)|\n")
_FEW_WORDS = re.compile(r"[\s*_\"'`:]*([A-Za-z][A-Za-z'-]*(?: [A-Za-z'-]+){0,2})[*_\"'`]*\s*(?:[.!\n]|$)")


def _phrases(text: str, kinds: tuple[str, ...]) -> Iterator[_Found]:
    for match in list(_PHRASE.finditer(text))[-_MOST:]:
        rest = text[match.end() : match.end() + REACH]
        if _CHECKED.search(text[max(0, match.start() - 40) : match.start()]):
            continue
        if match["tag"]:
            inside = rest.partition("</")[0]
            if inside.strip() and "<answer>" not in inside:
                yield _Found(match.end() + len(inside), match.end(), answer_in(inside, kinds) or inside.strip())
            continue
        skipped = _BEFORE.match(rest)
        start = skipped.end() if skipped else 0
        if BOX.match(rest[start:].lstrip("$\\([ ")):
            continue  # it counts as a box
        if COMPOUND.match(rest, start):
            continue
        direct = formulas(rest, start, kinds) or _shifted(bare(rest[start:], kinds), start)
        if direct is not None and BOX.search(direct[0]):
            continue
        if direct is not None:
            yield _Found(
                match.end() + direct[1], match.end() + start, direct[0], _FIRM.match(rest, direct[1]) is not None
            )
            continue
        sentence = _SENTENCE.split(rest[start:], maxsplit=1)[0]
        last = _last(sentence, kinds, f"{match.group()} ")
        words = _FEW_WORDS.match(rest) if last is None and not BOX.search(sentence) else None
        if last is not None:
            yield _Found(match.end() + start + len(sentence), match.end() + start, last, not BOX.search(text))
        elif words is not None:
            yield _Found(match.end() + words.end(), match.end(), f"\\text{{{words[1]}}}", False)


def _shifted(found: tuple[str, int] | None, by: int) -> tuple[str, int] | None:
    return None if found is None else (found[0], found[1] + by)
