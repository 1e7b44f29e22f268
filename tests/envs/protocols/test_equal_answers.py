"""Equal answers in different spellings are one vote wherever answers are counted: 1/2, 0.5 and \\frac{1}{2} against 3 and 3.

What needs algebra to be seen equal is spelled as it was first said, when a discussion is scored.
"""

from __future__ import annotations

from typing import Any

from maporl.benchmarks.analysis.collaboration import collaboration
from maporl.envs.protocols import Consensus
from maporl.envs.protocols.reconcile import tally
from maporl.envs.tasks.math import Math
from maporl.envs.team_answer import as_first_said, majority
from maporl.envs.verifiers import MathExpression
from maporl.rollouts.records import record
from maporl.types import Episode, Question, Transcript, Turn

HALVES = ("\\frac{1}{2}", "0.5", "1/2")


def discussion(*answers: str, gold: str = "\\frac{2}{4}") -> Transcript:
    """One round, everybody's answer in a box."""
    question = Question("?", gold)
    agents, turns = tuple(f"agent_{i}" for i in range(len(answers))), []
    for agent, answer in zip(agents, answers, strict=True):
        text = f"So \\boxed{{{answer}}}."
        score = MathExpression()(question, text)
        turns.append(Turn(agent, 0, text, score, score))
    return Transcript(question, agents, 1, tuple(turns))


def test_a_vote() -> None:
    answer = majority(discussion(*HALVES, "3", "3"))
    assert (answer.answer, answer.correct, answer.tied) == ("0.5", 1.0, 1)
    answer = majority(discussion(*HALVES, "3", "3.0", "\\frac{9}{3}", "3"))
    assert (answer.answer, answer.correct, answer.tied) == ("3", 0.0, 1)


def test_unanimity() -> None:
    unanimous = Consensus()
    assert unanimous(discussion(*HALVES)) and not unanimous(discussion(*HALVES, "3"))


def test_reconciles_tally() -> None:
    told = tally(discussion(*HALVES, "3", "3").turns)
    unsure = ", ".join(["not stated"] * 3)
    assert told.startswith(f'3 of 5 answered "0.5" (confidence {unsure}); 2 of 5 answered "3"')


def test_collaboration() -> None:
    """Agreement: 3 pairs of halves and one of threes among 10; the vote is right; without one half it is a tie."""
    transcript = discussion(*HALVES, "3", "3")
    told = collaboration([record(Episode(transcript, (0.0,) * 5), majority(transcript), greedy=False)])
    assert told["final"]["vote_accuracy"] == 1.0 and told["rounds"][0]["agreement"] == 4 / 10
    assert [told["marginal_contribution"][a]["contribution"] for a in transcript.agents] == [0.5, 0.5, 0.5, 0.0, 0.0]


def played(*said: str, gold: str = "73", **arguments: Any) -> Math:
    """The task after a first round of these messages; a second one may follow."""
    env = Math(len(said), 2, **arguments)
    env.reset(options={"question": Question("?", gold)})
    for text in said:
        env.step(text)
    return env


def test_a_number_in_the_open_votes_with_a_box() -> None:
    """The two that are right outvote two that differ, however they are written."""
    env = played("The number is **73**.", "So $x = \\boxed{73}$.", "\\boxed{74}", "\\boxed{75}")
    answer = env.team_answer()
    assert (answer.answer, answer.correct, answer.tied) == ("73", 1.0, 1)


def test_early_consensus_and_tally_see_what_is_equal_by_algebra() -> None:
    equal = ("\\boxed{(x+1)^2}", "$\\boxed{x^2 + 2x + 1}$", "The answer is $1 + 2x + x^2$.")
    env = played(*equal, gold="x^2+2x+1", protocol={"name": "debate", "stop": "consensus"})
    assert env.transcript.is_complete, "all agree after one round"
    assert {turn.truth.answer for turn in env.transcript.turns if turn.truth} == {"(x+1)^2"}
    assert tally(env.transcript.turns).startswith('3 of 3 answered "(x+1)^2"')
    told = collaboration([record(Episode(env.transcript, (0.0,) * 3), env.team_answer(), greedy=True)])
    assert told["rounds"][0]["agreement"] == 1.0
    assert not played(
        *equal[:2], "\\boxed{x^2+1}", gold="0", protocol={"name": "debate", "stop": "consensus"}
    ).transcript.is_complete


def test_pairs_and_names_are_equal_as_text() -> None:
    assert Consensus()(discussion("(3, 4)", "(3,4)", "\\left(3,\\,4\\right)")) and Consensus()(discussion("x=73", "73"))


def test_only_what_differs_is_spelled_anew() -> None:
    turns = discussion("x+y", "y+x", "x-y").turns
    same = as_first_said((), turns, MathExpression().equivalent)
    assert [turn.truth.answer for turn in same if turn.truth] == ["x+y", "x+y", "x-y"]
    assert same[0] is turns[0] and same[2] is turns[2] and same[1].truth is same[1].score
    assert as_first_said((), turns, None) == list(turns)
