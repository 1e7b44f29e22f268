"""Who speaks: language models with adapters, small policies, scripts, and teams of them.

Classes are imported when they are asked for, so that what only reads prompts or settings does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maporl.agents.agent import Agent, Learner, ScriptedAgent, SilentAgent
    from maporl.agents.isolated import IsolatedAgent
    from maporl.agents.llm_agent import LLMAgent
    from maporl.agents.loading import Loader, Voice
    from maporl.agents.models.critic import Critic
    from maporl.agents.models.policy import LoRA, Policy
    from maporl.agents.prompts import PromptTemplate
    from maporl.agents.sampling.sampler import Request, Sampled, Sampler
    from maporl.agents.sampling.settings import Sampling
    from maporl.agents.small_policy import SmallAgent, SmallPolicy
    from maporl.agents.team import Team

_MODULES = {
    "agent": ["Agent", "Learner", "ScriptedAgent", "SilentAgent"],
    "isolated": ["IsolatedAgent"],
    "llm_agent": ["LLMAgent"],
    "loading": ["Loader", "Voice"],
    "models.critic": ["Critic"],
    "models.policy": ["LoRA", "Policy"],
    "prompts": ["PromptTemplate"],
    "sampling.sampler": ["Request", "Sampled", "Sampler"],
    "sampling.settings": ["Sampling"],
    "small_policy": ["SmallAgent", "SmallPolicy"],
    "team": ["Team"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Agent",
    "Critic",
    "IsolatedAgent",
    "LLMAgent",
    "Learner",
    "LoRA",
    "Loader",
    "Policy",
    "PromptTemplate",
    "Request",
    "Sampled",
    "Sampler",
    "Sampling",
    "ScriptedAgent",
    "SilentAgent",
    "SmallAgent",
    "SmallPolicy",
    "Team",
    "Voice",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
