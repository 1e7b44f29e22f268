"""A partner that alone knows what is wanted, and tells what it is asked for."""

from __future__ import annotations

import keyword
import re

import numpy as np

from maporl.agents.agent import ScriptedAgent
from maporl.types import Observation

__all__ = ["SimulatedHuman", "answer"]

_ENTRY = r"(\w[\w ]*): ([^.\n]+)"
_LIST = re.compile(rf"\s*(?:{_ENTRY}\.\s*)+")


class SimulatedHuman(ScriptedAgent):
    """A scripted human who knows the goal: asked for a thing by its name, it says what its private information says of that.

    The private information is a list "colour: red. size: small.", and what it does not speak of does not matter; or any other text, such as
    code, of which it tells the lines that share a word with the question. A frozen language model in the same seat is the other kind of
    simulated human (``frozen: [agent_1]``): it reads the same text, and answers as it likes.
    """

    def __init__(self) -> None:
        super().__init__(answer)


def answer(observation: Observation, rng: np.random.Generator) -> str:
    """What such a human says."""
    asked = next((m["text"] for m in reversed(observation["transcript"]) if m["agent"] != observation["agent"]), "")
    private = observation["private"]
    if private and not _LIST.fullmatch(private):
        return _lines(private, asked) or "I do not know."
    known = re.findall(_ENTRY, private)
    told = [f"{name}: {value}." for name, value in known if re.search(rf"\b{re.escape(name)}\b", asked, re.IGNORECASE)]
    return " ".join(told) or "It does not matter."


def _lines(text: str, asked: str) -> str:
    """The lines of a text in which a word of the question stands, also as a part of a name (``bulk_price``)."""
    wanted = _words(asked)
    return "\n".join(line.strip() for line in text.splitlines() if wanted & _words(line))


def _words(text: str) -> set[str]:
    words = {word.lower() for word in re.findall(r"[^\W\d_]{3,}", text)}
    return words - set(keyword.kwlist)
