"""A partner behind an OpenAI-compatible URL: vLLM, SGLang, llama.cpp, Ollama, or a paid one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maporl.agents.agent import Agent
from maporl.agents.prompts import PromptTemplate
from maporl.errors import UserValueError
from maporl.patient_client import PatientClient, chat_completion, take_key
from maporl.settings import called
from maporl.types import Completion, Observation

__all__ = ["ChatPartner"]


class ChatPartner(Agent):
    """Speaks with what a server's model says (``POST URL/chat/completions``), and waits for a server that is away (`PatientClient`).

    It is never trained, and no log-probs of it are known. The tokens that the server counts are the message's cost; of a server that counts
    none, a quarter of the characters. Every request carries a seed from the message's random stream; a server that heeds it repeats a run.

    Args:
        url: Up to and with the version, such as ``http://127.0.0.1:8000/v1``.
        model: The name by which the server knows the model.
        temperature: Of sampled messages; greedy ones are asked for at 0.
        max_tokens: Longest message.
        prompts: Fields of `PromptTemplate` that differ from its defaults.
        timeout, patience, connections, headers: As `PatientClient`.
        api_key_env: The environment variable that holds the key; the key itself is never written down.

    Raises:
        ValueError: No address, or a number out of range.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        temperature: float = 1.0,
        max_tokens: int = 512,
        prompts: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        patience: float = 300.0,
        connections: int = 8,
        headers: Mapping[str, str] | None = None,
        api_key_env: str | None = None,
    ) -> None:
        if max_tokens < 1:
            raise UserValueError(f"max_tokens is {max_tokens}; it must be at least 1.")
        if not temperature >= 0:
            raise UserValueError(f"temperature is {temperature}; it must be at least 0.")
        self.model, self.temperature, self.max_tokens, self.api_key_env = model, temperature, max_tokens, api_key_env
        self.prompts = called("prompts", "prompts", PromptTemplate, dict(prompts or {}))
        self.client = PatientClient(
            url,
            title="partner",
            remedy="Start it again, then go on",
            timeout=timeout,
            patience=patience,
            connections=connections,
            headers=headers,
        )

    @property
    def record(self) -> dict[str, Any]:
        """What its words depend on, as `Cached` asks for it."""
        server = {"url": self.client.url, "model": self.model}
        return {**server, "temperature": self.temperature, "max_tokens": self.max_tokens, "prompts": repr(self.prompts)}

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """See `Agent`.

        Raises:
            ValueError: The server calls the request wrong, or there is no key.
            ServerUnavailable: It gave no usable reply for `patience` seconds.
        """
        take_key(self.client, self.api_key_env)
        bodies = [
            {
                "model": self.model,
                "messages": self.prompts.messages(observation),
                "temperature": 0.0 if greedy else self.temperature,
                "max_tokens": self.max_tokens,
                "seed": int(rng.integers(2**31)),
            }
            for observation, rng in zip(observations, rngs, strict=True)
        ]
        said = self.client.ask_all("/chat/completions", bodies, lambda _, reply: chat_completion(reply))
        return [
            Completion(text, truncated=cut, discarded=usage[1] if usage else len(text) // 4)
            for text, usage, cut in said
        ]
