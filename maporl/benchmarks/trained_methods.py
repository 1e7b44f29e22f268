"""Methods that are about training: who is trained beside whom, and who of those that were trained sits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from maporl.benchmarks.methods import Method, SingleAgent
from maporl.config import RunConfig
from maporl.roster import Roster

__all__ = ["AloneThenTeam", "PartnerSwap", "TrainOne"]


class TrainOne(Method):
    """One agent is trained beside frozen partners, every one in its turn: the best of these teams is the row."""

    title = "train-one"
    best_seat = True
    needs_training = True

    def trainings(self, config: RunConfig, agents: Sequence[str], seats: Sequence[str]) -> dict[str, RunConfig]:
        return {s: replace(config, frozen=tuple(other for other in agents if other != s)) for s in agents}


class AloneThenTeam(Method):
    """Each agent is trained alone, then they discuss: the runs of ``single_agent`` in one team."""

    title = "trained alone, then a team"
    needs_training = True

    @property
    def trains_one_turn(self) -> bool:
        return True

    def trained_as(self, algorithm: str) -> str | None:
        return SingleAgent().trained_as(algorithm)

    def trainings(self, config: RunConfig, agents: Sequence[str], seats: Sequence[str]) -> dict[str, RunConfig]:
        if isinstance(config.model, Mapping) and len({config.model.get(a) for a in agents}) > 1:
            raise ValueError(
                f"agents trained alone share one base and model is {dict(config.model)}; give one model, or leave this row out."
            )
        alone = SingleAgent()
        return alone.trainings(alone.discussion(config), agents, seats)

    def seat(self, trained: Sequence[tuple[str, Roster]], agents: Sequence[str]) -> dict[str, Roster]:
        alone = {seat: roster.rounds("agent_0") for seat, roster in trained}
        if "" in alone:
            return {"": Roster.joined(dict.fromkeys(agents, alone[""]))}
        for agent in agents:
            if agent not in alone:
                raise ValueError(
                    f"{agent!r} knows nothing alone, so nobody was trained in its seat; ask {list(alone)}."
                )
        return {"": Roster.joined({agent: alone[agent] for agent in agents})}


class PartnerSwap(Method):
    """Agents that were trained together with others: agent i is that of the co-trained run i seeds further on.

    What a team has agreed on in training is of no use among strangers; what it has learned about discussing is. Nothing is trained for
    it: the runs are those of the co-trained team.
    """

    title = "partners swapped between runs"
    needs_training = True
    trains_on_discussions = True
    least_seeds = 2

    def trained_as(self, algorithm: str) -> str | None:
        return algorithm

    def seeds(self, seed: int, of_study: Sequence[int], agents: Sequence[str]) -> Sequence[int]:
        ordered = sorted(of_study)
        return [ordered[(ordered.index(seed) + i) % len(ordered)] for i in range(len(agents))]

    def seat(self, trained: Sequence[tuple[str, Roster]], agents: Sequence[str]) -> dict[str, Roster]:
        rosters = [roster.seated(agents) for _, roster in trained]
        return {"": Roster.joined({a: roster.rounds(a) for a, roster in zip(agents, rosters, strict=True)})}
