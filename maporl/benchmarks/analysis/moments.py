"""The record files of a run, in the order of time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from maporl.training.run_folder import RunFolder

__all__ = ["Moment", "moments"]

SPLITS = ("training", "validation", "test", "other")
"""In the order in which they follow at one iteration: what it learned from was said before the evaluation behind it."""


class Moment(NamedTuple):
    """What a record file holds: of which questions, and after how many iterations (of the training: in which one); None: nobody says."""

    file: Path
    split: str
    iteration: int | None

    @property
    def label(self) -> str:
        """For people: "validation at 10"."""
        if self.split == "test":
            return self.split
        named = self.iteration is None or self.split == "other"
        return self.file.stem.replace("_", " ") if named else f"{self.split} at {self.iteration}"


def moments(run: Path) -> list[Moment]:
    """The record files of a run; that of its test, which may not exist yet, is always among them."""
    files = {*run.glob("evaluations/*.jsonl"), *run.glob("discussions/*.jsonl"), run / "evaluations" / "test.jsonl"}
    told = {row["evaluation"]: row.get("iteration") for row in RunFolder(run).metrics if "evaluation" in row}
    return sorted((_moment(file, told) for file in files), key=_when)


def _moment(file: Path, told: Mapping[str, Any]) -> Moment:
    found = re.fullmatch(r"iteration_(\d+)", file.stem)
    iteration = int(found[1]) if found else told.get(file.stem)
    known = iteration if isinstance(iteration, int) else None
    if file.parent.name == "discussions":
        return Moment(file, "training", known)
    return Moment(file, "validation" if found else "test" if file.stem == "test" else "other", known)


def _when(moment: Moment) -> tuple[float, int, str]:
    split, iteration = moment.split, moment.iteration
    last = split in ("test", "other") or iteration is None
    return math.inf if last else float(iteration or 0), SPLITS.index(split), moment.file.stem
