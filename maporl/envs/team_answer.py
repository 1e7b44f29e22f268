"""The team's answer: majority vote, last speaker, a weighted vote, or the best of all that was said, read off a transcript.

Answers are the canonical ones that a verifier extracted; a message without one abstains. A tie is counted by expectation:
the share of tied answers that are right (MAPoRL's paper; a coin among the tied would only add noise).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from maporl.errors import UserValueError
from maporl.types import Score, Transcript, Turn

__all__ = [
    "TeamAnswer",
    "answer_of",
    "as_first_said",
    "best_of_history",
    "by_confidence",
    "by_score",
    "confidence",
    "figure",
    "last_round",
    "last_speaker",
    "majority",
    "measured_again",
    "stated",
    "weighted",
]

Equivalent = Callable[[str, str], bool]


@dataclass(frozen=True)
class TeamAnswer:
    """What a team answered.

    Attributes:
        answer: The canonical answer (the first spoken of the tied ones), None if nobody gave any.
        correct: Probability of being right when a tie is broken at random: 0 or 1 without a tie.
        tied: How many different answers share the first place; 0 if there is no answer.
        oracle: The choice used the gold answer, so this is an upper bound and never a baseline.
        scored: The choice read a verifier's scores, so what a judge took for them is a cost of it.
        measures: Of the score (`Score.measures`) of the message that was chosen, or in which the answer was first given.
    """

    answer: str | None
    correct: float
    tied: int = 1
    oracle: bool = False
    scored: bool = False
    measures: Mapping[str, float] = field(default_factory=dict, hash=False)


def answer_of(turn: Turn) -> str | None:
    """The canonical answer of a message: the ground truth's extraction, else the verifier's."""
    for score in (turn.truth, turn.score):
        if score is not None and score.answer is not None:
            return score.answer
    return None


def as_first_said(before: Sequence[Turn], turns: Sequence[Turn], equivalent: Equivalent | None) -> list[Turn]:
    """`turns` with every answer as its equal was first spelled in the discussion: who counts answers may then compare strings.

    Args:
        before: What was said before, already so.
        turns: What is said next.
        equivalent: Whether two canonical answers count as one; None: equal strings only, which leaves all as it is.
    """
    if equivalent is None:
        return list(turns)
    spoken = list(dict.fromkeys(answer for turn in before if turn.said and (answer := answer_of(turn)) is not None))
    result = []
    for turn in turns:
        answer = answer_of(turn) if turn.said else None
        if answer is not None and answer not in spoken:
            first = next((earlier for earlier in spoken if equivalent(earlier, answer)), None)
            if first is None:
                spoken.append(answer)
            else:
                turn = _respelled(turn, answer, first)
        result.append(turn)
    return result


def _respelled(turn: Turn, answer: str, first: str) -> Turn:
    def score(given: Score | None) -> Score | None:
        return replace(given, answer=first) if given is not None and given.answer == answer else given

    scored = score(turn.score)
    return turn.scored(scored, scored if turn.truth is turn.score else score(turn.truth))


def last_round(transcript: Transcript) -> tuple[Turn, ...]:
    """Everybody's last message in the last completed round, () if there is none."""
    return transcript.standing(transcript.completed_rounds - 1)


def vote(
    turns: Sequence[Turn], weights: Sequence[float], equivalent: Equivalent | None, verifier: Any = None
) -> TeamAnswer:
    """The answer with the greatest total weight. O(turns x different answers) calls of `equivalent`.

    Args:
        turns, weights: Messages, and what each counts.
        equivalent: As in `majority`.
        verifier: Whose scores the weights are, if they are: an oracle's where it reads the gold answer.
    """
    same, scored = equivalent or str.__eq__, verifier is not None
    oracle = scored and bool(verifier.uses_gold)
    groups: list[tuple[str, list[int]]] = []
    for index, turn in enumerate(turns):
        answer = answer_of(turn)
        if answer is None:
            continue
        for spoken, members in groups:
            if same(spoken, answer):
                members.append(index)
                break
        else:
            groups.append((answer, [index]))
    if not groups:
        return TeamAnswer(None, 0.0, tied=0, oracle=oracle, scored=scored)
    totals = [math.fsum(weights[index] for index in members) for _, members in groups]
    best = max(totals)
    tied = [group for group, total in zip(groups, totals, strict=True) if math.isclose(total, best, abs_tol=1e-12)]
    right = sum(any(turns[index].correct for index in members) for _, members in tied)
    first = turns[tied[0][1][0]].score
    measures = {} if first is None else first.measures
    return TeamAnswer(tied[0][0], right / len(tied), len(tied), oracle, scored, measures)


def majority(transcript: Transcript, equivalent: Equivalent | None = None) -> TeamAnswer:
    """Majority vote of the last completed round.

    Args:
        transcript: The discussion.
        equivalent: Whether two canonical answers count as one (a verifier's `equivalent`); equality by default.
    """
    turns = last_round(transcript)
    return vote(turns, [1.0] * len(turns), equivalent)


