"""Labelled answers from a team: many discussions of every question, until there are right and wrong ones enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.learned_verifier.answers import LabelledAnswer
from maporl.rollouts.play import rollout
from maporl.types import Question

__all__ = ["WRONG", "sample_answers"]

WRONG = "Make one mistake that is easy to overlook, so that your final answer is wrong."
"""Asked of the speakers where wrong answers are short (MAPoRL balances by prompts that ask for a plausible wrong answer)."""

STREAM = 23
"""Of this sampling: it meets no other randomness of a run with the same seed."""

Progress = Callable[[int, int], None]


def sample_answers(
    env: DiscussionEnv,
    team: Team,
    questions: Sequence[Question],
    k: int,
    *,
    generator: str = "",
    wave: int = 4,
    waves: int = 8,
    wrong: str | None = WRONG,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[LabelledAnswer]:
    """Discuss questions until each has `k` right and `k` wrong answers, or `waves` waves are over.

    Every message of every round is an answer, labelled by the task's ground truth; one of which nobody knows whether it is right is
    left out. The later half of the waves asks for wrong answers where those are what is missing.

    Args:
        env: The task.
        team: Who answers.
        questions: Of which.
        k: Right and wrong answers that a question shall have.
        generator: How the team is called in the answers.
        wave: Discussions of a question between two looks at what is missing.
        waves: At most so many.
        wrong: What is added to the instruction where wrong answers are missing; None asks nothing.
        seed: Of everything.
        progress: Told (questions that have enough, all).

    Raises:
        ValueError: The task has no ground truth.
    """
    if env.ground_truth is None:
        raise UserValueError(
            f"{type(env).__name__} has no rule that says what is right, so its answers cannot be labelled; give ground_truth."
        )
    found: dict[str, list[LabelledAnswer]] = {q.hash: [] for q in questions}
    misled = env if not wrong else env.remade(instruction=f"{env.instruction} {wrong}".strip())
    for number in range(waves):
        missing = {q.hash: _missing(found[q.hash], k) for q in questions}
        if progress is not None:
            progress(sum(not kinds for kinds in missing.values()), len(questions))
        open_questions = [q for q in questions if missing[q.hash]]
        if not open_questions:
            break
        late = number >= (waves + 1) // 2
        short_of_wrong = {q.hash for q in open_questions if late and missing[q.hash] == {False}}
        for misleading, task in enumerate((env, misled)):
            starts = [q for q in open_questions if (q.hash in short_of_wrong) == misleading for _ in range(wave)]
            for answer in _answers(task, team, starts, (seed, STREAM, number, misleading), generator):
                found[answer.question.hash].append(answer)
    return [answer for answers in found.values() for answer in answers]


def _missing(answers: Sequence[LabelledAnswer], k: int) -> set[bool]:
    """Of which kind there are fewer than k."""
    return {kind for kind in (True, False) if sum(a.correct is kind for a in answers) < k}


def _answers(
    env: DiscussionEnv, team: Team, starts: Sequence[Question], seed: Sequence[int], generator: str
) -> Iterator[LabelledAnswer]:
    for episode in rollout(env, team, starts, seed=seed):
        for turn in episode.transcript.turns:
            if turn.correct is not None:
                yield LabelledAnswer(episode.transcript.question, turn.text, turn.correct, generator, turn.round)
