"""Discuss: two teams answer apart; where they agree they are done, else a judge who has read both decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maporl.envs.protocols.base import Protocol
from maporl.envs.protocols.roles import drawn
from maporl.envs.team_answer import TeamAnswer, last_speaker, majority, vote
from maporl.types import Question, Transcript, Turn

__all__ = ["Discuss"]

_TEAMS = ("green", "blue")
_JUDGE = (
    "You are the judge. Two teams have discussed the question and do not agree. Read the reasoning of both, decide which one holds, and "
    "give the answer."
)
_MEMBER = (
    "You discuss the question with your own team alone. Refine your reasoning and your answer with what your teammates say; where the two "
    "teams do not agree in the end, a judge decides."
)


class Discuss(Protocol):
    """Two teams and a judge (Corex, Sun et al. 2310.00280).

    agent_0 is the judge. The question's hash splits the others into the green and the blue team (of an odd number green has one more), so
    that the same question always has the same teams. In every round all members answer at once, having read their own team's earlier
    rounds. A team's answer is that of most of its members; where two share the first place it has none. The discussion ends after a round
    in which both teams have the same answer, which is then that of all. If the last round ends otherwise the judge, who has read
    everything, decides.

    Answers are what the verifier found in the messages; it is not asked whether they are right.

    Args:
        num_rounds: Of the teams' discussion, at most; the paper has at most 5.
        history, show_scores: As in `Protocol`.
    """

    name = "discuss"
    everybody_speaks = False
    least_agents = 3
    default_num_agents = 3

    def teams(self, question: Question, agents: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Who is in the green team and who in the blue one, each in speaking order."""
        members = agents[1:]
        green = drawn(question, members)[: (len(members) + 1) // 2]
        return tuple(a for a in members if a in green), tuple(a for a in members if a not in green)

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        judge, *members = transcript.agents
        spoken = {turn.agent for turn in transcript.round(round)}
        waiting = tuple(agent for agent in members if agent not in spoken)
        if waiting or round < self.num_rounds - 1 or judge in spoken:
            return waiting
        return () if self._agreed(transcript, round) else (judge,)

    def over(self, transcript: Transcript) -> bool:
        return self._agreed(transcript, transcript.completed_rounds - 1)

    def _agreed(self, transcript: Transcript, round: int) -> bool:
        """Whether both teams have an answer after `round`, and it is the same one."""
        green, blue = (
            self._answer(transcript.round(round), team) for team in self.teams(transcript.question, transcript.agents)
        )
        return green.tied == blue.tied == 1 and green.answer == blue.answer

    @staticmethod
    def _answer(said: Sequence[Turn], team: tuple[str, ...]) -> TeamAnswer:
        """What a team answers; equal answers have one spelling."""
        own = [turn for turn in said if turn.agent in team]
        return vote(own, [1.0] * len(own), None)

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        known = super().visible(transcript, agent)
        own = next((team for team in self.teams(transcript.question, transcript.agents) if agent in team), None)
        return known if own is None else tuple(turn for turn in known if turn.agent in own or not turn.said)

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        teams = self.teams(transcript.question, transcript.agents)
        named = "; ".join(f"{name} team: {', '.join(team)}" for name, team in zip(_TEAMS, teams, strict=True))
        return f"{instruction} ({named}.)".strip()

    def role(self, agent: str, round: int) -> str:
        return _JUDGE if agent == "agent_0" else _MEMBER

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        said = transcript.round(transcript.completed_rounds - 1)
        return (
            last_speaker(transcript)
            if said and said[-1].agent == transcript.agents[0]
            else majority(transcript, equivalent)
        )