def last_speaker(transcript: Transcript) -> TeamAnswer:
    """The answer of whoever spoke last in the last completed round."""
    turns = last_round(transcript)[-1:]
    return vote(turns, [1.0] * len(turns), None)


def weighted(
    transcript: Transcript,
    weights: Callable[[Turn], float],
    equivalent: Equivalent | None = None,
    *,
    verifier: Any = None,
) -> TeamAnswer:
    """Weighted vote of the last completed round.

    Args:
        transcript: The discussion.
        weights: The weight of a message, at least 0.
        equivalent: As in `majority`.
        verifier: As in `vote`; `by_score` sets this for you.

    Raises:
        ValueError: A weight is negative or not finite.
    """
    turns = last_round(transcript)
    values = [float(weights(turn)) for turn in turns]
    for turn, value in zip(turns, values, strict=True):
        if not (math.isfinite(value) and value >= 0):
            raise UserValueError(f"the weight of {turn.agent}'s message is {value}; weights are finite and at least 0.")
    return vote(turns, values, equivalent, verifier)


def confidence(text: str) -> float | None:
    """The last stated confidence in [0, 1], None when none is stated."""
    return stated(text, "confidence")


def stated(text: str, word: str) -> float | None:
    """The last number in [0, 1] that stands after `word`: "Confidence: 80%", "confidence = 0.8" and "confidence 80" all give 0.8.

    A number above 1 is read as a percentage. None when there is none.
    """
    number_of = rf"\b{word}\b\W{{0,5}}?(?:is\s+)?(\d+(?:\.\d+)?|\.\d+)\s*(%?)"
    found = re.findall(number_of, text, re.IGNORECASE)
    if not found:
        return None
    number, percent = found[-1]
    value = float(number)
    return min(value / 100 if percent or value > 1 else value, 1.0)


def by_confidence(transcript: Transcript, equivalent: Equivalent | None = None, *, unstated: float = 0.5) -> TeamAnswer:
    """Vote weighted by the confidence stated in each message; `unstated` is the weight of a message without one."""

    def weight(turn: Turn) -> float:
        stated = confidence(turn.text)
        return unstated if stated is None else stated

    return weighted(transcript, weight, equivalent)


def by_score(transcript: Transcript, verifier: Any, equivalent: Equivalent | None = None) -> TeamAnswer:
    """Vote weighted by the verifier's scores; an oracle whenever that verifier reads the gold answer.

    Args:
        transcript: The discussion, its turns scored by `verifier`.
        verifier: That verifier (its `uses_gold` and, unless `equivalent` is given, its `equivalent` are read).
        equivalent: As in `majority`.
    """
    same = equivalent or getattr(verifier, "equivalent", None)
    return weighted(transcript, lambda turn: max(turn.value, 0.0), same, verifier=verifier)


def figure(score: Score, measure: str = "value") -> float:
    """The value of a score, or another figure of it (`Score.measures`).

    Raises:
        ValueError: It has none of that name, or it is no finite number.
    """
    if measure != "value" and measure not in score.measures:
        raise UserValueError(
            f"a score has no measure {measure!r}, only {sorted(score.measures)}; use 'value', or a verifier that measures it."
        )
    found = score.value if measure == "value" else score.measures[measure]
    if not math.isfinite(found):
        raise UserValueError(f"the {measure} of a score is {found}; a verifier must give a finite number.")
    return float(found)


def best_of_history(transcript: Transcript, measure: str = "value", *, verifier: Any = None) -> TeamAnswer:
    """The best message of all rounds, the first of equals. What is known to be wrong is none: if all is, there is no answer.

    Args:
        transcript: The discussion, its turns scored.
        measure: What is greatest: the "value" of a score, or one of its measures, such as "speedup".
        verifier: Whose scores they are: an oracle's where it reads the gold answer. None: the environment says so (`labelled`).

    Raises:
        ValueError: As `figure`.
    """
    oracle = verifier is not None and bool(verifier.uses_gold)
    turns = [(turn, turn.score) for turn in transcript.turns if turn.said and turn.score is not None]
    known = [(turn, score) for turn, score in turns if score.status == "ok" and score.correct is not False]
    if not known:
        return TeamAnswer(None, 0.0, tied=0, oracle=oracle, scored=True)
    best, score = max(known, key=lambda pair: figure(pair[1], measure))
    return TeamAnswer(answer_of(best), float(bool(best.correct)), oracle=oracle, scored=True, measures=score.measures)


def measured_again(answer: TeamAnswer, score: Score) -> TeamAnswer:
    """An answer by a new score of it: the best of several noisy figures is too good (the winner's curse)."""
    return replace(answer, correct=answer.correct * (score.correct is not False), measures=score.measures)
