"""Who speaks: language models with adapters, small policies, scripts, and teams of them."""

from maporl.agents.agent import Agent, Learner, ScriptedAgent
from maporl.agents.critic import Critic
from maporl.agents.deaf import Deaf
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.loading import Loader, Voice
from maporl.agents.policy import LoRA, Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampler import Request, Sampled, Sampler
from maporl.agents.sampling import Sampling
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.agents.team import Team

__all__ = [
    "Agent",
    "Critic",
    "Deaf",
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
    "SmallAgent",
    "SmallPolicy",
    "Team",
    "Voice",
]
