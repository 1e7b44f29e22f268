"""A cell on disk: what it is, how it ended, what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maporl.algorithms.records import VERSION
from maporl.benchmarks.study import CellKey

__all__ = ["describe", "one_line", "read_cell", "write_cell", "write_whole"]


def describe(key: CellKey) -> dict[str, Any]:
    """What is known of a cell before it is measured."""
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
        "matched_to": [{"method": word, "on": on} for word, on in key.matched],
    }


def write_cell(folder: Path, cell: Mapping[str, Any]) -> None:
    """Write cell.json, whole or not at all: a cell with one is done."""
    place = folder / cell["folder"]
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / "cell.json", json.dumps(cell, indent=2) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a file such that nobody ever reads half of it."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def one_line(error: BaseException) -> str:
    """An error as tables show it."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def read_cell(folder: Path, key: CellKey) -> dict[str, Any] | None:
    """What is written of a cell that is done; None where nothing (readable) is."""
    try:
        found: Any = json.loads((folder / key.folder / "cell.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None
