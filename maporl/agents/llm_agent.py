"""A language model in a seat: prompt, sample, decode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from maporl.agents.agent import Learner
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.sampler import Request, Sampled
from maporl.agents.sampling.settings import Sampling
from maporl.agents.sampling.stops import before
from maporl.types import Completion, Observation

__all__ = ["LLMAgent", "complete"]


class LLMAgent(Learner):
    """One adapter of a policy (or its bare base) with its prompts and sampling.

    Args:
        policy: The base model and its adapters.
        adapter: The adapter that speaks; None is the frozen base.
        prompts: From observation to chat.
        sampling: Temperature and longest message.
        trainable: Do algorithms update this adapter? The base itself is never trained.

    Raises:
        ValueError: A budget of reasoning tokens that cannot be kept (`Policy.thinking_budget`).
    """

    def __init__(
        self,
        policy: Policy,
        adapter: str | None,
        *,
        prompts: PromptTemplate | None = None,
        sampling: Sampling | None = None,
        trainable: bool = True,
    ) -> None:
        self.policy, self.adapter = policy, adapter
        self.prompts, self.sampling = prompts or PromptTemplate(), sampling or Sampling()
        self.trainable = trainable and adapter is not None
        if self.sampling.thinking_budget is not None:  # one that cannot be kept is told before anything is sampled
            policy.thinking_budget(self.sampling)

    policy: Policy

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        """Each prompt's token ids [P] int64."""
        chats = [self.prompts.messages(o) for o in observations]
        return [ids.astype(np.int64) for ids in self.policy.encode_chats(chats)]

    def requests(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Request]:
        """What it asks of the policy's sampler for each observation; arguments as in `act`."""
        if any(o["transcript"] for o in observations):
            self.policy.say_if_rounds_are_read_anew()
        prompts, steps = self.encode(observations) if observations else [], self.sampling.max_new_tokens
        # Drawn for every message whatever happens to it, so that it depends on its own stream alone.
        draws = [None if greedy else rng.random(steps, dtype=np.float32) for rng in rngs]
        return [Request(self.adapter, p, self.sampling, u) for p, u in zip(prompts, draws, strict=True)]

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """See `Agent`."""
        return complete(self.policy, self.requests(observations, rngs, greedy=greedy))


def complete(policy: Policy, requests: Sequence[Request]) -> list[Completion]:
    """Sample all requests that fit the model's window in one call, and decode; the others overflow: their messages are empty."""
    fits = [len(r.prompt) + r.sampling.max_new_tokens <= policy.context_window for r in requests]
    asked = list(itertools.compress(requests, fits))
    sampled = policy.sample(asked) if asked else []
    said = iter([_completion(policy, request, message) for request, message in zip(asked, sampled, strict=True)])
    return [
        next(said) if fit else Completion("", r.prompt, overflow=True) for r, fit in zip(requests, fits, strict=True)
    ]


def _completion(policy: Policy, request: Request, message: Sampled) -> Completion:
    text = policy.encode_chats.decode(message.ids)
    if message.stopped:
        text = before(text, request.sampling.stop)
    thought, said = policy.encode_chats.apart(text)
    return Completion(
        said,
        request.prompt,
        message.ids,
        message.logprobs,
        truncated=message.truncated,
        discarded=message.discarded,
        stopped=message.stopped,
        reasoning=thought,
        forced=message.forced,
    )
