"""Who sits where: (agent, round) -> agent. Sharing everything, an adapter per agent or per round, or frozen seats are one mapping."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents.agent import Agent, Learner
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling import Sampling
from maporl.types import Completion, Observation

__all__ = ["BASE", "WARM_START", "SHARING", "Team", "act_together", "assign"]

BASE = "base"
"""The word for a seat that speaks with the frozen base model."""

WARM_START = "warm_start"
"""The adapter of frozen seats, and of the reference, when every adapter starts from a given one."""

SHARING = ("shared", "per_agent", "per_agent_round", "frozen")


def assign(
    sharing: str | Mapping[str, Any], agents: Sequence[str], num_rounds: int, frozen: Iterable[str] = ()
) -> dict[tuple[str, int], str | None]:
    """The adapter of every seat; None is the frozen base.

    Args:
        sharing: "shared", "per_agent", "per_agent_round", "frozen", or {agent: adapter | [adapter of each round]} with "base" for the
            frozen base.
        agents: Everybody's name.
        num_rounds: Rounds of the discussion.
        frozen: Agents ("agent_1"), rounds ("round_1", counted from 1) or single seats ("agent_1/round_1") to freeze at the base.

    Raises:
        ValueError: Unknown word, agent or round.
    """
    named = {
        "shared": lambda agent, r: "shared",
        "per_agent": lambda agent, r: agent,
        "per_agent_round": lambda agent, r: f"{agent}_round_{r + 1}",
        "frozen": lambda agent, r: None,
    }
    if isinstance(sharing, Mapping) and set(sharing) - set(agents):
        raise ValueError(f"team names {sorted(set(sharing) - set(agents))}; the agents are {list(agents)}.")
    seats: dict[tuple[str, int], str | None] = {}
    for agent in agents:
        for r in range(num_rounds):
            if isinstance(sharing, Mapping):
                if agent not in sharing:
                    raise ValueError(
                        f"team has no entry for {agent!r}; name an adapter (or {BASE!r}) for each of {list(agents)}."
                    )
                entry = sharing[agent]
                if isinstance(entry, str):
                    name: str | None = entry
                else:
                    if len(entry) != num_rounds:
                        raise ValueError(
                            f"team names {len(entry)} adapters for {agent!r}, but there are {num_rounds} rounds; one each, or one word."
                        )
                    name = entry[r]
                seats[agent, r] = None if name in (BASE, None) else name
            elif sharing in named:
                seats[agent, r] = named[sharing](agent, r)
            else:
                raise ValueError(
                    f"team {sharing!r} is unknown; use one of {list(SHARING)}, or a mapping agent -> adapter."
                )
    known = {*agents, *(f"round_{r + 1}" for r in range(num_rounds)), *(f"{a}/round_{r + 1}" for a, r in seats)}
    for word in frozen:
        if word not in known:
            raise ValueError(
                f"frozen names {word!r}; use an agent of {list(agents)}, 'round_1' to 'round_{num_rounds}', or AGENT/round_K."
            )
        for agent, r in seats:
            if word in (agent, f"round_{r + 1}", f"{agent}/round_{r + 1}"):
                seats[agent, r] = None
    return seats


def act_together(
    members: Sequence[Agent],
    observations: Sequence[Observation],
    rngs: Sequence[np.random.Generator],
    greedy: Sequence[bool],
) -> list[Completion]:
    """One message for every observation, with one call per distinct agent and way of decoding, whatever teams they speak in.

    Args:
        members: Who speaks.
        observations, rngs: As in `Agent.act`.
        greedy: Whether each message is decoded greedily.
    """
    groups: dict[tuple[Agent, bool], list[int]] = {}
    for i, key in enumerate(zip(members, greedy, strict=True)):
        groups.setdefault(key, []).append(i)
    completions: dict[int, Completion] = {}
    for (agent, greedily), rows in groups.items():
        spoken = agent.act([observations[i] for i in rows], [rngs[i] for i in rows], greedy=greedily)
        completions.update(zip(rows, spoken, strict=True))
    return [completions[i] for i in range(len(observations))]


class Team:
    """A seating plan, and batched speaking for all who may speak now.

    Args:
        seats: (agent, round) -> Agent, rounds from 0. An agent asked for a later round than it has seats for uses its last seat.
    """

    def __init__(self, seats: Mapping[tuple[str, int], Agent]) -> None:
        if not seats:
            raise ValueError("a team needs at least one seat; give {(agent, round): Agent}.")
        self.seats = dict(seats)
        self.agents = tuple(dict.fromkeys(agent for agent, _ in seats))
        self._last_round = {agent: max(r for a, r in seats if a == agent) for agent in self.agents}
        names = [m.adapter for m in self._with_adapters if m.adapter is not None]
        if len(names) != len(set(names)):
            raise ValueError(
                f"two agents of the team own an adapter of one name among {sorted(names)}; names must differ."
            )

    @classmethod
    def build(
        cls,
        policies: Policy | Mapping[str, Policy],
        agents: Sequence[str],
        num_rounds: int,
        *,
        sharing: str | Mapping[str, Any] = "per_agent",
        frozen: Iterable[str] = (),
        partners: Mapping[str, Agent] | None = None,
        prompts: PromptTemplate | None = None,
        sampling: Sampling | None = None,
        init_adapter: str | Path | Mapping[str, str | Path] | None = None,
        seed: int = 0,
    ) -> Team:
        """A team of language models from one policy, or one per agent, adding the adapters that the seating plan names.

        Args:
            policies: One base for everybody, or agent -> base.
            agents: Everybody's name.
            num_rounds: Rounds of the discussion.
            sharing: See `assign`.
            frozen: See `assign`.
            partners: Agents that take all seats of a name instead (scripted, frozen from another run ...).
            prompts: Shared by all.
            sampling: Shared by all.
            init_adapter: PEFT folder from which every new adapter starts, frozen seats included (a warm start), or one folder per
                adapter name.
            seed: Of the adapters' initial weights.

        Raises:
            ValueError: Of `assign`; a partner or base model for an unknown agent, an agent without a base model, or one adapter on two.
        """
        partners = dict(partners or {})
        for what, given in (("partners", partners), ("policies", agents if isinstance(policies, Policy) else policies)):
            if set(given) - set(agents):
                raise ValueError(f"{what} names {sorted(set(given) - set(agents))}; the agents are {list(agents)}.")
        members: dict[tuple[Policy, str | None], LLMAgent] = {}
        seats: dict[tuple[str, int], Agent] = {}
        start = WARM_START if isinstance(init_adapter, str | Path) else None
        for (agent, r), assigned in assign(sharing, agents, num_rounds, frozen).items():
            adapter = assigned or start  # a frozen seat speaks as everybody did before training
            if agent in partners:
                seats[agent, r] = partners[agent]
                continue
            if not isinstance(policies, Policy) and agent not in policies:
                raise ValueError(f"policies has no base model for {agent!r}; give one for each of {list(agents)}.")
            policy = policies if isinstance(policies, Policy) else policies[agent]
            other = next((p for p, name in members if name == adapter and p is not policy), None)
            if assigned is not None and other is not None:
                raise ValueError(
                    f"adapter {assigned!r} would sit on two base models ({_name_of(other)}, and {_name_of(policy)} for {agent!r}), but "
                    "belongs to one: use sharing 'per_agent', or give those agents one Policy."
                )
            key = (policy, adapter)
            if key not in members:
                if adapter is not None and adapter not in policy.adapters:
                    path = init_adapter.get(adapter) if isinstance(init_adapter, Mapping) else init_adapter
                    policy.add_adapter(adapter, seed=seed + len(members), path=path)
                trainable = assigned not in (None, WARM_START)  # also when a saved team is seated again
                members[key] = LLMAgent(policy, adapter, prompts=prompts, sampling=sampling, trainable=trainable)
            seats[agent, r] = members[key]
        return cls(seats)

    @property
    def language_models(self) -> list[LLMAgent]:
        """The distinct language-model agents, in seating order."""
        return [m for m in dict.fromkeys(self.seats.values()) if isinstance(m, LLMAgent)]

    @property
    def learners(self) -> dict[str, Learner]:
        """Adapter name -> agent, for every adapter that may be trained."""
        return {m.adapter: m for m in self._with_adapters if m.trainable and m.adapter is not None}

    @property
    def _with_adapters(self) -> list[Learner]:
        """The distinct agents of which algorithms know, trained or not, in seating order."""
        return [m for m in dict.fromkeys(self.seats.values()) if isinstance(m, Learner)]

    @property
    def policies(self) -> list[Policy]:
        return list(dict.fromkeys(m.policy for m in self.language_models))

    def seat(self, agent: str, round: int) -> tuple[str, int]:
        """The seat of `agent` in `round` (from 0).

        Raises:
            ValueError: There is none.
        """
        if agent not in self._last_round:
            raise ValueError(f"the team has no seat for {agent!r}; it seats {list(self.agents)}.")
        return agent, min(round, self._last_round[agent])

    def member(self, agent: str, round: int) -> Agent:
        """Who speaks for `agent` in `round` (from 0)."""
        return self.seats[self.seat(agent, round)]

    def learner(self, agent: str, round: int) -> Learner | None:
        """Who learns from what `agent` says in `round` (from 0): nobody where the seat is not trained."""
        member = self.member(agent, round)
        return member if isinstance(member, Learner) and member.trainable else None

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """One message for every observation, with one call per distinct agent, however many discussions there are."""
        members = [self.member(o["agent"], o["round"]) for o in observations]
        return act_together(members, observations, rngs, [greedy] * len(members))

    def forget(self) -> bool:
        """The discussions are over: nothing that engines keep of their prompts will be of use. Was there anything?"""
        return any([policy.engine.forget() for policy in self.policies if "engine" in vars(policy)])

    @contextlib.contextmanager
    def at_temperature(self, temperature: float | None) -> Iterator[None]:
        """Within the block language models, and whoever else could be trained, sample at this temperature; None changes nothing."""
        before = {m: m.sampling for m in self._with_adapters}
        try:
            if temperature is not None:
                for m, sampling in before.items():
                    m.sampling = replace(sampling, temperature=temperature)
            yield
        finally:
            for m, sampling in before.items():
                m.sampling = sampling

    def save(self, folder: str | Path) -> None:
        """Write every adapter in PEFT's format into `folder`/NAME, and the seating plan into `folder`/team.json."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        plan: dict[str, list[str | None]] = {}
        for (agent, _), member in sorted(self.seats.items()):
            name = (member.adapter or BASE) if isinstance(member, LLMAgent) else None
            plan.setdefault(agent, []).append(name)
        for member in self.language_models:
            if member.adapter is not None:
                member.policy.save_adapter(member.adapter, target / member.adapter)
        (target / "team.json").write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")


def _name_of(policy: Policy) -> str:
    """The checkpoint's path."""
    return repr(policy.tokenizer.name_or_path)
