"""A language model in a seat: prompt, sample, decode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents.agent import Learner
from maporl.agents.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling import Sampling
from maporl.types import Completion, Observation

__all__ = ["LLMAgent"]


class LLMAgent(Learner):
    """One adapter of a policy (or its bare base) with its prompts and sampling.

    Args:
        policy: The base model and its adapters.
        adapter: The adapter that speaks; None is the frozen base.
        prompts: From observation to chat.
        sampling: Temperature and longest message.
        trainable: Do algorithms update this adapter? The base itself is never trained.
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

    policy: Policy

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        """Each prompt's token ids [P] int64."""
        chats = [self.prompts.messages(o) for o in observations]
        return [ids.astype(np.int64) for ids in self.policy.encode_chats(chats)]

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        if not observations:
            return []
        prompts = self.encode(observations)
        if any(o["transcript"] for o in observations):
            self.policy.say_if_rounds_are_read_anew()
        # Drawn for every row whatever happens to it, so that a message depends on its own stream alone.
        steps = self.sampling.max_new_tokens
        uniforms = None if greedy else np.stack([rng.random(steps, dtype=np.float32) for rng in rngs])
        window = self.policy.context_window
        fits = [i for i, p in enumerate(prompts) if len(p) + steps <= window]
        sampled, texts = {}, {}
        if fits:
            rows = self.policy.generate(
                self.adapter, [prompts[i] for i in fits], self.sampling, None if uniforms is None else uniforms[fits]
            )
            sampled = dict(zip(fits, rows, strict=True))
            decoded = self.policy.tokenizer.batch_decode([s.ids for s in rows], skip_special_tokens=True)
            texts = {i: text.strip() for i, text in zip(fits, decoded, strict=True)}
        return [
            Completion(texts[i], prompt, sampled[i].ids, sampled[i].logprobs, truncated=sampled[i].truncated)
            if i in sampled
            else Completion("", prompt, overflow=True)
            for i, prompt in enumerate(prompts)
        ]
