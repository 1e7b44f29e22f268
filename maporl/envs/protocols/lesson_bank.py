"""Lessons (LessonL, Liu et al. 2505.23946): what a team wrote, what came of it, and what it says others can learn from that.

Rounds alternate: in even ones (from 0) everybody writes a program, in odd ones everybody says what there is to learn from its own. The
bank of lessons is no store beside the discussion but a function of its transcript, so that a discussion resumed anywhere has the same one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from maporl.envs.team_answer import figure
from maporl.errors import UserValueError
from maporl.types import Score, Transcript

__all__ = [
    "FLOOR",
    "SPEEDUP",
    "Lesson",
    "Outcome",
    "factor_of",
    "lessons",
    "outcome",
    "select",
    "speed",
    "speedup_metrics",
    "teaches",
    "word_overlap",
]

SPEEDUP = "speedup"
"""The figure of a score (`Score.measures`) that says how many times as fast as the original a right program is; 0 of a wrong one."""
FLOOR = 1.1
"""From here on a program is significantly faster."""
MORE, LESS = 1.1, 0.9  # what a lesson's factor counts a program that went beyond it, and one that did not

Outcome = Literal["faster", "slower", "right", "incorrect", "not_compilable", "unknown"]


@dataclass(frozen=True)
class Lesson:
    """What somebody says can be learned from a program of its own. Agent and round are its identity.

    Attributes:
        text: The lesson.
        agent, round: Who gave it, and when.
        outcome: What had come of the program.
        speedup: How many times as fast as the original that was, 0 if it was wrong; or the value of its score (see `speed`).
        factor: How far programs that were written with it at hand have gone beyond it, 1 at first (see `factor_of`).
        relevance: How much it has to do with what is asked.
        tried: How many programs its factor counts.

    Raises:
        ValueError: A speed-up that is no finite number.
    """

    text: str
    agent: str = ""
    round: int = 1
    outcome: Outcome = "unknown"
    speedup: float = 0.0
    factor: float = 1.0
    relevance: float = 0.0
    tried: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.speedup):
            raise UserValueError(
                f"a lesson's speedup is {self.speedup}; give a finite number, 0 for a program that is wrong."
            )

    @property
    def adjusted(self) -> float:
        """Its speed-up times its factor."""
        return self.speedup * self.factor


def teaches(round: int) -> bool:
    """Whether `round` (from 0) is one of lessons."""
    return round % 2 == 1


def outcome(score: Score | None, measure: str = SPEEDUP) -> Outcome:
    """What came of a program by its score.

    No program in the message is "not_compilable", a time-out "incorrect"; where no speed-up is measured a right one is "right". Where
    nobody says what is right it is "unknown".
    """
    if score is None:
        return "unknown"
    if score.status == "no_answer":
        return "not_compilable"
    if score.status in ("timeout", "error") or score.correct is False:
        return "incorrect"
    if score.correct is None:
        return "unknown"
    if measure == "value":
        return "right"
    return "faster" if figure(score, measure) > 1 else "slower"


def speed(score: Score | None, measure: str = SPEEDUP) -> float:
    """The speed-up of a program: 0 unless it is right. With `measure` "value", which is the share of the tests that it passes in a
    task of code, the value of its score.

    Raises:
        ValueError: It is no number, or nobody measured it.
    """
    if score is None or (measure != "value" and outcome(score, measure) not in ("faster", "slower")):
        return 0.0
    return figure(score, measure)


def factor_of(speedup: float, new: Sequence[float]) -> float:
    """The mean over `new` speed-ups, those of programs that were written with a lesson at hand, of 1.1 for each that is above the
    lesson's own and .9 for each other."""
    return math.fsum(MORE if s > speedup else LESS for s in new) / len(new)


