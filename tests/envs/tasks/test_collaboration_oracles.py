"""Section 2 of MAPoRL in numbers: the oracles against the published figures, random draws, and brute force."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest

from maporl.envs import CollaborationGame
from maporl.envs.tasks.collaboration_game import GameRules
from maporl.envs.tasks.collaboration_oracles import (
    best_response,
    co_train,
    indifference,
    is_nash,
    is_risk_dominant,
    matrix_logit,
    payoff_matrix,
    play,
    policy_gradient,
    quantal_response,
)

LONG = GameRules(num_rounds=10, threshold=14)  # r_col .3, r_ind .5, r_syn 1
LONGER = GameRules(num_rounds=20, threshold=28)
BOUNDARIES = [("round_and_count", 0.687), ("round", 0.716), ("count", 0.717)]


def two_rounds(r_col: float = 0.3, r_ind: float = 0.5, r_syn: float = 1.0, threshold: int = 2) -> GameRules:
    return GameRules(2, 2, threshold, r_col, r_ind, r_syn)


class TestTwoRounds:
    def test_matrix(self) -> None:
        assert payoff_matrix(two_rounds()) == pytest.approx(np.array([[1.3, 0.8], [1.0, 1.0]]))
        assert payoff_matrix(two_rounds(threshold=1)) == pytest.approx(np.array([[1.3, 1.3], [1.5, 1.0]]))

    @pytest.mark.parametrize(
        ("r_ind", "indifferent", "nash", "dominant"), [(0.5, 0.4, 0.7, 0.9), (0.6, 0.75, 0.9, 1.2)]
    )
    def test_conditions(self, r_ind: float, indifferent: float, nash: float, dominant: float) -> None:
        assert indifference(payoff_matrix(two_rounds(r_ind=r_ind))) == pytest.approx(indifferent)
        for side in (-1e-6, 1e-6):
            assert is_nash(payoff_matrix(two_rounds(r_ind=r_ind, r_syn=nash + side))) == (side > 0)
            assert is_risk_dominant(payoff_matrix(two_rounds(r_ind=r_ind, r_syn=dominant + side))) == (side > 0)

    def test_conditions_in_general(self) -> None:
        for r_col, r_ind, r_syn in np.sort(np.random.default_rng(0).uniform(0, 2, (1000, 3))):
            matrix = payoff_matrix(two_rounds(r_col, r_ind, r_syn))
            assert is_nash(matrix) == (r_syn >= 2 * r_ind - r_col)
            assert is_risk_dominant(matrix) == (r_syn > 3 * r_ind - 2 * r_col)
            assert indifference(matrix) == pytest.approx((r_ind - r_col) / (r_syn - r_ind))

    def test_no_indifference(self) -> None:
        assert math.isnan(indifference(np.array([[1.0, 1.0], [0.5, 0.5]])))

    @pytest.mark.parametrize(
        ("r_ind", "tau", "static", "dynamic"),
        [(0.5, 0.1, 0.93577, 0.9520), (0.5, 0.05, 0.99746, 0.9976), (0.6, 0.1, 0.05939, 0.0600)],
    )
    def test_logit_equilibria(self, r_ind: float, tau: float, static: float, dynamic: float) -> None:
        rules = two_rounds(r_ind=r_ind)
        assert matrix_logit(payoff_matrix(rules), tau) == pytest.approx(static, abs=5e-6)
        assert quantal_response(rules, tau)[0, 0] == pytest.approx(dynamic, abs=5e-5)

    @pytest.mark.parametrize("threshold", [2, 1])
    def test_observation_1_by_draws(self, threshold: int) -> None:
        agreed = 0
        draws = np.random.default_rng(threshold).uniform(0, 1, (5000, 4)) * [1, 1, 3, 1]
        for low, high, r_syn, p in draws:
            r_col, r_ind = sorted((low, high))
            pivotal = p if threshold == 2 else 1 - p
            expected = (r_syn - r_ind) * pivotal >= r_ind - r_col
            agreed += best_response(two_rounds(r_col, r_ind, r_syn, threshold), p)[0, 0] == expected
        assert agreed == 5000

    def test_half_is_passed_iff_risk_dominant(self) -> None:
        rng = np.random.default_rng(0)
        sides = []
        for r_col, r_ind in np.sort(rng.uniform(0, 1, (500, 2))):
            r_syn = r_ind + rng.exponential(2 * (r_ind - r_col))
            matrix, tau = payoff_matrix(two_rounds(r_col, r_ind, r_syn)), 10 ** rng.uniform(-2, 1)
            sides.append(is_risk_dominant(matrix))
            assert (matrix_logit(matrix, tau) > 0.5) == sides[-1]
        assert 100 < sum(sides) < 400  # both cases are common


class TestLongerGames:
    @pytest.mark.parametrize(
        ("rules", "tau", "entropy", "first", "half", "synergy"),
        [
            (LONG, 0.1, False, 0.9031, 0.8346, 0.7897),
            (LONGER, 0.1, False, 0.9952, 0.9818, 0.9856),
            (LONG, 0.1, True, 0.2449, 0.1842, 0.0561),
            (LONG, 0.05, False, 0.0206, 0.0188, 0.0004),  # a smaller tau is not always more collaboration
            (LONGER, 0.05, False, 0.9951, 0.9906, 0.9900),
        ],
    )
    def test_quantal_response(
        self, rules: GameRules, tau: float, entropy: bool, first: float, half: float, synergy: float
    ) -> None:
        found = play(rules, quantal_response(rules, tau, entropy_in_values=entropy))
        rounds = rules.num_rounds // 2
        assert found.collaboration[0] == pytest.approx(first, abs=5e-5)
        assert found.collaboration[:rounds].mean() == pytest.approx(half, abs=5e-5)
        assert found.synergy[-1] == pytest.approx(synergy, abs=5e-5)

    def test_steps(self) -> None:
        assert quantal_response(LONG, 0.1, step=0.5) == pytest.approx(quantal_response(LONG, 0.1), abs=1e-7)
        for step in (0.9, 1.0):
            with pytest.raises(ValueError, match="no fixed point: residual .* use a smaller step"):
                quantal_response(LONG, 0.1, step=step)

    @pytest.mark.parametrize("p", [0.5, 0.6, 0.7])
    @pytest.mark.parametrize(
        ("num_rounds", "threshold", "collaborates"), [(10, 14, 0.0), (20, 28, 0.0), (10, 10, 1.0), (10, 6, 1.0)]
    )
    def test_best_response_to_a_fixed_partner(
        self, num_rounds: int, threshold: int, collaborates: float, p: float
    ) -> None:
        rules = GameRules(num_rounds=num_rounds, threshold=threshold)
        assert play(rules, best_response(rules, p), p).early_collaboration == pytest.approx(collaborates)

    def test_best_response_to_a_nearly_certain_partner(self) -> None:
        found = [play(LONG, best_response(LONG, p), p) for p in (0.965, 0.970)]
        assert found[0].early_collaboration == 0 and found[0].value == pytest.approx(5.0)
        assert found[1].early_collaboration > 0.9


class TestTraining:
    """A partner is frozen in "train one", a learner in "co-train"; gradients are exact."""

    @pytest.mark.parametrize(("start", "collaborates"), [(0.3, 0), (0.5, 0), (0.6, 0), (0.8, 1)])
    def test_co_training(self, start: float, collaborates: float) -> None:
        found = play(LONG, co_train(LONG, start))
        assert found.early_collaboration == pytest.approx(collaborates, abs=0.01)
        assert found.synergy[-1] == pytest.approx(collaborates, abs=0.01)

    @pytest.mark.parametrize(("sees", "boundary"), BOUNDARIES)
    def test_boundaries(self, sees: Literal["round_and_count", "round", "count"], boundary: float) -> None:
        for start, collaborates in ((boundary - 0.001, 0), (boundary + 0.001, 1)):
            found = play(LONG, co_train(LONG, start, sees=sees))
            assert found.early_collaboration == pytest.approx(collaborates, abs=0.01)

    @pytest.mark.slow
    @pytest.mark.parametrize(("sees", "boundary"), BOUNDARIES)
    def test_boundaries_are_no_matter_of_patience(
        self, sees: Literal["round_and_count", "round", "count"], boundary: float
    ) -> None:
        for start, collaborates in ((boundary - 0.0005, 0), (boundary + 0.0005, 1)):
            policy = co_train(LONG, start, sees=sees, learning_rate=10.0, num_iterations=20_000)
            assert play(LONG, policy).early_collaboration == pytest.approx(collaborates, abs=0.001)

    def test_training_one_against_a_frozen_partner(self) -> None:
        soon = play(LONG, co_train(LONG, 0.8, partners=0.8), 0.8)
        assert soon.early_collaboration == pytest.approx(0.988, abs=5e-4)
        assert soon.value == pytest.approx(4.42, abs=0.005)
        late = play(LONG, co_train(LONG, 0.8, partners=0.8, learning_rate=10.0, num_iterations=4000), 0.8)
        assert late.early_collaboration < 0.005 and late.value > 4.99  # acting independently is worth 5
        together = play(LONG, co_train(LONG, 0.8, learning_rate=10.0, num_iterations=4000))
        assert together.early_collaboration > 0.999
        for start in (0.3, 0.5, 0.6):
            assert play(LONG, co_train(LONG, start, partners=start), start).early_collaboration < 0.02

    @pytest.mark.parametrize("sees", ["round", "count"])
    def test_what_a_policy_does_not_see_does_not_matter(self, sees: Literal["round", "count"]) -> None:
        policy = co_train(LONG, 0.6, sees=sees, num_iterations=5)
        along = 1 if sees == "round" else 0
        assert np.ptp(policy, axis=along).max() < 1e-12 < np.ptp(policy, axis=1 - along).max()


SMALL = [
    GameRules(3, 2, 3, 0.2, 0.5, 1.5),
    GameRules(3, 2, 3, 0.2, 0.5, 1.5, effect="same_round"),
    GameRules(2, 3, 3),
    GameRules(2, 3, 9),  # out of reach
]


def random_policy(rules: GameRules, seed: int) -> Any:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (rules.num_rounds, rules.max_count + 1))


@pytest.mark.parametrize("rules", SMALL, ids=str)
class TestBruteForce:
    def test_play_is_the_mean_over_all_games(self, rules: GameRules) -> None:
        own, partners = random_policy(rules, 0), random_policy(rules, 1)
        env = CollaborationGame(**vars(rules))
        value, synergy, collaboration = 0.0, np.zeros(rules.num_rounds), np.zeros(rules.num_rounds)
        for actions in itertools.product((0, 1), repeat=rules.max_count):
            env.reset()
            chance, earned, reached = 1.0, 0.0, []
            for turn, action in enumerate(actions):
                policy = own if turn % rules.num_agents == 0 else partners
                p = policy[env.round, env.count]
                chance *= p if action == 0 else 1 - p
                if turn % rules.num_agents == 0:
                    reached.append(env.count >= rules.threshold)
                env.step(action)
                earned += env.rewards["agent_0"]
            value += chance * earned
            synergy += chance * np.array(reached)
            collaboration += chance * (1 - np.array(actions[:: rules.num_agents]))
        found = play(rules, own, partners)
        assert found.value == pytest.approx(value)
        assert found.synergy == pytest.approx(synergy)
        assert found.collaboration == pytest.approx(collaboration)
        assert found.states.sum(-1) == pytest.approx(np.ones(rules.num_rounds))

    def test_best_response_is_best(self, rules: GameRules) -> None:
        partners = random_policy(rules, 2)
        states = [(t, k) for t in range(rules.num_rounds) for k in range(rules.num_agents * t + 1)]
        best = -np.inf
        for choices in itertools.product((0.0, 1.0), repeat=len(states)):
            policy = np.zeros((rules.num_rounds, rules.max_count + 1))
            for state, choice in zip(states, choices, strict=True):
                policy[state] = choice
            best = max(best, play(rules, policy, partners).value)
        assert play(rules, best_response(rules, partners), partners).value == pytest.approx(best)

    def test_policy_gradient_by_differences(self, rules: GameRules) -> None:
        own, partners, h = random_policy(rules, 3), random_policy(rules, 4), 1e-5
        gradient = policy_gradient(rules, own, partners)
        logits = np.log(own / (1 - own))
        for state in np.ndindex(own.shape):
            change = np.zeros_like(own)
            change[state] = h
            up, down = (play(rules, 1 / (1 + np.exp(-logits - sign * change)), partners).value for sign in (1, -1))
            assert gradient[state] == pytest.approx((up - down) / (2 * h), abs=1e-8)

    def test_quantal_response_answers_itself(self, rules: GameRules) -> None:
        tau = 0.2
        policy = quantal_response(rules, tau)
        states = play(rules, policy).states
        for state in zip(*np.nonzero(states), strict=True):
            worth = []
            for choice in (1.0, 0.0):  # a single deviation in this state, the others' policy as it is
                deviating = policy.copy()
                deviating[state] = choice
                worth.append(play(rules, deviating, policy).value / states[state])
            assert policy[state] == pytest.approx(1 / (1 + np.exp(-(worth[0] - worth[1]) / tau)), abs=1e-8)


def test_the_first_half_before_synergy() -> None:
    # Counts at the start are 0, 1, 3: rounds 1 and 2 come before synergy, and round 3 is under it.
    rules = GameRules(2, 6, 3)
    own, partners = np.zeros((6, 13)), np.zeros((6, 13))
    own[1, 1] = own[2:] = partners[0, 0] = partners[1, 1] = 1
    found = play(rules, own, partners)
    assert found.early_collaboration == 0.5
    assert found.collaboration.tolist() == [0, 1, 1, 1, 1, 1] and found.synergy.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.value == pytest.approx(0.5 + 0.3 + 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: payoff_matrix(LONG), "the matrix is that of two agents, two rounds"),
        (lambda: payoff_matrix(GameRules(2, 2, 2, effect="same_round")), "effect 'next_round'"),
        (lambda: matrix_logit(payoff_matrix(two_rounds()), 0.0), "tau 0.0 must be positive"),
        (lambda: quantal_response(LONG, -1.0), "tau -1.0 must be positive"),
        (lambda: co_train(LONG, 1.0), "start 1.0 must be strictly between 0 and 1"),
        (lambda: co_train(LONG, 0.5, sees="nothing"), "unknown sees 'nothing'; one of: round_and_count, round, count"),  # type: ignore[arg-type]
        (lambda: play(LONG, np.zeros(3)), r"shape \(10, 21\)"),
        (lambda: best_response(LONG, -0.1), "numbers from 0 to 1"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
