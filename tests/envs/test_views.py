"""Whose private information an agent is given: the same questions for a team, a lone agent and one that is told everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from discussion_toys import Contains, Digits

from maporl.envs import DiscussionEnv, check_env
from maporl.envs.splits import SPLITS, unique
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.envs.tasks.vault import Vault
from maporl.types import Question

TEAMS = [(TwoWitnesses, 2, {}), (Vault, 3, {"num_digits": 3}), (Vault, 2, {"num_digits": 2})]


def lone(task: type[DiscussionEnv], size: int, arguments: dict[str, Any]) -> list[DiscussionEnv]:
    """A lone agent in every seat."""
    return [task(1, 1, view=f"agent_{seat}", **arguments) for seat in range(size)]


@pytest.mark.parametrize("task, size, arguments", TEAMS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_questions_are_the_same_whatever_is_shown_of_them(
    task: type[DiscussionEnv], size: int, arguments: dict[str, Any], split: str
) -> None:
    team = task(size, **arguments).questions(split)
    told = [task(n, view="all", **arguments) for n in (1, size)]
    for env in (*lone(task, size, arguments), *told, task(1, **arguments)):
        shown = env.questions(split)
        assert [q.id for q in shown] == [q.id for q in team]
        assert [q.hash for q in shown] == [q.hash for q in team]
        assert [(q.text, q.answer, q.metadata) for q in shown] == [(q.text, q.answer, q.metadata) for q in team]
        assert len(unique(shown, "here")) == len(shown)


@pytest.mark.parametrize("task, size, arguments", TEAMS)
def test_what_is_shown_of_them(task: type[DiscussionEnv], size: int, arguments: dict[str, Any]) -> None:
    team = task(size, **arguments)
    one, everybody = (task(n, view="all", **arguments).questions("test") for n in (1, size))
    for seat, env in enumerate(lone(task, size, arguments)):
        for question, shown in zip(team.questions("test"), env.questions("test"), strict=True):
            assert shown.private == {"agent_0": question.private[f"agent_{seat}"]}
    for question, alone, together in zip(team.questions("test"), one, everybody, strict=True):
        joined = " ".join(question.private[f"agent_{seat}"] for seat in range(size))
        assert alone.private == {"agent_0": joined}
        assert together.private == dict.fromkeys(team.possible_agents, joined)
    assert task(1, **arguments).questions("test") == lone(task, size, arguments)[0].questions("test")


def test_seats() -> None:
    for env in (TwoWitnesses(), TwoWitnesses(1), TwoWitnesses(1, view="agent_1"), TwoWitnesses(view="all")):
        assert env.private_seats() == env.private_seats("test") == ("agent_0", "agent_1")
    assert Vault(1, num_digits=3, view="agent_2").private_seats() == ("agent_0", "agent_1", "agent_2")
    assert Arithmetic().private_seats() == ()


class Eleven(DiscussionEnv):
    """Only the last seat always knows something, and seats come in no order."""

    metadata = {"name": "eleven"}
    default_verifier = Contains

    def load(self, split: str) -> Iterable[Question]:
        for n in range(40):
            some = {"agent_10": f"ten {n}."} | ({"agent_2": f"two {n}.", "agent_3": ""} if n % 2 else {})
            yield Question(f"? {n} {split}", "!", id=f"row-{n}", private=some)


def test_seats_of_any_task() -> None:
    assert Eleven(11).private_seats() == ("agent_2", "agent_10")
    told = {q.id: q for q in Eleven(1, view="all").questions("test")}
    assert told["row-3"].private == {"agent_0": "two 3. ten 3."}
    assert told["row-4"].private == {"agent_0": "ten 4."}
    two = {q.id: q for q in Eleven(1, view="agent_2").questions("test")}
    assert (two["row-3"].private, two["row-4"].private) == ({"agent_0": "two 3."}, {"agent_0": ""})


def test_seats_under_a_protocol_with_roles() -> None:
    env = Digits(1, 1, protocol="pipeline", view="all")
    env.reset(seed=0)
    assert env.observe("refiner_0")["private"] == env.transcript.question.private["refiner_0"] != ""
    env = TwoWitnesses(3, protocol="pipeline", view="all")
    env.reset(seed=0)
    views = {env.observe(agent)["private"] for agent in env.possible_agents}
    assert len(views) == 1 and views.pop().count("view: ") == 3


def test_a_question_told_once_stays_as_it_was_told() -> None:
    env = TwoWitnesses(1, view="all")
    question = env.questions("test")[0]
    assert env.told(question) is question
    assert TwoWitnesses(1, view="agent_1").told(question) is question


def test_a_lone_agents_questions_do_not_hold_what_it_is_not_told() -> None:
    """A lone agent of any team's task: without `view` it is in the first seat."""

    class Pairs(Digits):
        def load(self, split: str) -> Iterable[Question]:
            return [Question("?", "!", private={"agent_0": f"mine {split}", "agent_1": "theirs"})]

    env = Pairs(1)
    assert env.questions("train")[0].private == {"agent_0": "mine train"}
    env.reset(seed=0)
    assert "theirs" not in str(env.state())


@pytest.mark.parametrize("view, size", [("agent_1", 1), ("all", 1), ("all", 2)])
def test_check_env(view: str, size: int) -> None:
    check_env(TwoWitnesses(size, view=view))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: TwoWitnesses(2, view="agent_1"),
            "view 'agent_1' is for a lone agent and there are 2; use num_agents 1",
        ),
        (lambda: TwoWitnesses(1, view=1), "view is 1; give a seat such as 'agent_1', or 'all'"),
        (lambda: TwoWitnesses(1, view=""), "view is ''; give a seat"),
        (lambda: TwoWitnesses(1, view="agent_7").questions("train"), "no seat of two_witnesses; use one of agent_0, a"),
        (lambda: Arithmetic(1, view="agent_0").reset(), "view is 'agent_0' but arithmetic has no private information"),
        (lambda: Arithmetic(view="all").questions("test"), "arithmetic has no private information; leave it out"),
    ],
)
def test_bad_views(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
