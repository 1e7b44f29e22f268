"""Discussions in lockstep: one batched `act` over everybody who may speak now, in all discussions at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maporl.agents.team import Team, act_together
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.rules import Rules
from maporl.errors import UserValueError
from maporl.types import Completion, Episode, Question, Seat, Transcript, Turn

__all__ = ["Play", "cross", "episode", "rollout", "rollout_together"]


@dataclass(frozen=True)
class Play:
    """Discussions to be played: one from every start.

    Attributes:
        env: The task.
        team: Who speaks.
        starts: A question (a fresh discussion), or a transcript to go on from.
        seed: Of all random streams; a sequence such as (run seed, iteration) names a stream of its own.
        greedy: Decode greedily.
        groups: Group number of each discussion (equal for equal questions); its number if None.
        first: Number of the first discussion, on which its random stream depends: pieces of a play whose numbers go on give the same
            episodes as the whole.
    """

    env: DiscussionEnv
    team: Team
    starts: Sequence[Question | Transcript]
    seed: int | Sequence[int]
    greedy: bool = False
    groups: Sequence[int] | None = None
    first: int = 0


def rollout(
    env: DiscussionEnv,
    team: Team,
    starts: Sequence[Question | Transcript],
    *,
    seed: int | Sequence[int],
    greedy: bool = False,
    groups: Sequence[int] | None = None,
) -> list[Episode]:
    """Play one whole discussion from every start.

    A message's randomness depends on `seed`, the number of its discussion, its seat and how often it has spoken before in this round
    alone: neither on the other discussions nor on how they are batched.

    Args: those of `Play`.

    Returns:
        One episode for every start, in order; the turns of a given prefix are part of its transcript, but `given`.
    """
    return rollout_together([Play(env, team, starts, seed, greedy, groups)])[0]


def rollout_together(plays: Sequence[Play]) -> list[list[Episode]]:
    """`rollout` of several teams and tasks in lockstep: an agent that sits in more than one of them speaks for all in one batch.

    Returns:
        The episodes of each play: the same ones as if it had been played alone.
    """
    games = [game for play in plays for game in _started(play)]
    try:
        while due := [(game, seat) for game in games for seat in game.due]:
            completions = act_together(
                [game.play.team.member(*seat) for game, seat in due],
                [game.rules.observe(game.transcript, seat) for game, seat in due],
                [game.rng(seat) for game, seat in due],
                [game.play.greedy for game, _ in due],
            )
            _continue(due, completions)
    finally:
        for team in {id(play.team): play.team for play in plays}.values():
            team.forget()
    episodes = iter([game.episode() for game in games])
    return [list(itertools.islice(episodes, len(play.starts))) for play in plays]


def _started(play: Play) -> list[_Game]:
    """The discussions of a play, those from questions begun together."""
    rules = play.env.rules
    fresh = iter(rules.begin([start for start in play.starts if isinstance(start, Question)]))
    return [
        _Game(play, play.first + n, rules, next(fresh) if isinstance(start, Question) else rules.replayed(start))
        for n, start in enumerate(play.starts)
    ]


class _Game:
    """One discussion of a play."""

    def __init__(self, play: Play, number: int, rules: Rules, start: Transcript) -> None:
        self.play, self.number, self.rules, self.transcript = play, number, rules, start
        self.given = len(start.turns)
        self.stream = [*([play.seed] if isinstance(play.seed, int | np.integer) else play.seed), number]

    @property
    def due(self) -> tuple[Seat, ...]:
        return self.rules.due(self.transcript)

    def rng(self, seat: Seat) -> np.random.Generator:
        """The random stream of the next message from a seat; a second one from it in a round has another."""
        before = self.transcript.times(seat)
        place = [self.rules.agents.index(seat.agent), seat.round, *([before] if before else [])]
        return np.random.default_rng([*map(int, self.stream), *place])

    def episode(self) -> Episode:
        play, groups = self.play, self.play.groups
        group = self.number if groups is None else groups[self.number - play.first]
        return episode(self.rules, play.team, self.transcript, given=self.given, group=group)


def _continue(due: Sequence[tuple[_Game, Seat]], completions: Sequence[Completion]) -> None:
    """Every discussion goes on with what was said in it; those of one task together, so that its verifiers are asked once."""
    said: dict[_Game, list[Turn]] = {}
    for (game, seat), completion in zip(due, completions, strict=True):
        said.setdefault(game, []).append(Turn(*seat, completion.text, completion=completion))
    tasks: dict[int, list[_Game]] = {}
    for game in said:
        tasks.setdefault(id(game.play.env), []).append(game)
    for games in tasks.values():
        longer = games[0].rules.extend([(game.transcript, said[game]) for game in games])
        for game, transcript in zip(games, longer, strict=True):
            game.transcript = transcript


def episode(rules: Rules, team: Team, transcript: Transcript, *, given: int = 0, group: int = 0) -> Episode:
    """A finished discussion with what each message earned and who learns from it."""
    learns = tuple(
        n >= given and turn.said and team.learner(*turn.seat) is not None for n, turn in enumerate(transcript.turns)
    )
    future = rules.shaping.contains_future
    return Episode(transcript, rules.rewards(transcript), learns, given, future, group, rules)


def cross(env: DiscussionEnv, team: Team, episodes: Sequence[Episode]) -> list[Episode]:
    """Every combination of the group's samples as an episode (MAGRPO's cross joint actions): G^N for one round of N agents.

    Nothing is sampled again and no message is scored again; only what depends on the joint action is.

    Raises:
        ValueError: More than one round, or agents that hear one another: a message that answers another cannot be recombined.
    """
    once = env.protocol.once_a_round and all(len(e.said) == len(e.transcript.agents) for e in episodes)
    if env.num_rounds > 1 or not (env.protocol.simultaneous or len(env.possible_agents) == 1) or not once:
        raise UserValueError(
            f"joint is 'cross' with {env.num_rounds} rounds of protocol {env.protocol.name!r}: a message that answers another cannot be "
            "recombined. Use one round of 'debate', or joint='aligned'."
        )
    rules, joint, groups = env.rules, [], []
    for number in dict.fromkeys(e.group for e in episodes):
        members = [e for e in episodes if e.group == number]
        start = members[0].transcript.before(members[0].said[0][0])
        samples = [[turn for _, turn in member.said] for member in members]
        for choice in itertools.product(samples, repeat=len(start.agents)):
            joint.append((start, [source[seat] for seat, source in enumerate(choice)]))
            groups.append(number)
    return [
        episode(rules, team, transcript, group=group)
        for transcript, group in zip(rules.extend(joint), groups, strict=True)
    ]
