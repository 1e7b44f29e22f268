"""Experts: the figures of its card, by going through all of it."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from maporl.agents.partners.expert import SURE, said
from maporl.envs.tasks.related.experts import COLOURS, Experts
from maporl.types import Observation, Question


def says(private: str) -> list[tuple[str, float]]:
    digits = re.findall(r"\d", private)
    return [(digits[0], 1.0)] if len(digits) == 1 else [(digits[0], SURE), (digits[1], 1 - SURE)]


def rates(questions: list[Question]) -> tuple[float, float, list[float]]:
    """How often the majority, the colour's expert and each peer are right."""
    majority, expert, peers = 0.0, 0.0, [0.0] * 3
    for question in questions:
        for combination in itertools.product(*(says(question.private[f"agent_{n}"]) for n in (1, 2, 3))):
            answers, chance = [a for a, _ in combination], float(np.prod([p for _, p in combination]))
            right = [answer == question.answer for answer in answers]
            majority += chance * (Counter(answers).most_common(1)[0][0] == question.answer)
            expert += chance * right[COLOURS.index(question.metadata["item"])]
            peers = [known + chance * r for known, r in zip(peers, right, strict=True)]
    number = len(questions)
    return majority / number, expert / number, [p / number for p in peers]


def questions(env: Experts) -> list[Question]:
    return [q for split in ("train", "validation", "test") for q in env.questions(split)]


def test_the_closed_forms() -> None:
    found = questions(Experts())
    assert len(found) == 4320 == len({(q.text, *q.private.values()) for q in found})
    majority, expert, peers = rates(found)
    assert (majority, expert) == pytest.approx((0.60625, 0.9625))
    assert peers == pytest.approx([0.6125] * 3, abs=1e-9)
    assert sum(q.metadata["easy"] for q in found) == 4320 / 4
    assert {q.private.get("agent_0") for q in found} == {None}, "the leader knows nothing"


def test_things_and_houses_tell_nothing() -> None:
    """Every name is met with every digit of its colour once, so that it says nothing of it."""
    names = Counter((q.text, q.answer) for q in questions(Experts()))
    assert set(names.values()) == {1} and len({text for text, _ in names}) == 3 * 144


def test_where_names_mean_nothing_no_peer_is_the_expert() -> None:
    majority, expert, peers = rates(questions(Experts(shuffled=True)))
    assert majority == pytest.approx(0.60625), "the same answers, from other seats"
    assert expert == pytest.approx(0.6125 + (0.9625 - 0.6125) / 3, abs=0.12) and max(peers) < 0.75
    assert expert < 0.85


def test_peers_say_what_they_know() -> None:
    env = Experts()
    env.reset(seed=0)

    def shown(private: str) -> Observation:
        return {**env.observe("agent_1"), "private": private}

    rng = np.random.default_rng(0)
    assert {said(shown("7."), rng) for _ in range(50)} == {"Answer: 7"}
    often = Counter(said(shown("7 or 3."), rng) for _ in range(2000))
    assert often["Answer: 7"] / 2000 == pytest.approx(SURE, abs=0.02) and set(often) == {"Answer: 7", "Answer: 3"}
