"""Discussions in lockstep: one batched `act` over everybody who may speak now, in all discussions at once.

What is played from a start is a tree: where it branches, a wave of messages is sampled several times, and every one of them is gone on
from. A group of whole discussions is the tree that branches at its root alone, one discussion the tree that does not branch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from maporl.agents.team import Team, act_together
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.rules import Rules
from maporl.errors import UserValueError
from maporl.rollouts.trees import JOINT
from maporl.types import Completion, Episode, Observation, Question, Seat, Transcript, Turn

__all__ = ["Play", "episode", "rollout", "rollout_together"]


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
        joint: In which joint actions a wave of several speakers is gone on from: "aligned", the g-th candidates of all of them, or
            "cross", every combination of their candidates. No more is sampled of a wave for it, and no message is scored twice.

    Raises:
        ValueError: A branching below 1, several candidates of what is decoded greedily, or an unknown word.
    """

    env: DiscussionEnv
    team: Team
    starts: Sequence[Question | Transcript]
    seed: int | Sequence[int]
    greedy: bool = False
    branching: Sequence[int] = ()
    first: int = 0
    waves: int | None = None
    joint: str = "aligned"

    def __post_init__(self) -> None:
        if self.joint not in JOINT:
            raise UserValueError(f"joint is {self.joint!r}: use one of {list(JOINT)}.")
        if any(width < 1 for width in self.branching):
            raise UserValueError(f"branching is {list(self.branching)}; every wave needs at least 1 candidate.")
        if self.greedy and any(width > 1 for width in self.branching):
            raise UserValueError(
                f"branching is {list(self.branching)}, but greedy candidates are all the same; sample them, or leave branching out."
            )

    def width(self, wave: int) -> int:
        """How many candidates there are of wave `wave`, from 0."""
        return self.branching[wave] if wave < len(self.branching) else 1

    def joint_actions(self, wave: int, speakers: int) -> list[tuple[int, ...]]:
        """Of a wave: which candidate of each speaker."""
        each = range(self.width(wave))
        return (
            list(itertools.product(each, repeat=speakers)) if self.joint == "cross" else [(g,) * speakers for g in each]
        )


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
    joint: str = "aligned",
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
    return rollout_together([Play(env, team, starts, seed, greedy, branching, first, waves, joint)])[0]


def rollout_together(plays: Sequence[Play], watch: Callable[[int], None] | None = None) -> list[list[Episode]]:
    """`rollout` of several teams and tasks in lockstep: an agent that sits in more than one of them speaks for all in one batch.

    Args:
        plays: What is played.
        watch: Told after every wave how many are over.

    Returns:
        The episodes of each play: the same ones as if it had been played alone.
    """
    games = [(n, game) for n, play in enumerate(plays) for game in _started(play)]
    waves = itertools.count(1)
    try:
        while asked := [game for _, game in games if game.due]:
            completions = act_together(
                [game.play.team.member(*seat) for game in asked for _, seat in game.candidates],
                [view for game in asked for view in game.observations],
                [game.rng(*candidate) for game in asked for candidate in game.candidates],
                [game.play.greedy for game in asked for _ in game.candidates],
            )
            said = iter(completions)
            longer = _continued({game: game.children(said) for game in asked})
            games = [(n, child) for n, game in games for child in longer.get(game, [game])]
            if watch is not None:
                watch(next(waves))
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


@dataclass(frozen=True, eq=False)
class _Game:
    """One discussion of a play, so far.

    Attributes:
        play: Which.
        number: Of its start.
        rules: Of its task.
        transcript: What has been said.
        given: How many turns of that it began with.
        branch: See `Episode`.
        first: How many joint actions its first wave has.
    """

    play: Play
    number: int
    rules: Rules
    transcript: Transcript
    given: int
    branch: tuple[int, ...] = ()
    first: int = 1

    @cached_property
    def due(self) -> tuple[Seat, ...]:
        over = self.play.waves is not None and len(self.branch) >= self.play.waves
        return () if over else self.rules.due(self.transcript)

    @cached_property
    def candidates(self) -> list[tuple[int, Seat]]:
        """What is sampled next: so many messages from every seat that is due."""
        return list(itertools.product(range(self.play.width(len(self.branch))), self.due))

    @property
    def observations(self) -> list[Observation]:
        """What the speaker of each of these is shown: of those from one seat the same."""
        shown = {seat: self.rules.observe(self.transcript, seat) for seat in self.due}
        return [shown[seat] for _, seat in self.candidates]

    def rng(self, candidate: int, seat: Seat) -> np.random.Generator:
        """The random stream of a candidate of the next message from a seat; a second one from it in a round, and one of an inner branch,
        has another."""
        seed = [self.play.seed] if isinstance(self.play.seed, int | np.integer) else self.play.seed
        root, *inner = (*self.branch, candidate)
        number = self.number * (self.first if inner else self.play.width(0)) + root
        before = self.transcript.times(seat)
        more = [before, *inner] if any(inner) else [before] if before else []
        return np.random.default_rng([*map(int, seed), number, self.rules.agents.index(seat.agent), seat.round, *more])

    def children(self, completions: Iterator[Completion]) -> list[tuple[_Game, list[Turn]]]:
        """The discussions in which it goes on, one for each joint action of its candidates, which are the next of `completions`, each
        with what is said in it: joint actions share turns."""
        said = {at: Turn(*at[1], (c := next(completions)).text, completion=c) for at in self.candidates}
        joint = self.play.joint_actions(len(self.branch), len(self.due))
        first = self.first if self.branch else len(joint)
        games = [replace(self, branch=(*self.branch, n), first=first) for n in range(len(joint))]
        turns = [[said[at] for at in zip(chosen, self.due, strict=True)] for chosen in joint]
        return list(zip(games, turns, strict=True))

    def episode(self) -> Episode:
        return episode(
            self.rules, self.play.team, self.transcript, given=self.given, group=self.number, branch=self.branch
        )


def _continued(children: Mapping[_Game, Sequence[tuple[_Game, list[Turn]]]]) -> dict[_Game, list[_Game]]:
    """The children of every discussion, with what was said in them; those of one task together, so that its verifiers are asked once."""
    tasks: dict[int, list[tuple[_Game, _Game, list[Turn]]]] = {}
    for game, of_game in children.items():
        tasks.setdefault(id(game.play.env), []).extend((game, *child) for child in of_game)
    longer: dict[_Game, list[_Game]] = {}
    for said in tasks.values():
        transcripts = said[0][0].rules.extend([(child.transcript, turns) for _, child, turns in said])
        for (game, child, _), transcript in zip(said, transcripts, strict=True):
            longer.setdefault(game, []).append(replace(child, transcript=transcript))
    return longer


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
