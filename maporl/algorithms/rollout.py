"""Discussions in lockstep: one batched `act` over everybody who may speak now, in all discussions at once."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maporl.agents.team import Team, act_together
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.scoring import Verdict
from maporl.types import Completion, Episode, Observation, Question, Step, Transcript

__all__ = ["Play", "cross", "rollout", "rollout_together"]


@dataclass(frozen=True)
class Play:
    """Discussions to be played: one from every start.

    Attributes:
        env: The task; only copies of it are played.
        team: Who speaks.
        starts: A question (a fresh discussion), or a transcript to go on from.
        seed: Of all random streams; a sequence such as (run seed, iteration) names a stream of its own.
        greedy: Decode greedily.
        groups: Group number of each discussion (equal for equal questions); its number if None.
        first: Number of the first discussion: a play cut into pieces that are numbered on is the same as the whole.
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

    A message's randomness depends on `seed`, the number of its discussion, the agent and the round alone: neither on the other
    discussions nor on how they are batched.

    Args: those of `Play`.

    Returns:
        One episode for every start, in order; the turns of a given prefix are part of its transcript, but not of its steps.
    """
    return rollout_together([Play(env, team, starts, seed, greedy, groups)])[0]


def rollout_together(plays: Sequence[Play]) -> list[list[Episode]]:
    """`rollout` of several teams and tasks in lockstep: an agent that sits in more than one of them speaks for all in one batch.

    Returns:
        The episodes of each play: the same ones as if it had been played alone.
    """
    games = [_Game(play, place, start) for play in plays for place, start in enumerate(play.starts)]
    try:
        while speaking := [(game, agent) for game in games for agent in game.speakers]:
            observations = [game.env.observe(agent) for game, agent in speaking]
            states = [game.env.joint_observation(agent) for game, agent in speaking]
            completions = act_together(
                [
                    game.play.team.member(o["agent"], o["round"])
                    for (game, _), o in zip(speaking, observations, strict=True)
                ],
                observations,
                [game.rng(agent, o["round"]) for (game, agent), o in zip(speaking, observations, strict=True)],
                [game.play.greedy for game, _ in speaking],
            )
            verdicts = _verdicts(speaking, completions)
            for (game, agent), observation, state, completion, verdict in zip(
                speaking, observations, states, completions, verdicts, strict=True
            ):
                game.env.advance(completion.text, *verdict)
                game.played.append((agent, observation, state, completion))
    finally:
        for team in {id(play.team): play.team for play in plays}.values():
            team.forget()
    episodes = iter([_episode(game.env, game.played, game.group) for game in games])
    return [list(itertools.islice(episodes, len(play.starts))) for play in plays]


class _Game:
    """One discussion of a play."""

    def __init__(self, play: Play, place: int, start: Question | Transcript) -> None:
        self.play, self.env = play, _started(play.env, start)
        number = play.first + place
        self.group = number if play.groups is None else play.groups[place]
        self.stream = [*([play.seed] if isinstance(play.seed, int | np.integer) else play.seed), number]
        self.played: list[tuple[str, Observation, Observation, Completion]] = []

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.env.protocol.speakers(self.env.transcript)

    def rng(self, agent: str, round: int) -> np.random.Generator:
        return np.random.default_rng([*map(int, self.stream), self.env.possible_agents.index(agent), round])


def _verdicts(speaking: Sequence[tuple[_Game, str]], completions: Sequence[Completion]) -> list[Verdict]:
    """Every message's verdict, all those of one task scored at once."""
    tasks: dict[int, list[int]] = {}
    for i, (game, _) in enumerate(speaking):
        tasks.setdefault(id(game.play.env), []).append(i)
    verdicts: dict[int, Verdict] = {}
    for rows in tasks.values():
        said = [(speaking[i][0].env.transcript, speaking[i][1], completions[i].text) for i in rows]
        verdicts.update(zip(rows, speaking[rows[0]][0].play.env.score_batch(said), strict=True))
    return [verdicts[i] for i in range(len(speaking))]


def cross(env: DiscussionEnv, episodes: Sequence[Episode]) -> list[Episode]:
    """Every combination of the group's samples as an episode (MAGRPO's cross joint actions): G^N for one round of N agents.

    Nothing is sampled again and no message is scored again; only what depends on the joint action is.

    Raises:
        ValueError: More than one round, or agents that hear one another: a message that answers another cannot be recombined.
    """
    if env.num_rounds > 1 or not (env.protocol.simultaneous or len(env.possible_agents) == 1):
        raise ValueError(
            f"joint is 'cross' with {env.num_rounds} rounds of protocol {env.protocol.name!r}: a message that answers another cannot be "
            "recombined. Use one round of 'debate', or joint='aligned'."
        )
    result = []
    for number in dict.fromkeys(e.group for e in episodes):
        members = [e for e in episodes if e.group == number]
        for choice in itertools.product(members, repeat=len(members[0].transcript.agents)):
            joint = _started(env, members[0].transcript.question)
            turns = []
            for seat, source in enumerate(choice):
                step, turn = source.steps[seat], source.transcript.turns[seat]
                joint.advance(turn.text, turn.score, turn.truth)
                turns.append((step.agent, step.observation, step.state, step.completion))
            result.append(_episode(joint, turns, number))
    return result


def _started(env: DiscussionEnv, start: Question | Transcript) -> DiscussionEnv:
    mine = copy.copy(env)
    mine.reset(options={"question" if isinstance(start, Question) else "transcript": start})
    return mine


def _episode(
    env: DiscussionEnv, turns: Sequence[tuple[str, Observation, Observation, Completion]], group: int
) -> Episode:
    rewards = env.turn_rewards[len(env.transcript.turns) - len(turns) :]
    steps = tuple(
        Step(agent, observation["round"], observation, state, completion, float(reward))
        for (agent, observation, state, completion), reward in zip(turns, rewards, strict=True)
    )
    return Episode(env.transcript, steps, contains_future=env.shaping.contains_future, group=group)
