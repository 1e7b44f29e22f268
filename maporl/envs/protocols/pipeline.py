"""A pipeline of roles, and reviewers of one draft, which is a pipeline, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from maporl.envs.protocols.base import Protocol, count_of
from maporl.envs.protocols.roles import check_roles, named_after, told
from maporl.envs.team_answer import TeamAnswer, last_speaker
from maporl.errors import UserValueError
from maporl.types import Transcript

__all__ = ["Pipeline", "Review"]

_ROLES = {
    "generator": "You are the generator: solve the question and give your answer.",
    "verifier": "You are the verifier: check the solution so far, point out any mistake, and say whether its answer holds.",
    "refiner": "You are the refiner: read the solution and the checks, correct what is wrong, and give the final answer.",
}


class Pipeline(Protocol):
    """A sequence of roles, each of which hears all before it; by default only the last one's message is scored.

    Args:
        num_rounds: Passes through the whole pipeline.
        history: As in `Protocol`.
        roles: Role -> what it is told, or the roles' names in speaking order. Default: a generator, verifiers (as many as
            there are further agents) and a refiner. Agents are named after their roles: generator_0, verifier_0, ...
        scored_turns: "last" (the last role's messages) or "all".
        show_scores: As in `Protocol`; of messages that are scored.
    """

    name = "pipeline"

    def __init__(
        self,
        num_rounds: int = 2,
        history: str = "all",
        roles: Mapping[str, str] | Sequence[str] | None = None,
        scored_turns: str = "last",
        show_scores: bool = False,
    ) -> None:
        super().__init__(num_rounds, history, show_scores)
        if scored_turns not in ("last", "all"):
            raise UserValueError(f"unknown scored_turns {scored_turns!r}; one of: last, all.")
        self.roles = None if roles is None else check_roles(roles)
        self.instructions = {**_ROLES, **(roles if isinstance(roles, Mapping) else {})}
        self.scored_turns = scored_turns
        self.default_num_agents = 3 if roles is None else len(roles)
        # The default pipeline ends with a refiner for any number of agents, so the last name is known here.
        self._last = self.agent_names(self.default_num_agents)[-1]

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        num_agents = count_of("num_agents", num_agents)
        roles = self.roles
        if roles is None:
            roles = ("generator", *["verifier"] * (num_agents - 2), "refiner")[-num_agents:]
        return named_after(roles, num_agents, self.name)

    def role(self, agent: str, round: int) -> str:
        return told(agent, self.instructions)

    def scored(self, agent: str, round: int) -> bool:
        return self.scored_turns == "all" or agent == self._last

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return last_speaker(transcript)


_PRIMARY = "You are the primary agent: solve the question, and give your reasoning and your answer."
_REVIEWER = (
    "You are a reviewer: check the latest version of the solution, say what is wrong with it, and write it anew, whole, with its answer. "
    "Keep what is right."
)


class Review(Pipeline):
    """One draft, and reviewers who rewrite it one after the other (Corex, Sun et al. 2310.00280): a pipeline in which all are scored.

    primary_0 writes the draft, reviewer_0, reviewer_1 ... rewrite what is there by then; the last version is the team's answer. In later
    rounds the primary agent is a reviewer of its colleagues' version.

    Args:
        num_rounds, history, show_scores: As in `Protocol`; the paper has one round.
    """

    name = "review"
    least_agents = 3

    def __init__(self, num_rounds: int = 1, history: str = "all", show_scores: bool = False) -> None:
        super().__init__(num_rounds, history, scored_turns="all", show_scores=show_scores)

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        count = len(Protocol.agent_names(self, num_agents))
        return named_after(("primary", *["reviewer"] * (count - 1)), count, self.name)

    def role(self, agent: str, round: int) -> str:
        return _PRIMARY if agent == "primary_0" and round == 0 else _REVIEWER
