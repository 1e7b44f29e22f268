"""The task keeps an environment's promises, and who talks can solve it."""

from __future__ import annotations

import pytest
from my_task import MyTask

from maporl.envs import check_env


@pytest.mark.parametrize("num_agents", [1, 2, 3])
def test_it_keeps_the_promises_of_an_environment(num_agents: int) -> None:
    check_env(MyTask(num_agents=num_agents))


def test_who_tells_what_it_knows_and_listens_is_right() -> None:
    env = MyTask(num_agents=2, num_rounds=2)
    for question in env.questions("test"):
        env.reset(options={"question": question})
        for agent in env.agent_iter():
            if env.terminations[agent]:
                env.step(None)
                continue
            seen = env.observe(agent)
            heard = [message["text"][-1] for message in seen["transcript"]]
            env.step(f"Answer: {max([seen['private'][-2], *heard])}")
        assert env.team_answer().correct == 1.0


def test_no_question_of_the_test_is_trained_on() -> None:
    train, test = ({str(q.private) for q in MyTask().questions(split)} for split in ("train", "test"))
    assert (len(test), train & test) == (100, set())
