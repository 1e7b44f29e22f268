"""Penalties of single messages for their form: the script they are written in, tags, a pattern."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import regex

from maporl.envs.shaping.penalties import MessagePenalty
from maporl.errors import UserValueError
from maporl.messages import whole_text
from maporl.types import Completion

__all__ = ["Language", "Pattern", "Tags"]

_LETTERS = r"\p{L}--\p{Script=Common}--\p{Script=Inherited}"


@dataclass(frozen=True)
class Language(MessagePenalty):
    """Share = letters of other scripts / letters, in reasoning and message together; 0 where there is no letter.

    DeepSeek-R1's language consistency reward (2501.12948, section 2.3.2: the share of words in the target language), over letters, since
    not every script parts words by spaces, and by script, which says nothing about languages that share one.

    Args:
        scripts: Unicode's names of the scripts asked for: ``[Latin]``, ``[Han]``, ``[Han, Hiragana, Katakana]``. Letters that all scripts
            share (of Script=Common, such as mathematical alphabets), digits and signs do not count.
    """

    scripts: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scripts:
            raise UserValueError("scripts is empty; name at least one, as in [Latin] or [Han, Hiragana, Katakana].")
        for script in self.scripts:
            if not _is_script(script):
                raise UserValueError(
                    f"scripts: {script!r} is none of Unicode's; write Latin, Cyrillic, Greek, Arabic, Han, Hiragana ..."
                )

    def share(self, message: Completion) -> float:
        text = f"{message.reasoning}\n{message.text}"
        letters = _count(_LETTERS, text)
        return _count("".join([_LETTERS, *(rf"--\p{{Script={script}}}" for script in self.scripts)]), text) / max(
            letters, 1
        )


def _count(kind: str, text: str) -> int:
    """How many characters of a set `text` holds."""
    return sum(map(len, regex.findall(f"[{kind}]+", text, regex.V1)))


def _is_script(name: str) -> bool:
    try:
        return re.fullmatch("[A-Za-z_]+", name) is not None and bool(regex.compile(rf"\p{{Script={name}}}"))
    except regex.error:
        return False


@dataclass(frozen=True)
class Tags(MessagePenalty):
    """Share = 0 if a message, reasoning included, is ``<think>...</think><answer>...</answer>`` and nothing else, else 1.

    The format reward of DeepSeek-R1 (2501.12948, section 2.2.2) and Open R1: every tag once, in this order, none inside another, something
    between opening and closing it, and only white space outside. With `partial` Open R1's tag count: the share of the opening and closing
    tags that do not stand exactly once, whatever else there is. A reasoning block that the chat template began, or that was taken out of
    what peers read, counts as ``<think>``; one that is empty as none.

    Args:
        tags: Their names, in order.
        partial: Whether some right tags are better than none.
        text_after: Whether anything may follow the last one; with ``tags: [think]`` the form of TRL's `think_format_reward`.
    """

    tags: tuple[str, ...] = ("think", "answer")
    partial: bool = False
    text_after: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tags or len(set(self.tags)) < len(self.tags):
            raise UserValueError(f"tags is {list(self.tags)}; give at least one, each once.")
        for tag in self.tags:
            if not re.fullmatch(r"[A-Za-z][\w.-]*", tag):
                raise UserValueError(f"tags: {tag!r} is no name of a tag; write it without brackets, as in 'think'.")

    def share(self, message: Completion) -> float:
        text, wanted = whole_text(message), [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        found = list(re.finditer("|".join(map(re.escape, wanted)), text))
        if self.partial:
            times = Counter(match.group() for match in found)
            return sum(times[mark] != 1 for mark in wanted) / len(wanted)
        if [match.group() for match in found] != wanted:
            return 1.0
        edges = [0, *(edge for match in found for edge in match.span()), len(text)]
        parts = [text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True)]
        outside = parts[:-1:2] if self.text_after else parts[::2]
        return float(any(outside) or not all(parts[1::2]))


@dataclass(frozen=True)
class Pattern(MessagePenalty):
    """Share = 1 if the regular expression is not found in what is said, or something follows it that may not, else 0.

    Text after the answer is one of the reward hacks that MAPoRL saw (appendix G.3.1).

    Args:
        pattern: What must be found (the form of the answer).
        text_after: Whether anything but space and punctuation may follow its last match.
    """

    pattern: str
    text_after: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UserValueError(f"pattern {self.pattern!r} is no regular expression: {error}.") from error

    def share(self, message: Completion) -> float:
        matches = list(re.finditer(self.pattern, message.text))
        after = message.text[matches[-1].end() :] if matches and not self.text_after else ""
        return float(not matches or re.search(r"\w", after) is not None)
