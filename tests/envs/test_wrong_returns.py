"""Hooks of one's own that return something else than they must: one line that names the class, the hook, what came and what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols import Debate
from maporl.envs.shaping import OwnScore
from maporl.envs.verifiers.verifier import TeamVerifier, Verifier
from maporl.errors import UserError
from maporl.types import Question, Score


class Task(DiscussionEnv):
    default_verifier = "exact"

    def load(self, split: str) -> Any:
        return [Question(f"What is {n}?", str(n)) for n in range(40)]


def played(env: DiscussionEnv) -> Any:
    """A whole discussion, with every hook that it needs."""
    env.reset(seed=0)
    while not any(env.terminations.values()):
        env.observe(env.agent_selection)
        env.state()
        env.step("7")
    return env.turn_rewards, env.team_answer()


def task(hook: str, value: Any) -> Callable[[], Any]:
    return lambda: played(type("Mine", (Task,), {hook: lambda self, *_: value})())


def protocol(hook: str, value: Any) -> Callable[[], Any]:
    return lambda: played(Task(protocol=type("Mine", (Debate,), {hook: lambda self, *_: value})))


def shaping(value: Any) -> Callable[[], Any]:
    return lambda: played(Task(shaping=type("Mine", (OwnScore,), {"__call__": lambda self, transcript: value})))


def verifier(value: Any, hook: str = "__call__") -> Callable[[], Any]:
    own = {"__call__": lambda self, *_: Score(0.0, False), hook: lambda self, *_: value}
    return lambda: played(Task(verifier=type("Mine", (Verifier,), own)))


def team_verifier(value: Any) -> Callable[[], Any]:
    return lambda: played(Task(team_verifier=type("Mine", (TeamVerifier,), {"__call__": lambda self, *_: value})))


def mine(question: Question, response: str) -> Any:
    return "right"


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (task("load", None), "load('train') returned None; it must return a list of Question objects"),
        (task("load", "abc"), "load('train') returned 'abc'"),
        (task("load", 3), "load('train') returned 3"),
        (task("load", ["What is 1?"]), "yields a str at place 0; it must yield Question objects"),
        (task("own_verifiers", "exact"), "Mine.own_verifiers returned 'exact' (str); it must return (verifier, team verifier)"),
        (protocol("agent_names", None), "Mine.agent_names returned None; it must return a list of str"),
        (protocol("agent_names", ("a", "a")), "Mine.agent_names returned ('a', 'a') (tuple); it must return a tuple of different"),
        (protocol("due", None), "Mine.due returned None; it must return seats of agent_0, agent_1"),
        (protocol("due", ("agent_0",)), "Mine.due returned ('agent_0',) (tuple); it must return seats"),
        (protocol("due_in", None), "Mine.due_in returned None; it must return a list of str"),
        (protocol("due_in", "agent_0"), "Mine.due_in returned 'agent_0' (str); it must return a list of str"),
        (protocol("due_in", ("somebody",)), "Mine.due_in returned (Seat(agent='somebody', round=0),) (tuple); it must return seats"),
        (protocol("speaking", None), "Mine.speaking returned None; it must return a list of str"),
        (protocol("visible", None), "Mine.visible returned None; it must return a list of maporl.types.Turn"),
        (protocol("messages", "hello"), "Mine.messages returned 'hello' (str); it must return a list of dict"),
        (protocol("settled", None), "Mine.settled returned None; it must return a list of maporl.types.Turn"),
        (protocol("message", "hello"), "Mine.messages returned a list that holds 'hello' (str); it must return a list of dict"),
        (protocol("instruction", None), "Mine.instruction returned None; it must return str"),
        (protocol("role", 3), "Mine.role returned 3 (int); it must return str"),
        (protocol("feedback", None), "feedback Mine(num_rounds=2, history='all') says None"),
        (protocol("feedback", [3]), "says 3 to one of 1 discussions; return for each a list of its Turns"),
        (protocol("team_answer", "7"), "Mine.team_answer returned '7' (str); it must return maporl.envs.team_answer.TeamAnswer"),
        (shaping(None), "Mine returned None; it must return 4 numbers, one reward per turn"),
        (shaping(1.0), "Mine returned 1.0 (float); it must return"),
        (shaping(("1", "0")), "Mine returned ('1', '0') (tuple); it must return"),
        (shaping((1.0,) * 9), "it must return 4 numbers, one reward per turn"),
        (verifier("right"), "Mine returned 'right' (str); it must return maporl.types.Score"),
        (verifier(None), "Mine returned None"),
        (verifier(Score("1", True)), "a Score whose value is a number"),  # type: ignore[arg-type]
        (verifier(None, "score_batch"), "Mine.score_batch returned None; it must return a list of 1"),
        (verifier([], "score_batch"), "Mine.score_batch returned a list of 0; it must return a list of 1"),
        (team_verifier("right"), "Mine returned 'right' (str)"),
        (lambda: played(Task(verifier=mine)), "mine returned 'right'; it must return a bool, a finite number or a Score"),
        (lambda: played(Task(feedback=lambda transcripts: None)), "feedback <lambda> says None to one of 1"),
    ],
)  # fmt: skip
def test_one_line_names_hook_and_value(do: Callable[[], Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)) as found:
        do()
    assert "\n" not in str(found.value)


def test_what_a_hook_raises_comes_through() -> None:
    class Broken(Debate):
        def speaking(self, agents: tuple[str, ...], round: int) -> tuple[str, ...]:
            return agents[None]  # type: ignore[index, return-value]

    with pytest.raises(TypeError, match="indices must be integers") as found:
        played(Task(protocol=Broken))
    assert not isinstance(found.value, UserError)
