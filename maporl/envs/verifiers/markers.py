"""Where a response says what its answer is: ``#### 72``, ``\\boxed{72}``, ``<answer>72</answer>``, ``The answer is 72``, ``Answer: 72``, ``A: 72``."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["BOX", "box", "marked", "plain"]

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
_LONGEST = 2000  # characters of a box or line that are read; an answer is short, and a brace may never close
_MOST = 64  # markers that are tried


def marked(text: str) -> Iterator[tuple[str, bool]]:
    """What follows each explicit marker, the last marker first.

    Yields:
        (snippet, bounded): the inside of a box or an answer tag, which says where the answer ends; or the rest of the marker's line
        (of the next line that holds something, where the marker stands alone), without Markdown emphasis in front.
    """
    for match in list(_MARKER.finditer(text))[: -_MOST - 1 : -1]:
        if match.group().lower().startswith(("\\boxed", "\\fbox")):
            inside = box(text, match.end())
            if inside is not None:
                yield inside[0], True
        elif match.group().lower() == "<answer>":
            yield text[match.end() : match.end() + _LONGEST].partition("</")[0].strip(), True
        elif match.group().strip(" \t*_>") == "a:":
            continue  # only GSM8K's capital "A:" is a marker
        else:
            rest = text[match.end() : match.end() + _LONGEST]
            body = rest.lstrip(" \t\r\n*_:")
            if "\n" in rest[: len(rest) - len(body)]:
                body = body.removeprefix("- ")  # a list item, not a sign
            yield body.split("\n", 1)[0], False


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
    end = _closing(text, opening, escapes=True) or _closing(text, opening, escapes=False)  # a stray backslash may stand before the end
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
    return _STYLE.sub(r"\1", snippet).replace("$", "").strip(" \t\r\n*_`\"'")
