"""Discussions in lockstep: one batched `act` over everybody who may speak now, in all discussions at once.

What is played from a start is a tree: where it branches, a wave of messages is sampled several times, and every one of them is gone on
from. A group of whole discussions is the tree that branches at its root alone, one discussion the tree that does not branch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maporl.agents.team import Team, act_together
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.rules import Rules
from maporl.errors import UserValueError
from maporl.types import Completion, Episode, Question, Seat, Transcript, Turn

__all__ = ["Play", "cross", "episode", "rollout", "rollout_together"]


@dataclass(frozen=True)
class Play:
    """Discussions to be played: a tree of them from every start.

    Attributes:
        env: The task.
        team: Who speaks.
        starts: A question (a fresh discussion), or a transcript to go on from.
        seed: Of all random streams; a sequence such as (run seed, iteration) names a stream of its own.
        greedy: Decode greedily.
        branching: How many candidates there are of every wave, from the start on; 1 in waves beyond its end. (8,) is a group of eight
            discussions, (3, 3, 3) a tree of 3 + 9 + 27 messages where one speaks after the other.
        first: Number of the first start, on which its random streams depend: pieces of a play whose numbers go on give the same
            episodes as the whole.
        waves: Of how many waves; the discussions may then be unfinished. None: until they are over.

    Raises:
        ValueError: A branching below 1, or several candidates of what is decoded greedily.
    """

    env: DiscussionEnv
    team: Team
    starts: Sequence[Question | Transcript]
    seed: int | Sequence[int]
    greedy: bool = False
    branching: Sequence[int] = ()
    first: int = 0
    waves: int | None = None

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.branching):
            raise UserValueError(f"branching is {list(self.branching)}; every wave needs at least 1 candidate.")
        if self.greedy and any(width > 1 for width in self.branching):
            raise UserValueError(
                f"branching is {list(self.branching)}, but greedy candidates are all the same; sample them, or leave branching out."
            )

    def width(self, wave: int) -> int:
        """How many candidates there are of wave `wave`, from 0."""
        return self.branching[wave] if wave < len(self.branching) else 1


def rollout(
    env: DiscussionEnv,
    team: Team,
    starts: Sequence[Question | Transcript],
    *,
    seed: int | Sequence[int],
    greedy: bool = False,
    branching: Sequence[int] = (),
    first: int = 0,
    waves: int | None = None,
) -> list[Episode]:
    """Play discussions from every start.

    A message's randomness depends on `seed`, the number of its start, its branch, its seat and how often it has spoken before in this
    round alone: neither on the other discussions nor on how they are batched. The first branch of every inner wave says what would
    be said without inner branching.

    Args: those of `Play`.

    Returns:
        The episodes of every start, in order: one, or the leaves of its tree, those of a group in the order of their branches. The turns
        of a given prefix are part of a transcript, but `given`. `maporl.rollouts.decisions` tells what the nodes of a tree are worth.
    """
    return rollout_together([Play(env, team, starts, seed, greedy, branching, first, waves)])[0]


def rollout_together(plays: Sequence[Play]) -> list[list[Episode]]:
    """`rollout` of several teams and tasks in lockstep: an agent that sits in more than one of them speaks for all in one batch.

    Returns:
        The episodes of each play: the same ones as if it had been played alone.
    """
    games = [(n, game) for n, play in enumerate(plays) for game in _started(play)]
    try:
        while any(due := [game.due for _, game in games]):
            games = [(n, g) for (n, game), seats in zip(games, due, strict=True) for g in game.branched(seats)]
            asked = [(game, seat) for _, game in games for seat in game.asked]
            completions = act_together(
                [game.play.team.member(*seat) for game, seat in asked],
                [game.rules.observe(game.transcript, seat) for game, seat in asked],
                [game.rng(seat) for game, seat in asked],
                [game.play.greedy for game, _ in asked],
            )
            _continue(asked, completions)
    finally:
        for team in {id(play.team): play.team for play in plays}.values():
            team.forget()
    episodes: list[list[Episode]] = [[] for _ in plays]
    for n, game in games:
        episodes[n].append(game.episode())
    return episodes


def _started(play: Play) -> list[_Game]:
    """The discussions of a play, those from questions begun together."""
    rules = play.env.rules
    fresh = iter(rules.begin([start for start in play.starts if isinstance(start, Question)]))
    begun = [next(fresh) if isinstance(start, Question) else rules.replayed(start) for start in play.starts]
    return [_Game(play, play.first + n, rules, start, len(start.turns)) for n, start in enumerate(begun)]


@dataclass(eq=False)
class _Game:
    """One discussion of a play, so far.

    Attributes:
        play: Which.
        number: Of its start.
        rules: Of its task.
        transcript: What has been said.
        given: How many turns of that it began with.
        branch: See `Episode`.
        asked: Who speaks in the wave in progress.
    """

    play: Play
    number: int
    rules: Rules
    transcript: Transcript
    given: int
    branch: tuple[int, ...] = ()
    asked: tuple[Seat, ...] = ()

    @property
    def due(self) -> tuple[Seat, ...]:
        over = self.play.waves is not None and len(self.branch) >= self.play.waves
        return () if over else self.rules.due(self.transcript)

    def branched(self, seats: tuple[Seat, ...]) -> list[_Game]:
        """The discussions in which this one goes on, when `seats` are due: one for each candidate of their wave."""
        if not seats:
            self.asked = ()
            return [self]
        width = self.play.width(len(self.branch))
        return [replace(self, branch=(*self.branch, candidate), asked=seats) for candidate in range(width)]

    def rng(self, seat: Seat) -> np.random.Generator:
        """The random stream of the next message from a seat; a second one from it in a round, and one of an inner branch, has another."""
        seed = [self.play.seed] if isinstance(self.play.seed, int | np.integer) else self.play.seed
        candidate, *inner = self.branch
        number, before = self.number * self.play.width(0) + candidate, self.transcript.times(seat)
        more = [before, *inner] if any(inner) else [before] if before else []
        return np.random.default_rng([*map(int, seed), number, self.rules.agents.index(seat.agent), seat.round, *more])

    def episode(self) -> Episode:
        return episode(
            self.rules, self.play.team, self.transcript, given=self.given, group=self.number, branch=self.branch
        )


def _continue(asked: Sequence[tuple[_Game, Seat]], completions: Sequence[Completion]) -> None:
    """Every discussion goes on with what was said in it; those of one task together, so that its verifiers are asked once."""
    said: dict[_Game, list[Turn]] = {}
    for (game, seat), completion in zip(asked, completions, strict=True):
        said.setdefault(game, []).append(Turn(*seat, completion.text, completion=completion))
    tasks: dict[int, list[_Game]] = {}
    for game in said:
        tasks.setdefault(id(game.play.env), []).append(game)
    for games in tasks.values():
        longer = games[0].rules.extend([(game.transcript, said[game]) for game in games])
        for game, transcript in zip(games, longer, strict=True):
            game.transcript = transcript


def episode(
    rules: Rules,
    team: Team,
    transcript: Transcript,
    *,
    given: int = 0,
    group: int = 0,
    branch: tuple[int, ...] = (),
) -> Episode:
    """A finished discussion with what each message earned and who learns from it."""
    learns = tuple(
        n >= given and turn.said and team.learner(*turn.seat) is not None for n, turn in enumerate(transcript.turns)
    )
    future = rules.shaping.contains_future
    return Episode(transcript, rules.rewards(transcript), learns, given, future, group, branch, rules)


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
