"""Who speaks: language models with adapters, small policies, scripts, and teams of them."""

from __future__ import annotations

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

_HOMES = {
    "agent": ("Agent", "Learner", "ScriptedAgent", "SilentAgent"),
    "isolated": ("IsolatedAgent",),
    "llm_agent": ("LLMAgent",),
    "loading": ("Loader", "Voice"),
    "models.critic": ("Critic",),
    "models.policy": ("LoRA", "Policy"),
    "prompts": ("PromptTemplate",),
    "sampling.sampler": ("Request", "Sampled", "Sampler"),
    "sampling.settings": ("Sampling",),
    "small_policy": ("SmallAgent", "SmallPolicy"),
    "team": ("Team",),
}


def __getattr__(name: str) -> Any:
    """Load torch only when something that needs it is asked for: prompts, which reports show, do not."""
    import importlib

    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"maporl.agents.{home}"), name)
    raise AttributeError(f"module 'maporl.agents' has no attribute {name!r}")
