"""Whether the longest discussion fits is asked of every speaker's last prompt, under protocols that end in their own way too."""

from __future__ import annotations

from typing import Any

import pytest

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.benchmarks.experiments.warm_start import PROMPTS, SHIPPED
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.training.loop import check_context


def check(protocol: Any, num_agents: int, tokens: dict[str, int], num_rounds: int = 2) -> None:
    """The check, with a window of 512 tokens, prompts of about twenty and messages of at most so many tokens by agent."""
    env = TwoWitnesses(num_agents, num_rounds, protocol=protocol)
    policy = Policy.from_pretrained(str(SHIPPED / "two_witnesses"))
    seats = {
        (agent, r): LLMAgent(policy, None, prompts=PROMPTS, sampling=Sampling(max_new_tokens=tokens.get(agent, 10)))
        for agent in env.possible_agents
        for r in range(num_rounds)
    }
    check_context(env, Team(seats), env.questions("validation"))


def test_an_aggregator_reads_every_proposal() -> None:
    """Three proposals and its own answer: four messages."""
    check("mixture_of_agents", 3, {"agent_0": 100})
    with pytest.raises(ValueError, match=r"\(3 earlier messages of 130\), more than the model's window of 512"):
        check("mixture_of_agents", 3, {"agent_0": 130})


def test_who_does_not_speak_last_is_checked_too() -> None:
    check("mixture_of_agents", 3, {"agent_2": 450})
    with pytest.raises(ValueError, match=r"\(0 earlier messages of 510\)"):
        check("mixture_of_agents", 3, {"agent_2": 510})


def test_a_tally_is_as_long_as_it_is_and_consensus_is_not_counted_on() -> None:
    """Own message and the other's in each of two earlier rounds, and two tallies that are no messages of full length."""
    check("reconcile", 2, {"agent_0": 40}, num_rounds=3)
    with pytest.raises(ValueError, match=r"\(4 earlier messages of 90\)"):
        check("reconcile", 2, {"agent_0": 90}, num_rounds=3)
    with pytest.raises(ValueError, match=r"\(4 earlier messages of 110\)"):
        check({"name": "debate", "stop": "consensus"}, 2, {"agent_1": 110}, num_rounds=3)
