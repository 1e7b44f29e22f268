"""What sits in a seat: anything that turns observations into messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from maporl.types import Completion, Observation

__all__ = ["Agent", "ScriptedAgent"]


class Agent(ABC):
    """Speaks for one or more seats. Always batched: one call serves every discussion in which it is this agent's turn."""

    @abstractmethod
    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """One message for every observation.

        Args:
            observations: What the speakers are shown, one a discussion and seat.
            rngs: A random stream for each of them; a message may depend on nothing else that is random.
            greedy: Say the likeliest thing instead of sampling.
        """


class ScriptedAgent(Agent):
    """An agent that is a function.

    Args:
        speak: (observation, rng) -> message.
    """

    def __init__(self, speak: Callable[[Observation, np.random.Generator], str]) -> None:
        self.speak = speak

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        return [Completion(self.speak(o, rng)) for o, rng in zip(observations, rngs, strict=True)]
