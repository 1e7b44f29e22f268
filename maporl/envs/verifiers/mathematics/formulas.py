"""Formulas and numbers in a text: between delimiters, and in the open."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maporl.envs.verifiers.mathematics.spelling import FUNCTIONS, spelled
from maporl.envs.verifiers.number_spelling import PART_OF

__all__ = ["DENIED", "NUMBER", "PERCENT", "REACH", "bare", "formulas", "items", "listed", "spelled_out"]

REACH = 2000  # characters after a phrase

DENIED = re.compile(
    r"(?:\b(?:can)?not(?:\s(?:be|equal(?:\sto)?|in fact))?|n't(?:\sbe)?|\bneither|\bnor"
    r"|\binstead of|\brather than|\bunlike|\bfrom|\bas opposed to)"
    r"\s{0,3}(?:\\?[$(\[]\s?){0,2}(?:[A-Za-z]\s?=\s?)?$"
)
_PART = re.compile(PART_OF, re.IGNORECASE)
PERCENT = re.compile(r"\s{0,3}(?:\$\$?|\\\)|\\\])?\s{0,3}(?:\\?%|percent(?:age)?\b|pct\b)")


def listed(members: list[str]) -> str:
    """One answer of several, each once."""
    return ", ".join({spelled(member): member for member in members}.values())


_ENVIRONMENT = re.compile(
    r"(?<!\\)\$\$(?P<a>(?:\\\$|[^$]){1,2000}?)\$\$"
    r"|(?<!\\)\\\[(?P<b>(?:[^\\]|\\(?!\])){1,2000}?)\\\]"
    r"|(?<![\\0-9])\$(?P<c>(?:\\\$|[^$\n]){1,1000}?)(?<!\\)\$"
    r"|(?<!\\)\\\((?P<d>(?:[^\\\n]|\\(?!\))){1,1000}?)\\\)"
)
_CLOSING = {"\\[": "\\]", "\\(": "\\)"}  # looked for first: runs of open delimiters would be tried one by one
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")
_CONDITION = re.compile(r"[<>≤≥≠]|\\(?:[lg]eq?|[lg]t|neq?)(?![A-Za-z])")
_AND = re.compile(r"\s{0,3}(?:,?\s?and\b|,?\s?or\b|,)\s{0,3}")
NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,/^\\#])(?P<sign>[-\u2212\u2013]\s?)?(?:\\?[$€£¥₹]\s?)?"
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


def _is_condition(formula: str) -> bool:
    return _CONDITION.search(formula) is not None


def formulas(text: str, start: int, kinds: tuple[str, ...]) -> tuple[str, int] | None:
    """(formula, where it ends) at `start`; several that are joined by commas, "and" or "or" are one list."""
    if "latex" not in kinds or _CLOSING.get(text[start : start + 2], "$") not in text[start + 1 : start + REACH]:
        return None
    members: list[str] = []
    place = end = start
    while (match := _ENVIRONMENT.match(text, place)) and (inside := _formula(match)) is not None:
        if members and _is_condition(inside) != _is_condition(members[0]):
            break  # "since x > 0, x = 7"
        end = match.end()
        members.append(inside + "\\%" * (PERCENT.match(text, end) is not None))
        joined = _AND.match(text, end)
        if joined is None:
            break
        place = joined.end()
    return (listed(members), end) if members else None


def items(text: str, kinds: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """(start, end, answer) of every formula and number of a text."""
    place = 0
    starts = re.compile(
        "|".join(["[$]|\\\\[\\[(]|" + _OPEN_FORMULA.pattern] * ("latex" in kinds) + ["[-\u2212\u2013.$€£¥₹0-9]"])
    )
    while match := starts.search(text, place):
        place = match.end()
        if DENIED.search(text[max(0, match.start() - 60) : match.start()]):
            if denied := NUMBER.match(text, match.start()) or _ENVIRONMENT.match(text, match.start()):
                place = denied.end()
            continue
        if formula := formulas(text, match.start(), kinds):
            place = formula[1]
            yield match.start(), place, formula[0]
        elif "\\" in match[0] and match[0][-1].isalpha():
            if opened := bare(text[match.start() : match.start() + REACH], kinds):
                place = match.start() + opened[1]
                yield match.start(), place, opened[0]
        elif "expr" in kinds and (number := NUMBER.match(text, match.start())):
            place = number.end()
            part = _PART.search(text[max(0, match.start() - 40) : match.start()])
            yield match.start(), place, f"\\text{{{part[0]}{number[0]}}}" if part else spelled_out(number)


def spelled_out(match: re.Match[str]) -> str:
    digits = match["number"].replace(",", ".") if match["comma"] else re.sub(r"[^0-9.]", "", match["number"])
    return ("-" if match["sign"] else "") + digits + (match["rest"] or "")


_TOKEN = re.compile(
    r"(?P<group>\\begin\{[a-z]+\*?\}.{0,1000}?\\end\{[a-z]+\*?\}|\\(?:text[a-z]*|mbox|math(?:rm|bf))\s?\{[^{}]*\})"
    r"|(?P<stop>\\[\[\]()]|<[|/]|\.(?![0-9])|\*\*(?![0-9(A-Za-z]))"
    r"|\\[A-Za-z]+|\\[{}|,;:!%$ ]|[0-9]+(?:[.,][0-9]+)*|\.[0-9]+"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<word>(?:and|or)(?=[A-Z])|[A-Za-z]+)"
    r"|[-+*/^_=<>|!'%,;:~°×·÷±√∞π≤≥≠∪∩²³½\u2212\u2013]|(?P<space>[ \t]+)|(?P<line>\n)",
    re.DOTALL,
)
_KNOWN = FUNCTIONS | {"ln", "mod", "pi", "percent", "pct", "hundred", "thousand", "million", "billion", "trillion"}
_CONTINUES = re.compile(r"(?:and|or)(?:\s+|(?=[A-Z]))(?:[-+$0-9(\\]|[A-Za-z](?![a-z]))")


def bare(text: str, kinds: tuple[str, ...]) -> tuple[str, int] | None:
    """(mathematics without delimiters, where it ends) at the beginning of `text`: up to the first word of prose."""
    if "expr" not in kinds and "\\" not in text[:REACH]:
        return None
    place = depth = 0
    kept = closed = 0
    while match := _TOKEN.match(text, place):
        if match["stop"] or (match["line"] and depth <= 0):
            break
        depth += (match["open"] is not None) - (match["close"] is not None)
        if depth < 0 or (match["word"] and not _mathematical(match, text, depth)):
            break
        place = match.end()
        if not match["space"] and not match["line"]:
            kept = place
            closed = place if depth == 0 else closed
    if text.startswith("$", place) and place == 0 and (number := NUMBER.match(text)):
        return spelled_out(number), number.end()
    kept = kept if depth <= 0 else closed  # "6 (confidence: 90%)" is 6
    found = text[:kept].rstrip(" ,;:=")
    if found.endswith("!") and not text[kept:].strip(" *_\"'\n."):
        found = found[:-1]
    if not re.search(r"[0-9π∞]|\\[A-Za-z]|^[A-Za-z](?:$|[^A-Za-z])", found) or (
        "expr" not in kinds and "\\" not in found
    ):
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
    if word.lower() in _KNOWN or word.lower() == "not":
        return word.lower() != "not"  # "15 (not 12)"
    touches = (
        match.start() > 0 and text[match.start() - 1] in "0123456789_{^(/|}" or after[:1] in "=^_(" or after == " ="
    )
    return len(word) <= 3 and (touches or (depth > 0 and "{" in text[: match.start()]))
