"""Gated proposals: an agent is asked again until a critic's score of what it says passes a threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from maporl import registry
from maporl.agents.agent import Agent
from maporl.errors import UserTypeError, UserValueError
from maporl.types import Completion, Message, Observation

__all__ = ["KEPT", "Gated"]

KEPT = ("best", "last")


class Gated(Agent):
    """Says the first proposal of another agent whose score is above a threshold (ReAd, 2405.14314, with a constant threshold).

    After a rejection the agent is shown a message from ``critic`` with its proposal and the score, and proposes again. What is said costs
    all that was sampled for it: the tokens of rejected proposals are its `Completion.discarded`. It is frozen: nobody learns from a
    filtered sample as if it had been drawn from the policy.

    Args:
        agent: Who proposes: an agent, or its specification (a word, ``{"name": ..., **arguments}``, ``package.module:Class``).
        score: (observation, proposal) -> score; a function, an object that can be called, or its specification. A proposal that cannot be
            read is scored as what it then counts as (of `blocks`, WAIT). NaN, for what the critic does not know, never passes.
        threshold: What a score must exceed; or one for each agent, name -> threshold. It is the same at every proposal.
        budget: The most proposals for one message.
        keep: What is said if none passes: the "best" (the first of equals), or the "last".
        fallback: What is said if moreover no proposal has a number as its score.

    Attributes:
        asked: How many proposals there have been.

    Raises:
        TypeError: No agent, or a score that cannot be called.
        ValueError: `budget` below 1, an unknown `keep`, a threshold that is no number; when it speaks, an agent without a threshold.
    """

    def __init__(
        self,
        agent: Any,
        score: Any,
        threshold: float | Mapping[str, float] = 0.0,
        budget: int = 10,
        keep: str = "best",
        fallback: str = "WAIT",
    ) -> None:
        if budget < 1:
            raise UserValueError(f"budget is {budget}; it must be at least 1.")
        if keep not in KEPT:
            raise UserValueError(f"unknown keep {keep!r}; one of: {', '.join(KEPT)}.")
        for value in threshold.values() if isinstance(threshold, Mapping) else (threshold,):
            if math.isnan(value):
                raise UserValueError("threshold is nan, which nothing exceeds; give a number.")
        self.agent = registry.build("agent", agent) if isinstance(agent, str | Mapping) else agent
        if not isinstance(self.agent, Agent):
            raise UserTypeError(f"gated: {agent!r} is no agent; give one, or its word.")
        self.score: Callable[[Observation, Completion], float] = (
            registry.build("score", score) if isinstance(score, str | Mapping) else score
        )
        if not callable(self.score):
            raise UserTypeError(
                f"gated: score {score!r} cannot be called; give a function (observation, proposal) -> float."
            )
        self.threshold, self.budget, self.keep, self.fallback = threshold, budget, keep, fallback
        self.asked = 0

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """See `Agent`; all who were rejected are asked again in one call."""
        thresholds = [self._threshold(observation["agent"]) for observation in observations]
        shown = list(observations)
        proposals: list[list[tuple[float, Completion]]] = [[] for _ in shown]
        waiting = list(range(len(shown)))
        for _ in range(self.budget):
            if not waiting:
                break
            said = self.agent.act([shown[n] for n in waiting], [rngs[n] for n in waiting], greedy=greedy)
            self.asked += len(said)
            rejected = []
            for n, proposal in zip(waiting, said, strict=True):
                score = float(self.score(observations[n], proposal))
                proposals[n].append((score, proposal))
                if not score > thresholds[n]:  # NaN never passes
                    shown[n] = _told(shown[n], proposal, score, thresholds[n])
                    rejected.append(n)
            waiting = rejected
        return [self._chosen(made, threshold) for made, threshold in zip(proposals, thresholds, strict=True)]

    def _threshold(self, agent: str) -> float:
        if not isinstance(self.threshold, Mapping):
            return self.threshold
        if agent not in self.threshold:
            raise UserValueError(f"gated: no threshold for {agent!r}; there are some for {', '.join(self.threshold)}.")
        return self.threshold[agent]

    def _chosen(self, made: Sequence[tuple[float, Completion]], threshold: float) -> Completion:
        cost = sum(proposal.sampled_tokens for _, proposal in made)
        known = [(score, proposal) for score, proposal in made if not math.isnan(score)]
        if not known:
            return Completion(self.fallback, discarded=cost)
        passed = made[-1][0] > threshold
        said = made[-1][1] if passed or self.keep == "last" else max(known, key=lambda scored: scored[0])[1]
        return replace(said, discarded=cost - len(said.completion_ids))


def _told(observation: Observation, proposal: Completion, score: float, threshold: float) -> Observation:
    """What is shown after a rejection: the proposal, its score, and what the score must exceed."""
    worth = "is unknown to the critic" if math.isnan(score) else f"scores {score:.3g}"
    text = f"{proposal.text.strip()!r} {worth}; too low, raise it above {threshold:.3g}."
    told = Message(agent="critic", round=observation["round"], text=text)
    return {**observation, "transcript": (*observation["transcript"], told)}
