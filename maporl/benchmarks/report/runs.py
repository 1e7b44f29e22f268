"""The view of a single run: how it stands, its evaluations in the order of time, its curves, its settings and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.collaboration import rounds_of
from maporl.benchmarks.analysis.learning_curves import curve_of
from maporl.benchmarks.analysis.outcomes import Outcomes, accuracy
from maporl.benchmarks.analysis.results import Cell
from maporl.benchmarks.analysis.statistics import clustered_interval, compare
from maporl.benchmarks.report.run_curves import constants, curves_of
from maporl.errors import UserValueError
from maporl.rollouts.records import Record, costs_of
from maporl.settings import read_yaml_file
from maporl.text_files import read_json
from maporl.training.config import RunConfig
from maporl.training.run_folder import RunFolder

__all__ = ["RunView"]

RIGHT = 0.999
"""From this share on a team's answer is right; a tie is not."""


class RunView:
    """Collects what a run's section shows.

    Args:
        folder: The run's.
        points: Of one curve at most.
    """

    def __init__(self, folder: Path, points: int) -> None:
        self.folder, self.points = folder, points
        self._cells: list[Cell] = []
        self._evaluations: list[dict[str, Any]] = []
        self._samples: list[dict[str, Any]] = []
        self._outcomes: list[Outcomes] = []  # of the evaluations on validation questions

    def add(self, number: int, cell: Cell, records: Sequence[Record]) -> None:
        """Take a record file of the run: cell number `number` of the page."""
        self._cells.append(cell)
        about = {"cell": number, "split": cell.split, "iteration": cell.iteration, "discussions": len(records)}
        if not records:
            return
        if cell.split == "training":
            self._samples.append(about)
            return
        outcomes = _by_question(records)
        first = self._outcomes[0] if self._outcomes and cell.split == "validation" else None
        if cell.split == "validation":
            self._outcomes.append(outcomes)
        low, high = clustered_interval(list(outcomes.values()))
        self._evaluations.append(
            about
            | {"name": cell.records_file.stem, "questions": len(outcomes), "greedy": all(r["greedy"] for r in records)}
            | {"accuracy": accuracy(outcomes), "low": low, "high": high, "rounds": _rounds(records)}
            | {"tokens": sum(costs_of(r)["completion_tokens"] for r in records) / len(records)}
            | {"gain": _gain(outcomes, first) if first else None}
        )

    def finish(self) -> dict[str, Any]:
        """Ready for JSON once it is cleaned."""
        cell = self._cells[0]
        config = _mapping(self.folder / "config.yaml")
        metrics = curve_of(self.folder, self.points)
        judged = [one for one in self._evaluations if one["split"] == "validation" and one["iteration"] is not None]
        first, more = curves_of(metrics, judged)
        every = curve_of(self.folder)
        iterations = [int(x) for name, points in every.items() if not name.startswith("eval/") for x, _ in points]
        seconds = [y for name in ("time/rollout_s", "time/update_s") for _, y in every.get(name, ())]
        return {
            "name": cell.run_name,
            **{name: getattr(cell, name) for name in ("task", "seed", "error")},
            "status": RunFolder(self.folder).status,
            "algorithm": config.get("algorithm", RunConfig.algorithm),
            "model": config.get("model", RunConfig.model),
            "done": max(iterations, default=0),
            "iterations": config.get("num_iterations", RunConfig.num_iterations),
            "seconds": sum(seconds),
            "evaluations": self._evaluations,
            "samples": self._samples,
            "changes": self._changes(judged),
            "curves": list(map(asdict, first)),
            "more_curves": list(map(asdict, more)),
            "constants": constants(metrics),
            "settings": _settings(config),
            "machine": _mapping(self.folder / "machine.json"),
        }

    def _changes(self, judged: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """What became of the questions of the first validation until the last; None with one."""
        if len(judged) < 2:
            return None
        first, last = self._outcomes[0], self._outcomes[-1]
        shared = [question for question in first if question in last]
        counted = {f"{a}_{b}": 0 for a in ("right", "wrong") for b in ("right", "wrong")}
        for question in shared:
            before, after = ("right" if accuracy({"": one[question]}) >= RIGHT else "wrong" for one in (first, last))
            counted[f"{before}_{after}"] += 1
        return {"first": judged[0]["cell"], "last": judged[-1]["cell"], "questions": len(shared), **counted}


def _by_question(records: Sequence[Record]) -> Outcomes:
    outcomes: Outcomes = {}
    for record in records:
        outcomes.setdefault(record["question_id"], []).append(float(record["team_correct"]))
    return outcomes


def _rounds(records: Sequence[Record]) -> list[dict[str, Any] | None]:
    """Share of right messages by round, with its interval over questions; a discussion that ended early keeps its last round."""
    talks = [(record["question_id"], list(rounds_of(record["turns"]).values())) for record in records]
    found: list[dict[str, Any] | None] = []
    for r in range(max((len(rounds) for _, rounds in talks), default=0)):
        shares: Outcomes = {}
        for question, rounds in talks:
            judged = [said.right for said in rounds[min(r, len(rounds) - 1)].values() if said.judged] if rounds else []
            if judged:
                shares.setdefault(question, []).append(sum(judged) / len(judged))
        if not shares:
            found.append(None)
            continue
        low, high = clustered_interval(list(shares.values()))
        found.append({"accuracy": accuracy(shares), "low": low, "high": high})
    return found


def _gain(outcomes: Outcomes, first: Outcomes) -> dict[str, Any] | None:
    """Of a validation over the first one, paired over the questions that they share."""
    try:
        compared = compare(outcomes, first)
    except UserValueError:  # no question in common
        return None
    return {"difference": compared.difference, "low": compared.low, "high": compared.high}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen, what was left as it is, and the prompts."""
    usual = {field.name: getattr(RunConfig(), field.name) for field in fields(RunConfig)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in usual.items()}
    own = {name: value for name, value in config.items() if name != "prompts"}
    return {
        "chosen": {name: value for name, value in own.items() if value != plain.get(name)},
        "usual": {name: value for name, value in own.items() if value == plain.get(name)},
        "defaults": {name: plain.get(name) for name in own if own[name] != plain.get(name)},
        "prompts": config.get("prompts"),
    }


def _mapping(file: Path) -> dict[str, Any]:
    """What a file holds; {} if it is not there, or is being written."""
    try:
        found = read_json(file) if file.suffix == ".json" else read_yaml_file(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
