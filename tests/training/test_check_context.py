"""Whether the longest discussion fits is asked of every speaker's last prompt, under protocols that end in their own way too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from run_toys import Letters

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.benchmarks.experiments.warm_start import PROMPTS
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.training.config import RunConfig
from maporl.training.loop import check_context


def check(protocol: Any, num_agents: int, tokens: dict[str, int], num_rounds: int = 2) -> None:
    """The check, with a window of 512 tokens, prompts of about twenty and messages of at most so many tokens by agent."""
    env = TwoWitnesses(num_agents, num_rounds, protocol=protocol)
    policy = Policy.from_pretrained("embedded")
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


class TestContext:
    """The budget is that of the prompts that will really be made."""

    def needed(self, env: Letters, model: str, tokens: int) -> int:
        """Tokens of the longest prompt and message when everybody always says `tokens` tokens."""
        tokenizer = Policy.from_pretrained(model).tokenizer
        word = next(w for w in "abcdefgh" if len(tokenizer.encode(w * 9, add_special_tokens=False)) == 9) * tokens
        env.reset(options={"question": env.questions("train")[0]})
        longest = 0
        for agent in env.agent_iter():
            if env.terminations[agent]:
                return longest
            longest = max(longest, len(PromptTemplate().encode(tokenizer, env.observe(agent))) + tokens)
            env.step(word)
        raise AssertionError

    @pytest.mark.parametrize("history", ["all", "last_round"])
    def test_agrees_with_a_discussion_of_longest_messages(self, history: str, tiny_model: str) -> None:
        env = Letters(num_rounds=4, history=history)
        question = [env.questions("train")[0]]
        for tokens, fits in ((10, True), (200, False)):
            team = RunConfig(model=tiny_model, max_new_tokens=tokens).build_team(env)
            needed = self.needed(env, tiny_model, tokens)
            assert (needed <= 512) == fits
            if fits:
                check_context(env, team, question)
                continue
            with pytest.raises(ValueError, match="may need") as raised:
                check_context(env, team, question)
            told = int(re.search(r"answer of (\d+) tokens", str(raised.value))[1])  # type: ignore[index]
            assert abs(told - needed) <= env.num_rounds * 2, "but for how a message joins its neighbours"


def test_the_last_round_alone_takes_less_room(tiny_model: Path) -> None:
    """Own messages and each peer's latest; a centralised critic reads everything all the same."""
    settings = {"env": "arithmetic", "model": str(tiny_model), "num_agents": 4, "num_rounds": 4, "max_new_tokens": 20}
    short = RunConfig(**settings, env_args={"history": "last_round"})
    long = RunConfig(**settings)
    env = short.build_env()
    team = short.build_team(env)
    questions = env.questions("validation")
    window = team.policies[0].model.config
    window.max_position_embeddings = 520
    check_context(env, team, questions)
    with pytest.raises(ValueError, match="window of 520"):
        check_context(long.build_env(), team, questions)
    with pytest.raises(ValueError, match="ippo or magrpo"):
        check_context(env, team, questions, joint=True)
