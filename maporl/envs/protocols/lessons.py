"""Lessons: everybody writes, learns what came of it, and tells the others what there is to learn; then everybody writes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from maporl.envs.protocols.base import Protocol, count_of
from maporl.envs.protocols.lesson_bank import FLOOR, SPEEDUP, Lesson, Outcome, lessons, outcome, select, speed, teaches
from maporl.envs.team_answer import TeamAnswer, best_of_history
from maporl.errors import UserValueError
from maporl.types import Score, Transcript, Turn

__all__ = ["Lessons"]

LESSONS = "lessons"
"""Under whose name everybody is told what the lessons are for; no agent's."""
_OUTCOME = "outcome of "  # ... and an agent what came of its program

_ASK = "When you are told what came of your answer, reply with a lesson about it instead: one or two sentences that help others."
_WHY: Mapping[Outcome, str] = {
    "faster": "made it faster",
    "slower": "keeps it from being faster",
    "right": "made it right",
    "incorrect": "is wrong with it",
    "not_compilable": "must be mended",
    "unknown": "others can learn from it",
}
_CLOSING = (
    "These lessons were learned from earlier answers. Use what helps, and look for other strategies too. Answer the question itself "
    "again, from its beginning."
)
_LOG = 7  # lines of what a compiler says that are shown


class Lessons(Protocol):
    """Code and lessons in turn (LessonL, Liu et al. 2505.23946); the team answers with the best of all that it wrote.

    In the first round, the third, the fifth ... everybody answers at once and is then told what came of its own answer (feedback
    "outcome of agent_0"). In the rounds between everybody explains that: its lesson, which nobody scores. The `k` lessons that
    `lesson_bank.select` takes from all rounds are then shown to everybody alike, each under its outcome; nobody ever sees another's answer.
    Lessons of a last even round are heard by nobody, so an odd number of rounds costs less.

    Outcomes are what the verifier says, so the team's answer is an oracle's where it reads the gold answer.

    Args:
        num_rounds: Of answers and of lessons: the paper's T rounds are 2 T - 1.
        history: "all" (an agent reads all that it has said and been told) or "last_round" (the paper: the current lessons alone when it
            answers, its answer and what came of it when it explains).
        k: How many lessons are shown.
        measure: What of a score says how good an answer is: "speedup" (the score's measure of that name; only a lesson of at least 1.1
            is shown for its speed), or "value" (any task; of code the share of the tests passed): the discussion then ends after a round
            with a right answer.
        factor: "last" or "running", as in `lesson_bank.lessons`.
        show_scores: As in `Protocol`.

    Raises:
        ValueError: k below 1, or an unknown word.
    """

    name = "lessons"
    simultaneous = True
    tells_outcomes = True
    default_num_agents = 3

    def __init__(
        self,
        num_rounds: int = 3,
        history: str = "all",
        k: int = 4,
        measure: str = "value",
        factor: str = "last",
        show_scores: bool = False,
    ) -> None:
        super().__init__(num_rounds, history, show_scores)
        if measure not in (SPEEDUP, "value"):
            raise UserValueError(f"measure {measure!r} is unknown; use {SPEEDUP!r} or 'value'.")
        if factor not in ("last", "running"):
            raise UserValueError(f"factor {factor!r} is unknown; use 'last' or 'running'.")
        self.k, self.measure, self.factor = count_of("k", k), measure, factor

    @property
    def reads_scores(self) -> bool:
        return True

    @property
    def floor(self) -> float:
        """The adjusted speed-up from which on a lesson is shown for it."""
        return FLOOR if self.measure == SPEEDUP else 0.0

    def scored(self, agent: str, round: int) -> bool:
        return not teaches(round)

    def over(self, transcript: Transcript) -> bool:
        last = transcript.round(transcript.completed_rounds - 1)
        return self.measure == "value" and any(outcome(turn.score, "value") == "right" for turn in last)

    def bank(self, transcript: Transcript) -> tuple[Lesson, ...]:
        """All lessons so far, as `lesson_bank.lessons` has them by these settings."""
        return lessons(transcript, self.k, measure=self.measure, floor=self.floor, factor=self.factor)

    def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        return [self._lessons(t) if teaches(t.completed_rounds - 1) else self._outcomes(t) for t in transcripts]

    def _outcomes(self, transcript: Transcript) -> tuple[Turn, ...]:
        """What everybody is told of its own answer."""
        last = transcript.completed_rounds - 1
        told = [(turn.agent, self._told(turn.score)) for turn in transcript.standing(last)]
        return tuple(Turn(_OUTCOME + agent, last, text, kind="feedback") for agent, text in told)

    def _told(self, score: Score | None) -> str:
        kind = outcome(score, self.measure)
        said = f"Your answer is {_what(kind, speed(score, self.measure))}"
        if score is not None and score.status == "timeout":
            said += ": it takes too long"
        elif score is not None and kind == "not_compilable" and score.explanation:
            said += ": " + "\n".join(score.explanation.splitlines()[:_LOG])
        elif score is not None and self.measure == "value" and 0 < score.value < 1:
            said += f", worth {score.value:.2f} of 1"
        return f"{said}. Explain in one or two sentences what {_WHY[kind]}."

    def _lessons(self, transcript: Transcript) -> tuple[Turn, ...]:
        """The selected lessons, each under its outcome, and what they are for. A blank one stays blank, as context checks count it."""
        last = transcript.completed_rounds - 1
        chosen = select(self.bank(transcript), self.k, self.floor)
        shown = [(f"lesson ({_what(lesson.outcome, lesson.speedup)})", lesson.text) for lesson in chosen]
        return tuple(Turn(name, last, text, kind="feedback") for name, text in [*shown, (LESSONS, _CLOSING)])

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        known = [t for t in self.settled(transcript, agent) if t.agent == agent or self._addressed(t, agent)]
        if self.history == "all":
            return tuple(known)
        latest = max((n for n, turn in enumerate(known) if turn.said), default=-1)
        return tuple(known[latest + (not teaches(transcript.completed_rounds)) :]) if latest >= 0 else ()

    def _addressed(self, turn: Turn, agent: str) -> bool:
        return not turn.said and (not turn.agent.startswith(_OUTCOME) or turn.agent == _OUTCOME + agent)

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        return f"{instruction} {_ASK}".strip()

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return best_of_history(transcript, self.measure)

    def __repr__(self) -> str:
        more = {"k": self.k, "measure": self.measure, "factor": self.factor}
        return super().__repr__()[:-1] + "".join(f", {name}={value!r}" for name, value in more.items()) + ")"


def _what(kind: Outcome, speedup: float) -> str:
    """What a program is, in words."""
    if kind in ("faster", "slower"):
        how = "no" if kind == "slower" else "significantly" if speedup >= FLOOR else "slightly"
        return f"{how} faster than the original: {speedup:.3g} times as fast"
    words = {"right": "right", "incorrect": "wrong", "not_compilable": "nothing that can be read or built"}
    return words.get(kind, "noted, and nobody has said yet how good it is")
