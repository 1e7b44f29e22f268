"""What players of the collaboration game do, computed exactly: equilibria, best responses, and exact policy gradients.

Everything is symmetric: a policy is one table ``[T, K+1]``, the probability of collaborating in (round, count), K = A T;
`partners` is the table that each of the other A-1 agents plays. One probability may stand for a table.

Two different logit equilibria live here. `matrix_logit` is that of the round-1 matrix of the two-round game, whose last round is
played exactly; `quantal_response` is noisy in every round. They agree on who wins and not on the digits.

Source: MAPoRL (Park et al., arXiv 2502.18439), section 2; McKelvey & Palfrey 1998 for the agent quantal response equilibrium;
Harsanyi & Selten 1988 for risk dominance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maporl.envs.tasks.collaboration_game import COLLABORATE, INDEPENDENT, Array, GameRules
from maporl.errors import UserValueError

__all__ = [
    "Play",
    "ascent",
    "best_response",
    "co_train",
    "indifference",
    "is_nash",
    "is_risk_dominant",
    "matrix_logit",
    "payoff_matrix",
    "play",
    "policy_gradient",
    "quantal_response",
]

# Two actions whose values differ by less than this are a tie: they are sums of at most some hundred rewards near 1.
TIE = 1e-10
RESIDUAL = 1e-10
MAX_STEPS = 20_000

# The round-1 matrix of two agents and two rounds.


def payoff_matrix(rules: GameRules) -> Array:
    """[2, 2]: what the row player earns in both rounds by (own, other's) action in round 1, round 2 being played exactly.

    Without synergy that is to act independently in round 2, where collaborating costs and leads nowhere.

    Raises:
        ValueError: Not two agents and two rounds, or the effect is in the same round.
    """
    if (rules.num_agents, rules.num_rounds, rules.effect) != (2, 2, "next_round"):
        raise UserValueError(f"the matrix is that of two agents, two rounds and effect 'next_round', not of {rules}.")
    first, after = rules.rewards()[0], rules.next_counts()[0]  # own action x number of others who collaborate
    matrix = first + np.where(after >= rules.threshold, rules.r_syn, rules.r_ind)
    return matrix[:, ::-1]  # action 0 of the other one is one who collaborates


def is_nash(matrix: Array) -> bool:
    """Whether it is an equilibrium that both collaborate; at threshold 2: r_syn >= 2 r_ind - r_col."""
    return bool(matrix[0, 0] >= matrix[1, 0])


def is_risk_dominant(matrix: Array) -> bool:
    """Whether collaborating is strictly better against one half; at threshold 2: r_syn > 3 r_ind - 2 r_col.

    Where both agents collaborating and both not are equilibria, this is risk dominance.
    """
    return bool(matrix[0].sum() > matrix[1].sum())


def indifference(matrix: Array) -> float:
    """p*, the opponent's probability of collaborating at which both actions are worth the same; NaN if none is."""
    at_0, at_1 = (matrix[COLLABORATE, other] - matrix[INDEPENDENT, other] for other in (INDEPENDENT, COLLABORATE))
    return float(at_0 / (at_0 - at_1)) if at_0 != at_1 else math.nan


def matrix_logit(matrix: Array, tau: float, *, start: float = 0.5, step: float = 0.5) -> float:
    """The symmetric logit equilibrium of a 2 x 2 matrix that is reached from `start`: P(collaborate).

    Args:
        matrix: As `payoff_matrix` gives it.
        tau: Temperature, positive: p = logistic((value of 0 - value of 1) / tau).
        start: P(collaborate) to begin with.
        step: Of the damped fixed-point iteration.

    Raises:
        ValueError: `tau` is not positive, or the iteration did not converge.
    """
    gain = matrix[COLLABORATE] - matrix[INDEPENDENT]
    _check_tau(tau)
    found = _fixed_point(lambda p: _logistic((p * gain[0] + (1 - p) * gain[1]) / tau), np.array([start]), step)
    return float(found[0])


# The whole game.


def best_response(rules: GameRules, partners: float | Array) -> Array:
    """[T, K+1]: 1 where collaborating is best against `partners`, else 0; a tie counts as collaborating.

    By dynamic programming. Under synergy both actions are worth the same, so there it is 1.
    """
    values = _action_values(rules, _others(rules, rules.table(partners)), None)
    return (_gain(values) >= -TIE).astype(np.float64)


def quantal_response(rules: GameRules, tau: float, *, step: float = 0.1, entropy_in_values: bool = False) -> Array:
    """The dynamic agent quantal response equilibrium: [T, K+1].

    In every round and count p = logistic((value of 0 - value of 1) / tau), where the others play p as well and values look
    ahead to such play. Found backwards, in each state by a damped fixed point from one half. Counts that cannot
    occur in a round hold one half.

    Args:
        rules: The game.
        tau: Temperature, positive.
        step: Of the fixed point. Near the threshold one's own collaboration replaces the other's, so that large steps
            swing for ever: for the paper's games at tau = .1 up to .5 converges, .9 and 1 do not; at tau = .05 .5 does not.
        entropy_in_values: Add tau times the policy's entropy to what a state is worth (soft values). The paper's
            "entropy-regularised equilibrium" can be read either way, and the two differ much.

    Raises:
        ValueError: `tau` is not positive, or a fixed point did not converge.
    """
    _check_tau(tau)
    rewards, after = rules.rewards(), rules.next_counts()
    policy = np.full((rules.num_rounds, rules.max_count + 1), 0.5)
    worth = np.zeros(rules.max_count + 1)
    for t in reversed(range(rules.num_rounds)):
        possible = slice(0, rules.num_agents * t + 1)
        outcomes = (rewards + worth[after])[possible]

        def response(p: Array, outcomes: Array = outcomes) -> Array:
            return _logistic(_gain(_against(outcomes, _others(rules, p))) / tau)

        p = policy[t, possible] = _fixed_point(response, policy[t, possible], step)
        worth[possible] = _mean(p, _against(outcomes, _others(rules, p)))
        if entropy_in_values:
            worth[possible] += tau * _entropy(p)
    return policy


@dataclass(frozen=True)
class Play:
    """What happens when one plays `own` and the others `partners`.

    Attributes:
        states: [T, K+1], the distribution of the count at the start of each round.
        collaboration: [T], P(own action is collaborative).
        synergy: [T], P(count >= threshold at the start of the round).
        early_collaboration: Share of collaborative own actions in the first half of the rounds, before synergy.
        value: One's own expected return.
    """

    states: Array
    collaboration: Array
    synergy: Array
    early_collaboration: float
    value: float


def play(rules: GameRules, own: float | Array, partners: float | Array | None = None) -> Play:
    """Exact outcome of one agent playing `own` and each of the others `partners` (default: the same)."""
    own = rules.table(own)
    others = _others(rules, own if partners is None else rules.table(partners))
    states = _state_distribution(rules, own, others)
    early = states[: max(1, rules.num_rounds // 2), : rules.threshold]
    chosen = early * own[: len(early), : rules.threshold]
    return Play(
        states=states,
        collaboration=(states * own).sum(-1),
        synergy=states[:, rules.threshold :].sum(-1),
        early_collaboration=float(chosen.sum() / early.sum()),
        value=float(_mean(own, _action_values(rules, others, own))[0, 0]),
    )


def policy_gradient(rules: GameRules, own: float | Array, partners: float | Array | None = None) -> Array:
    """[T, K+1]: the derivative of one's own expected return by the logits of `own`, the others' policy held fixed.

    P(state) p (1 - p) (value of collaborating - value of acting independently): the policy gradient theorem without
    sampling.
    """
    own = rules.table(own)
    others = _others(rules, own if partners is None else rules.table(partners))
    gain = _gain(_action_values(rules, others, own))
    return _state_distribution(rules, own, others) * own * (1 - own) * gain


def ascent(
    rules: GameRules,
    start: float,
    partners: float | Array | None = None,
    *,
    sees: Literal["round_and_count", "round", "count"] = "round_and_count",
    learning_rate: float = 1.0,
) -> Iterator[Array]:
    """Plain gradient ascent on the logits of a tabular policy, with exact gradients: a policy [T, K+1] before each step, without end.

    All agents start alike and each ascends its own return, so that they stay alike and one table is everybody's. With
    `partners`, only one learns and the others keep that policy: training one against frozen partners.

    Args:
        rules: The game.
        start: P(collaborate) in every state to begin with, strictly between 0 and 1.
        partners: None (everybody learns), or the frozen policy of the others.
        sees: What the policy depends on: states that it cannot tell apart share one logit.
        learning_rate: Of the ascent.

    Raises:
        ValueError: `start` is not strictly between 0 and 1, or an unknown word for `sees`.
    """
    if not 0 < start < 1:
        raise UserValueError(f"start {start} must be strictly between 0 and 1: a certain policy has no gradient.")
    axes = {"round_and_count": (), "round": (1,), "count": (0,)}
    if sees not in axes:
        raise UserValueError(f"unknown sees {sees!r}; one of: {', '.join(axes)}.")
    logits = np.full((rules.num_rounds, rules.max_count + 1), math.log(start / (1 - start)))
    while True:
        policy = _logistic(logits)
        yield policy
        gradient = policy_gradient(rules, policy, partners)
        logits = logits + learning_rate * gradient.sum(axes[sees], keepdims=True)


def co_train(
    rules: GameRules,
    start: float,
    partners: float | Array | None = None,
    *,
    sees: Literal["round_and_count", "round", "count"] = "round_and_count",
    learning_rate: float = 1.0,
    num_iterations: int = 1500,
) -> Array:
    """Where `ascent` is after `num_iterations` steps: [T, K+1]. The other arguments, and the errors, are its."""
    policies = ascent(rules, start, partners, sees=sees, learning_rate=learning_rate)
    return next(itertools.islice(policies, num_iterations, None))


def _logistic(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))  # never overflows


def _entropy(p: Array) -> Array:
    q = np.clip(p, 1e-300, 1 - 1e-16)
    return -(q * np.log(q) + (1 - q) * np.log1p(-q))


def _mean(p: Array, values: Array) -> Array:
    """Value of playing p: [...] from [...] and [..., 2]."""
    return p * values[..., COLLABORATE] + (1 - p) * values[..., INDEPENDENT]


def _gain(values: Array) -> Array:
    """What collaborating is worth more than acting independently: [...] from [..., 2]."""
    return values[..., COLLABORATE] - values[..., INDEPENDENT]


def _against(outcomes: Array, others: Array) -> Array:
    """[K+1, 2]: what either action is worth, from its worth by how many others collaborate [K+1, 2, A] and their distribution."""
    return np.einsum("kaj,kj->ka", outcomes, others)


def _others(rules: GameRules, p: Array) -> Array:
    """[..., A]: the binomial distribution of how many of the A-1 others collaborate, each with p [...]."""
    j = np.arange(rules.num_agents)
    ways = np.array([math.comb(rules.num_agents - 1, int(n)) for n in j])
    return ways * p[..., None] ** j * (1 - p[..., None]) ** j[::-1]


def _action_values(rules: GameRules, others: Array, own: Array | None) -> Array:
    """[T, K+1, 2]: what either action is worth, followed by `own` (None: by the best one), against `others` [T, K+1, A]."""
    rewards, after = rules.rewards(), rules.next_counts()
    values = np.zeros((rules.num_rounds, rules.max_count + 1, 2))
    worth = np.zeros(rules.max_count + 1)
    for t in reversed(range(rules.num_rounds)):
        values[t] = _against(rewards + worth[after], others[t])
        worth = values[t].max(-1) if own is None else _mean(own[t], values[t])
    return values


def _state_distribution(rules: GameRules, own: Array, others: Array) -> Array:
    """[T, K+1]: the distribution of the count at the start of each round."""
    states = np.zeros((rules.num_rounds, rules.max_count + 1))
    states[0, 0] = 1.0
    for t in range(rules.num_rounds - 1):
        for j in range(rules.num_agents):  # others who collaborate
            mass = states[t] * others[t, :, j]
            for more, part in ((j, mass * (1 - own[t])), (j + 1, mass * own[t])):
                states[t + 1, more:] += part[: len(part) - more]
    return states


def _fixed_point(response: Callable[[Array], Array], start: Array, step: float) -> Array:
    """p = response(p), every element on its own, by p += step (response(p) - p)."""
    p = start.copy()
    for _ in range(MAX_STEPS):
        change = response(p) - p
        if np.abs(change).max() < RESIDUAL:
            return p
        p += step * change
    raise UserValueError(
        f"no fixed point: residual {np.abs(change).max():.1e} after {MAX_STEPS} iterations at step {step}; use a smaller step."
    )


def _check_tau(tau: float) -> None:
    if not tau > 0:
        raise UserValueError(f"tau {tau} must be positive.")
