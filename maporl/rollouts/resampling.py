"""New candidates for messages of discussions that have been held: what SWEET-RL and best-of-n choose from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.rollouts.decisions import Candidate, Decision
from maporl.types import Episode

__all__ = ["resample"]

_NO_ROUND = 2**32 - 1
"""In the place of a round, for streams that no message of a rollout with the same seed has."""


def resample(
    env: DiscussionEnv,
    team: Team,
    episodes: Iterable[Episode],
    agent: str,
    n: int,
    seed: int | Sequence[int],
    *,
    first: int = 0,
) -> list[Decision]:
    """`n` candidates for each message of `agent`, without a value: nobody else speaks, nothing is scored or played on.

    A candidate is a function of seed, the number of its decision among all of them, and its own number. Where a prompt has no room
    there is no decision.

    Args:
        env: The task.
        team: Who speaks.
        episodes: Discussions by this task's rules, finished or not.
        agent: Whose messages.
        n: Candidates of each.
        seed: Of their random streams.
        first: Number of the first decision: pieces whose numbers go on give the same as the whole.

    Returns:
        The decisions "0", "1" ... of candidates "0.0", "0.1" ..., in the order of the messages.

    Raises:
        ValueError: n below 1, or an agent that does not discuss.
    """
    if n < 1:
        raise UserValueError(f"n is {n}; sample at least 1 candidate of a message.")
    if agent not in env.possible_agents:
        raise UserValueError(f"agent {agent!r} does not discuss here; name one of {env.possible_agents}.")
    held = [replace(e, views=env.rules) for e in episodes]
    places = [(e, place) for e in held for place, turn in e.said if turn.agent == agent]
    streams = [int(part) for part in ([seed] if isinstance(seed, int | np.integer) else seed)]
    numbers = range(first, first + len(places))
    try:
        said = team.act(
            [shown for e, place in places for shown in [e.observation(place)] * n],
            [np.random.default_rng([*streams, number, k, _NO_ROUND]) for number in numbers for k in range(n)],
        )
    finally:
        team.forget()
    found = []
    for i, ((e, place), number) in enumerate(zip(places, numbers, strict=True)):
        mine = tuple(Candidate(f"{number}.{k}", c) for k, c in enumerate(said[i * n : i * n + n]) if not c.overflow)
        if mine:
            found.append(Decision.at(e, place, str(number), mine))
    return found
