"""What sits in a seat: anything that turns observations into messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from maporl.agents.sampling.settings import Sampling
from maporl.agents.trainable import Trainable
from maporl.hooks import one
from maporl.types import Completion, Observation

__all__ = ["Agent", "Learner", "ScriptedAgent", "SilentAgent"]


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


class Learner(Agent):
    """An agent that algorithms can train: one adapter of a policy.

    Attributes:
        policy: Computes log-probs, and lends its features to critics.
        adapter: The adapter that speaks; None is the policy's base, which is never trained.
        sampling: The temperature at which messages are sampled, and so judged.
        trainable: Do algorithms update this adapter?
    """

    policy: Trainable
    adapter: str | None
    sampling: Sampling
    trainable: bool

    @abstractmethod
    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        """Each prompt's token ids [P] int64; a critic may ask for that of a joint state."""


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
        return [
            Completion(one(self.speak, "", self.speak(o, rng), str)) for o, rng in zip(observations, rngs, strict=True)
        ]


class SilentAgent(ScriptedAgent):
    """Says nothing: a seat that is there and empty, as MALT's team without its verifier (``partners: {verifier_0: ...}``)."""

    def __init__(self) -> None:
        super().__init__(lambda observation, rng: "")
