"""A partner that alone knows what is wanted, and tells what it is asked for."""

from __future__ import annotations

import re

import numpy as np

from maporl.agents.agent import ScriptedAgent
from maporl.types import Observation

__all__ = ["SimulatedHuman", "answer"]


class SimulatedHuman(ScriptedAgent):
    """A scripted human who knows the goal: asked for a thing by its name, it says what its private information says of that.

    The private information is a list "colour: red. size: small."; what it does not speak of does not matter. A frozen language model in
    the same seat is the other kind of simulated human (``frozen: [agent_1]``): it reads the same text, and answers as it likes.
    """

    def __init__(self) -> None:
        super().__init__(answer)


def answer(observation: Observation, rng: np.random.Generator) -> str:
    """What such a human says."""
    asked = next((m["text"] for m in reversed(observation["transcript"]) if m["agent"] != observation["agent"]), "")
    known = re.findall(r"(\w[\w ]*): ([^.\n]+)", observation["private"])
    told = [f"{name}: {value}." for name, value in known if re.search(rf"\b{re.escape(name)}\b", asked, re.IGNORECASE)]
    return " ".join(told) or "It does not matter."
