"""Spaces of what agents read and say: text that admits any unicode string, the empty one and lone surrogates included.

Gymnasium's ``Text`` knows an alphabet and rejects ordinary English; what a language model writes has no alphabet.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from gymnasium import spaces

from maporl.errors import UserValueError

__all__ = ["AnyText", "ShownScore", "observation_space"]

# What a random speaker says: prose, digits, markup, newlines, several scripts, an emoji. Never a lone surrogate, which a
# tokenizer cannot encode; `contains` admits those all the same.
_SAMPLED = "abcdefghijklmnopqrstuvwxyzABCDEFG 0123456789 .,:;!?'\"#$%&()*+-/<=>[]\\^_{|}~\n\té𝛼ßΩж中あ🙂"


class AnyText(spaces.Text):
    """Every Python string of at most `max_length` characters; samples are short random junk."""

    def __init__(self, max_length: int = 10_000_000, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_SAMPLED, seed=seed)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random string of 0 to 40 characters.

        Raises:
            ValueError: A mask or probabilities were given: there is no finite alphabet to put them on.
        """
        if mask is not None or probability is not None:
            raise UserValueError("AnyText has no finite alphabet, so it takes neither mask nor probability.")
        length = int(self.np_random.integers(0, min(40, self.max_length) + 1))
        return "".join(self.np_random.choice(self.character_list, size=length))

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"

    def __eq__(self, other: object, /) -> bool:
        return isinstance(other, AnyText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]  # as every other gymnasium space with __eq__


class ShownScore(spaces.Space[Any]):
    """A verifier's value of a message, any number, or None for a message that nobody scored; samples are in [0, 1]."""

    def contains(self, x: Any) -> bool:
        return x is None or (isinstance(x, numbers.Real) and not isinstance(x, bool))

    def sample(self, mask: Any = None, probability: Any = None) -> float | None:
        """A random number, None in one of eight.

        Raises:
            ValueError: A mask or probabilities were given.
        """
        if mask is not None or probability is not None:
            raise UserValueError("ShownScore takes neither mask nor probability.")
        return None if self.np_random.random() < 1 / 8 else float(self.np_random.random())

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ShownScore()"

    def __eq__(self, other: object, /) -> bool:
        return isinstance(other, ShownScore)

    __hash__ = None  # type: ignore[assignment]


def observation_space(num_rounds: int, show_scores: bool = False) -> spaces.Dict:
    """The space of `maporl.types.Observation` in a discussion of `num_rounds` rounds, whose messages are shown with scores or not.

    No key is called "observation" and the top is a Dict: PettingZoo's `api_test` reads anything else as an array.
    """
    said: dict[str, Any] = {"agent": AnyText(), "round": spaces.Discrete(num_rounds), "text": AnyText()}
    message = spaces.Dict(said | ({"score": ShownScore()} if show_scores else {}))
    return spaces.Dict(
        {
            "agent": AnyText(),
            "round": spaces.Discrete(num_rounds + 1),  # the last value is seen after the end only
            "question": AnyText(),
            "private": AnyText(),
            "instruction": AnyText(),
            "role": AnyText(),
            "transcript": spaces.Sequence(message),
        }
    )
