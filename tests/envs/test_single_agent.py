"""One learner among fixed partners, through Gymnasium's interface."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from discussion_toys import Digits
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.envs import SingleAgentEnv
from maporl.envs.single_agent import tell_private_view
from maporl.types import Completion, Observation

ID = "maporl/SingleAgent-v0"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"env": Digits},
        {"env": Digits, "seat": "agent_1", "num_agents": 3},
        {"env": Digits, "protocol": "round_robin", "seat": "agent_1"},
        {"env": Digits, "protocol": "pipeline", "seat": "verifier_0"},
        {"env": Digits, "num_agents": 1},
        {"env": "arithmetic"},
    ],
    ids=str,
)
def test_gymnasiums_own_checker_has_nothing_to_say(
    arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ID, **arguments)
        check_env(env.unwrapped)
        env.close()


def test_the_default_is_two_witnesses() -> None:
    env = gymnasium.make(ID)
    observation, info = env.reset(seed=0)
    assert env.unwrapped.discussion.metadata["name"] == "two_witnesses"
    assert observation["agent"] == "agent_0" and observation["transcript"] == () and info == {}
    assert "view" in observation["private"]


def test_an_episode_by_hand() -> None:
    heard: list[Observation] = []

    def partner(observation: Observation) -> str:
        heard.append(observation)
        return "I agree."

    env = SingleAgentEnv(Digits, "agent_1", partner, num_rounds=2, shaping="outcome_credit")
    observation, _ = env.reset(seed=1)
    gold = env.discussion.transcript.question.answer
    assert observation["round"] == 0 and observation["transcript"] == ()  # simultaneous: the partner is not heard yet
    observation, reward, terminated, truncated, info = env.step(gold)
    assert (reward, terminated, truncated, info) == (1.0, False, False, {})
    assert [message["text"] for message in observation["transcript"]] == [gold, "I agree."]
    observation, reward, terminated, truncated, info = env.step(gold)
    # Its first message is now worth the last round's mean, one half instead of 1; its last one earns 1.
    assert (reward, terminated, truncated, info) == (0.5, True, False, {"turn_rewards": (0.5, 1.0)})
    assert [message["agent"] for message in heard] == ["agent_0", "agent_0"]
    with pytest.raises(RuntimeError, match="over; call reset"):
        env.step("more")


SHAPINGS = ["own_score", "team_mean", "discounted_team", "outcome_credit", "last_round_team"]


@settings(deadline=None)
@given(
    st.sampled_from(SHAPINGS),
    st.sampled_from(["debate", "round_robin", "pipeline"]),
    st.integers(0, 2),
    st.integers(0, 1000),
)
def test_rewards_add_up_to_what_the_learners_messages_earned(shaping: str, protocol: str, seat: int, seed: int) -> None:
    """For every seat: what is paid before its first message and after its last one is part of it."""
    rng = np.random.default_rng(seed)

    def chance(observation: Observation) -> str:
        number = observation["question"].partition("(")[2].rstrip(")")
        return f"<{number}>" if rng.random() < 0.5 else "no"

    name = Digits(3, 2, protocol=protocol).possible_agents[seat]
    env = SingleAgentEnv(Digits, name, chance, num_agents=3, num_rounds=2, protocol=protocol, shaping=shaping)
    observation, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        observation, reward, over, _, info = env.step(chance(observation))
        total += reward
    assert total == pytest.approx(sum(info["turn_rewards"]), abs=1e-9)


class Actor:
    """What the library's agents look like from here: a batch of observations and generators in, completions out."""

    def act(self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator]) -> list[Completion]:
        return [Completion(f"{rng.integers(100)}") for _, rng in zip(observations, rngs, strict=True)]


def test_partners_may_be_agents_and_are_seeded() -> None:
    def said(seed: int) -> list[str]:
        env = SingleAgentEnv(Digits, partners={"agent_1": Actor(), "agent_2": tell_private_view}, num_agents=3)
        env.reset(seed=seed)
        env.step("hm")
        return [turn.text for turn in env.discussion.transcript.turns]

    assert said(4) == said(4)
    assert said(4)[1] != said(5)[1]
    assert said(4)[2].startswith("secret of agent_2")


def test_options_pass_through() -> None:
    env = SingleAgentEnv(Digits)
    question = env.discussion.questions("test")[0]
    observation, _ = env.reset(options={"question": question})
    assert observation["question"] == question.text


def test_an_environment_may_be_given_and_stays_untouched() -> None:
    discussion = Digits(3, 1)
    env = SingleAgentEnv(discussion, "agent_2")
    env.reset(seed=0)
    assert env.discussion is not discussion and env.discussion.possible_agents == discussion.possible_agents


def test_rendering(capsys: pytest.CaptureFixture[str]) -> None:
    env = gymnasium.make(ID, env=Digits, render_mode="ansi")
    env.reset(seed=0)
    env.step("hello")
    assert "agent_0 (wrong): hello" in env.render()
    human = gymnasium.make(ID, env=Digits, render_mode="human")
    human.reset(seed=0)
    human.step("hello")
    assert "agent_0 (wrong): hello" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"seat": "agent_7"}, ValueError, "unknown seat 'agent_7'; one of: agent_0, agent_1"),
        ({"partners": {}}, ValueError, "no partner for 'agent_1'; partners name nobody"),
        ({"partners": {"agent_0": tell_private_view}}, ValueError, "no partner for 'agent_1'; partners name 'agent_0'"),
        ({"partners": "polite"}, TypeError, "partner 'polite' of 'agent_1' can neither be called nor act"),
        ({"env": "gsm9k"}, ValueError, "unknown env 'gsm9k'"),
        ({"env": 3}, TypeError, "env 3 makes a int"),
        ({"render_mode": "rgb_array"}, ValueError, "unknown render_mode"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SingleAgentEnv(**{"env": Digits, **arguments})


def test_bad_partner_output_names_the_partners_seat() -> None:
    env = SingleAgentEnv(Digits, "agent_1", lambda observation: 5)
    with pytest.raises(TypeError, match="an action is a string; agent_0 got 5"):
        env.reset(seed=0)
