"""Shared numbers: who knows what, what is right, and what a lone agent can reach."""

from __future__ import annotations

import re

import pytest

from maporl.envs.tasks.shared_numbers import SharedNumbers, lone_ceiling


@pytest.mark.parametrize(
    ("ask", "words"), [("most", "does the one pick who picks most"), ("sum", "do they pick together")]
)
def test_everybody_knows_one_number_and_only_one_answer_is_right(ask: str, words: str) -> None:
    env = SharedNumbers(2, ask=ask)
    parts = [env.questions(split) for split in ("train", "validation", "test")]
    assert len({q.id for part in parts for q in part}) == sum(map(len, parts)) == 8 * 81
    assert abs(len(parts[2]) - 0.2 * 8 * 81) < 2
    for question in parts[0]:
        (name, first, thing), (other, second, same) = (
            re.fullmatch(r"(\w+) picks (\d) (\w+)\.", text).groups()  # type: ignore[union-attr]
            for text in question.private.values()
        )
        assert question.text == f"{name} and {other} pick {thing}. How many {same} {words}?"
        both = (int(first), int(second))
        assert int(question.answer) == (sum(both) if ask == "sum" else max(both))
        assert env.ground_truth(question, f"Answer: {question.answer}").correct is True
        assert env.ground_truth(question, f"Answer: {int(question.answer) + 1}").correct is False


def test_three_agents_have_three_numbers_and_a_lone_one_has_a_seats() -> None:
    (question, *_), lone = SharedNumbers(3).questions("test"), SharedNumbers(1, view="agent_1")
    assert question.text.startswith("Ann, Ben and Cleo pick ") and len(question.private) == 3
    lone.reset(options={"question": lone.questions("test")[0]})
    assert lone.observe("agent_0")["private"].startswith("Ben picks ")


def test_a_lone_agent_can_only_guess() -> None:
    assert lone_ceiling() == pytest.approx(5 / 9)  # its own number, which is the larger one in known of nine cases
    assert lone_ceiling("sum") == pytest.approx(1 / 9)
    assert lone_ceiling("sum", 3) == pytest.approx(9 / 81)


def test_too_many_agents_are_refused() -> None:
    with pytest.raises(ValueError, match="num_agents 5 is more than 4"):
        SharedNumbers(5)


def test_another_question_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ask 'mean' is unknown; use one of \['most', 'sum'\]"):
        SharedNumbers(2, ask="mean")
