"""Who speaks and who learns: a value, made of a configuration's words or read from a run folder, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from maporl.errors import UserValueError
from maporl.settings import EMBEDDED, model_name
from maporl.text_files import read_json
from maporl.types import Seat

__all__ = ["BASE", "WARM_START", "Roster", "Speaker", "checkpoint_of"]

BASE = "base"
"""The word for a seat that speaks with the frozen base model."""

WARM_START = "warm_start"
"""The adapter of frozen seats, and of the reference, when every adapter starts from a given one."""

FILE = "team.json"

_ADAPTERS = {  # word -> the adapter of (agent, round)
    "shared": lambda agent, r: "shared",
    "per_agent": lambda agent, r: agent,
    "per_agent_round": lambda agent, r: f"{agent}_round_{r + 1}",
    "frozen": lambda agent, r: None,
}


@dataclass(frozen=True)
class Speaker:
    """Who speaks from a seat: a language model, or an agent of one's own.

    Attributes:
        base: Its checkpoint, a folder, hub id or "embedded"; None for a partner.
        adapter: The name of its adapter; None speaks with the bare base.
        start: PEFT folder that the adapter is loaded from; None makes a new one.
        trains: Do algorithms update the adapter?
        partner: The word, ``package.module:Class`` or ``{"name": ..., **arguments}`` of an agent that has none of the above.
        run: The run folder that it was read from, whose configuration says how it is loaded and prompted; None: the one at hand.
    """

    base: str | None = None
    adapter: str | None = None
    start: str | None = None
    trains: bool = False
    partner: Any = None
    run: str | None = None


@dataclass(frozen=True)
class Roster:
    """(agent, round) -> who speaks there, rounds from 0. In rounds after an agent's last seat that last one speaks.

    Every method returns another roster or a fact about this one.
    """

    seats: Mapping[Seat, Speaker]

    @classmethod
    def of(
        cls,
        agents: Sequence[str],
        num_rounds: int,
        model: str | Mapping[str, str],
        *,
        team: str | Mapping[str, Any] = "per_agent",
        frozen: Iterable[str] = (),
        partners: Mapping[str, Any] | None = None,
        init_adapter: str | Path | None = None,
    ) -> Roster:
        """The roster that a configuration's words describe.

        Args:
            agents: Everybody's name.
            num_rounds: Rounds of the discussion.
            model: One checkpoint for everybody, or agent -> checkpoint.
            team: "shared", "per_agent", "per_agent_round", "frozen", or {agent: adapter | [adapter of each round]} with "base" for the
                frozen base.
            frozen: See `frozen`.
            partners: See `with_partners`.
            init_adapter: PEFT folder from which every adapter starts; frozen seats speak with it as it is.

        Raises:
            ValueError: An unknown word, agent or round, an agent without a checkpoint, or one adapter on two checkpoints.
        """
        if isinstance(model, Mapping) and set(model) - set(agents):
            raise UserValueError(f"model names {sorted(set(model) - set(agents))}; the agents are {list(agents)}.")
        partners = partners or {}
        start = None if init_adapter is None else str(init_adapter)
        seats = {}
        for (agent, r), name in _adapters(team, agents, num_rounds).items():
            base = None if agent in partners else checkpoint_of(model, agent)
            adapter = name or (WARM_START if start else None)
            seats[Seat(agent, r)] = Speaker(base, adapter, start, trains=name not in (None, WARM_START))
        roster = cls(seats).with_partners(partners).frozen(frozen)
        bases: dict[str, dict[str, str | None]] = {}
        for (agent, _), speaker in roster.seats.items():
            if speaker.trains and speaker.adapter is not None:
                bases.setdefault(speaker.adapter, {})[agent] = speaker.base
        for adapter, found in bases.items():
            if len(set(found.values())) > 1:
                raise UserValueError(
                    f"adapter {adapter!r} would sit on different models ({found}); use --team per_agent, or one model."
                )
        return roster

    @staticmethod
    def joined(speakers: Mapping[str, Sequence[Speaker]]) -> Roster:
        """The roster of these speakers, agent -> one for each round; they may come from different rosters."""
        return Roster(
            {Seat(agent, r): speaker for agent, rounds in speakers.items() for r, speaker in enumerate(rounds)}
        )

    # -- facts ---------------------------------------------------------------------------------------------------------

    @cached_property
    def agents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(agent for agent, _ in self.seats))

    @property
    def bases(self) -> frozenset[str]:
        """The checkpoints that are needed."""
        return frozenset(speaker.base for speaker in self.seats.values() if speaker.base is not None)

    def rounds(self, agent: str) -> tuple[Speaker, ...]:
        """Who speaks for an agent, round by round."""
        return tuple(self.seats[seat] for seat in sorted(seat for seat in self.seats if seat[0] == agent))

    # -- other rosters -------------------------------------------------------------------------------------------------

    def frozen(self, words: Iterable[str]) -> Roster:
        """Seats that stay at the base model, or at the adapter that they start from.

        Args:
            words: Agents ("agent_1"), rounds ("round_1", counted from 1) or single seats ("agent_1/round_1").

        Raises:
            ValueError: An unknown agent or round.
        """
        words = set(words)
        num_rounds = 1 + max(r for _, r in self.seats)
        named = {seat: {seat[0], f"round_{seat[1] + 1}", f"{seat[0]}/round_{seat[1] + 1}"} for seat in self.seats}
        for word in words - set().union(*named.values()):
            raise UserValueError(
                f"frozen names {word!r}; use an agent of {list(self.agents)}, 'round_1' to 'round_{num_rounds}', or AGENT/round_K."
            )
        return Roster({seat: _still(s) if named[seat] & words else s for seat, s in self.seats.items()})

    def with_partners(self, partners: Mapping[str, Any]) -> Roster:
        """Agents of one's own, agent -> a word, ``package.module:Class`` or ``{"name": ..., **arguments}``, in all seats of that name.

        Raises:
            ValueError: There is no such agent.
        """
        if set(partners) - set(self.agents):
            raise UserValueError(
                f"partners names {sorted(set(partners) - set(self.agents))}; the agents are {list(self.agents)}."
            )
        return Roster(
            {seat: Speaker(partner=partners[seat[0]]) if seat[0] in partners else s for seat, s in self.seats.items()}
        )

    def on(self, model: str | Mapping[str, str]) -> Roster:
        """The same adapters on other checkpoints: one, or agent -> checkpoint."""
        return Roster(
            {
                seat: s if s.base is None else replace(s, base=checkpoint_of(model, seat[0]))
                for seat, s in self.seats.items()
            }
        )

    def seated(self, agents: Sequence[str]) -> Roster:
        """The same team for `agents`: some of its own, or any number where all of them speak alike.

        Raises:
            ValueError: It has no seat for one of them.
        """
        everybody = {agent: self.rounds(agent) for agent in self.agents}
        alike = next(iter(everybody.values()))
        for agent in agents:
            if agent not in everybody and any(rounds != alike for rounds in everybody.values()):
                run = alike[0].run or "the team"
                raise UserValueError(
                    f"{run!r} trained {list(everybody)}, not {agent!r}; ask for their number (--num_agents {len(everybody)}), or train "
                    "with --team shared, which seats any number."
                )
        return Roster.joined({agent: everybody.get(agent, alike) for agent in agents})

    # -- on disk -------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write `folder`/team.json. The adapters lie beside it, each in a folder of its name."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        plan: dict[str, list[dict[str, Any]]] = {agent: [] for agent in self.agents}
        for agent, rounds in plan.items():
            for speaker in self.rounds(agent):
                known = asdict(replace(speaker, start=None, run=None, base=speaker.base and model_name(speaker.base)))
                rounds.append({name: value for name, value in known.items() if value not in (None, False)})
        (target / FILE).write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Roster:
        """From the ``adapters`` folder of a run.

        Raises:
            ValueError: There is none yet, or another version wrote it.
        """
        file = Path(folder) / FILE
        run = str(file.parent.parent)
        if not file.is_file():
            raise UserValueError(
                f"{run!r} has no adapters yet: its training did not end; go on with maporl train --resume {run}."
            )
        plan: dict[str, list[Any]] = read_json(file)
        if not all(isinstance(entry, dict) for rounds in plan.values() for entry in rounds):
            raise UserValueError(
                f"{str(file)!r} was written by an earlier version, which did not say who is trained; train anew with its settings: "
                f"maporl train --config {run}/config.yaml --output_dir DIR."
            )

        def speaker(entry: Mapping[str, Any]) -> Speaker:
            start = str(file.parent / entry["adapter"]) if "adapter" in entry else None
            return Speaker(**entry, start=start, run=run)

        return cls.joined({agent: [speaker(entry) for entry in rounds] for agent, rounds in plan.items()})


def checkpoint_of(model: str | Mapping[str, str], agent: str) -> str:
    """The checkpoint that `agent` speaks with.

    Raises:
        ValueError: There is none.
    """
    if isinstance(model, Mapping) and model and agent not in model:
        raise UserValueError(
            f"model has no base model for {agent!r}, but for {list(model)}; give one for each agent, or one for all."
        )
    checkpoint = model.get(agent) if isinstance(model, Mapping) else model
    if not checkpoint:
        raise UserValueError(
            f"no model; name a checkpoint folder or hub id: --model DIR (--model {EMBEDDED} is a small one that comes with maporl)."
        )
    return checkpoint


def _still(speaker: Speaker) -> Speaker:
    """The speaker before any training: the bare base, or the adapter that it starts from."""
    if speaker.base is None:
        return speaker
    return replace(speaker, adapter=WARM_START if speaker.start else None, trains=False)


def _adapters(team: str | Mapping[str, Any], agents: Sequence[str], num_rounds: int) -> dict[Seat, str | None]:
    """The adapter of every seat; None is the frozen base."""
    if isinstance(team, str):
        if team not in _ADAPTERS:
            raise UserValueError(
                f"team {team!r} is unknown; use one of {list(_ADAPTERS)}, or a mapping agent -> adapter."
            )
        return {Seat(agent, r): _ADAPTERS[team](agent, r) for agent in agents for r in range(num_rounds)}
    if set(team) - set(agents):
        raise UserValueError(f"team names {sorted(set(team) - set(agents))}; the agents are {list(agents)}.")
    seats: dict[Seat, str | None] = {}
    for agent in agents:
        if agent not in team:
            raise UserValueError(
                f"team has no entry for {agent!r}; name an adapter (or {BASE!r}) for each of {list(agents)}."
            )
        names = [team[agent]] * num_rounds if isinstance(team[agent], str) else team[agent]
        if len(names) != num_rounds:
            raise UserValueError(
                f"team names {len(names)} adapters for {agent!r}, but there are {num_rounds} rounds; one each, or one word."
            )
        seats |= {Seat(agent, r): None if name == BASE else name for r, name in enumerate(names)}
    return seats
