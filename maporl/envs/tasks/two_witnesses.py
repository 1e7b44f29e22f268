"""Two witnesses: one saw the digit, the other saw fog, and each knows which of the two it is.

| specification | |
|---|---|
| agents | 2 (more: still one clear view, the others foggy; 1: a lone agent gets one of two seats' views, see `view`) |
| private | "Clear view: 7." or "Foggy view: 3."; a foggy view always shows a wrong digit |
| answer | "Answer: 7", compared digit for digit |
| reward | outcome credit: a last message earns its own score, earlier ones the team's mean score of the last round |
| ceiling | 1 for a team (report honestly, then: clear stays, foggy follows); 5/9 = .556 for a lone agent, averaged over seats |
| questions | item x digit x wrong digit x clear seat = 8 x 10 x 9 x 2 = 1440, a fifth of them held out as "test" |
| source | this project; the shape is a hidden profile (Stasser & Titus 1985) and MAPoRL's story in the small |

Reporting and deferring are worthless without each other, so an agent that learns alone has no reason to learn either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import ITEMS, of_split
from maporl.types import Question

__all__ = ["LONE_CEILING", "TwoWitnesses"]

LONE_CEILING = 1 / 2 + 1 / 2 * 1 / 9
"""The best a lone agent can do, averaged over seats: right when its view is clear, else one guess among nine digits."""


class TwoWitnesses(DiscussionEnv):
    """The task of the card above, with the arguments of `DiscussionEnv`."""

    metadata: dict[str, Any] = {"name": "two_witnesses"}
    instruction = (
        "One agent sees the digit clearly; any other sees a wrong digit through fog, and knows it. "
        'Reply with "Answer: " and one digit.'
    )
    reads_data: ClassVar[bool] = False
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d+)"}
    default_shaping: ClassVar[Any] = "outcome_credit"

    def load(self, split: str) -> Iterator[Question]:
        """Every item, digit, wrong digit and clear seat of the split; a pair of digits is in the same split for any seat."""
        pairs = [(item, d, w) for item, d, w in itertools.product(ITEMS, range(10), range(10)) if d != w]
        for item, digit, wrong in of_split(pairs, split, group=lambda pair: pair[:2]):
            for clear in range(max(2, len(self.possible_agents))):
                yield self._question(item, digit, wrong, clear)

    def _question(self, item: str, digit: int, wrong: int, clear: int) -> Question:
        # A third or fourth witness sees another wrong digit.
        lies = itertools.cycle(other % 10 for other in range(wrong, wrong + 10) if other % 10 != digit)
        seats = max(2, len(self.possible_agents))
        private = {
            f"agent_{seat}": f"Clear view: {digit}." if seat == clear else f"Foggy view: {next(lies)}."
            for seat in range(seats)
        }
        return Question(f"Which digit is on the {item}?", str(digit), private=private, metadata={"item": item})
