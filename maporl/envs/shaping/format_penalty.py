"""A penalty for messages of a bad form, per message: it never enters the team's score."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maporl.envs.shaping.base import Shaping
from maporl.errors import UserValueError
from maporl.types import Transcript

__all__ = ["FormatPenalty", "longest_repeat"]

_LONGEST_NGRAM = 10  # words


@dataclass(frozen=True)
class FormatPenalty(Shaping):
    """Takes `penalty` from a message that breaks any of the rules, once, and counts what was broken.

    The three rules are the reward hacks that MAPoRL saw (appendix G.3.1): short answers without reasoning, repetition,
    text after the answer. Its release replaces the score by -10 before averaging, so that one bad message poisons the
    team; here the penalty is added after shaping and falls on its own message alone.

    Args:
        penalty: What a bad message loses, at least 0.
        min_words: Fewest words a message may have. (Words, between spaces: an environment knows no tokenizer. The release asks for 50
            tokens.)
        max_repeats: How often the same phrase (1 to 10 words) may stand in a row; None for no limit. The release allows 3.
        pattern: Regular expression that must be found (the form of the answer); None for none.
        text_after: Whether anything but space and punctuation may follow the last match of `pattern`.
    """

    penalty: float = 1.0
    min_words: int = 0
    max_repeats: int | None = 3
    pattern: str | None = None
    text_after: bool = True

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise UserValueError(f"penalty is {self.penalty}; give what a bad message loses, at least 0.")
        if self.max_repeats is not None and self.max_repeats < 1:
            raise UserValueError(
                f"max_repeats is {self.max_repeats}; every phrase stands once, give at least 1 or None."
            )
        if not self.text_after and self.pattern is None:
            raise UserValueError("text_after=False needs a pattern after which nothing may follow.")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise UserValueError(f"pattern {self.pattern!r} is no regular expression: {error}.") from error

    def violations(self, text: str) -> tuple[str, ...]:
        """Which rules `text` breaks: "too_short", "repetition", "no_pattern", "text_after"."""
        words = text.split()
        found = []
        if len(words) < self.min_words:
            found.append("too_short")
        if self.max_repeats is not None and longest_repeat(words) > self.max_repeats:
            found.append("repetition")
        if self.pattern is not None:
            matches = list(re.finditer(self.pattern, text))
            if not matches:
                found.append("no_pattern")
            elif not self.text_after and re.search(r"\w", text[matches[-1].end() :]):
                found.append("text_after")
        return tuple(found)

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        return tuple(-float(self.penalty) if self.violations(turn.text) else 0.0 for turn in transcript.turns)

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        """How many messages broke each rule, and how many broke any."""
        broken = [self.violations(turn.text) for turn in transcript.turns]
        counts = {
            f"format_{rule}": float(sum(rule in rules for rules in broken))
            for rule in ("too_short", "repetition", "no_pattern", "text_after")
        }
        return {"format_penalised": float(sum(bool(rules) for rules in broken)), **counts}


def longest_repeat(words: list[str]) -> int:
    """How often a phrase of 1 to 10 words stands in a row at most. O(10 x words)."""
    best = 1 if words else 0
    for n in range(1, min(_LONGEST_NGRAM, len(words) // 2) + 1):
        run = 0
        for index in range(n, len(words)):
            run = run + 1 if words[index] == words[index - n] else 0
            best = max(best, run // n + 1)
    return best
