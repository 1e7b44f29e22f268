"""Who speaks: language models with adapters, small policies, scripts, and teams of them."""

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
