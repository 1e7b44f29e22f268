"""Where a response says what its answer is: ``#### 72``, ``\\boxed{72}``, ``<answer>72</answer>``, ``The answer is 72``, ``Answer: 72``, ``A: 72``."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["boxed", "marked", "plain"]

# Nothing here may backtrack over long runs: a model can write 100 kB of anything. Hence [ \t] and bounded repeats.
_MARKER = re.compile(
    r"####"
    r"|\\boxed(?=[ \t]{0,3}\{)"
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
        if match.group().lower().startswith("\\boxed"):
            inside = boxed(text, match.end())
            if inside is not None:
                yield inside, True
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


def boxed(text: str, start: int = 0) -> str | None:
    """The inside of the first braces that open at or after `start`; None if they do not close within 2,000 characters."""
    opening = text.find("{", start)
    if opening < 0:
        return None
    depth = 0
    for index in range(opening, min(len(text), opening + _LONGEST)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return text[opening + 1 : index]
    return None


_STYLE = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s{0,3}\{([^{}]*)\}")


def plain(snippet: str) -> str:
    """`snippet` without the styling around words: ``\\text{B}`` -> ``B``, ``**B**`` -> ``B``, ``$B$`` -> ``B``."""
    return _STYLE.sub(r"\1", snippet).replace("$", "").strip(" \t\r\n*_`\"'")
