"""An agent that does not hear its peers: what a message is worth shows when it is taken away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents.agent import Agent
from maporl.types import Completion, Message, Observation

__all__ = ["IsolatedAgent"]


class IsolatedAgent(Agent):
    """Another agent, for whom every message of its peers is blank and without a score; its own stay as they are.

    A message is its own if it bears its name: in a mixture of agents, which shows proposals without their authors, all are blank.

    Args:
        agent: Who speaks.
        blank: What a peer's message is replaced by.
    """

    def __init__(self, agent: Agent, blank: str = "") -> None:
        self.agent, self.blank = agent, blank

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        return self.agent.act([self._unheard(o) for o in observations], rngs, greedy=greedy)

    def _unheard(self, observation: Observation) -> Observation:
        def blanked(message: Message) -> Message:
            if message["agent"] == observation["agent"]:
                return message
            unheard: Message = {**message, "text": self.blank}
            if "score" in message:
                unheard["score"] = None
            return unheard

        return {**observation, "transcript": tuple(map(blanked, observation["transcript"]))}
