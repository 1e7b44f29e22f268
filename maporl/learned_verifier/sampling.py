"""Labelled answers from a team: many discussions of every question, until there are right and wrong ones enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.learned_verifier.answers import LabelledAnswer
from maporl.rollouts.play import rollout
from maporl.types import Episode, Question

__all__ = ["WRONG", "answers_of", "lacking", "sample_waves"]

WRONG = "Make one mistake that is easy to overlook, so that your final answer is wrong."
"""Asked of the speakers where wrong answers are short (MAPoRL balances by prompts that ask for a plausible wrong answer)."""

STREAM = 23
"""Of this sampling: it meets no other randomness of a run with the same seed."""


def sample_waves(
    env: DiscussionEnv,
    team: Team,
    questions: Sequence[Question],
    k: int,
    *,
    before: Sequence[Sequence[Episode]] = (),
    wave: int = 4,
    waves: int = 8,
    wrong: str | None = WRONG,
    seed: int = 0,
) -> Iterator[list[Episode]]:
    """Discuss questions until each has `k` right and `k` wrong answers, or `waves` waves are over; yields wave after wave.

    The later half of the waves asks for wrong answers where those are what is missing. A wave depends on the seed, on its number and
    on those before it alone.

    Args:
        env: The task.
        team: Who answers.
        questions: Of which.
        k: Right and wrong answers that a question shall have.
        before: The first waves, if they are there already; they are not yielded again.
        wave: Discussions of a question between two looks at what is missing.
        waves: At most so many.
        wrong: What is added to the instruction where wrong answers are missing; None asks nothing.
        seed: Of everything.

    Raises:
        ValueError: The task has no ground truth.
    """
    if env.ground_truth is None:
        raise UserValueError(
            f"{type(env).__name__} has no rule that says what is right, so its answers cannot be labelled; give ground_truth."
        )
    misled = env if not wrong else env.remade(instruction=f"{env.instruction} {wrong}".strip())
    answers = [answer for episodes in before for answer in answers_of(episodes)]
    for number in range(len(before), waves):
        missing = lacking(answers, questions, k)
        open_questions = [q for q in questions if missing[q.hash]]
        if not open_questions:
            return
        late = number >= (waves + 1) // 2
        short_of_wrong = {q.hash for q in open_questions if late and missing[q.hash] == {False}}
        episodes: list[Episode] = []
        for misleading, task in enumerate((env, misled)):
            starts = [q for q in open_questions if (q.hash in short_of_wrong) == misleading for _ in range(wave)]
            episodes += rollout(task, team, starts, seed=(seed, STREAM, number, misleading), first=len(episodes))
        answers += answers_of(episodes)
        yield episodes


def answers_of(episodes: Iterable[Episode], generator: str = "") -> list[LabelledAnswer]:
    """Every message of every round, labelled by the task's ground truth; one of which nobody knows whether it is right is left out."""
    return [
        LabelledAnswer(episode.transcript.question, turn.text, turn.correct, generator, turn.round)
        for episode in episodes
        for turn in episode.transcript.turns
        if turn.correct is not None
    ]


def lacking(answers: Iterable[LabelledAnswer], questions: Iterable[Question], k: int) -> dict[str, set[bool]]:
    """Hash of each question -> the kinds of answers, right or wrong, of which it has fewer than k."""
    counts = Counter((a.question.hash, a.correct) for a in answers)
    return {q.hash: {kind for kind in (True, False) if counts[q.hash, kind] < k} for q in questions}
