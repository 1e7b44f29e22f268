"""One training step of ours as the competitors' benchmark times it: discussions of given questions, and one update on them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.settings import Settings
from bench.workload import tokens_of
from maporl.agents import Sampling, Team
from maporl.agents.llm_agent import LLMAgent
from maporl.algorithms.magrpo import MAGRPO
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.rollouts.play import rollout
from maporl.types import Episode, Question, Transcript, Turn

__all__ = ["EQUAL", "STOCK", "Knobs", "OurStep", "early_share", "prompt_text", "task"]

NEVER = frozenset({-1})
"""End-of-message ids that no token has: every message is `max_new_tokens` long, on every side, and tokens are counted exactly."""


@dataclass(frozen=True)
class Knobs:
    """Settings that speed up any library's arithmetic, so that they can be given to every side.

    Attributes:
        matmul_precision: torch's float32 matmul precision.
        attention: Implementation of attention in `transformers`.
        autocast: Compute in bfloat16 where torch's autocast does.
    """

    matmul_precision: str = "highest"
    attention: str = "sdpa"
    autocast: bool = False

    @contextlib.contextmanager
    def applied(self, device: str) -> Iterator[None]:
        """What is global of them, within the block."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.matmul_precision)
        try:
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.autocast):
                yield
        finally:
            torch.set_float32_matmul_precision(before)


STOCK = Knobs()
"""What `transformers` and torch do when nobody says anything."""

EQUAL = Knobs()
"""What ours runs with here, and what "equal settings" gives to the others: full float32, torch's own attention."""


def early_share(question: Question | None, response: str) -> float:
    """A reward that costs next to nothing and differs between samples."""
    return sum(c.lower() < "n" for c in response) / max(len(response), 1)


def task(num_agents: int, num_rounds: int) -> DiscussionEnv:
    """Sums, rewarded by `early_share`: the prompts of a real task."""
    return Arithmetic(num_agents, num_rounds, verifier=early_share, shaping="own_score")


def prompt_text(
    env: DiscussionEnv, member: LLMAgent, question: Question, agent: str, said: Sequence[str] | None = None
) -> str:
    """What `agent` reads as text, from the special tokens of the chat template on.

    Args:
        env: The task.
        member: Encodes for the agent.
        question: Asked.
        agent: Who reads.
        said: What everybody said in the first round; None before it.
    """
    one = copy.copy(env)
    agents = tuple(env.possible_agents)
    turns = tuple(Turn(name, 0, text) for name, text in zip(agents, said, strict=True)) if said is not None else ()
    one.reset(options={"transcript": Transcript(question, agents, env.num_rounds, turns)})
    text: str = member.policy.tokenizer.decode(member.encode([one.observe(agent)])[0], skip_special_tokens=False)
    return text


class OurStep:
    """Ours, ready to be stepped: MAGRPO on LoRA adapters of one base, one adapter an agent.

    Args:
        settings: Device, dtype, geometry, seed.
        folder: For the checkpoint.
        knobs: Of this side.
        num_agents, num_rounds: Of the discussions.
        group_size: Discussions of each question.
        new_tokens: Length of every message.
        force_length: Messages never end early.
        dtype: Of this side's base model; None is the settings'.
    """

    def __init__(
        self,
        settings: Settings,
        folder: str | Path,
        knobs: Knobs = EQUAL,
        *,
        num_agents: int = 2,
        num_rounds: int = 1,
        group_size: int = 8,
        new_tokens: int = 32,
        force_length: bool = True,
        dtype: str | None = None,
    ) -> None:
        self.settings, self.knobs = settings, knobs
        self.env = task(num_agents, num_rounds)
        policy = replace(settings, dtype=dtype or settings.dtype).policy(folder, attention=knobs.attention)
        if force_length:
            policy.eos_ids = NEVER
        self.team = Team.build(
            policy,
            self.env.possible_agents,
            num_rounds,
            sampling=Sampling(max_new_tokens=new_tokens),
            seed=settings.seed,
        )
        # The learning rate is one that moves nothing: every repetition is of the same model.
        self.algorithm = MAGRPO(
            self.team, group_size=group_size, learning_rate=1e-9, standardise=True, seed=settings.seed
        )
        self.questions = self.env.questions("train")
        self.steps = 0

    def member(self, agent: str) -> LLMAgent:
        """The language model in the seat."""
        found: Any = self.team.member(agent, 0)
        assert isinstance(found, LLMAgent)
        return found

    def sample(self, questions: Sequence[Question]) -> list[Episode]:
        """A group of discussions of each question, all at once; others in every call."""
        self.steps += 1
        seed = (self.settings.seed, self.steps)
        return rollout(self.env, self.team, questions, seed=seed, branching=(self.algorithm.group_size,))

    def __call__(self, questions: Sequence[Question]) -> Mapping[str, float]:
        """One rollout of all questions at once and one update; seconds of both, "tokens" that were sampled."""
        episodes: list[Episode] = []
        with self.knobs.applied(self.settings.device):
            sampled = self.settings.timed(lambda: episodes.extend(self.sample(questions)))
            learned = self.settings.timed(lambda: self.algorithm.update(episodes))
        tokens = tokens_of(episodes)
        return {"tokens": tokens, "rollout": sampled, "update": learned, "seconds": sampled + learned}
