"""Discussions in lockstep: one batched `act` over everybody who may speak now, in all discussions at once."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np

from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.types import Completion, Episode, Observation, Question, Step, Transcript

__all__ = ["cross", "rollout"]


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

    Args:
        env: The task; only copies of it are played.
        team: Who speaks.
        starts: A question (a fresh discussion), or a transcript to go on from.
        seed: Of all random streams; a sequence such as (run seed, iteration) names a stream of its own.
        greedy: Decode greedily.
        groups: Group number of each discussion (equal for equal questions); its position if None.

    Returns:
        One episode for every start, in order; the turns of a given prefix are part of its transcript, but not of its steps.
    """
    envs = [_started(env, start) for start in starts]
    played: list[list[tuple[str, Observation, Observation, Completion]]] = [[] for _ in envs]
    base = [int(seed)] if isinstance(seed, int | np.integer) else list(seed)
    try:
        while True:
            speaking = [(i, agent) for i, e in enumerate(envs) for agent in e.protocol.speakers(e.transcript)]
            if not speaking:
                break
            observations = [envs[i].observe(agent) for i, agent in speaking]
            states = [envs[i].joint_observation(agent) for i, agent in speaking]
            rngs = [
                np.random.default_rng([*base, i, envs[i].possible_agents.index(agent), o["round"]])
                for (i, agent), o in zip(speaking, observations, strict=True)
            ]
            completions = team.act(observations, rngs, greedy=greedy)
            said = [(envs[i].transcript, agent, c.text) for (i, agent), c in zip(speaking, completions, strict=True)]
            verdicts = env.score_batch(said)
            for (i, agent), observation, state, completion, verdict in zip(
                speaking, observations, states, completions, verdicts, strict=True
            ):
                envs[i].advance(completion.text, *verdict)
                played[i].append((agent, observation, state, completion))
    finally:
        team.forget()
    return [
        _episode(e, turns, i if groups is None else groups[i])
        for i, (e, turns) in enumerate(zip(envs, played, strict=True))
    ]


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
