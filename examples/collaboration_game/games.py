"""Many collaboration games in lockstep, as the episodes that algorithms learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.agents import Team
from maporl.envs.collaboration_game import COLLABORATE, INDEPENDENT, GameRules
from maporl.types import Episode, Observation, Question, Seat, Transcript, Turn

__all__ = ["play_games"]


def play_games(rules: GameRules, team: Team, number: int, *, seed: Sequence[int]) -> list[Episode]:
    """Play `number` games with everybody at the table.

    An observation's ``question`` is "ROUND COUNT", all that there is to know, so that it is the joint state as well; a message is "0" or
    "1". A message's randomness depends on `seed`, the number of its game and its agent alone.

    Args:
        rules: The game.
        team: Seats for `rules.num_agents` agents.
        number: Of games.
        seed: Names the random streams, such as (run seed, iteration).

    Returns:
        One episode a game; each turn's reward is exactly what it earned in its round.

    Raises:
        ValueError: Another number of agents, or a message that is not an action.
    """
    agents = team.agents
    if len(agents) != rules.num_agents:
        raise ValueError(f"the team seats {list(agents)}, but {rules.num_agents} agents play; seat as many.")
    question = Question(str(rules), "", id="collaboration_game")
    earned, after = rules.rewards(), rules.next_counts()
    streams = [np.random.default_rng([*seed, game, seat]) for game in range(number) for seat in range(len(agents))]
    views = _views(rules, agents)
    turns: list[list[Turn]] = [[] for _ in range(number)]
    rewards: list[list[float]] = [[] for _ in range(number)]
    counts = np.zeros(number, np.int64)
    for r in range(rules.num_rounds):
        seen = [view for count in counts for view in views[r][count]]
        said = team.act(seen, streams)
        actions = np.array([_action(c.text) for c in said]).reshape(number, -1)
        others = (actions == COLLABORATE).sum(1, keepdims=True) - (actions == COLLABORATE)
        paid = earned[counts[:, None], actions, others].ravel().tolist()
        for n, (view, completion, reward) in enumerate(zip(seen, said, paid, strict=True)):
            turns[n // len(agents)].append(Turn(view["agent"], r, completion.text, completion=completion))
            rewards[n // len(agents)].append(reward)
        counts = after[counts, actions[:, 0], others[:, 0]]
    learns = tuple(team.learner(agent, r) is not None for r in range(rules.num_rounds) for agent in agents)
    shown = _Shown(views, after)
    return [
        Episode(
            Transcript(question, agents, rules.num_rounds, tuple(turns[game])),
            tuple(rewards[game]),
            learns,
            group=game,
            views=shown,
        )
        for game in range(number)
    ]


class _Shown:
    """What is shown in a game: the same to an agent and to a critic of what it does."""

    def __init__(self, views: list[list[list[Observation]]], after: np.ndarray) -> None:
        self.views, self.after = views, after

    def observe(self, transcript: Transcript, seat: Seat) -> Observation:
        count = 0
        for r in range(seat.round):
            collaborate = [_action(turn.text) == COLLABORATE for turn in transcript.round(r)]
            count = self.after[count, _action(transcript.round(r)[0].text), sum(collaborate[1:])]
        return self.views[seat.round][count][transcript.agents.index(seat.agent)]

    state = observe


def _views(rules: GameRules, agents: Sequence[str]) -> list[list[list[Observation]]]:
    """What each agent is shown in every round and count."""
    return [
        [
            [
                Observation(
                    agent=agent,
                    round=r,
                    question=f"{r} {count}",
                    private="",
                    instruction="0 collaborates, 1 acts independently.",
                    role="",
                    transcript=(),
                )
                for agent in agents
            ]
            for count in range(rules.max_count + 1)
        ]
        for r in range(rules.num_rounds)
    ]


def _action(text: str) -> int:
    if text not in (str(COLLABORATE), str(INDEPENDENT)):
        raise ValueError(f"{text!r} is no action; an agent says '0' to collaborate or '1' to act independently.")
    return int(text)
