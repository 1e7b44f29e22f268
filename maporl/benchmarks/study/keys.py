"""What a study is made of: trainings and cells, by what they are of, and the folders that they are written to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from maporl.benchmarks.methods.naming import Named
from maporl.training.config import RunConfig

__all__ = ["CellKey", "TrainingKey", "file_name"]


@dataclass(frozen=True)
class TrainingKey:
    """One training run, which rows of the same agents share.

    Attributes:
        task, method, seat, seed: Which; `seat` is "" where there is but one.
        config: Of the run.
    """

    task: str
    method: str
    seat: str
    seed: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where it is written, in the study's folder."""
        parts = (self.task, self.method, *([self.seat] if self.seat else []))
        return Path("runs", *map(file_name, parts), f"seed_{self.seed}")


@dataclass(frozen=True)
class CellKey:
    """One method on one task with one seed.

    Attributes:
        task, named, seed: Which.
        matched: For a vote that spends as much as a team: (the team's word, "completion" | "all" tokens), ...
    """

    task: str
    named: Named
    seed: int
    matched: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is written, in the study's folder."""
        return Path("cells", file_name(self.task), file_name(self.named.word), f"seed_{self.seed}")

    @property
    def name(self) -> str:
        return f"{self.task} / {self.named.word} / seed {self.seed}"


def file_name(word: str) -> str:
    """A word as the name of a folder."""
    return re.sub(r"[^\w.@+-]", "~", word)
