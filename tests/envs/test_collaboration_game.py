"""The collaboration game as an environment: PettingZoo's own tests, rounds paid by hand, simulated opponents, bad input."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)

import maporl.envs
from maporl.envs import CollaborationGame
from maporl.envs.collaboration_game import GameRules
from maporl.envs.collaboration_oracles import best_response, play, quantal_response

KINDS: list[dict[str, Any]] = [
    {},
    {"num_agents": 3, "num_rounds": 4, "threshold": 5},
    {"num_rounds": 1, "threshold": 1, "effect": "same_round"},
    {"opponents": 0.7},
]


def played(env: CollaborationGame, joint_actions: Sequence[Sequence[int]]) -> list[list[float]]:
    """The rewards of each round, through the parallel interface."""
    parallel = env.parallel()
    parallel.reset(seed=0)
    paid = []
    for actions in joint_actions:
        _, rewards, *_ = parallel.step(dict(zip(parallel.agents, actions, strict=True)))
        paid.append(list(rewards.values()))
    assert not parallel.agents  # the joint actions are a whole game
    return paid


class TestPettingZoo:
    @pytest.mark.parametrize("arguments", KINDS, ids=str)
    def test_aec(self, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # What is observed is two counts: neither an image nor a vector of floats, and (0, 0) at the start.
            warnings.filterwarnings("ignore", message=".* probably should be gymnasium.spaces.box")
            warnings.filterwarnings("ignore", message=".* numpy array is all zeros")
            api_test(CollaborationGame(**arguments), num_cycles=100)
            seed_test(lambda: CollaborationGame(**arguments), num_cycles=100)
            render_test(lambda **more: CollaborationGame(**arguments, **more))
            state_test(CollaborationGame(**arguments), CollaborationGame.parallel_env(**arguments))

    @pytest.mark.parametrize("arguments", KINDS, ids=str)
    def test_parallel(self, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        parallel_api_test(CollaborationGame.parallel_env(**arguments), num_cycles=100)
        parallel_seed_test(lambda: CollaborationGame.parallel_env(**arguments), num_cycles=100)

    def test_max_cycles(self) -> None:
        max_cycles_test(CollaborationGame)

    def test_it_is_reachable_and_no_discussion(self) -> None:
        assert maporl.envs.CollaborationGame is CollaborationGame
        assert not issubclass(CollaborationGame, maporl.envs.DiscussionEnv)


class TestRewards:
    def test_before_and_after_synergy(self) -> None:
        # The count at the start of the rounds is 0, 1, 3, 3: synergy from round 3, whatever is done then.
        env = CollaborationGame(num_rounds=4, threshold=3)
        assert played(env, [(0, 1), (0, 0), (1, 1), (0, 1)]) == [[0.3, 0.5], [0.3, 0.3], [1.0, 1.0], [1.0, 1.0]]

    def test_same_round(self) -> None:
        env = CollaborationGame(num_rounds=4, threshold=3, effect="same_round")
        assert played(env, [(0, 1), (0, 0), (1, 1), (0, 1)]) == [[0.3, 0.5], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]

    def test_three_agents_and_own_rewards(self) -> None:
        env = CollaborationGame(num_agents=3, num_rounds=2, threshold=2, r_col=-1.0, r_ind=0.0, r_syn=5.0)
        assert played(env, [(0, 1, 0), (1, 0, 1)]) == [[-1.0, 0.0, -1.0], [5.0, 5.0, 5.0]]
        assert played(env, [(1, 1, 0), (0, 1, 1)]) == [[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]

    def test_aec_hides_the_round_in_progress_and_pays_once(self) -> None:
        env = CollaborationGame(num_rounds=2, threshold=2)
        env.reset()
        totals = dict.fromkeys(env.possible_agents, 0.0)
        seen = []
        for agent in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            assert observation in env.observation_space(agent) and not truncated
            seen.append(observation.tolist())
            totals[agent] += reward
            env.step(None if terminated else 0)
        assert seen == [[0, 0]] * 2 + [[1, 2]] * 2 + [[2, 4]] * 2
        assert totals == {"agent_0": 1.3, "agent_1": 1.3}


class TestOpponents:
    def test_one_learner_meets_the_policy_it_was_promised(self) -> None:
        rules = GameRules(num_rounds=6, threshold=7)
        partners = quantal_response(rules, tau=0.1)
        env = CollaborationGame(num_rounds=6, threshold=7, opponents=partners)
        env.reset(seed=0)
        returns, synergy = [], []
        for _ in range(2000):
            env.reset()
            total, reached = 0.0, 0.0
            for _ in range(6):
                reached = float(env.count >= 7)
                env.step(0)
                total += env.rewards["agent_0"]
            returns.append(total)
            synergy.append(reached)
        exact = play(rules, 1.0, partners)
        for drawn, expected in ((returns, exact.value), (synergy, exact.synergy[-1])):
            assert abs(np.mean(drawn) - expected) < 4 * np.std(drawn) / np.sqrt(len(drawn))

    @pytest.mark.parametrize(("opponents", "count"), [(0.0, 1), (1.0, 3)])
    def test_a_certain_opponent(self, opponents: float, count: int) -> None:
        env = CollaborationGame(num_agents=3, num_rounds=1, opponents=opponents)
        env.reset()
        assert env.agents == ["agent_0"]
        env.step(0)
        assert env.count == count and env.terminations == {"agent_0": True}

    def test_a_best_responding_opponent(self) -> None:
        env = CollaborationGame(num_rounds=2, threshold=2, opponents=best_response(GameRules(2, 2, 2), 0.6))
        env.reset()
        env.step(1)
        assert env.count == 1  # .6 is more than p* = .4

    def test_seeds(self) -> None:
        def counts(seed: int) -> list[int]:
            env = CollaborationGame(opponents=0.5)
            env.reset(seed=seed)
            found = []
            for _ in range(10):
                env.step(1)
                found.append(env.count)
            return found

        assert counts(3) == counts(3) != counts(4)


class TestOtherPromises:
    def test_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        env = CollaborationGame(num_rounds=2, threshold=2, render_mode="ansi")
        env.reset()
        env.step(0)
        env.step(1)
        text = env.render()
        assert text is not None and text.endswith(
            "[round 1] 1 collaborated, 1 so far; earned: agent_0 0.3, agent_1 0.5"
        )
        shown = CollaborationGame(num_rounds=2, threshold=2, render_mode="human")
        shown.reset()
        shown.step(0)
        shown.step(1)
        assert capsys.readouterr().out.strip() == text

    def test_pickle_and_deep_copy(self) -> None:
        env = CollaborationGame(opponents=0.5)
        env.reset(seed=1)
        env.step(0)
        for twin in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
            while not twin.terminations["agent_0"]:
                twin.step(0)
            assert (env.round, twin.round) == (1, 10)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"num_agents": 1}, "num_agents 1 must be a whole number, at least 2"),
            ({"num_rounds": 0}, "num_rounds 0"),
            ({"max_cycles": 0}, "num_rounds 0"),
            ({"threshold": 2.5}, "threshold 2.5"),
            ({"threshold": 0}, "threshold 0"),
            ({"r_syn": float("nan")}, "r_syn nan must be a finite number"),
            ({"r_col": 0.5}, "r_col 0.5 must be less than r_ind 0.5"),
            ({"effect": "never"}, "unknown effect 'never'; one of: next_round, same_round"),
            ({"opponents": "friends"}, "unknown opponents 'friends'"),
            ({"opponents": 1.2}, "numbers from 0 to 1"),
            ({"opponents": np.full((10, 20), 0.5)}, r"shape \(10, 21\) .*, this one \(10, 20\)"),
            ({"opponents": float("nan")}, "numbers from 0 to 1"),
            ({"render_mode": "film"}, "unknown render_mode 'film'"),
        ],
    )
    def test_bad_arguments(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            CollaborationGame(**arguments)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("action", [2, -1, None, "collaborate", 0.5])
    def test_bad_action(self, action: Any) -> None:
        env = CollaborationGame()
        env.reset()
        with pytest.raises(ValueError, match="an action is 0"):
            env.step(action)
        assert env.state().tolist() == [0, 0] and env.agent_selection == "agent_0"

    def test_before_and_after_the_game(self) -> None:
        env = CollaborationGame(num_rounds=1, opponents=0.5)
        for call in (env.state, env.render, lambda: env.step(0)):
            with pytest.raises(RuntimeError, match="reset"):
                call()
        env.reset()
        env.step(0)
        env.step(None)
        with pytest.raises(RuntimeError, match="the game is over"):
            env.step(0)
