"""Votes against numbers counted by hand."""

from __future__ import annotations

import random

import pytest
from discussion_toys import Contains, Told, discussion

from maporl.envs.team_answer import TeamAnswer, by_confidence, by_score, confidence, last_speaker, majority, weighted
from maporl.types import Transcript


def voted(answers: list[str | None], gold: str = "A", **more: object) -> Transcript:
    """One round of these answers."""
    return discussion([[1.0] * len(answers)], [[a == gold for a in answers]], answers=[answers], **more)


@pytest.mark.parametrize(
    "answers, expected",
    [
        (["A", "A", "B"], TeamAnswer("A", 1.0)),
        (["B", "A", "B"], TeamAnswer("B", 0.0)),
        (["B", "A"], TeamAnswer("B", 0.5, tied=2)),
        (["A", "B", "C"], TeamAnswer("A", 1 / 3, tied=3)),
        (["B", "C", "D"], TeamAnswer("B", 0.0, tied=3)),
        (["A", None, None], TeamAnswer("A", 1.0)),  # no answer is no vote
        ([None, None], TeamAnswer(None, 0.0, tied=0)),
        (["B", "B", "A", "A", "C"], TeamAnswer("B", 0.5, tied=2)),
    ],
)
def test_majority(answers: list[str | None], expected: TeamAnswer) -> None:
    assert majority(voted(answers)) == expected


def test_ties_by_expectation_are_the_mean_of_breaking_them_at_random() -> None:
    rng = random.Random(0)
    answers = ["A", "B", "C"]
    broken = [rng.choice(answers) == "A" for _ in range(20000)]
    assert majority(voted(answers)).correct == pytest.approx(sum(broken) / len(broken), abs=0.01)


def test_equivalent_answers_are_one_vote() -> None:
    answers = ["0.5", "1/2", "3"]
    assert majority(voted(answers, "3")).tied == 3
    halves = {"0.5", "1/2"}
    same = majority(voted(answers, "3"), lambda a, b: a == b or {a, b} <= halves)
    assert same == TeamAnswer("0.5", 0.0)


def test_only_the_last_completed_round_votes() -> None:
    rows = dict(right=[(True, True), (False, False), (True,)], answers=[("A", "A"), ("B", "B"), ("A",)])
    transcript = discussion([(1, 1), (0, 0), (1,)], num_rounds=3, **rows)
    assert majority(transcript) == TeamAnswer("B", 0.0)
    assert last_speaker(transcript) == TeamAnswer("B", 0.0)
    empty = Transcript(transcript.question, transcript.agents, 3)
    assert majority(empty) == last_speaker(empty) == TeamAnswer(None, 0.0, tied=0)


def test_last_speaker() -> None:
    assert last_speaker(voted(["B", "B", "A"])) == TeamAnswer("A", 1.0)
    assert last_speaker(voted(["A", "A", None])) == TeamAnswer(None, 0.0, tied=0)


def test_weighted_by_any_function() -> None:
    weights = {"agent_0": 1.0, "agent_1": 0.4, "agent_2": 0.5}
    assert weighted(voted(["A", "B", "B"]), lambda turn: weights[turn.agent]) == TeamAnswer("A", 1.0)
    tie = weighted(voted(["A", "B", "B"]), lambda turn: {"agent_0": 0.3, "agent_1": 0.1, "agent_2": 0.2}[turn.agent])
    assert tie == TeamAnswer("A", 0.5, tied=2)  # .3 and .1 + .2 tie though floats differ
    with pytest.raises(ValueError, match="agent_0's message is -1.0"):
        weighted(voted(["A"]), lambda turn: -1.0)
    with pytest.raises(ValueError, match="is nan"):
        weighted(voted(["A"]), lambda turn: float("nan"))


@pytest.mark.parametrize(
    "text, value",
    [
        ("Answer: 4. Confidence: 80%", 0.8),
        ("confidence = 0.25", 0.25),
        ("CONFIDENCE 90", 0.9),
        ("my confidence is 70 %.", 0.7),
        ("**Confidence:** 60%", 0.6),
        ("Confidence: 10% ... no, confidence: 95%", 0.95),
        ("Confidence: .5", 0.5),
        ("Confidence: 1", 1.0),
        ("Confidence: 1%", 0.01),
        ("Confidence: 250%", 1.0),
        ("confident in 7 ways", None),
        ("Confidence: high", None),
        ("", None),
    ],
)
def test_confidence(text: str, value: float | None) -> None:
    assert confidence(text) == value


def test_by_confidence() -> None:
    texts = [["Confidence: 90%", "Confidence: 30%", "sure"]]
    transcript = voted(["A", "B", "B"], texts=texts)
    assert by_confidence(transcript) == TeamAnswer("A", 1.0)  # .9 against .3 + .5
    assert by_confidence(transcript, unstated=0.7) == TeamAnswer("B", 0.0)


def test_by_score_is_an_oracle_when_the_verifier_reads_the_gold_answer() -> None:
    transcript = discussion([(0.9, 0.4, 0.4)], [(True, False, False)], answers=[("A", "B", "B")])
    assert by_score(transcript, Contains()) == TeamAnswer("A", 1.0, oracle=True, scored=True)
    assert by_score(transcript, Told()) == TeamAnswer("A", 1.0, scored=True)
    assert not majority(transcript).oracle
