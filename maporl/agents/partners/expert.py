"""A peer of the task ``experts``: it says what its private information has, and hears nobody."""

from __future__ import annotations

import re

import numpy as np

from maporl.agents.agent import ScriptedAgent
from maporl.types import Observation

__all__ = ["SURE", "Expert", "said"]

SURE = 0.95
"""How often it says the first of two digits that it has."""


def said(observation: Observation, rng: np.random.Generator) -> str:
    """What a peer says, whatever it has heard: of "7." always 7, of "7 or 3." 7 or, one time in 20, 3."""
    first, *other = re.findall(r"\d", observation["private"]) or ["0"]
    return f"Answer: {first if not other or rng.random() < SURE else other[0]}"


class Expert(ScriptedAgent):
    """See `said`."""

    def __init__(self) -> None:
        super().__init__(said)
