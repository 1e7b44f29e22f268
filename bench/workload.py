"""What is timed: a team that talks plain text for as long as it is told to, its discussions, and its updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from bench.settings import Settings
from maporl.agents import Policy, Sampling, Team
from maporl.agents.models.make_model import make_model
from maporl.agents.models.output_layer import OutputLayer
from maporl.algorithms import Algorithm
from maporl.envs import DiscussionEnv
from maporl.rollouts.play import rollout
from maporl.training.config import RunConfig
from maporl.types import Episode

__all__ = ["Workload", "make_large_vocabulary", "make_talkative", "rewarded", "tokens_of"]


def make_talkative(policy: Policy, mean_length: float | None = None) -> Policy:
    """Change the base's weights in place such that it says random capital letters, and ends a message by chance or never.

    Random weights say bytes that are no text: they come back longer when they are read, and messages end when they like. Capitals
    come back as the tokens they were (no merge joins two of them), as what trained models say mostly does. One hidden
    channel carries a constant, and the output layer (untied) reads it: a bias for every token. The cost of a forward pass is what it
    was.

    Args:
        policy: Without adapters yet, its final norm still at its initial value 1.
        mean_length: Of a message with its end-of-turn token; None never ends one before its longest.
    """
    model, tokenizer = policy.model, policy.tokenizer
    texts = {i: tokenizer.decode([i]) for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids}
    plain = [i for i, text in texts.items() if len(text) == 1 and text.isascii() and text.isupper()]
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    width = embedding.shape[1]
    bias = torch.full((head.weight.shape[0],), -40.0)  # nobody ever says it
    bias[plain] = 0.0
    if mean_length is not None:
        bias[tokenizer.eos_token_id] = math.log(len(plain) / (mean_length - 1))
    with torch.no_grad():
        embedding[:, 0] = 100.0  # so large that the last norm makes it sqrt(width), whatever the layers add
        weight = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0)) * 0.01
        weight[:, 0] = bias / math.sqrt(width)
        head.weight = nn.Parameter(weight.to(embedding.device, embedding.dtype), requires_grad=False)
    model.config.tie_word_embeddings = False
    policy.backbone.output = OutputLayer.of(model)  # what it had read is another one
    return policy


def make_large_vocabulary(folder: Path, vocab_size: int, sizes: dict[str, Any], settings: Settings) -> Policy:
    """A policy of these sizes (see `make_model`) with `vocab_size` tokens, of which its tokenizer knows the first few hundred."""
    make_model(folder, seed=settings.seed, **sizes)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    config.vocab_size = vocab_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return make_talkative(Policy.from_pretrained(str(folder), dtype=settings.dtype, device=settings.device))


@dataclass(frozen=True)
class Workload:
    """A task, a team and its algorithm.

    Attributes:
        config: Decides everything but the base model.
        env: The task.
        team: One adapter per agent on one base.
        algorithm: Trains the team.
    """

    config: RunConfig
    env: DiscussionEnv
    team: Team
    algorithm: Algorithm

    @classmethod
    def build(
        cls,
        policy: Policy,
        settings: Settings,
        *,
        discussions: int,
        num_agents: int = 2,
        num_rounds: int = 1,
        new_tokens: int = 32,
        group_size: int = 8,
        microbatch_tokens: int | None = None,
    ) -> Workload:
        """MAGRPO on arithmetic questions, adapters named after the agents."""
        config = RunConfig(
            env="arithmetic",
            algorithm="magrpo",
            algorithm_args={"group_size": group_size},
            num_agents=num_agents,
            num_rounds=num_rounds,
            episodes_per_iteration=discussions,
            max_new_tokens=new_tokens,
            dtype=settings.dtype,
            device=settings.device,
            num_threads=settings.num_threads,
            seed=settings.seed,
        )
        if microbatch_tokens is not None:
            config = config.merged({"microbatch_tokens": microbatch_tokens})
        env = config.build_env()
        sampling = Sampling(max_new_tokens=new_tokens)
        team = Team.build(policy, env.possible_agents, num_rounds, sampling=sampling, seed=settings.seed)
        return cls(config, env, team, config.build_algorithm(team))

    def sample(self, repetition: int, team: Team | None = None) -> list[Episode]:
        """The discussions of one iteration, other questions in each."""
        size = self.algorithm.group_size
        number, pool = self.config.episodes_per_iteration // size, self.env.questions("train")
        questions = [pool[(repetition * number + i) % len(pool)] for i in range(number)]
        return rollout(self.env, team or self.team, questions, seed=(self.config.seed, repetition), branching=(size,))


def rewarded(episodes: Sequence[Episode], seed: int) -> list[Episode]:
    """The same discussions with random rewards: nonsense is never right, and equal rewards would leave nothing to learn."""
    rng = np.random.default_rng(seed)
    return [replace(e, rewards=tuple(float(rng.random()) for _ in e.rewards)) for e in episodes]


def tokens_of(episodes: Sequence[Episode]) -> int:
    """Sampled tokens."""
    return sum(len(c.completion_ids) for e in episodes for c in e.completions)
