"""Mixture of agents: layers of proposers, and one who makes their answers into one."""

from __future__ import annotations

from collections.abc import Callable

from maporl.envs.protocols.base import Protocol
from maporl.envs.team_answer import TeamAnswer, last_round, last_speaker
from maporl.errors import UserValueError
from maporl.types import Message, Transcript, Turn

__all__ = ["MixtureOfAgents"]

_SYNTHESISE = (
    "You are given answers of several models to the same question. Some of them may be wrong or one-sided: weigh them "
    "critically, do not simply copy one, and combine what holds into one answer that is better than each of them."
)


class MixtureOfAgents(Protocol):
    """Layers of simultaneous proposers, the last of which is one aggregator (Wang et al. 2406.04692).

    A layer is shown the answers of the layer before and nothing else, under neutral names (model_1 ...) that do not tell an agent
    which one is its own. agent_0 speaks alone in the last layer, so a discussion has ``num_agents * (num_rounds - 1) + 1``
    messages, and its answer is the team's.

    Args:
        num_rounds: Layers, the aggregator's included.
        history: Means nothing here: either word shows the layer before.
        show_scores: As in `Protocol`.

    Raises:
        ValueError: Fewer than two layers.
    """

    name = "mixture_of_agents"
    simultaneous = True
    everybody_speaks = False
    least_agents = 2

    def __init__(self, num_rounds: int = 2, history: str = "all", show_scores: bool = False) -> None:
        super().__init__(num_rounds, history, show_scores)
        if self.num_rounds < 2:
            raise UserValueError(
                f"num_rounds is {num_rounds}; {self.name} needs 2: a layer of proposers and the aggregator."
            )

    def speaking(self, agents: tuple[str, ...], round: int) -> tuple[str, ...]:
        return agents[:1] if round == self.num_rounds - 1 else agents

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        layer = last_round(transcript)
        heard = [t for t in transcript.turns if not t.said and layer and t.round == layer[-1].round]
        return (*layer, *heard)

    def messages(self, transcript: Transcript, agent: str) -> tuple[Message, ...]:
        return tuple(
            self.message(turn, f"model_{1 + transcript.agents.index(turn.agent)}" if turn.said else None)
            for turn in self.visible(transcript, agent)
        )

    def role(self, agent: str, round: int) -> str:
        return _SYNTHESISE if round > 0 else ""

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return last_speaker(transcript)
