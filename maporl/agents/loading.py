"""From rosters to teams: what several teams have in common is loaded once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from maporl import registry
from maporl.agents.agent import Agent
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.errors import UserValueError
from maporl.roster import Roster, Speaker
from maporl.settings import model_name
from maporl.types import Seat

__all__ = ["Loader", "Voice"]

T = TypeVar("T")

_OF_TRAINING = ("lora", "gradient_checkpointing")
"""Arguments of `Policy.from_pretrained` that change nothing about what a loaded model says."""


@dataclass(frozen=True)
class Voice:
    """How speakers are loaded, prompted and sampled, beside who they are.

    Attributes:
        loading: Arguments of `Policy.from_pretrained`.
        prompts, sampling: Of `LLMAgent`.
    """

    loading: Mapping[str, Any]
    prompts: PromptTemplate | None = None
    sampling: Sampling | None = None


class Loader:
    """Makes teams of rosters. A base model, an adapter, a partner and an agent are each one object in all teams of a loader, so that
    an agent speaks for all of them in one batch (`rollout_together`).

    Args:
        policies: Base models that are there already, by the checkpoints' names in the rosters.
        partners: Agents of one's own that are there already, agent -> agent.
    """

    def __init__(
        self, policies: Mapping[str, Policy] | None = None, partners: Mapping[str, Agent] | None = None
    ) -> None:
        self._given, self._given_partners = dict(policies or {}), dict(partners or {})
        self._policies: list[tuple[Any, Policy]] = []  # by values that are compared, for not all of them have a hash
        self._adapters: dict[tuple[Policy, str, str | None], str] = {}
        self._agents: list[tuple[Any, LLMAgent]] = []
        self._partners: dict[tuple[str, str], Agent] = {}

    def team(self, roster: Roster, voice: Voice | Callable[[Speaker], Voice], *, seed: int = 0) -> Team:
        """The team of a roster.

        Args:
            roster: Who speaks.
            voice: How; a function where that differs from speaker to speaker.
            seed: Of the initial weights of new adapters.

        Raises:
            ValueError: A partner that is no agent, a checkpoint or an adapter that cannot be loaded.
        """
        for (agent, _), speaker in roster.seats.items():  # first, for they are told sooner than a model is loaded
            key = (agent, repr(speaker.partner))
            if speaker.partner is not None and key not in self._partners:
                self._partners[key] = self._given_partners.get(agent) or _partner(agent, speaker.partner)
        seats: dict[tuple[str, int], Agent] = {}
        speakers = dict(roster.seats)
        members: dict[LLMAgent, None] = {}
        for (agent, r), speaker in roster.seats.items():
            if speaker.partner is not None:
                seats[agent, r] = self._partners[agent, repr(speaker.partner)]
            else:
                its = voice(speaker) if callable(voice) else voice
                member = self._agent(speaker, its, seed + len(members))
                seats[agent, r] = member
                members[member] = None
                speakers[Seat(agent, r)] = replace(speaker, adapter=member.adapter)
        return Team(seats, Roster(speakers))

    def _agent(self, speaker: Speaker, voice: Voice, seed: int) -> LLMAgent:
        assert speaker.base is not None  # else it is a partner
        policy = self._policy(speaker.base, voice)
        adapter = None if speaker.adapter is None else self._adapter(policy, speaker.adapter, speaker.start, seed)
        key = (policy, adapter, speaker.trains, voice.prompts, voice.sampling)
        how: dict[str, Any] = {"prompts": voice.prompts, "sampling": voice.sampling, "trainable": speaker.trains}
        return _once(self._agents, key, lambda: LLMAgent(policy, adapter, **how))

    def _policy(self, base: str, voice: Voice) -> Policy:
        if base in self._given:
            return self._given[base]
        key = (model_name(base), {name: value for name, value in voice.loading.items() if name not in _OF_TRAINING})
        return _once(self._policies, key, lambda: Policy.from_pretrained(base, **voice.loading))

    def _adapter(self, policy: Policy, adapter: str, start: str | None, seed: int) -> str:
        """The adapter's name in the policy: its own, or where another run's is called so, one with a number."""
        key = (policy, adapter, start)
        if key not in self._adapters:
            names = itertools.chain([adapter], (f"{adapter}_{n}" for n in itertools.count(2)))
            name = next(name for name in names if name not in self._adapters.values())
            if name not in policy.adapters:
                policy.add_adapter(name, seed=seed, path=start)
            self._adapters[key] = name
        return self._adapters[key]


def _once(known: list[tuple[Any, T]], key: Any, make: Callable[[], T]) -> T:
    """What is known by an equal key, or else is made and known from now on."""
    for other, value in known:
        if other == key:
            return value
    known.append((key, value := make()))
    return value


def _partner(agent: str, spec: Any) -> Agent:
    partner = registry.build("agent", spec)
    if not isinstance(partner, Agent):
        raise UserValueError(
            f"partners: {spec!r} for {agent!r} is no agent but a {type(partner).__name__}; name a subclass of maporl.agents.Agent "
            "(ScriptedAgent makes one of a function)."
        )
    return partner
