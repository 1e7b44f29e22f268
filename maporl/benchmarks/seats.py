"""Who sits in the discussions of a study: every base model is loaded once, and an agent is one object wherever it sits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maporl.agents import Agent, LLMAgent, Policy, Sampling, Team
from maporl.agents.team import BASE
from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.run_folder import RunFolder

__all__ = ["Seats", "model_name"]


class Seats:
    """Teams from base models and from training runs, which share everything that they have in common.

    An agent that is the same object in several teams speaks for all of them in one batch (`rollout_together`).
    """

    def __init__(self) -> None:
        self._policies: dict[tuple[Any, ...], Policy] = {}
        self._members: dict[tuple[Any, ...], LLMAgent] = {}
        self._adapters: dict[tuple[int, str], str] = {}
        self._partners: dict[str, dict[str, Agent]] = {}

    @property
    def policies(self) -> list[Policy]:
        return list(self._policies.values())

    def untrained(self, config: RunConfig, env: DiscussionEnv) -> Team:
        """The base model (or ``init_adapter`` on it) in every seat, partners of one's own in theirs."""
        partners = self._partners_of(config)
        seats: dict[tuple[str, int], Agent] = {}
        for agent in env.possible_agents:
            if agent in partners:
                seats[agent, 0] = partners[agent]
            else:
                start = None if config.init_adapter is None else Path(config.init_adapter)
                seats[agent, 0] = self._member(config, config.model_of(agent), start)
        return Team(seats)

    def trained(self, run: Path, config: RunConfig, env: DiscussionEnv) -> Team:
        """The team that a run trained; a team that shares one adapter seats any number of agents.

        Args:
            run: Its folder.
            config: How its agents speak; what they are made of is the run's to say.
            env: Whom to seat.

        Raises:
            ValueError: The run trained other agents.
        """
        return Team(self._trained(run, config, env.possible_agents))

    def _trained(self, run: Path, config: RunConfig, agents: Sequence[str]) -> dict[tuple[str, int], Agent]:
        plan: dict[str, list[str | None]] = json.loads((run / "adapters" / "team.json").read_text(encoding="utf-8"))
        made = RunFolder(run).config
        partners = self._partners_of(made)
        shared = next(iter(plan.values())) if len({tuple(rounds) for rounds in plan.values()}) == 1 else None
        seats: dict[tuple[str, int], Agent] = {}
        for agent in agents:
            rounds = plan.get(agent, shared)
            if rounds is None:
                raise ValueError(f"{run} trained {list(plan)}, not {agent!r}; give it as many agents as it had.")
            model = made.model_of(agent if agent in plan else next(iter(plan)))
            for r, name in enumerate(rounds):
                if name is None:
                    seats[agent, r] = partners[agent]
                else:
                    adapter = run / "adapters" / name if name != BASE else None
                    seats[agent, r] = self._member(config, model, adapter, made)
        return seats

    def joined(self, runs: Mapping[str, Path], config: RunConfig, env: DiscussionEnv) -> Team:
        """Lone agents in one team: run of each seat, or one run ("") for all.

        Raises:
            ValueError: Nobody was trained for a seat.
        """
        seats: dict[tuple[str, int], Agent] = {}
        for agent in env.possible_agents:
            if (run := runs.get(agent, runs.get(""))) is None:
                raise ValueError(f"{agent!r} knows nothing alone, so nobody was trained in its seat; ask {list(runs)}.")
            seats[agent, 0] = self._trained(run, config, ["agent_0"])["agent_0", 0]
        return Team(seats)

    def swapped(self, runs: Sequence[Path], config: RunConfig, env: DiscussionEnv) -> Team:
        """Agents of different teams in one: the run of each, in the order of the agents."""
        seats: dict[tuple[str, int], Agent] = {}
        for agent, run in zip(env.possible_agents, runs, strict=True):
            seats |= self._trained(run, config, [agent])
        return Team(seats)

    def _member(self, config: RunConfig, model: str, adapter: Path | None, made: RunConfig | None = None) -> LLMAgent:
        made = made or config
        policy = self._policy(made, model)
        name = None if adapter is None else self._adapter(policy, adapter)
        sampling = Sampling(config.max_new_tokens, config.eval_temperature or config.temperature)
        prompts = made.build_prompts()
        key = (id(policy), name, repr(prompts), sampling)
        if key not in self._members:
            self._members[key] = LLMAgent(policy, name, prompts=prompts, sampling=sampling, trainable=False)
        return self._members[key]

    def _partners_of(self, config: RunConfig) -> dict[str, Agent]:
        word = repr(sorted(config.partners.items()))
        if word not in self._partners:
            self._partners[word] = config.build_partners()
        return self._partners[word]

    def _policy(self, config: RunConfig, model: str) -> Policy:
        loading = (config.dtype, config.quantization, config.resolved_device, config.chat_template)
        key = (model_name(model), *loading, config.sampler, config.max_batch_tokens)
        if key not in self._policies:
            self._policies[key] = config.build_policy(model)
        return self._policies[key]

    def _adapter(self, policy: Policy, path: Path) -> str:
        """The adapter in a PEFT folder, loaded once; its name tells runs apart that call theirs alike."""
        key = (id(policy), str(path.absolute()))
        if key not in self._adapters:
            self._adapters[key] = f"from_{len(self._adapters)}"
            policy.add_adapter(self._adapters[key], path=path)
        return self._adapters[key]


def model_name(model: str) -> str:
    """One name for one model: the full path of a folder, which run folders write, else a hub id."""
    return str(Path(model).absolute()) if Path(model).exists() else model
