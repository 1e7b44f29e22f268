"""Trees of discussions against groups that do not branch: as many messages of the same three roles, on the same questions.

A tree shares what its leaves have in common, so it reads fewer prompts; but most of its messages are the last role's, whose prompts are the
longest. All roles are played by the base model, as where MALT's data is collected.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.positions import counted
from bench.rows import Row, each, interleaved, of, ratio
from bench.settings import Settings
from bench.workload import make_talkative
from maporl.agents import Policy, Sampling, Team
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.rollouts.play import rollout
from maporl.types import Completion

__all__ = ["SHAPES", "Grown", "rows"]

SECTION = "trees"

SHAPES: Mapping[str, Sequence[int]] = {"tree 3-3-3": (3, 3, 3), "13 discussions": (13,)}
"""Both are 39 messages a question."""


def rows(settings: Settings) -> list[Row]:
    """Tokens per second of both and their ratio, on a model whose messages are all equally long and on real ones; and what of the
    prompts is read."""
    questions, new = (2, 4) if settings.quick else (16, 32)
    result = []
    with tempfile.TemporaryDirectory() as scratch:
        talkative = Grown.build(make_talkative(settings.policy(scratch)), questions, new)
        for name, branching in SHAPES.items():
            share, target = talkative.prompts_read(branching), "<= 1" if len(branching) > 1 else None
            result.append(of(SECTION, f"{name}: positions of prompts read / of distinct prompts", share, "x", target))
        sides = {f"messages of {new} tokens": talkative}
        if not settings.quick:
            embedded = Policy.from_pretrained("embedded", dtype=settings.dtype, device=settings.device)
            sides["embedded model"] = Grown.build(embedded, questions, new)
        if settings.model is not None:
            real = Policy.from_pretrained(settings.model, dtype=settings.dtype, device=settings.device)
            sides["--model"] = Grown.build(real, 2 if settings.device == "cpu" else questions, new)
        for what, grown in sides.items():
            series = interleaved({name: grown.timed(b, settings) for name, b in SHAPES.items()}, settings.repetitions)
            result += each(SECTION, what, series, "tokens/s")
            tree, flat = series.values()
            result.append(ratio(SECTION, f"{what}: tree / discussions", tree, flat, ">= 0.9"))
    return result


@dataclass(frozen=True)
class Grown:
    """Trees of a pipeline of three roles.

    Attributes:
        env: The task.
        team: One base model in all roles.
        questions: How many, in every call.
    """

    env: DiscussionEnv
    team: Team
    questions: int

    @classmethod
    def build(cls, policy: Policy, questions: int, new_tokens: int) -> Grown:
        env = Arithmetic(protocol="pipeline", num_rounds=1)
        agents = env.possible_agents
        sampling = Sampling(max_new_tokens=new_tokens)
        return cls(
            env, Team.build(policy, agents, 1, sharing=dict.fromkeys(agents, "base"), sampling=sampling), questions
        )

    def messages(self, branching: Sequence[int], seed: int) -> list[Completion]:
        """Of a rollout, each once."""
        episodes = rollout(
            self.env, self.team, self.env.questions("train")[: self.questions], seed=seed, branching=branching
        )
        return list({id(c): c for e in episodes for c in e.completions}.values())

    def timed(self, branching: Sequence[int], settings: Settings) -> Callable[[], float]:
        """A step that returns sampled tokens per second, of other messages each time."""
        seeds = itertools.count(settings.seed)

        def rate() -> float:
            said: list[Completion] = []
            seconds = settings.timed(lambda: said.extend(self.messages(branching, next(seeds))))
            return sum(len(c.completion_ids) for c in said) / seconds

        return rate

    def prompts_read(self, branching: Sequence[int]) -> float:
        """Positions of prompts that the model computed, padding included, over the tokens of all distinct prompts; of messages
        that are all equally long."""
        with counted([policy.model for policy in self.team.policies]) as seen:
            said = self.messages(branching, 0)
        prompts = {c.prompt_ids.tobytes(): len(c.prompt_ids) for c in said}
        return (seen.computed - sum(len(c.completion_ids) - 1 for c in said)) / sum(prompts.values())
