"""Shared numbers: a word problem of which every agent knows one number, so that only together can it be solved.

| specification | |
|---|---|
| agents | one per number (2, 3 or 4), or 1: a lone agent gets one seat's number, see `view` |
| private | "Ann picks 3 apples." |
| question | `ask="most"`: how many did the one pick who picked most; `ask="sum"`: how many they picked together |
| answer | "Answer: 7" |
| reward | outcome credit: a last message earns its own score, earlier ones the team's mean score of the last round |
| ceiling | 1 for a team (tell your number, then compare or add); for a lone agent of two 5/9 = .556 ("most"), 1/9 ("sum") |
| questions | thing x numbers from 1 to 9 = 8 x 9^numbers, at most 2000 of them (chosen by hash), a fifth held out as "test" |
| source | this project; a hidden profile (Stasser & Titus 1985) in the shape of GSM8K's problems |

Two witnesses and the vault need copying; this one needs what was heard to be weighed against what is known.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import of_split
from maporl.errors import UserValueError
from maporl.types import Question

__all__ = ["ANSWERS", "LARGEST", "NAMES", "THINGS", "SharedNumbers", "lone_ceiling"]

NAMES = ("Ann", "Ben", "Cleo", "Dan")
THINGS = ("apples", "pears", "plums", "roses", "nuts", "figs", "limes", "herbs")
LARGEST = 9
MAX_QUESTIONS = 2000


ANSWERS: Mapping[str, Callable[[Sequence[int]], int]] = {"most": max, "sum": sum}


def lone_ceiling(ask: str = "most", num_agents: int = 2) -> float:
    """The best a lone agent can do: it knows one number, and gives the likeliest answer."""
    found, others = 0, list(itertools.product(range(1, LARGEST + 1), repeat=num_agents - 1))
    for known in range(1, LARGEST + 1):
        found += max(Counter(ANSWERS[ask]((known, *rest)) for rest in others).values())
    return found / LARGEST / len(others)


class SharedNumbers(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents: Agents, one per number; or 1, who has one of two numbers.
        num_rounds: Rounds of the discussion.
        ask: "most" or "sum".
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: More agents than there are names, or another question.
    """

    metadata: dict[str, Any] = {"name": "shared_numbers"}
    instruction = 'Everybody knows one of the numbers. Reply with "Answer: " and a number.'
    reads_data: ClassVar[bool] = False
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d+)"}
    default_shaping: ClassVar[Any] = "outcome_credit"

    def __init__(
        self, num_agents: int | None = None, num_rounds: int | None = None, *, ask: str = "most", **arguments: Any
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        if ask not in ANSWERS:
            raise UserValueError(f"ask {ask!r} is unknown; use one of {sorted(ANSWERS)}.")
        self.ask = ask
        if len(self.possible_agents) > len(NAMES):
            raise UserValueError(f"num_agents {len(self.possible_agents)} is more than {len(NAMES)}; choose fewer.")

    def load(self, split: str) -> Iterator[Question]:
        """The things and numbers of the split."""
        numbers = itertools.product(range(1, LARGEST + 1), repeat=max(2, len(self.possible_agents)))
        combinations = list(itertools.product(THINGS, numbers))
        if len(combinations) > MAX_QUESTIONS:
            combinations.sort(key=lambda pair: hashlib.sha256(repr(pair).encode()).hexdigest())
            combinations = sorted(combinations[:MAX_QUESTIONS])
        for thing, known in of_split(combinations, split, group=lambda pair: (pair[0], pair[1][0])):
            names = NAMES[: len(known)]
            who = f"{', '.join(names[:-1])} and {names[-1]}"
            facts = zip(names, known, strict=True)
            asked = "do they pick together" if self.ask == "sum" else "does the one pick who picks most"
            yield Question(
                f"{who} pick {thing}. How many {thing} {asked}?",
                str(ANSWERS[self.ask](known)),
                private={f"agent_{n}": f"{name} picks {count} {thing}." for n, (name, count) in enumerate(facts)},
                metadata={"item": thing},
            )
