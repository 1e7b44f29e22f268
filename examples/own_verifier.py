"""A verifier of your own is a function, or a class where it has settings.

maporl train --env arithmetic --env_args.verifier own_verifier:near --model MODEL   # from this folder
maporl train --env arithmetic --env_args.verifier '{name: own_verifier:Brief, max_words: 5}' --model MODEL
"""

from fractions import Fraction

from maporl.envs.verifiers import Number, Verifier
from maporl.types import Question, Score


def near(question: Question, response: str) -> float:
    """Half a point for an answer that is off by one at most."""
    score = Number()(question, response)
    if score.correct or score.answer is None:
        return score.value
    return 0.5 if abs(Fraction(score.answer) - Fraction(question.answer)) <= 1 else 0.0


class Brief(Verifier):
    """The right number, worth less for every word too many."""

    def __init__(self, max_words: int = 10) -> None:
        self.max_words, self.number = max_words, Number()

    def __call__(self, question: Question, response: str) -> Score:
        score = self.number(question, response)
        excess = max(0, len(response.split()) - self.max_words)
        return Score(score.value * 0.9**excess, score.correct, score.answer, score.status, score.explanation)
