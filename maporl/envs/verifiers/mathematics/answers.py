r"""Where a message says what its mathematical answer is: the last box, phrase ("the answer is ...") or, without these, formula or number.

The answer is what a message *ends on*. Several boxes are one answer only where they stand together as a list, so a quoted peer's box
spoils nothing, and naming many earns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from maporl.envs.verifiers.markers import BOX, box
from maporl.envs.verifiers.mathematics.spelling import spelled

__all__ = ["answer_in"]

_LONGEST = 50_000  # characters of a message, its end, that are read
_MOST = 64  # boxes and phrases, the last ones, that are looked at
_REACH = 2000  # characters after a phrase


class _Found(NamedTuple):
    """Something that may be the answer; not `firm` is what merely follows a phrase (``the answer is 2 more than ...``)."""

    end: int
    answer: str
    firm: bool = True


def answer_in(text: str, kinds: tuple[str, ...] = ("latex", "expr")) -> str | None:
    """The answer of a message as it stands there, None if there is none.

    Args:
        text: The message.
        kinds: "latex" (boxes, formulas), "expr" (plain numbers), or both.
    """
    text = text[-_LONGEST:]
    found = sorted([*(_boxes(text) if "latex" in kinds else ()), *_phrases(text, kinds)])
    if found:
        return next((one for one in reversed(found) if one.firm), found[-1]).answer
    text = _finished(text)
    if "latex" not in kinds and (number := _NUMBER.fullmatch(text.strip())):
        return _number(number)  # 1,22 is no list
    whole = _bare(text.strip(), kinds) if len(text) < _REACH else None
    if whole is not None and not text.strip()[whole[1] :].strip(" .\n`*_$"):
        return whole[0]
    *_, last = (None, *_items(text, kinds))
    return last


def _finished(text: str) -> str:
    """All before a box that never closes: what stands in it is part of an answer at most."""
    cut = next((match.start() for match in BOX.finditer(text) if box(text, match.end()) is None), len(text))
    return text[:cut]


# Boxes.

_DENIED = re.compile(
    r"(?:\bnot(?:\s(?:be|equal(?:\sto)?|in fact))?|n't(?:\sbe)?|\binstead of|\brather than|\bunlike|\bfrom|\bas opposed to)"
    r"\s{0,3}(?:\\?[$(\[]\s?){0,2}(?:[A-Za-z]\s?=\s?)?$"
)
_SUFFIX = re.compile(r"\s{0,3}(?:\$\$?|\\\)|\\\])?\s{0,3}(?:\\?%|percent(?:age)?\b|pct\b)")


def _boxes(text: str) -> Iterator[_Found]:
    """The boxes that are not denied, those that form a list as one."""
    members: list[str] = []
    end = 0
    for match in list(BOX.finditer(text))[-_MOST:]:
        inside = box(text, match.end()) if match.start() >= end else None
        if inside is None or _DENIED.search(text[max(0, match.start() - 60) : match.start()]):
            continue
        if members and not _joins(text[end : match.start()]):
            yield _Found(end, _listed(members))
            members = []
        end = inside[1]
        while nested := BOX.search(inside[0]):
            inside = box(inside[0], nested.end()) or (inside[0][: nested.start()], 0)
        members.append(inside[0] + "\\%" * (_SUFFIX.match(text, end) is not None))
    if any(member.strip() for member in members):
        yield _Found(end, _listed(members))


def _listed(members: list[str]) -> str:
    """One answer of several, each once."""
    return ", ".join({spelled(member): member for member in members}.values())


_LATEX_SPACE = re.compile(r"\\q?quad\b|\\[,;:!> ()\[\]]|[$*&+]|~|\\text\s?\{([^{}]*)\}")
_CONNECTED = re.compile(
    r"(?P<words>(?:[A-Za-z]+|\([a-z]\))(?:\s(?:[A-Za-z]+|\([a-z]\))){0,2})??\s*[,;]?\s*(?:and|or|[,;])?\s*"
    r"(?P<name>[A-Za-z](?:_\{?\w\}?)?\s?=\s*)?"
)
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|[,;]")
_CLAUSE = re.compile(r"\b(?:is|are|was|were|got|gets?|says?|said|but|not|no|wrong|right|i|we|he|she|it|they|you|then|than|so|by|to)\b", re.I)


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
    r"(?P<tag><answer>)|\#\#\#\#"
    r"|(?<!this\s)(?<!that\s)(?<!whose\s)\banswers?\b[*_\"')\s]{0,4}(?:\([^()\n]{0,40}\)\s?)?(?:(?:to|for|of)\s[^.\n:]{1,80}?\s)?"
    r"(?:(?:is|was|are|equals?|becomes|(?:would|will|must|should)\s(?:then\s)?be)\b|=|:)(?!\s{1,3}not\b)"
    r"|^[ \t#*_]*(?:final[ ])?answer[ \t*_]*$",
    re.MULTILINE | re.IGNORECASE,
)
_BEFORE = re.compile(
    r"[\s:*_\"'#]*(?:(?:[a-z]{2,20}ly|therefore|thus|hence|now|then|just|indeed|still|also|equal to|given by|either|going to be|about|only)\b,?\s*)*"
    r"[\s:*_\"']*",
    re.IGNORECASE,
)
_FIRM = re.compile(r"[$*_\"')\]\\\s]*(?:[^\W\d]+\s?){0,3}[*_]*(?:[.,;!?()<]|\n|$|because\b|since\b|as\b|which\b)")
_SENTENCE = re.compile(r"[.!?](?=\s|$)|\n")
_FEW_WORDS = re.compile(r"[\s*_\"'`:]*([A-Za-z][A-Za-z'-]*(?: [A-Za-z'-]+){0,2})[*_\"'`]*\s*(?:[.!\n]|$)")


def _phrases(text: str, kinds: tuple[str, ...]) -> Iterator[_Found]:
    for match in list(_PHRASE.finditer(text))[-_MOST:]:
        rest = text[match.end() : match.end() + _REACH]
        if match["tag"]:
            inside = rest.partition("</")[0]
            if inside.strip():
                yield _Found(match.end() + len(inside), answer_in(inside, kinds) or inside.strip())
            continue
        skipped = _BEFORE.match(rest)
        start = skipped.end() if skipped else 0
        if BOX.match(rest[start:].lstrip("$\\([ ")):
            continue  # it counts as a box
        direct = _formulas(rest, start, kinds) or _shifted(_bare(rest[start:], kinds), start)
        if direct is not None:
            yield _Found(match.end() + direct[1], direct[0], _FIRM.match(rest, direct[1]) is not None)
            continue
        sentence = _SENTENCE.split(rest[start:], maxsplit=1)[0]
        *_, last = (None, *_items(sentence, kinds))
        words = _FEW_WORDS.match(rest) if last is None and not BOX.search(sentence) else None
        if last is not None:
            yield _Found(match.end() + start + len(sentence), last, not BOX.search(text))
        elif words is not None:
            yield _Found(match.end() + words.end(), f"\\text{{{words[1]}}}", False)


def _shifted(found: tuple[str, int] | None, by: int) -> tuple[str, int] | None:
    return None if found is None else (found[0], found[1] + by)


# Formulas and numbers.

_ENVIRONMENT = re.compile(
    r"(?<!\\)\$\$(?P<a>[^$]{1,2000}?)\$\$"
    r"|(?<!\\)\\\[(?P<b>(?:[^\\]|\\(?!\])){1,2000}?)\\\]"
    r"|(?<![\\0-9])\$(?P<c>(?:\\\$|[^$\n]){1,1000}?)(?<!\\)\$"
    r"|(?<!\\)\\\((?P<d>(?:[^\\\n]|\\(?!\))){1,1000}?)\\\)"
)
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")
_AND = re.compile(r"\s{0,3}(?:,?\s?and\b|,?\s?or\b|,)\s{0,3}")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,/^\\])(?P<sign>[-\u2212\u2013]\s?)?(?:\\?[$€£¥₹]\s?)?"
    r"(?P<number>[1-9][0-9]{0,2}(?:(?P<space>[ ,\u2009\u202f\u00a0])[0-9]{3})(?:(?P=space)[0-9]{3})*(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]+(?P<comma>,[0-9]+)(?![0-9,])|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<rest>\s?/\s?[0-9]+|\s[0-9]+/[0-9]+|\s?(?:\\?%|percent(?:age)?\b|pct\b|hundred\b|thousand\b|[mb]illion\b|trillion\b)|[_^]\{?[0-9]+\}?)?"
)
_OPEN_FORMULA = re.compile(r"(?<![A-Za-z0-9\\])[-+]?[0-9]*\\(?:[dtc]?frac|sqrt|pi|begin)(?![A-Za-z])")


def _formula(match: re.Match[str]) -> str | None:
    """What stands between delimiters, None between two dollar signs of prose."""
    inside = next(group for group in match.groups() if group is not None)
    words = _PROSE.findall(re.sub(r"\\[a-z]+\s?\{[^{}]*\}", "", inside))
    return None if match["c"] and len(words) > 1 else inside


def _formulas(text: str, start: int, kinds: tuple[str, ...]) -> tuple[str, int] | None:
    """(formula, where it ends) at `start`; several that are joined by commas, "and" or "or" are one list."""
    if "latex" not in kinds:
        return None
    members: list[str] = []
    place = end = start
    while (match := _ENVIRONMENT.match(text, place)) and (inside := _formula(match)) is not None:
        end = match.end()
        members.append(inside + "\\%" * (_SUFFIX.match(text, end) is not None))
        joined = _AND.match(text, end)
        if joined is None:
            break
        place = joined.end()
    return (_listed(members), end) if members else None


def _items(text: str, kinds: tuple[str, ...]) -> Iterator[str]:
    """Every formula and number of a text."""
    place = 0
    starts = re.compile("|".join(["[$]|\\\\[\\[(]|" + _OPEN_FORMULA.pattern] * ("latex" in kinds) + ["[-\u2212\u2013.$€£¥₹0-9]"]))
    while match := starts.search(text, place):
        place = match.end()
        if _DENIED.search(text[max(0, match.start() - 60) : match.start()]):
            if denied := _NUMBER.match(text, match.start()) or _ENVIRONMENT.match(text, match.start()):
                place = denied.end()
            continue
        if formula := _formulas(text, match.start(), kinds):
            place = formula[1]
            yield formula[0]
        elif "\\" in match[0] and match[0][-1].isalpha():
            if bare := _bare(text[match.start() : match.start() + _REACH], kinds):
                place = match.start() + bare[1]
                yield bare[0]
        elif "expr" in kinds and (number := _NUMBER.match(text, match.start())):
            place = number.end()
            yield _number(number)


def _number(match: re.Match[str]) -> str:
    digits = match["number"].replace(",", ".") if match["comma"] else re.sub(r"[^0-9.]", "", match["number"])
    return ("-" if match["sign"] else "") + digits + (match["rest"] or "")


_TOKEN = re.compile(
    r"(?P<group>\\begin\{[a-z]+\*?\}.{0,1000}?\\end\{[a-z]+\*?\}|\\(?:text[a-z]*|mbox|math(?:rm|bf))\s?\{[^{}]*\})"
    r"|(?P<stop>\\[\[\]()]|\.(?![0-9])|\*\*(?![0-9(A-Za-z]))"
    r"|\\[A-Za-z]+|\\[{}|,;:!%$ ]|[0-9]+(?:[.,][0-9]+)*|\.[0-9]+"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<word>(?:and|or)(?=[A-Z])|[A-Za-z]+)|[-+*/^_=<>|!'%,;:~°×·÷±√∞π≤≥≠∪∩²³½\u2212\u2013]|(?P<space>[ \t]+)|(?P<line>\n)",
    re.DOTALL,
)
_KNOWN = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "mod", "percent", "pct", "million", "billion", "thousand", "pi"}
_CONTINUES = re.compile(r"(?:and|or)(?:\s+|(?=[A-Z]))(?:[-+$0-9(\\]|[A-Za-z](?![a-z]))")


def _bare(text: str, kinds: tuple[str, ...]) -> tuple[str, int] | None:
    """(mathematics without delimiters, where it ends) at the beginning of `text`: up to the first word of prose."""
    if "expr" not in kinds and "\\" not in text[:_REACH]:
        return None
    place = depth = 0
    kept = 0
    while match := _TOKEN.match(text, place):
        if match["stop"] or (match["line"] and depth <= 0):
            break
        depth += (match["open"] is not None) - (match["close"] is not None)
        if depth < 0 or (match["word"] and not _mathematical(match, text, depth)):
            break
        place = match.end()
        if not match["space"] and not match["line"]:
            kept = place
    if text.startswith("$", place) and place == 0 and (number := _NUMBER.match(text)):
        return _number(number), number.end()
    found = text[:kept].rstrip(" ,;:=")
    if found.endswith("!") and not text[kept:].strip(" *_\"'\n."):
        found = found[:-1]
    if not re.search(r"[0-9]|\\[A-Za-z]|^[A-Za-z](?:$|[^A-Za-z])", found) or ("expr" not in kinds and "\\" not in found):
        return None
    return found, kept


def _mathematical(match: re.Match[str], text: str, depth: int) -> bool:
    """Whether letters in bare mathematics belong to it: a variable, a function, a product that touches a number; not a word."""
    word, after = match["word"], text[match.end() : match.end() + 2]
    if word.lower() in ("and", "or"):
        return match.start() > 0 and _CONTINUES.match(text, match.start()) is not None
    if len(word) == 1:
        article = word in "aAI" and re.match(r"\s[A-Za-z]{2}", text[match.end() :]) is not None
        return not article
    if word.lower() in _KNOWN:
        return True
    touches = match.start() > 0 and text[match.start() - 1] in "0123456789_{^(/|}" or after[:1] in "=^_(" or after == " ="
    return len(word) <= 3 and (touches or (depth > 0 and "{" in text[: match.start()]))
