"""Requests: what matters, what counts as asking for it, and the customer that tells it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from maporl.agents.agent import ScriptedAgent
from maporl.agents.simulated_human import SimulatedHuman
from maporl.agents.team import Team
from maporl.envs.tasks.requests import ATTRIBUTES, Requests, asked_for
from maporl.rollouts.play import rollout
from maporl.types import Observation


def team(ask: Any) -> Team:
    return Team({("agent_0", 0): ScriptedAgent(ask), ("agent_1", 0): SimulatedHuman()})


def test_every_kind_needs_two_attributes_and_both_splits_have_every_kind() -> None:
    env = Requests()
    train, test = ([*env.questions("train"), *env.questions("validation")], env.questions("test"))
    assert (len(train), len(test)) == (800, 200)
    needs = {}
    for question in [*train, *test]:
        needs.setdefault(question.metadata["item"], set()).add(question.answer)
        assert [entry.split(":")[0] for entry in question.private["agent_1"].split(". ")] == question.answer.split(", ")
    assert len(needs) == 200 and all(len(found) == 1 for found in needs.values())
    pairs = Counter(answer for (answer,) in needs.values())
    assert {*pairs} == {", ".join(pair) for pair in itertools.combinations(ATTRIBUTES, 2)}
    assert {q.metadata["item"] for q in test} == set(needs)
    assert len(Requests(num_kinds=7).questions("test")) == 7


def test_asking_for_both_earns_all_and_chance_is_one_in_eighteen() -> None:
    env = Requests()
    questions = env.questions("train")
    needed = {q.text: q.answer.split(", ") for q in questions}
    knows = rollout(env, team(lambda o, rng: f"Which {needed[o['question']][o['round']]}?"), questions[:20], seed=0)
    assert [e.transcript.verdict.value for e in knows] == [1.0] * 20
    assert set(knows[0].rewards) == {1.0} and env.team_answer(knows[0].transcript).correct == 1.0
    assert knows[0].transcript.turns[1].text == questions[0].private["agent_1"].split(". ")[0] + "."
    words = list(ATTRIBUTES)
    guesses = rollout(env, team(lambda o, rng: words[rng.integers(6)]), questions, seed=0, branching=(4,))
    assert np.mean([e.transcript.verdict.value for e in guesses]) == pytest.approx(2 / 36, abs=0.012)
    assert {e.transcript.turns[1].text == "It does not matter." for e in guesses} == {True, False}


def test_a_message_asks_for_one_thing() -> None:
    assert asked_for("What COLOUR, please?") == "colour"
    assert asked_for("The price? And the price again?") == "price"
    assert asked_for("Which size or weight?") is None, "else one message could ask for everything"
    assert asked_for("Anything else?") is None and asked_for("oversized, weighty") is None


def test_what_a_message_is_truly_worth() -> None:
    env = Requests()
    question = env.questions("train")[0]
    first, second = question.answer.split(", ")
    other = next(a for a in ATTRIBUTES if a not in (first, second))
    (episode,) = rollout(env, team(lambda o, rng: f"Which {first}?"), [question], seed=0)
    before, after = episode.state(0), episode.state(2)
    assert [env.turn_value(before, text) for text in (first, second, other, "")] == [1, 1, 0, 0]
    assert [env.turn_value(after, text) for text in (first, second, other, "")] == [0, 1, 0, 0]
    assert episode.transcript.verdict.value == 0.0 and not env.team_answer(episode.transcript).correct


def test_the_customer_tells_what_it_is_asked_for() -> None:
    def told(asked: str) -> str:
        observation: Any = {
            "agent": "agent_1",
            "private": "colour: red. size: small.",
            "transcript": ({"agent": "agent_0", "round": 0, "text": asked},),
        }
        (completion,) = SimulatedHuman().act([observation], [np.random.default_rng(0)])
        return completion.text

    assert told("Which colour?") == "colour: red."
    assert told("Colour and size?") == "colour: red. size: small."
    assert told("Which shape?") == told("Tell me all.") == "It does not matter."


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="num_kinds is 201; there are 1 to 200"):
        Requests(num_kinds=201)


def test_a_lone_agent_may_ask_too() -> None:
    env = Requests(1, view="all")
    question = env.questions("train")[0]
    asks = question.answer.split(", ")

    def speak(observation: Observation, rng: np.random.Generator) -> str:
        assert all(f"{word}: " in observation["private"] for word in asks)
        return asks[observation["round"]]

    (episode,) = rollout(env, Team({("agent_0", 0): ScriptedAgent(speak)}), [question], seed=0)
    assert episode.transcript.verdict.value == 1.0
