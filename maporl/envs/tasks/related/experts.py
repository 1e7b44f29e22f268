"""Experts: three peers, each an expert for one kind of question, and a leader who must learn whom to follow.

| specification | |
|---|---|
| agents | agent_0, who leads and knows nothing, and three peers: agent_1 for red, 2 for green, 3 for blue; 1: the leader alone |
| fewer peers | the last one knows what the missing ones would |
| private | of a peer, what it will say: "7." always, "7 or 3." the first 19 times of 20 |
| question | "Which digit is on the red gate of house 3?": the kind is the colour; thing and house decide nothing |
| answer | "Answer: 7", compared digit for digit |
| an easy quarter | every peer says the truth |
| the others | the expert says the truth, or a decoy one time in 20; in half of them both others say the decoy, in half one the truth |
| ceilings | following the expert .9625; the leader alone .1; majority .606, the best peer .6125, votes and whatever ignores names .625 |
| questions | colour x digit x decoy x 16 patterns = 4320, a fifth of the digit pairs of every colour held out as "test" |
| source | this project; the shape is MLPO's (2507.08960): frozen peers of different strengths, one trained leader |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import of_split
from maporl.types import Question

__all__ = ["COLOURS", "Experts"]

COLOURS = ("red", "green", "blue")
"""The kinds, in the order of their experts: agent_1, agent_2, agent_3."""
THINGS = ("gate", "door", "lamp", "bell", "boat", "clock", "chair", "box")
HOUSES = 18
ORDERS = tuple(itertools.permutations(range(len(COLOURS))))
PATTERNS = 16
"""Of who is right: 4 are easy, in 3 one of the two who are no experts is right, in 3 the other one, in 6 neither."""


class Experts(DiscussionEnv):
    """The task of the card above. Its peers are the agents ``expert`` (``partners``).

    Args:
        num_agents, num_rounds, protocol: Of the discussion; 4, 1 and "leader", of a lone agent "debate".
        shuffled: Who is whose expert changes from question to question, so that names mean nothing: the control, of which .625 is the
            ceiling.
        **arguments: Of `DiscussionEnv`.
    """

    metadata: dict[str, Any] = {"name": "experts"}
    instruction = 'The question is about a colour. Reply with "Answer: " and one digit.'
    reads_data: ClassVar[bool] = False
    default_protocol: ClassVar[Any] = "leader"
    default_verifier: ClassVar[Any] = {"name": "regex", "pattern": r"Answer:\s*(\d+)"}
    default_shaping: ClassVar[Any] = "own_score"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        protocol: Any = None,
        shuffled: bool = False,
        **arguments: Any,
    ) -> None:
        if protocol is None:
            num_rounds = 1 if num_rounds is None else num_rounds
            protocol = "debate" if num_agents == 1 else None  # a lone agent leads nobody
        super().__init__(num_agents, num_rounds, protocol=protocol, **arguments)
        self.shuffled = shuffled

    def load(self, split: str) -> Iterator[Question]:
        """The questions of the split; a digit and its decoy are in the same split whatever they are on."""
        pairs = [(c, d, w) for c, d, w in itertools.product(COLOURS, range(10), range(10)) if d != w]
        for colour, digit, decoy in of_split(pairs, split, group=lambda pair: pair[:2]):
            for pattern in range(PATTERNS):
                yield self._question(colour, digit, decoy, pattern)

    def _question(self, colour: str, digit: int, decoy: int, pattern: int) -> Question:
        # Every colour and digit is on every thing of every house once; with which pattern turns with them, so that it tells nothing.
        number = PATTERNS * ((decoy - digit) % 10 - 1) + pattern + 37 * (10 * COLOURS.index(colour) + digit)
        house, thing = divmod(number % (HOUSES * len(THINGS)), len(THINGS))
        expert = COLOURS.index(colour)
        others = [peer for peer in range(len(COLOURS)) if peer != expert]
        right: set[int] = (
            set(others) if pattern < 4 else {others[0]} if pattern < 7 else {others[1]} if pattern < 10 else set()
        )
        known = {peer: f"{digit if peer in right else decoy}." for peer in others}
        known[expert] = f"{digit}." if pattern < 4 else f"{digit} or {decoy}."
        seats = ORDERS[number * 7919 % 104729 % len(ORDERS)] if self.shuffled else ORDERS[0]
        # In a smaller team the last ones know what several would.
        peers = max(1, len(self.possible_agents) - 1) if len(self.possible_agents) > 1 else len(COLOURS)
        told: dict[str, list[str]] = {}
        for peer, seat in sorted(enumerate(seats), key=lambda pair: pair[1]):
            told.setdefault(f"agent_{min(seat, peers - 1) + 1}", []).append(known[peer])
        private = {agent: " ".join(views) for agent, views in told.items()}
        metadata = {"item": colour, "easy": pattern < 4}
        return Question(
            f"Which digit is on the {colour} {THINGS[thing]} of house {house + 1}?",
            str(digit),
            private=private,
            metadata=metadata,
        )
