"""A chair: in every round the others answer at once; then the chair, who has read them, says what the team answers."""

from __future__ import annotations

from collections.abc import Callable

from maporl.envs import Protocol
from maporl.envs.team_answer import TeamAnswer, last_speaker
from maporl.types import Transcript

__all__ = ["MyProtocol"]


class MyProtocol(Protocol):
    """The others answer at once, then the first agent, the chair, who has read them; its last word is the team's answer."""

    name = "my_protocol"
    least_agents = 2

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        chair, *others = transcript.agents
        spoken = {turn.agent for turn in transcript.round(round)}
        waiting = tuple(agent for agent in others if agent not in spoken)
        return waiting or (() if chair in spoken else (chair,))

    def role(self, agent: str, round: int) -> str:
        return "You are the chair: you speak last, and your answer is the team's." if agent == "agent_0" else ""

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return last_speaker(transcript)
