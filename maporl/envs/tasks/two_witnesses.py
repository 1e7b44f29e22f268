"""Two witnesses: one saw the digit, the other saw fog, and each knows which of the two it is.

| specification | |
|---|---|
| agents | 2 (more: still one clear view, the others foggy; 1: a lone agent gets one seat's view, see `view`) |
| private | "Clear view: 7." or "Foggy view: 3."; a foggy view always shows a wrong digit |
| answer | "Answer: 7", compared digit for digit |
| reward | outcome credit: a last message earns its own score, earlier ones the team's mean score of the last round |
| ceiling | 1 for a team (report honestly, then: clear stays, foggy follows); 5/9 = .556 for a lone agent, mean over seats (of 3: .407) |
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
from maporl.errors import UserValueError
from maporl.types import Question

__all__ = ["LONE_CEILING", "TwoWitnesses"]

LONE_CEILING = 1 / 2 + 1 / 2 * 1 / 9
"""The best a lone agent can do, averaged over seats: right when its view is clear, else one guess among nine digits."""


class TwoWitnesses(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents: Agents. Those beyond the witnesses see nothing.
        num_rounds: Rounds of the discussion.
        num_witnesses: Views. Default: one per agent, 2 for a lone agent, who is asked a larger team's questions with that team's number.
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: Fewer than 2 witnesses, or more than a team has agents.
    """

    metadata: dict[str, Any] = {"name": "two_witnesses"}
    instruction = (
        "One agent sees the digit clearly; any other sees a wrong digit through fog, and knows it. "
        'Reply with "Answer: " and one digit.'
    )
    reads_data: ClassVar[bool] = False
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d+)"}
    default_shaping: ClassVar[Any] = "outcome_credit"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        num_witnesses: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        team = len(self.possible_agents)
        self.num_witnesses = max(2, team) if num_witnesses is None else num_witnesses
        if self.num_witnesses < 2 or 1 < team < self.num_witnesses:
            raise UserValueError(
                f"num_witnesses is {num_witnesses} and there are {team} agents; at least 2 see something, and each of them is an agent."
            )

    def load(self, split: str) -> Iterator[Question]:
        """Every item, digit, wrong digit and clear seat of the split; a pair of digits is in the same split for any seat."""
        pairs = [(item, d, w) for item, d, w in itertools.product(ITEMS, range(10), range(10)) if d != w]
        for item, digit, wrong in of_split(pairs, split, group=lambda pair: pair[:2]):
            for clear in range(self.num_witnesses):
                yield self._question(item, digit, wrong, clear)

    def _question(self, item: str, digit: int, wrong: int, clear: int) -> Question:
        # A third or fourth witness sees another wrong digit.
        lies = itertools.cycle(other % 10 for other in range(wrong, wrong + 10) if other % 10 != digit)
        private = {
            f"agent_{seat}": f"Clear view: {digit}." if seat == clear else f"Foggy view: {next(lies)}."
            for seat in range(self.num_witnesses)
        }
        return Question(f"Which digit is on the {item}?", str(digit), private=private, metadata={"item": item})
