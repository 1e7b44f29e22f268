"""Loss and gradient of long messages at a large vocabulary, by our code and by CoMLRL's, through one and the same model.

The body is the tiny one (width 128, 2 layers), so that what is timed is the output layer and the loss: forward pass, log-probs,
loss and backward pass of two messages. Gradients go to one LoRA adapter on both sides. Ours is a whole `update`, the optimizer
step on the adapter included; theirs is the trainer's own loss method and the backward pass, without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from comlrl.trainers.reinforce import MAGRPOConfig, MAGRPOTrainer

from bench.our_step import EQUAL
from bench.settings import Settings, tiny_llama
from bench.with_comlrl import quiet
from maporl.agents import Policy, Sampling, Team
from maporl.agents.checkpoints import DTYPES
from maporl.agents.make_model import make_tokenizer
from maporl.algorithms.magrpo import MAGRPO
from maporl.types import Completion, Episode, Question, Transcript, Turn

__all__ = ["loss_and_gradient"]

PROMPT = 32
"""Tokens of the prompt."""

REWARDS = (1.0, 0.0)
"""Of the two messages."""


def loss_and_gradient(settings: Settings, vocabulary: int, length: int) -> Mapping[str, Callable[[], float]]:
    """Name of the side -> seconds of forward, loss and gradient of two messages of `length` tokens."""
    with torch.device(settings.device):
        model = tiny_llama(vocabulary, settings.seed, DTYPES[settings.dtype])
    policy = Policy(model, make_tokenizer())
    team = Team.build(policy, ["agent_0"], 1, sampling=Sampling(max_new_tokens=length), seed=settings.seed)
    algorithm = MAGRPO(team, group_size=2, learning_rate=1e-9, seed=settings.seed)
    rng = np.random.default_rng(settings.seed)
    prompt = rng.integers(vocabulary, size=PROMPT)
    messages = [rng.integers(vocabulary, size=length) for _ in REWARDS]
    episodes = [_episode(prompt, ids, reward) for ids, reward in zip(messages, REWARDS, strict=True)]
    trainer = _trainer(policy)
    data = {
        "prompt_input_ids": torch.as_tensor(prompt)[None],
        "completion_input_ids": [[torch.as_tensor(ids) for ids in messages]],
    }

    def ours() -> None:
        with EQUAL.applied(settings.device):
            algorithm.update(episodes)

    def theirs() -> None:
        with EQUAL.applied(settings.device), policy.using("agent_0"):
            trainer._compute_loss_with_gradients(policy.model, data, list(REWARDS)).backward()
        for parameter in policy.parameters("agent_0"):
            parameter.grad = None

    return {"ours": lambda: settings.timed(ours), "CoMLRL": lambda: settings.timed(theirs)}


def _episode(prompt: np.ndarray, ids: np.ndarray, reward: float) -> Episode:
    logprobs = np.full(len(ids), -np.log(2.0), np.float32)
    turn = Turn("agent_0", 0, "", completion=Completion("", prompt, ids, logprobs))
    return Episode(Transcript(Question("", ""), ("agent_0",), 1, (turn,)), (reward,), (True,))


def _trainer(policy: Policy) -> Any:
    """A trainer of theirs around the policy's own model, for its loss only."""
    arguments = MAGRPOConfig(num_agents=1, num_turns=1, agent_devices=str(policy.device), advantage_normalization=False)
    with quiet():
        return MAGRPOTrainer(
            agents=[policy.model],
            num_agents=1,
            tokenizer=policy.tokenizer,
            reward_func=lambda texts: [0.0 for _ in texts],
            args=arguments,
        )
