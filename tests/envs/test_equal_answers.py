"""Equal answers in different spellings are one vote wherever answers are counted: 1/2, 0.5 and \\frac{1}{2} against 3 and 3."""

from __future__ import annotations

from maporl.algorithms.records import record
from maporl.benchmarks.collaboration import collaboration
from maporl.envs.protocols import Consensus
from maporl.envs.protocols.reconcile import tally
from maporl.envs.team_answer import majority
from maporl.envs.verifiers import MathExpression
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
