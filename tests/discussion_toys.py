"""A tiny verifier and tasks, so that these tests stand on the environment alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maporl.envs import DiscussionEnv
from maporl.types import Question, Score, Transcript, Turn


class Contains:
    """Right if the gold answer is in the text; the value can be told in the text as "v=0.7" (then it is learned)."""

    uses_gold = True
    rule_based = True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, question: Question, response: str) -> Score:
        correct = question.answer in response
        return Score(float(correct), correct, question.answer if correct else None)

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        self.batches.append(len(questions))
        return [self(question, response) for question, response in zip(questions, responses, strict=True)]

    def equivalent(self, a: str, b: str) -> bool:
        return a == b


class Told(Contains):
    """A stand-in for a learned verifier: reads its value off the text and does not know what is right."""

    uses_gold = False
    rule_based = False

    def __call__(self, question: Question, response: str) -> Score:
        try:
            value = float(response.partition("v=")[2])
        except ValueError:
            value = 0.0
        return Score(value, None)


class Digits(DiscussionEnv):
    """Which digit? Every agent is told something that the others are not."""

    metadata = {"name": "digits"}
    instruction = "Name the digit."
    default_verifier = Contains

    def load(self, split: str) -> Iterable[Question]:
        numbers = range(200) if split == "train" else range(200, 220)
        secret = [f"secret of {agent} xyzzy" for agent in self.possible_agents]
        for n in numbers:
            private = {f"agent_{i}": f"{text} {n}" for i, text in enumerate(secret)}
            yield Question(f"Which digit? ({n})", f"<{n}>", private=private)


def discussion(
    values: Sequence[Sequence[float | None]],
    right: Sequence[Sequence[bool | None]] | None = None,
    num_rounds: int | None = None,
    answers: Sequence[Sequence[str | None]] | None = None,
    texts: Sequence[Sequence[str]] | None = None,
) -> Transcript:
    """A transcript from tables [round][agent]; the last round may be short. A value of None is an unscored turn."""
    agents = tuple(f"agent_{index}" for index in range(len(values[0])))
    turns = []
    for t, row in enumerate(values):
        for a, value in enumerate(row):
            correct = None if right is None else right[t][a]
            answer = None if answers is None else answers[t][a]
            score = None if value is None else Score(value, correct, answer)
            turns.append(Turn(agents[a], t, "" if texts is None else texts[t][a], score, score))
    return Transcript(Question("?", "!"), agents, num_rounds or len(values), tuple(turns))
