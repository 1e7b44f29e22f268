"""A critic for every ordered prefix of agents: what a state is worth once the first i of them have chosen their actions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from maporl.errors import UserValueError

__all__ = ["PrefixValues", "Trajectory"]

Step = tuple[Hashable, Sequence[str], float]
"""A state, everybody's action in it in speaking order, and the reward of the step."""
Trajectory = Sequence[Step]


class PrefixValues:
    """Tables of Q^{1:i}(s, a^1 ... a^i), by Monte-Carlo regression (ReAd, 2405.14314): the mean discounted return over all steps at which
    the state was s and the first i agents did this. Q^{1:0} is V, regressed like the others.

    What was never met has the value NaN.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[Hashable, tuple[str, ...]], float] = {}

    def fit(self, trajectories: Iterable[Trajectory], gamma: float = 0.9) -> PrefixValues:
        """Regress anew on the trajectories of the agents that are to be gated.

        Raises:
            ValueError: `gamma` outside [0, 1], no trajectories, or a reward that is no finite number.
        """
        if not 0 <= gamma <= 1:
            raise UserValueError(f"gamma is {gamma}; it must be in [0, 1].")
        sums: dict[tuple[Hashable, tuple[str, ...]], float] = defaultdict(float)
        counts: dict[tuple[Hashable, tuple[str, ...]], int] = defaultdict(int)
        for trajectory in trajectories:
            future = 0.0
            for state, actions, reward in reversed(trajectory):
                if not math.isfinite(reward):
                    raise UserValueError(f"a reward is {reward}; it must be a finite number.")
                future = reward + gamma * future
                for size in range(len(actions) + 1):
                    key = (state, tuple(actions[:size]))
                    sums[key] += future
                    counts[key] += 1
        if not sums:
            raise UserValueError("there are no trajectories; give at least one with a step.")
        self.values = {key: total / counts[key] for key, total in sums.items()}
        return self

    def value(self, state: Hashable, actions: Sequence[str] = ()) -> float:
        """Q^{1:i} of the first i actions; of none, V."""
        return self.values.get((state, tuple(actions)), math.nan)

    def advantage(self, state: Hashable, actions: Sequence[str]) -> float:
        """S = Q^{1:i} - Q^{1:i-1}: what the last of these actions adds to those before it.

        Raises:
            ValueError: No action.
        """
        if not actions:
            raise UserValueError("advantage needs at least one action; for the value of a state ask value(state).")
        return self.value(state, actions) - self.value(state, actions[:-1])

    def joint_advantage(
        self, state: Hashable, actions: Sequence[str], waiting: Sequence[str], gamma: float, *, last: bool = False
    ) -> float:
        """ReAd-J's S = Q(s, a) - Q(s, w) / gamma, where w is that everybody waits. Q(s, w) = gamma V(s) needs that there is a next step:
        in the `last` one Q(s, w) is 0."""
        return self.value(state, actions) - (0.0 if last else self.value(state, waiting) / gamma)

    def shuffled(self, seed: int = 0) -> PrefixValues:
        """The same values under other actions and states, each among those of as many agents: the control, which must fail."""
        rng, result = np.random.default_rng(seed), PrefixValues()
        for size in sorted({len(actions) for _, actions in self.values}):
            keys = [key for key in self.values if len(key[1]) == size]
            result.values.update(zip(keys, rng.permutation([self.values[key] for key in keys]).tolist(), strict=True))
        return result
