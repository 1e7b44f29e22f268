"""Vault: every agent holds one digit of a code, and only the whole code opens it.

| specification | |
|---|---|
| agents | as many as the code has digits (2, 3, ...), or 1: a lone agent gets one seat's digit, see `view` |
| private | "Digit 2 is 7." |
| answer | "Answer: 47", the whole code |
| reward | outcome credit: a last message earns its own score, earlier ones the team's mean score of the last round |
| ceiling | 1 for a team (tell your digit, then put the digits in order); 10^-(digits - 1) for a lone agent |
| questions | item x code = 8 x 10^digits, at most 2000 of them (chosen by hash), a fifth held out as "test" |
| source | this project; a hidden profile (Stasser & Titus 1985) whose parts must be combined, not chosen from |
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import ITEMS, of_split
from maporl.errors import UserValueError
from maporl.types import Question

__all__ = ["MAX_QUESTIONS", "Vault", "lone_ceiling"]

MAX_QUESTIONS = 2000
MAX_DIGITS = 6


def lone_ceiling(num_digits: int) -> float:
    """The best a lone agent can do: it knows one digit and guesses the others."""
    return float(10.0 ** (1 - num_digits))


class Vault(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents: Agents, one per digit; or 1.
        num_rounds: Rounds of the discussion.
        num_digits: Of the code. Default: one per agent, 2 for a lone agent. A team needs one agent per digit.
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: A team whose size is not `num_digits`, or too many digits.
    """

    metadata: dict[str, Any] = {"name": "vault"}
    instruction = 'Every agent knows one digit of the code. Reply with "Answer: " and the whole code.'
    reads_data: ClassVar[bool] = False
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d+)"}
    default_shaping: ClassVar[Any] = "outcome_credit"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        num_digits: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        team = len(self.possible_agents)
        self.num_digits = max(2, team) if num_digits is None else num_digits
        if not 2 <= self.num_digits <= MAX_DIGITS:
            raise UserValueError(
                f"num_digits {self.num_digits} must be from 2 to {MAX_DIGITS}; choose fewer agents or digits."
            )
        if team not in (1, self.num_digits):
            raise UserValueError(f"num_digits {self.num_digits} needs as many agents, or a lone one; there are {team}.")

    def load(self, split: str) -> Iterator[Question]:
        """The items and codes of the split."""
        digits = ("".join(code) for code in itertools.product("0123456789", repeat=self.num_digits))
        combinations = list(itertools.product(ITEMS, digits))
        if len(combinations) > MAX_QUESTIONS:
            combinations.sort(key=lambda pair: hashlib.sha256(repr(pair).encode()).hexdigest())
            combinations = sorted(combinations[:MAX_QUESTIONS])
        for item, code in of_split(combinations, split, group=lambda pair: (pair[0], pair[1][0])):
            yield self._question(item, code)

    def _question(self, item: str, code: str) -> Question:
        private = {f"agent_{place}": f"Digit {place + 1} is {digit}." for place, digit in enumerate(code)}
        return Question(
            f"What is the {self.num_digits}-digit code of the {item}?", code, private=private, metadata={"item": item}
        )
