"""Text spaces that admit any unicode string, the empty one and lone surrogates included.

Gymnasium's ``Text`` knows an alphabet and rejects ordinary English; what a language model writes has no alphabet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

__all__ = ["AnyText", "observation_space"]

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
            raise ValueError("AnyText has no finite alphabet, so it takes neither mask nor probability.")
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


def observation_space(num_rounds: int) -> spaces.Dict:
    """The space of `maporl.types.Observation` in a discussion of `num_rounds` rounds.

    No key is called "observation" and the top is a Dict: PettingZoo's `api_test` reads anything else as an array.
    """
    message = spaces.Dict({"agent": AnyText(), "round": spaces.Discrete(num_rounds), "text": AnyText()})
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
