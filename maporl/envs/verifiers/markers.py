"""Where a response says what its answer is: ``#### 72``, ``\\boxed{72}``, ``<answer>72</answer>``, ``The answer is 72``, ``A: 72``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

__all__ = ["BOX", "Marked", "box", "marked", "plain", "unstyled"]

BOX = re.compile(r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])")

# Nothing here may backtrack over long runs: a model can write 100 kB of anything. Hence [ \t] and bounded repeats.
_MARKER = re.compile(
    r"####"
    r"|\\(?:boxed|fbox)(?![A-Za-z])"
    r"|<answer>"
    r"|\banswer[*_\"')\s]{0,4}(?:\([^()\n]{0,40}\)\s?)?(?:\s?\b(?:to|for|of)\s[^.\n:]{1,80}?\s)?"
    r"(?:is\b|was\b|equals\b|(?:would|will|must|should)\sbe\b|=|:)(?!\s{1,3}not\b)"
    r"|^[ \t*_>]*\bA:"
    r"|^[ \t#*_]*answer[ \t*_]*$",
    re.MULTILINE | re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.;!?]\s|\n")
_LONGEST = 2000  # characters of a box or line that are read; an answer is short, and a brace may never close
_MOST = 64  # markers that are tried


class Marked(NamedTuple):
    """What follows an explicit marker.

    Attributes:
        snippet: The inside of a box or an answer tag; or the rest of the marker's line (of the next line that holds something, where the
            marker stands alone), without Markdown emphasis in front.
        bounded: A box or tag says where the answer ends.
        before: The beginning of the marker's sentence, and the marker.
        start, end: Where in the text it stands.
    """

    snippet: str
    bounded: bool
    before: str
    start: int
    end: int


def marked(text: str) -> Iterator[Marked]:
    """What follows each explicit marker, the last marker first."""
    for match in islice(_markers(text), _MOST):
        if match.group().lower().startswith(("\\boxed", "\\fbox")):
            inside = box(text, match.end())
            if inside is not None:
                yield Marked(inside[0], True, "", match.end(), inside[1])
        elif match.group().lower() == "<answer>":
            inner = text[match.end() : match.end() + _LONGEST].partition("</")[0]
            yield Marked(inner.strip(), True, "", match.end(), match.end() + len(inner))
        elif match.group().strip(" \t*_>") == "a:":
            continue  # only GSM8K's capital "A:" is a marker
        else:
            rest = text[match.end() : match.end() + _LONGEST]
            body = rest.lstrip(" \t\r\n*_:")
            if "\n" in rest[: len(rest) - len(body)]:
                body = body.removeprefix("- ")  # a list item, not a sign
            before = _SENTENCE.split(text[max(0, match.start() - 200) : match.start()])[-1] + match.group()
            start = match.end() + len(rest) - len(body)
            body = body.split("\n", 1)[0]
            yield Marked(body, False, before, start, start + len(body))


_HINTS = ("answer", "####", "boxed", "fbox", "a:")  # one of them is in every marker
_REACH = 200  # characters that a marker may have


def _markers(text: str) -> Iterator[re.Match[str]]:
    """The matches of `_MARKER`, the last first: looked for in the last lines that may have some, then in those before."""
    lower, end = text.lower(), len(text)
    if len(lower) != end:  # a letter that is two in small letters
        yield from reversed([*_MARKER.finditer(text)])
        return
    places = {hint: lower.rfind(hint) for hint in _HINTS}
    while (start := max(places.values())) >= 0:
        while start >= 0:
            line = text.rfind("\n", 0, start) + 1
            start = lower.find("answer", max(0, line - _REACH), line)  # a marker may go on in the next line
        yield from reversed([*_MARKER.finditer(text, line, end)])
        end = line
        places = {hint: place if place < end else lower.rfind(hint, 0, end) for hint, place in places.items()}


_TOKEN = re.compile(r"[ \t]{0,3}(-?[0-9]+|\\[A-Za-z]+|[^\s{}$\\])")


def box(text: str, start: int) -> tuple[str, int] | None:
    r"""(what stands in the box whose command ends at `start`, where it ends): braces, or without them one token (``\boxed 5``).

    None if the braces do not close within 2,000 characters, or there is nothing.
    """
    head = text[start : start + 200]
    opening = start + len(head) - len(head.lstrip())
    if not text.startswith("{", opening):
        match = _TOKEN.match(text, start)
        return None if match is None else (match[1], match.end())
    end = _closing(text, opening, escapes=True) or _closing(
        text, opening, escapes=False
    )  # a stray backslash may stand before the end
    return None if end is None else (text[opening + 1 : end], end + 1)


def _closing(text: str, opening: int, escapes: bool) -> int | None:
    depth, escaped = 0, False
    for index in range(opening, min(len(text), opening + _LONGEST)):
        if escapes and (escaped or text[index] == "\\"):
            escaped = not escaped
            continue
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return None


_STYLE = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s{0,3}\{([^{}]*)\}")


def plain(snippet: str) -> str:
    """`snippet` without the styling around words: ``\\text{B}`` -> ``B``, ``**B**`` -> ``B``, ``$B$`` -> ``B``."""
    return unstyled(snippet).replace("$", "").strip(" \t\r\n*_`\"'")


def unstyled(text: str) -> str:
    """`text` without the LaTeX commands around words."""
    return _STYLE.sub(r"\1", text)
