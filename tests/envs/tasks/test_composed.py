"""Composed: who is told what, what a team's two parts and a lone agent's program are worth, and how far one gets who knows one word."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from maporl.envs.tasks.composed import MEANINGS, NUMBERS, STEPS, WORDS, Composed, ceiling, guessed, written
from maporl.types import Question

H, M = "helper_0", "main_0"


def meanings(question: Question) -> tuple[str, str]:
    first, second = question.metadata["words"]
    return MEANINGS[first], MEANINGS[second]


def test_every_pair_of_words_is_asked_once_and_every_word_is_in_both_splits() -> None:
    env = Composed()
    parts = [env.questions(split) for split in ("train", "validation", "test")]
    pairs = Counter(tuple(q.metadata["words"]) for part in parts for q in part)
    assert set(pairs) == set(itertools.product(WORDS, repeat=2)) and set(pairs.values()) == {1}
    assert len(parts[2]) == 51
    for place in (0, 1):
        assert {q.metadata["words"][place] for q in parts[2]} == set(WORDS)
    assert Counter(MEANINGS.values()) == dict.fromkeys(STEPS, 4)


def test_nothing_passes_by_chance() -> None:
    """What two steps do: another thing than any other two, for every number; so a wrong step passes no assert about it."""
    results = {(a, b): [STEPS[b](STEPS[a](x)) for x in NUMBERS] for a, b in itertools.product(STEPS, repeat=2)}
    for one, other in itertools.combinations(results, 2):
        assert not any(u == v for u, v in zip(results[one], results[other], strict=True)), (one, other)


def test_a_teams_parts_and_a_lone_agents_program_earn_the_same() -> None:
    team, alone = Composed(), Composed(1, view="all")
    for question in team.questions("test")[:2]:
        right, told = meanings(question), alone.told(question)
        assert told.private["agent_0"] == " ".join(question.private[a] for a in ("agent_0", "agent_1"))
        for first, second in itertools.product(STEPS, repeat=2):
            worth = ((first == right[0]) + ((first, second) == right)) / 2
            score = team.team_verifier(question, {H: written(first, second, H), M: written(first, second, M)})
            assert (score.value, score.correct) == (worth, worth == 1)
            assert score.measures["reward"] == (1.5 + worth + 1.5 if worth else 1.5)  # MAGRPO's, measured beside it
            one = alone.verifier(told, written(first, second))
            assert (one.value, one.correct) == (worth, worth == 1)


@pytest.mark.parametrize("num_words", [16, 6, 4, 1])
def test_who_knows_one_word_gets_no_further_than_the_ceiling(num_words: int) -> None:
    """For everything that a seat can be told, the program that is right most often."""
    env = Composed(num_words=num_words)
    questions = [
        q for split in (("train", "validation", "test") if num_words > 4 else ("train",)) for q in env.questions(split)
    ]
    if num_words <= 4:
        questions += list(env.load("test"))
    pairs = {tuple(q.metadata["words"]) for q in questions}
    for seat in (0, 1):
        best = 0
        for word in WORDS[:num_words]:
            programs = Counter(tuple(MEANINGS[w] for w in pair) for pair in pairs if pair[seat] == word)
            best += max(programs.values())
        assert best / len(pairs) == pytest.approx(ceiling(num_words))


def test_who_knows_the_form_only_is_right_in_one_case_of_sixteen() -> None:
    rng, env = np.random.default_rng(0), Composed()
    questions = env.questions("train")
    env.reset(options={"question": questions[0]})
    seen = Counter(guessed(env.observe(H), rng) for _ in range(4000))
    assert (
        set(seen) == {written(step, step, H) for step in STEPS} and max(seen.values()) < 1120
    )  # 4 in 4000: 1000 +- 27
    (program,) = {guessed({**env.observe(H), "agent": "agent_0"}, np.random.default_rng(1)) for _ in range(3)}
    assert "def aux(x)" in program and "def f(x)" in program


def test_a_team_that_knows_the_words_is_right_in_the_sandbox() -> None:
    env = Composed(num_rounds=1, limits={"seconds": 1})
    question = env.questions("test")[0]
    env.reset(options={"question": question})
    assert env.observe(H)["private"].startswith("First ") and env.observe(M)["private"].startswith("Then ")
    for agent in (H, M):
        env.step(written(*meanings(question), agent))
    assert env.transcript.is_complete and env.team_answer().correct == 1.0
    assert env.turn_rewards == (1.0, 1.0)


@pytest.mark.parametrize("number", [0, 17])
def test_words_that_there_are_not(number: int) -> None:
    with pytest.raises(ValueError, match=f"num_words is {number}; there are 1 to 16"):
        Composed(num_words=number)