def speedup_metrics(speedups: Sequence[float]) -> dict[str, float]:
    """What the speed-ups of the answers to some problems, 0 where an answer is wrong or there is none, come to.

    Returns:
        "speedup_geometric": the geometric mean, in which what is slower than the original, or wrong, counts as the original, 1.
        "speedup_arithmetic": the mean, in which what is wrong counts as 0. "speedup_2": the share of at least 2.

    Raises:
        ValueError: No problem, or a speed-up that is no finite number from 0.
    """
    if not speedups or not all(0 <= s < math.inf for s in speedups):
        raise UserValueError(f"speedups are {list(speedups)}; give a number of at least 0 for every problem.")
    return {
        "speedup_geometric": math.exp(math.fsum(math.log(max(1.0, s)) for s in speedups) / len(speedups)),
        "speedup_arithmetic": math.fsum(speedups) / len(speedups),
        "speedup_2": sum(s >= 2 for s in speedups) / len(speedups),
    }


def word_overlap(text: str, source: str) -> float:
    """The share of the different words of `text` that `source` has, too; 0 without a word."""
    words = _words(text)
    return len(words & _words(source)) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def lessons(
    transcript: Transcript,
    k: int = 4,
    *,
    measure: str = SPEEDUP,
    floor: float = FLOOR,
    factor: str = "last",
    relevance: Callable[[Lesson], float] | None = None,
) -> tuple[Lesson, ...]:
    """All lessons of a discussion so far, in the order in which they were given.

    Args:
        transcript: The discussion.
        k, floor, relevance: By which some of them were selected in every round, as in `select`.
        measure: Of a program's score; "speedup" or "value" (see `speed`).
        factor: "last" (a lesson's factor counts the programs of the last round for which it was selected; the published code) or
            "running" (those of all such rounds; the paper).

    Raises:
        ValueError: An unknown reading, k below 1, or a speed-up that is none.
    """
    if factor not in ("last", "running"):
        raise UserValueError(f"factor {factor!r} is unknown; use 'last' or 'running'.")
    bank: list[Lesson] = []
    shown: set[tuple[str, int]] = set()
    source = transcript.question.text
    for round in range(transcript.completed_rounds):
        turns = transcript.round(round)
        if not teaches(round):
            new = [speed(turn.score, measure) for turn in turns]
            bank = [_judged(one, new, factor) if (one.agent, one.round) in shown else one for one in bank]
            continue
        scores = {turn.agent: turn.score for turn in transcript.round(round - 1)}
        for turn in turns:
            score = scores.get(turn.agent)
            overlap = word_overlap(turn.text, source)
            given = outcome(score, measure), speed(score, measure)
            bank.append(Lesson(turn.text, turn.agent, round, *given, relevance=overlap))
        shown = {(one.agent, one.round) for one in select(bank, k, floor, relevance)}
    return tuple(bank)


def _judged(lesson: Lesson, new: Sequence[float], reading: str) -> Lesson:
    """A lesson of which `new` programs have shown what they made."""
    before = lesson.tried if reading == "running" else 0
    tried = before + len(new)
    total = before * lesson.factor + len(new) * factor_of(lesson.speedup, new)
    return replace(lesson, factor=total / tried, tried=tried)


def select(
    bank: Sequence[Lesson], k: int = 4, floor: float = FLOOR, relevance: Callable[[Lesson], float] | None = None
) -> tuple[Lesson, ...]:
    """The k lessons of a bank that everybody is shown next; all of them if there are no more.

    At most half of the places (of 5 three) go to the greatest adjusted speed-ups that reach `floor`, the remaining ones to the most
    relevant of all others. Among equals earlier ones come first.

    Args:
        bank: The lessons.
        k: How many.
        floor: Adjusted speed-ups below it earn no place; 0 where speed is not what is measured.
        relevance: What orders the others; None: `Lesson.relevance`, the words that a lesson shares with the question.

    Raises:
        ValueError: k below 1.
    """
    if k < 1:
        raise UserValueError(f"k is {k}; at least 1 lesson must be shown.")
    if len(bank) <= k:
        return tuple(bank)
    order = sorted(range(len(bank)), key=lambda n: -bank[n].adjusted)
    fast = [n for n in order if bank[n].adjusted >= floor][: math.ceil(k / 2)]
    others = [n for n in range(len(bank)) if n not in fast]
    others.sort(key=lambda n: -(bank[n].relevance if relevance is None else relevance(bank[n])))
    return tuple(bank[n] for n in [*fast, *others[: k - len(fast)]])
