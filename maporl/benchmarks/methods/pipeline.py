"""A pipeline of roles as a method: MALT's team (2412.01928), whatever trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from maporl.benchmarks.methods.method import ProtocolMethod
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer, last_round, vote
from maporl.training.config import RunConfig
from maporl.types import Episode

__all__ = ["PipelineMethod"]


class PipelineMethod(ProtocolMethod):
    """Roles that speak in turn, once: a generator, a verifier and a refiner, whose answer counts.

    A task that says more of its pipeline is taken at its word: ``env_args: {protocol: {name: pipeline, roles: [...]}}``.

    Args:
        k: Independent passes: the plurality of their last answers is the team's, a tie by expectation. Trained is one pass.
        num_agents: None: as many as the task's configuration says, else one for each role.
        num_rounds: Of one pass: in later ones everybody speaks again.
    """

    title = "pipeline"
    trains_on_discussions = True
    protocol = {"name": "pipeline"}

    def __init__(self, k: int = 1, num_agents: int | None = None, num_rounds: int | None = 1) -> None:
        super().__init__(num_agents, num_rounds)
        self.samples = k

    @property
    def label(self) -> str:
        return self.title if self.samples == 1 else f"vote of {self.samples} {self.title}s"

    def trained_as(self, algorithm: str) -> str | None:
        plain = type(self) is PipelineMethod and (self.num_agents, self.num_rounds) == (None, 1)
        return f"pipeline/{algorithm}" if plain else None

    def discussion(self, config: RunConfig) -> RunConfig:
        own = config.env_args.get("protocol")
        held = super().discussion(config)
        if isinstance(own, Mapping) and own.get("name") == self.protocol["name"]:
            return replace(held, env_args={**held.env_args, "protocol": dict(own)})
        return held

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        if len(episodes) == 1:
            return super().answer(env, episodes)
        last = [turn for e in episodes for turn in last_round(e.transcript)[-1:]]
        return vote(last, [1.0] * len(last), env.verifiers.equivalent)
