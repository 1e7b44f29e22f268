"""A method of one's own: a vote that says nothing unless two thirds agree. maporl benchmark --methods own_method:Careful"""

from __future__ import annotations

from collections.abc import Sequence

from maporl.benchmarks.methods import SelfConsistency
from maporl.envs import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer
from maporl.types import Episode


class Careful(SelfConsistency):
    """Says nothing unless two thirds of its answers agree.

    Args:
        k: Answers.
    """

    title = "careful vote"

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        vote = super().answer(env, episodes)
        said = [turn.truth.answer for e in episodes for turn in e.transcript.turns if turn.truth is not None]
        return vote if 3 * said.count(vote.answer) >= 2 * len(episodes) else TeamAnswer(None, 0.0, tied=0)
