"""Who sits in the discussions of a study, before anything is loaded: the rosters of a cell, and what they are loaded with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from maporl.agents import Sampling, Voice
from maporl.benchmarks.study.keys import CellKey
from maporl.benchmarks.study.study import Study, discussed, seats_of
from maporl.envs.discussion import DiscussionEnv
from maporl.roster import Roster, Speaker
from maporl.settings import model_name
from maporl.training.config import RunConfig
from maporl.training.run_folder import RunFolder

__all__ = ["Planned", "Seating", "Tasks", "by_models", "seatings", "voices"]


@dataclass(frozen=True)
class Seating:
    """Who is to speak in a part of a cell, before anything is loaded.

    Attributes:
        seat: Its name in the records, if the cell has several parts.
        config: Of its discussion.
        roster: Who speaks.
    """

    seat: str | None
    config: RunConfig
    roster: Roster


Planned = tuple[CellKey, list[Seating]]


class Tasks:
    """The environments of configurations, each made once."""

    def __init__(self) -> None:
        self._made: list[tuple[tuple[Any, ...], DiscussionEnv]] = []

    def of(self, config: RunConfig) -> DiscussionEnv:
        key = discussed(config)
        env = next((env for known, env in self._made if known == key), None)
        if env is None:
            self._made.append((key, env := config.build_env()))
        return env


def seatings(study: Study, key: CellKey, folder: Path, tasks: Tasks) -> list[Seating]:
    """The teams of a cell: what its method makes of those that were trained, or of the untrained one; a lone agent's in every view.

    Raises:
        ValueError: A slip in its settings, or nobody for a seat.
    """
    method, config = key.named.method, study.config(key.task, key.named, key.seed)
    agents = tasks.of(config).possible_agents
    trained = [
        (t.seat, Roster.load(folder / t.folder / "adapters")) for t in study.trainings(key.task, key.named, key.seed)
    ]
    # Agents trained on another task may have had another view, or none.
    there = seats_of(tasks.of(study.budget(key.task, None)), "test") if method.lone else ()
    return [
        Seating(seat or view or None, _viewed(config, view), roster)
        for seat, roster in method.seat(trained or [("", _untrained(config, agents))], agents).items()
        for view in ([seat] if seat in there else there or [""])
    ]


def _untrained(config: RunConfig, agents: Sequence[str]) -> Roster:
    """The base model (or ``init_adapter`` on it) in every seat, partners of one's own in theirs; what is set for others is left out."""

    def own(given: Any) -> Any:
        return {a: g for a, g in given.items() if a in agents} if isinstance(given, Mapping) else given

    return Roster.of(
        agents,
        1,
        own(config.model),
        team="frozen",
        partners=own(config.partners),
        init_adapter=config.init_adapter,
    )


def _viewed(config: RunConfig, seat: str) -> RunConfig:
    return replace(config, env_args={**config.env_args, "view": seat}) if seat else config


def by_models(cells: Sequence[Planned]) -> list[list[Planned]]:
    """Cells that need the same base models, which make room for others when these are measured; every run of ``sft`` is a model."""
    groups: list[tuple[frozenset[str], list[Planned]]] = []
    bases = [frozenset(model_name(base) for part in parts for base in part.roster.bases) for _, parts in cells]
    for needed, cell in sorted(zip(bases, cells, strict=True), key=lambda pair: -len(pair[0])):
        fitting = next((group for there, group in groups if needed <= there), None)
        if fitting is None:
            groups.append((needed, fitting := []))
        fitting.append(cell)
    return [group for _, group in groups]


def voices(config: RunConfig) -> Callable[[Speaker], Voice]:
    """How a speaker is loaded and prompted: as in the run that it comes from; it samples as the cell says."""
    temperature = config.eval_temperature or config.temperature
    sampling = Sampling(config.max_new_tokens, temperature, stop=config.stop, thinking_budget=config.thinking_budget)

    @cache
    def of_run(run: str | None) -> Voice:
        made = config if run is None else RunFolder(run).config
        return replace(made.voice(), sampling=sampling)

    return lambda speaker: of_run(speaker.run)
