"""Answers that are easy to tell apart, and a training that takes a second."""

from __future__ import annotations

import random

from maporl.learned_verifier.answers import LabelledAnswer
from maporl.learned_verifier.training import Settings
from maporl.types import Question

QUICK = Settings(r=4, alpha=8, dropout=0.0, learning_rate=3e-3, epochs=4, batch_size=16)


def letters(number: int) -> list[LabelledAnswer]:
    """Right answers begin with "good", whatever is asked."""
    draw = random.Random(0)
    found = []
    for n in range(number):
        question = Question(f"Which {draw.choice('abcdefgh')}?", str(n))
        found += [LabelledAnswer(question, f"{word} {draw.choice('xyz')}", word == "good") for word in ("good", "bad")]
    return found
