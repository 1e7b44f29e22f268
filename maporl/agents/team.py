"""Who sits where: (agent, round) -> agent, loaded and ready to speak."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents.agent import Agent, Learner
from maporl.agents.llm_agent import LLMAgent, complete
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.settings import Sampling
from maporl.errors import UserValueError
from maporl.hooks import each
from maporl.roster import Roster, Speaker
from maporl.types import Completion, Observation, Seat

__all__ = ["Team", "act_together"]


def act_together(
    members: Sequence[Agent],
    observations: Sequence[Observation],
    rngs: Sequence[np.random.Generator],
    greedy: Sequence[bool],
) -> list[Completion]:
    """One message for every observation, whatever teams the speakers belong to: language models on one base are sampled in one call;
    others, and those with an `act` of their own, are called once per distinct agent and way of decoding.

    Args:
        members: Who speaks.
        observations, rngs: As in `Agent.act`.
        greedy: Whether each message is decoded greedily.
    """
    groups: dict[tuple[Agent, bool], list[int]] = {}
    for i, key in enumerate(zip(members, greedy, strict=True)):
        groups.setdefault(key, []).append(i)
    completions: dict[int, Completion] = {}
    requests: dict[Policy, dict[int, Request]] = {}
    for (agent, greedily), rows in groups.items():
        shown, streams = [observations[i] for i in rows], [rngs[i] for i in rows]
        if isinstance(agent, LLMAgent) and type(agent).act is LLMAgent.act:
            asked = agent.requests(shown, streams, greedy=greedily)
            requests.setdefault(agent.policy, {}).update(zip(rows, asked, strict=True))
        else:
            said = each(agent, "act", agent.act(shown, streams, greedy=greedily), Completion, len(rows))
            completions.update(zip(rows, said, strict=True))
    for policy, wanted in requests.items():
        completions.update(zip(wanted, complete(policy, list(wanted.values())), strict=True))
    return [completions[i] for i in range(len(observations))]


class Team:
    """A roster whose speakers are loaded, and batched speaking for all who may speak now.

    Args:
        seats: (agent, round) -> Agent, rounds from 0. An agent asked for a later round than it has seats for uses its last seat.
        roster: What they were made of, seat by seat, if anything.
    """

    def __init__(self, seats: Mapping[tuple[str, int], Agent], roster: Roster | None = None) -> None:
        if not seats:
            raise UserValueError("a team needs at least one seat; give {(agent, round): Agent}.")
        self.seats, self._roster = dict(seats), roster
        self.agents = tuple(dict.fromkeys(agent for agent, _ in seats))
        self._last_round = {agent: max(r for a, r in seats if a == agent) for agent in self.agents}
        names = [m.adapter for m in self._with_adapters if m.adapter is not None]
        if len(names) != len(set(names)):
            raise UserValueError(
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
        init_adapter: str | Path | None = None,
        seed: int = 0,
    ) -> Team:
        """A team on base models that are loaded already: one for everybody, or agent -> base.

        Args:
            policies: Which; they are given the adapters that the roster names, and that they do not have.
            agents, num_rounds, frozen, init_adapter: See `Roster.of`; `sharing` is its `team`.
            partners: Agents that take all seats of a name instead (scripted, frozen from another run ...).
            prompts, sampling: Shared by all.
            seed: Of the adapters' initial weights.

        Raises:
            ValueError: Of `Roster.of`.
        """
        from maporl.agents.loading import Loader, Voice

        loaded = policies.values() if isinstance(policies, Mapping) else [policies]
        names = {policy: f"{policy.tokenizer.name_or_path} ({n})" for n, policy in enumerate(dict.fromkeys(loaded))}
        model = {a: names[p] for a, p in policies.items()} if isinstance(policies, Mapping) else names[policies]
        words = {agent: _class_of(partner) for agent, partner in (partners or {}).items()}
        roster = Roster.of(
            agents, num_rounds, model, team=sharing, frozen=frozen, partners=words, init_adapter=init_adapter
        )
        loader = Loader({name: policy for policy, name in names.items()}, partners)
        return cls(loader.team(roster, Voice({}, prompts, sampling), seed=seed).seats)

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
            raise UserValueError(f"the team has no seat for {agent!r}; it seats {list(self.agents)}.")
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
        """One message for every observation, as few calls as in `act_together`, however many discussions there are."""
        members = [self.member(o["agent"], o["round"]) for o in observations]
        return act_together(members, observations, rngs, [greedy] * len(members))

    def forget(self) -> bool:
        """The discussions are over: nothing that samplers keep of their prompts will be of use. Was there anything?"""
        return any([policy.sampler.forget() for policy in self.policies if "sampler" in vars(policy)])

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

    @property
    def roster(self) -> Roster:
        """Who sits here, as a value: that which the team was made of, else what its agents say of themselves."""
        if self._roster is not None:
            return self._roster
        return Roster({Seat(*seat): _speaker(member) for seat, member in self.seats.items()})

    def save(self, folder: str | Path) -> None:
        """Write every adapter in PEFT's format into `folder`/NAME, and the roster beside them."""
        self.roster.save(folder)
        for member in self.language_models:
            if member.adapter is not None:
                member.policy.save_adapter(member.adapter, Path(folder) / member.adapter)


def _speaker(agent: Agent) -> Speaker:
    if isinstance(agent, LLMAgent):
        return Speaker(agent.policy.tokenizer.name_or_path, agent.adapter, trains=agent.trainable)
    return Speaker(partner=_class_of(agent))


def _class_of(agent: Agent) -> str:
    return f"{type(agent).__module__}:{type(agent).__qualname__}"
