"""Requests: a customer wants something, and what matters to it must be asked for.

| specification | |
|---|---|
| agents | agent_0, who asks, and agent_1, the customer, who alone knows what it wants; 1: agent_0, whom nobody answers |
| private | of agent_1: "colour: red. size: small." |
| question | "Ann wants a paper lamp.": a kind of request, which decides what matters, and who makes it, which decides nothing |
| messages | agent_0 asks for one of six attributes each round; a message that names none of them, or several, asks for nothing |
| reward | 1 for everybody if agent_0 has asked for both attributes that matter, else 0 |
| ceiling | 1 with two rounds; asking at random 2/36 = .056 |
| questions | kind x customer = 200 x 5 = 1000, a fifth of those of every kind held out as "test" |
| source | this project; the shape is ColBench's (SWEET-RL 2503.15478): one who asks, one who alone knows the reference |

Which two attributes matter to a kind of request is arbitrary, so that nothing but experience with this very kind tells it, while the
customer's private information says it outright.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.combinations import of_split
from maporl.envs.team_answer import TeamAnswer
from maporl.envs.verifiers import TranscriptVerifier
from maporl.errors import UserValueError
from maporl.types import Observation, Question, Score, Transcript

__all__ = ["ATTRIBUTES", "Requests", "asked_for"]

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "colour": ("red", "green", "blue"),
    "size": ("small", "large"),
    "shape": ("round", "square"),
    "weight": ("light", "heavy"),
    "price": ("low", "high"),
    "style": ("plain", "old"),
}
"""What can be asked for, and what a customer may want of it."""
PAIRS = tuple(itertools.combinations(ATTRIBUTES, 2))
MATERIALS = ("paper", "wooden", "glass", "metal", "stone", "silk", "clay", "straw", "steel", "cork")
THINGS = (
    *("lamp", "chair", "table", "bowl", "box", "clock", "vase", "bag", "shelf", "mask"),
    *("frame", "plate", "bell", "boat", "door", "fan", "flute", "kite", "ring", "sled"),
)
KINDS = tuple(itertools.product(MATERIALS, THINGS))
CUSTOMERS = ("Ann", "Ben", "Cleo", "Dan", "Eva")


def asked_for(text: str) -> str | None:
    """The one attribute that a message names; None if it names none, or several."""
    named = [attribute for attribute in ATTRIBUTES if re.search(rf"\b{attribute}\b", text, re.IGNORECASE)]
    return named[0] if len(named) == 1 else None


class BothAsked(TranscriptVerifier):
    """1 if the first agent has asked for all that matters, else 0."""

    def __call__(self, transcript: Transcript) -> Score:
        said = [asked_for(turn.text) for turn in transcript.turns if turn.agent == transcript.agents[0]]
        asked = [attribute for attribute in dict.fromkeys(said) if attribute is not None]
        right = set(transcript.question.answer.split(", ")) <= set(asked)
        return Score(float(right), right, ", ".join(asked) or None, "ok" if asked else "no_answer")


class Requests(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents: Who is asked; what the third and later ones say counts for nothing.
        num_rounds: How many questions there are.
        num_kinds: Of the 200 kinds of request, the first so many.
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: A number of kinds that there are not.
    """

    metadata: dict[str, Any] = {"name": "requests"}
    instruction = (
        f"agent_0 asks for one thing that matters: {', '.join(ATTRIBUTES)}. agent_1, the customer, answers what it is asked for, "
        "and tells nothing else."
    )
    reads_data: ClassVar[bool] = False
    default_protocol: ClassVar[Any] = "round_robin"
    default_team_verifier: ClassVar[Any] = BothAsked
    default_shaping: ClassVar[Any] = "discussion_score"

    def __init__(
        self, num_agents: int | None = None, num_rounds: int | None = None, *, num_kinds: int = 200, **arguments: Any
    ) -> None:
        super().__init__(num_agents, num_rounds, **arguments)
        if not 1 <= num_kinds <= len(KINDS):
            raise UserValueError(f"num_kinds is {num_kinds}; there are 1 to {len(KINDS)}.")
        self.num_kinds = num_kinds

    def load(self, split: str) -> Iterator[Question]:
        """The requests of the split: every kind is in both."""
        requests = [(*kind, customer) for kind in KINDS[: self.num_kinds] for customer in CUSTOMERS]
        for material, thing, customer in of_split(requests, split, group=lambda request: request[:2]):
            needed = _needed(material, thing)
            wanted = " ".join(f"{a}: {_drawn(ATTRIBUTES[a], material, thing, customer, a)}." for a in needed)
            yield Question(
                f"{customer} wants a {material} {thing}.",
                ", ".join(needed),
                private={"agent_1": wanted},
                metadata={"item": f"{material} {thing}"},
            )

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """What has been asked for."""
        said = self.transcript if transcript is None else transcript
        verdict = said.verdict if said.verdict is not None and self.team_verifier else BothAsked()(said)
        return self.labelled(TeamAnswer(verdict.answer, float(bool(verdict.correct)), int(verdict.answer is not None)))

    def turn_value(self, state: Observation, text: str) -> float:
        """What a message is truly worth where it is said: 1 if it asks for something that matters and has not been asked for, else 0."""
        before = {asked_for(message["text"]) for message in state["transcript"] if message["agent"] == state["agent"]}
        _, material, thing = re.findall(r"(\w+) wants a (\w+) (\w+)", state["question"])[0]
        attribute = asked_for(text)
        return float(attribute in _needed(material, thing) and attribute not in before)


def _needed(material: str, thing: str) -> tuple[str, str]:
    """What matters to a kind of request: one of the 15 pairs, by hash."""
    return _drawn(PAIRS, material, thing)


def _drawn(values: Sequence[Any], *key: str) -> Any:
    return values[int(hashlib.sha256("\x1f".join(key).encode()).hexdigest(), 16) % len(values)]
