"""What others know alone must not reach an agent's prompt: the leak test."""

from __future__ import annotations

from typing import Any

import pytest

from maporl.envs.tasks.requests import Requests
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.rollouts.privilege import check_unseen, hidden_from
from maporl.types import Seat, Turn

SECRET = "colour: red. size: small."


def shown(**changes: Any) -> dict[str, Any]:
    return {
        "agent": "agent_0",
        "round": 0,
        "question": "Ann wants a lamp.",
        "private": "",
        "instruction": "Ask.",
        "role": "",
        "transcript": (),
        **changes,
    }


def said(agent: str, text: str, round: int = 0) -> dict[str, Any]:
    return {"agent": agent, "round": round, "text": text}


@pytest.mark.parametrize("place", ["question", "private", "instruction", "role"])
def test_a_secret_in_any_place_is_named(place: str) -> None:
    leak = shown(**{place: "Remember that\n colour: red.  size: small. Good luck."})
    where = {"private": "private information"}.get(place, place)
    with pytest.raises(
        ValueError, match=f"agent_0 is shown 'colour: red. size: small.' in its {where}, which agent_1 alone"
    ):
        check_unseen(leak, {"agent_1": SECRET})  # type: ignore[arg-type]


def test_what_its_owner_says_or_the_agent_finds_itself_is_no_secret_from_there_on() -> None:
    quoted = said("agent_2", f"So {SECRET}", 1)
    for speaker in ("agent_1", "agent_0"):
        told = shown(transcript=(said(speaker, f"I want {SECRET}"), quoted))
        check_unseen(told, {"agent_1": SECRET})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in its message of agent_2 in round 2, which agent_1 alone"):
        check_unseen(shown(transcript=(quoted,)), {"agent_1": SECRET})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in its message of tests in round 1"):  # from outside
        told = shown(transcript=(said("tests", SECRET), said("agent_1", SECRET)))
        check_unseen(told, {"agent_1": SECRET})  # type: ignore[arg-type]


def test_whole_words_alone_are_a_secret() -> None:
    check_unseen(shown(question="Which of 17 redder lamps?"), {"agent_1": "7", "agent_2": "red"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'7' in its question"):
        check_unseen(shown(question="Is it 7?"), {"agent_1": "7"})  # type: ignore[arg-type]


def test_a_long_secret_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"is shown 'word word .*\.\.\.' in its role") as raised:
        check_unseen(shown(role="word " * 100), {"agent_1": "word " * 99})  # type: ignore[arg-type]
    assert len(str(raised.value)) < 350


def test_who_is_told_everything_is_shown_what_is_hidden() -> None:
    """`view` decides what is shown, not what should be."""
    for env in (Requests(), Requests(view="all")):
        question = env.questions("train")[0]
        start = env.rules.start(question)
        hidden = hidden_from(start, "agent_0")
        assert hidden == {"agent_1": (question.team or question.private)["agent_1"]}
        assert hidden_from(start, "agent_1") == {}, "agent_0 knows nothing alone"
        observation = env.rules.observe(start, Seat("agent_0", 0))
        if env.view is None:
            check_unseen(observation, hidden)
        else:
            with pytest.raises(ValueError, match="private information, which agent_1 alone should know"):
                check_unseen(observation, hidden)


def test_what_both_know_is_hidden_from_neither() -> None:
    env = TwoWitnesses(3)
    start = env.rules.start(env.questions("train")[0])
    views = start.question.private
    for agent in start.agents:
        assert hidden_from(start, agent) == {a: v for a, v in views.items() if a != agent and v != views[agent]}


def test_a_partners_reply_is_what_the_agent_reads() -> None:
    env = Requests()
    start = env.rules.start(env.questions("train")[0])
    hidden = hidden_from(start, "agent_0")
    turns = (Turn("agent_0", 0, "What do you want?"), Turn("agent_1", 0, f"I want {hidden['agent_1']}"))
    later = env.rules.replayed(type(start)(start.question, start.agents, start.num_rounds, turns))
    check_unseen(env.rules.observe(later, Seat("agent_0", 1)), hidden)
