"""Leader: peers answer, a leader who has read their answers gives the team's; then the peers revise what they said after it."""

from __future__ import annotations

from collections.abc import Callable

from maporl.envs.protocols.base import Protocol
from maporl.envs.team_answer import TeamAnswer, last_speaker
from maporl.types import Transcript, Turn

__all__ = ["Leader"]

_LEAD = (
    "You are the leader. Your colleagues have answered the question; any of them may be wrong. Weigh every answer, say which are wrong "
    "and why, and then give one answer, which is the team's."
)


class Leader(Protocol):
    """Peers, then agent_0, who leads them (MLPO, 2507.08960).

    In every round all peers answer at once, and the leader after them, whose last answer is the team's. In the first round peers are on
    their own; later a peer reads its own last answer and the leader's last, and no other peer. The leader reads the answers of this round.

    Not the debate with ``topology="star"``, in which all speak at once, so that its hub reads the answers of the round before.

    Args:
        num_rounds: The paper's T: (peers + 1) T messages.
        history: "all": the leader reads all that has been said, a peer all that it and the leader said. "last_round" is the paper's.
        show_scores: As in `Protocol`.
    """

    name = "leader"
    least_agents = 2
    default_num_agents = 4

    def __init__(self, num_rounds: int = 1, history: str = "all", show_scores: bool = False) -> None:
        super().__init__(num_rounds, history, show_scores)

    @property
    def once_a_round(self) -> bool:
        return True

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        leader, *peers = transcript.agents
        spoken = {turn.agent for turn in transcript.round(round)}
        return tuple(peer for peer in peers if peer not in spoken) or ((leader,) if leader not in spoken else ())

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        leader = transcript.agents[0]
        known = self.settled(transcript, agent)
        if agent != leader:
            known = tuple(turn for turn in known if turn.agent in (agent, leader) or not turn.said)
        if self.history == "all":
            return known
        if agent == leader:
            return tuple(turn for turn in known if turn.round == transcript.completed_rounds)
        return tuple(turn for turn in known if turn.round == transcript.completed_rounds - 1)

    def role(self, agent: str, round: int) -> str:
        return _LEAD if agent == "agent_0" else ""

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return last_speaker(transcript)
