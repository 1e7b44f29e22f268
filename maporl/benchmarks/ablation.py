"""Message ablation: the last round of a discussion spoken again by agents that do not hear what their peers have said."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from maporl.agents import Deaf, Team
from maporl.algorithms.records import Record, encode_turn
from maporl.algorithms.rollout import Play, rollout_together
from maporl.benchmarks.methods import Method
from maporl.envs.discussion import DiscussionEnv
from maporl.types import Episode

__all__ = ["spoken_again", "unheard"]

Name = TypeVar("Name", bound=Hashable)


def unheard(played: Mapping[Name, tuple[Play, Sequence[Episode]]]) -> dict[Name, list[Episode | None]]:
    """The last round of sampled discussions once more, from the same random numbers, with the peers' messages blanked.

    Args:
        played: Name -> a play and its episodes. Left out are those where nobody hears anything before the last round: greedy ones
            (a figure of their own), sequential protocols, lone agents, a single round.

    Returns:
        Name -> one discussion for each episode; None for one that ended early: it has no last round to speak again.
    """
    deaf: dict[int, Deaf] = {}
    plays: list[Play] = []
    places: list[tuple[Name, int]] = []
    result: dict[Name, list[Episode | None]] = {}
    for name, (play, episodes) in played.items():
        env = play.env
        if play.greedy or not env.protocol.simultaneous or len(env.possible_agents) < 2 or env.num_rounds < 2:
            continue
        team = Team({seat: deaf.setdefault(id(agent), Deaf(agent)) for seat, agent in play.team.seats.items()})
        result[name] = [None] * len(episodes)
        for n, episode in enumerate(episodes):
            transcript = episode.transcript
            before = transcript.num_rounds - 1
            if transcript.completed_rounds > before:
                first = next(i for i, turn in enumerate(transcript.turns) if turn.said and turn.round == before)
                prefix = transcript.before(first)
                plays.append(Play(env, team, [prefix], play.seed, first=play.first + n))
                places.append((name, n))
    for (name, n), (episode,) in zip(places, rollout_together(plays), strict=True):
        result[name][n] = episode
    for (
        play,
        _,
    ) in played.values():  # what samplers keep of these prompts, too: a deaf team does not know of any sampler
        play.team.forget()
    return result


def spoken_again(method: Method, env: DiscussionEnv, episode: Episode | None) -> Record | None:
    """What a record keeps of an `unheard` discussion: the answer that the method makes of it, and the new messages."""
    if episode is None:
        return None
    return {
        "team_correct": method.answer(env, [episode]).correct,
        "turns": [encode_turn(turn, episode.rewards[i]) for i, turn in episode.said],
    }
