"""Penalties of single messages for their length and for repetition: rewards in [-weight, 0], which never enter the team's score."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any

from maporl.envs.merged_metrics import merged_metrics
from maporl.envs.shaping.base import Shaping, build_shaping
from maporl.errors import UserTypeError, UserValueError
from maporl.messages import as_sampled, tokens_known
from maporl.types import Completion, Transcript

__all__ = ["Length", "Looping", "MessagePenalty", "Overlong", "Repetition", "Worst", "longest_repeat"]

UNITS = ("words", "tokens")
_LONGEST_PHRASE = 10  # words or tokens


@dataclass(frozen=True, kw_only=True)
class MessagePenalty(Shaping):
    """Base of the penalties that read one message and fall on that message alone: its reward is -weight x `share`, in [-weight, 0].

    They are added to a score (``[discounted_team, {name: overlong, max_tokens: 256}]``), after shaping, so that one bad message does not
    poison its team, and nobody's score or verdict changes.

    Args:
        weight: What the worst message loses, at least 0; with 0 it is only measured.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise UserValueError(f"weight is {self.weight}; give what the worst message loses, at least 0.")

    @abstractmethod
    def share(self, message: Completion) -> float | None:
        """How bad `message` is, in [0, 1]; None if that cannot be told, which costs nothing (its tokens are not known)."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        return tuple(0.0 - self.weight * (self.share(as_sampled(turn)) or 0.0) for turn in transcript.turns)

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        """Of the messages that it could read, the share that lost anything and what they lost on average, under the name of the class."""
        shares = [share for turn in transcript.turns if (share := self.share(as_sampled(turn))) is not None]
        word, count = type(self).__name__.lower(), max(len(shares), 1)
        return {
            f"{word}_penalised": sum(share > 0 for share in shares) / count,
            f"{word}_penalty": self.weight * math.fsum(shares) / count,
        }


@dataclass(frozen=True)
class Length(MessagePenalty):
    """For a message shorter than `at_least` or longer than `at_most`: share = min(1, units outside the range / margin).

    With a margin the negative part of L1's reward, `-alpha |n_gold - n_y|` with `alpha = 1 / margin` (Aggarwal and Welleck 2503.04697,
    eq. 1), for a range instead of one length, and bounded. Without one everything outside loses all, as in MAPoRL's release,
    which asks for 50 tokens (appendix G.3.1).

    Args:
        at_least: Fewest units that cost nothing.
        at_most: Most units that cost nothing; None for no limit.
        margin: How many units outside the range cost the whole weight; 0: the first.
        unit: "words" of what is said, between white space, or "tokens" of all that was sampled (reasoning and EOS included).
    """

    at_least: int = 0
    at_most: int | None = None
    margin: int = 0
    unit: str = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_unit(self.unit)
        _check_at_least(0, at_least=self.at_least, margin=self.margin)
        if not self.at_least and self.at_most is None:
            raise UserValueError("length has neither at_least nor at_most, so every message fits; give one or both.")
        if self.at_most is not None and self.at_most < max(self.at_least, 0):
            raise UserValueError(f"at_most is {self.at_most}, below at_least = {self.at_least}; no message fits.")

    def share(self, message: Completion) -> float | None:
        units = _units(message, self.unit)
        if units is None:
            return None
        longer = 0 if self.at_most is None else len(units) - self.at_most
        return _ramp(max(self.at_least - len(units), longer), self.margin)


@dataclass(frozen=True)
class Overlong(MessagePenalty):
    """DAPO's soft overlong punishment (Yu et al. 2503.14476, eq. 13), of y tokens, all that was sampled (reasoning and EOS included):

    share = 0 if y <= max_tokens - buffer; (y - (max_tokens - buffer)) / buffer up to max_tokens; 1 beyond.

    A message that was cut at the run's `max_new_tokens` is longer than anybody knows: its share is 1.

    Args:
        max_tokens: L_max, from which a message loses all; usually the run's `max_new_tokens`.
        buffer: L_cache, over how many tokens below that the penalty grows; 0: not at all.
    """

    max_tokens: int
    buffer: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least(1, max_tokens=self.max_tokens)
        if not 0 <= self.buffer <= self.max_tokens:
            raise UserValueError(f"buffer is {self.buffer}; it lies between 0 and max_tokens = {self.max_tokens}.")

    def share(self, message: Completion) -> float | None:
        if message.truncated:
            return 1.0
        tokens = _units(message, "tokens")
        return None if tokens is None else _ramp(len(tokens) - (self.max_tokens - self.buffer), self.buffer)


@dataclass(frozen=True)
class Repetition(MessagePenalty):
    """Share = 1 - distinct n-grams / n-grams, 0 for fewer than `ngram` units.

    The repetition penalty of "Demystifying Long Chain-of-Thought Reasoning" (Yeo et al. 2502.03373, appendix C.2), which takes it from each
    repeated token, as TRL (over tokens) and Open R1 (over words) give it for a whole message.

    Args:
        ngram: n, in units.
        unit: "words" of what is said, between white space, or "tokens" of all that was sampled (reasoning and EOS included).
    """

    ngram: int = 3
    unit: str = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_unit(self.unit)
        _check_at_least(1, ngram=self.ngram)

    def share(self, message: Completion) -> float | None:
        units = _units(message, self.unit)
        if units is None or len(units) < self.ngram:
            return None if units is None else 0.0
        ngrams = list(zip(*(units[start:] for start in range(self.ngram)), strict=False))
        return 1 - len(set(ngrams)) / len(ngrams)


@dataclass(frozen=True)
class Looping(MessagePenalty):
    """Share = 1 if some phrase of 1 to 10 units stands more than `max_repeats` times in a row, else 0. MAPoRL, appendix G.3.1.

    Args:
        max_repeats: How often it may; MAPoRL's release allows 3.
        unit: "words" of what is said, between white space, or "tokens" of all that was sampled (reasoning and EOS included).
    """

    max_repeats: int = 3
    unit: str = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_unit(self.unit)
        _check_at_least(1, max_repeats=self.max_repeats)

    def share(self, message: Completion) -> float | None:
        units = _units(message, self.unit)
        return None if units is None else float(longest_repeat(units) > self.max_repeats)


@dataclass(frozen=True)
class Worst(MessagePenalty):
    """Of several penalties the one that costs a message most, so that a message that breaks many rules pays once, in [-weight x theirs, 0].

    Args:
        of: The penalties: words, mappings, classes or instances, as `build_shaping` takes them.
    """

    of: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = tuple(build_shaping(part) for part in self.of)
        if not parts:
            raise UserValueError("the worst of no penalties; give at least one.")
        for part in parts:
            if not isinstance(part, MessagePenalty):
                raise UserTypeError(f"{part!r} is no penalty of a message; put it beside `worst`, not into it.")
        object.__setattr__(self, "of", parts)

    def share(self, message: Completion) -> float | None:
        shares = [(part.weight, part.share(message)) for part in self.of]
        return max((weight * share for weight, share in shares if share is not None), default=None)

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        return merged_metrics([super().metrics(transcript), *(part.metrics(transcript) for part in self.of)])


def _units(message: Completion, unit: str) -> list[Any] | None:
    """The words that `message` says, or the tokens that it is made of, None if nobody knows these."""
    if unit == "words":
        return message.text.split()
    return message.completion_ids.tolist() if tokens_known(message) else None


def _ramp(excess: int, margin: int) -> float:
    """0 up to an excess of 0, 1 from `margin` (of any excess if that is 0), and linear between."""
    return 0.0 if excess <= 0 else min(1.0, excess / margin) if margin else 1.0


def longest_repeat(units: Sequence[Any]) -> int:
    """How often a phrase of 1 to 10 units stands in a row at most. O(10 x units)."""
    best = 1 if units else 0
    for n in range(1, min(_LONGEST_PHRASE, len(units) // 2) + 1):
        same = bytes(map(eq, units[n:], units))  # whether a unit is the one n before it
        best = max(best, max(map(len, same.split(b"\0"))) // n + 1)
    return best


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise UserValueError(f"unit is {unit!r}; give one of: {', '.join(UNITS)}.")


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise UserValueError(f"{name} is {value}; give at least {least}.")
