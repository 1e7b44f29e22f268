"""The folder of a cell: its description, its records while they are measured, how it ended, and what it cost."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maporl.atomic_files import mapping_of, write_whole
from maporl.benchmarks.study.keys import CellKey
from maporl.benchmarks.study.provenance import PARTNERS, difference, keep_settings, settings_of_cell
from maporl.benchmarks.study.study import Study
from maporl.errors import ServerUnavailable
from maporl.rollouts.records import VERSION, Record, costs_of, write_records

__all__ = ["Begun", "clash", "describe", "fail", "is_complete", "one_line", "read_cell", "write_cell"]

PER_ANSWER = ("generations", "prompt_tokens", "completion_tokens", "judge_tokens")


def describe(study: Study, key: CellKey) -> dict[str, Any]:
    """The entries of cell.json that do not depend on a measurement."""
    named = key.named
    return {
        "version": VERSION,
        "task": key.task,
        "method": named.word,
        "label": named.label,
        "seed": key.seed,
        "folder": key.folder.as_posix(),
        "team": named.method.team,
        "trained": named.algorithm is not None,
        "algorithm": named.algorithm,
        "best_seat": named.method.best_seat,
        "baseline": study.compared_with(named),
        "matched_to": [{"method": word, "on": on} for word, on in key.matched],
    }


def write_cell(folder: Path, cell: Mapping[str, Any]) -> None:
    """Write cell.json, whole or not at all: a cell with one is over."""
    place = folder / cell["folder"]
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / "cell.json", json.dumps(cell, indent=2) + "\n")


def read_cell(place: Path) -> dict[str, Any] | None:
    """The contents of a cell's cell.json; None if it is missing, unreadable or of another version."""
    cell = mapping_of(place / "cell.json")
    return cell if cell.get("version") == VERSION else None


def is_complete(study: Study, folder: Path, key: CellKey) -> bool:
    """Whether a cell was measured with these settings, and its records are still there."""
    found = read_cell(folder / key.folder)
    if found is None or found.get("status") != "complete":
        return False
    file = folder / key.folder / "records.jsonl"
    there = file.is_file() and file.stat().st_size >= found.get("bytes", 1)
    return there and difference(folder / key.folder, settings_of_cell(study, key)) is None


def clash(study: Study, folder: Path, key: CellKey) -> str | None:
    """How the settings of a cell differ from those that it was measured with, if it was or is halfway; see `difference`."""
    found = read_cell(folder / key.folder)
    begun = (folder / key.folder / "progress.json").is_file() if found is None else found.get("status") == "complete"
    if not begun:
        return None
    # With more seeds another may sit beside the last one's agents: such a cell is measured again, which costs no training.
    settings = {name: value for name, value in settings_of_cell(study, key).items() if name != PARTNERS}
    return difference(folder / key.folder, settings)


def fail(study: Study, folder: Path, key: CellKey, error: BaseException | str) -> None:
    """Write a cell down as failed: one line for the report, the whole trace for who mends it.

    Records that it has are kept only if its verifier was not there: nothing is wrong with them then.
    """
    place = folder / key.folder
    if not isinstance(error, ServerUnavailable):
        Begun(place).forget()
    place.mkdir(parents=True, exist_ok=True)
    if isinstance(error, BaseException):
        (place / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        error = one_line(error)
    write_cell(folder, {**describe(study, key), "status": "failed", "error": error})


def one_line(error: BaseException) -> str:
    """An error as tables show it."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass
class Begun:
    """The records of a cell as they come. They are appended some questions at a time, so that little is lost with an interruption.

    Attributes:
        place: The cell's folder.
        questions: That are answered, seat by seat and sample by sample.
        bytes: That their records take.
        oracle: Whether the gold answer had a part in an answer.
        sums: Seat ("" without one) -> "answers" that were sampled, and the sums over them of `PER_ANSWER` and "eval_s".
    """

    place: Path
    questions: int = 0
    bytes: int = 0
    oracle: bool = False
    sums: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study, folder: Path, key: CellKey) -> Begun:
        """What an interrupted measurement with the same settings has left; else nothing, in a folder that is free for it."""
        place, settings = folder / key.folder, settings_of_cell(study, key)
        found = mapping_of(place / "progress.json") if difference(place, settings) is None else {}
        try:
            begun = cls(place, **found)
            if begun._part.stat().st_size < begun.bytes:
                raise OSError(f"{begun._part} has lost records")
            os.truncate(begun._part, begun.bytes)  # what follows is half a piece
        except (OSError, TypeError):
            begun = cls(place)
            begun.forget()
        for name in ("cell.json", "records.jsonl", "traceback.txt"):  # of an earlier try
            (place / name).unlink(missing_ok=True)
        keep_settings(place, settings)
        return begun

    def add(self, records: Sequence[Record], questions: int, seconds_per_token: float) -> None:
        """Append the records of some questions; those that are sampled count for the costs.

        Raises:
            TypeError: An answer that JSON cannot hold.
        """
        write_records(self._part, records, append=True)
        for record in records:
            self.oracle = self.oracle or bool(record["oracle"])
            if record["greedy"]:
                continue
            sums = self.sums.setdefault(record["seat"] or "", dict.fromkeys(("answers", *PER_ANSWER, "eval_s"), 0.0))
            costs = costs_of(record)
            sums["answers"] += 1
            for name, cost in costs.items():
                sums[name] += cost
            sums["eval_s"] += (costs["prompt_tokens"] + costs["completion_tokens"]) * seconds_per_token
        self.questions += questions
        self.bytes = self._part.stat().st_size
        kept = {name: value for name, value in vars(self).items() if name != "place"}
        write_whole(self.place / "progress.json", json.dumps(kept) + "\n")

    def complete(self, study: Study, folder: Path, key: CellKey) -> None:
        """Write the cell down as complete, with its costs: an answer's, and the seconds that all of them took in one seat."""
        seats = {
            seat: {**{name: sums[name] / sums["answers"] for name in PER_ANSWER}, "eval_s": sums["eval_s"]}
            for seat, sums in self.sums.items()
        }
        costs = {name: sum(c[name] for c in seats.values()) / len(seats) for name in (*PER_ANSWER, "eval_s")}
        self._part.replace(self.place / "records.jsonl")
        (self.place / "progress.json").unlink()
        cell = {
            "status": "complete",
            "oracle": self.oracle,
            "bytes": self.bytes,
            "costs": {"questions": float(self.questions), **costs},
            "seat_costs": {seat: costs for seat, costs in seats.items() if seat},
        }
        write_cell(folder, {**describe(study, key), **cell})

    def forget(self) -> None:
        """Delete what was begun."""
        for file in (self._part, self.place / "progress.json"):
            file.unlink(missing_ok=True)

    @property
    def _part(self) -> Path:
        return self.place / "records.jsonl.part"
