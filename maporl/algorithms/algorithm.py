"""What every algorithm is: episodes in, metrics out, and a state that can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maporl.agents.team import Team
from maporl.errors import UserValueError
from maporl.types import Episode

__all__ = ["Algorithm", "Update", "check"]


@dataclass(frozen=True)
class Update:
    """What came of one update.

    Attributes:
        metrics: Named ``train/...``.
        advantages: (number of the episode, number of the turn) -> advantage of the message, or of each of its tokens, [T], NaN of forced
            ones. For people to read, so two updates may be equal without it; an algorithm may leave it empty.
    """

    metrics: dict[str, float]
    advantages: Mapping[tuple[int, int], float | np.ndarray] = field(default_factory=dict, compare=False)


class Algorithm(ABC):
    """Turns episodes into better agents. It sees episodes and the team, never an environment, a trainer or a configuration.

    Attributes:
        group_size: Discussions of each question that `update` wants to see; in a tree, children of each node.
        compares_groups: Where there are several, nothing is learned from a group whose discussions earn the same.
        rollouts: "linear", or "tree" if `update` wants so many children of every joint action of a round.
        joint: "aligned", or "cross" if `update` wants every combination of the group's samples as an episode of its own.
        reads_state: `update` reads the joint state of every turn, which then has to fit the models' windows.
    """

    group_size: int = 1
    compares_groups: bool = True
    rollouts: str = "linear"
    joint: str = "aligned"
    reads_state: bool = False

    def __init__(self, team: Team) -> None:
        self.team = team

    @abstractmethod
    def update(self, episodes: Sequence[Episode]) -> Update:
        """Learn from the episodes of one iteration, from the turns that their `learns` marks."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly from here, the adapters' weights included."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""


def check(fine: bool, name: str, value: Any, remedy: str) -> None:
    if not fine:
        raise UserValueError(f"{name} is {value!r}: {remedy}.")
