"""Who speaks when, who has heard whom, and whose answer counts."""

from __future__ import annotations

import pytest
from my_protocol import MyProtocol

from maporl.envs import check_env
from maporl.envs.tasks.two_witnesses import TwoWitnesses


@pytest.mark.parametrize("num_agents", [2, 3])
def test_it_keeps_the_promises_of_an_environment(num_agents: int) -> None:
    check_env(TwoWitnesses(num_agents=num_agents, num_rounds=2, protocol=MyProtocol))


def test_the_chair_speaks_last_has_heard_all_and_decides() -> None:
    env = TwoWitnesses(num_agents=3, num_rounds=2, protocol=MyProtocol)
    env.reset(seed=0)
    gold, heard = env.transcript.question.answer, []
    while not any(env.terminations.values()):
        agent = env.agent_selection
        heard.append((agent, len(env.observe(agent)["transcript"])))
        env.step(f"Answer: {gold if agent == 'agent_0' else 'unknown'}")
    first = [("agent_1", 0), ("agent_2", 0), ("agent_0", 2)]
    assert heard == first + [(agent, count + 3) for agent, count in first]
    assert env.team_answer().answer == gold
