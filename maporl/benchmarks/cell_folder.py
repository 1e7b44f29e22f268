"""A cell on disk: what it is, how it ended, what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maporl.algorithms.records import VERSION
from maporl.benchmarks.methods import SingleAgent
from maporl.benchmarks.study import CellKey

__all__ = ["describe", "read_cell", "write_cell"]


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
        "team": not isinstance(named.method, SingleAgent),
        "trained": named.algorithm is not None,
        "algorithm": named.algorithm,
        "best_seat": named.method.best_seat,
        "matched_to": [{"method": word, "on": on} for word, on in key.matched],
    }


def write_cell(folder: Path, cell: Mapping[str, Any]) -> None:
    """Write cell.json, whole or not at all: a cell with one is done."""
    place = folder / cell["folder"]
    place.mkdir(parents=True, exist_ok=True)
    part = place / "cell.json.part"
    part.write_text(json.dumps(cell, indent=2) + "\n", encoding="utf-8")
    part.replace(place / "cell.json")


def read_cell(folder: Path, key: CellKey) -> dict[str, Any] | None:
    """What is written of a cell that is done; None where nothing (readable) is."""
    try:
        found: dict[str, Any] = json.loads((folder / key.folder / "cell.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return found if found.get("version") == VERSION else None
