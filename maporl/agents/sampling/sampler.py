"""The interface of what samples: requests in, token ids and the log-probabilities of the distribution sampled from out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from maporl import registry
from maporl.agents.sampling.settings import Sampling
from maporl.errors import UserValueError

if TYPE_CHECKING:
    from maporl.agents.models.policy import Policy

__all__ = ["Request", "Sampled", "Sampler", "sampler_type"]


@dataclass(frozen=True, eq=False)
class Request:
    """One message to be sampled.

    Attributes:
        adapter: Who speaks; None is the base model.
        prompt: [P] int64 token ids, at least one.
        sampling: Temperature, filters and longest message.
        uniforms: [max_new_tokens] float32 in [0, 1), the random number of each new token; None decodes greedily.
    """

    adapter: str | None
    prompt: np.ndarray
    sampling: Sampling
    uniforms: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Sampled:
    """One sampled message.

    Attributes:
        ids: [T] int64, the EOS token, or the one that completed a stop string, included if there was one.
        logprobs: [T] float32, of each token under the distribution it was sampled from, temperature included; 0 of those that were not.
        truncated: Cut at max_new_tokens before an EOS token or a stop string.
        stopped: Ended by a stop string, not by an EOS token.
        discarded: Tokens that were sampled for this message and thrown away; they count as cost.
        forced: [T] bool, the tokens that were not sampled but closed its reasoning (`Sampling.thinking_budget`); None: none.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    truncated: bool
    discarded: int = 0
    stopped: bool = False
    forced: np.ndarray | None = None


class Sampler(ABC):
    """Samples the messages of one policy. Constructed with the policy alone, ``Class(policy)``, when a message is first wanted.

    Attributes:
        reproducible: Whether a message is a function of its request and the adapter's weights. A sampler that draws its own random
            numbers is not; runs with it cannot be repeated to the bit.
        keeps_thinking_budget: Whether it closes reasoning as `Sampling.thinking_budget` asks, and says what was `forced`. One that does not
            is asked for no message with a budget.
    """

    reproducible: ClassVar[bool] = False
    keeps_thinking_budget: ClassVar[bool] = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @abstractmethod
    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One message for every request, in order, whatever their adapters and settings; how they are batched is its business.

        Raises:
            MemoryError: A single message does not fit.
        """

    @abstractmethod
    def publish(self, adapter: str, version: int, weights: Mapping[str, Tensor]) -> None:
        """Take over an adapter's weights. The policy calls this before `sample`, for each adapter of the requests that has
        changed since it was last published, and for none else.

        Args:
            adapter: Whose.
            version: Grows with every change.
            weights: By PEFT's names, as in its ``adapter_model.safetensors``; the policy's own tensors, so copy what is to be kept.
        """

    def forget(self) -> bool:
        """Drop what is kept for later calls, such as keys and values of earlier prompts. Was there anything?"""
        return False


def sampler_type(spec: str | type[Sampler]) -> type[Sampler]:
    """The class that a word, ``package.module:Class`` or a class names.

    Raises:
        ValueError: There is none, or it is no `Sampler`.
    """
    found = registry.load("sampler", spec)
    if not (isinstance(found, type) and issubclass(found, Sampler)):
        raise UserValueError(
            f"sampler {spec!r} is no sampler; name a subclass of maporl.agents.Sampler, or one of "
            f"{', '.join(registry.names('sampler'))}."
        )
    return found
