"""The settings that a cell or a training was made with, kept beside it and compared before it is used again; and the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maporl.atomic_files import mapping_of, write_whole
from maporl.benchmarks.study.keys import CellKey
from maporl.benchmarks.study.study import Study
from maporl.training.config import RunConfig
from maporl.training.run_folder import RunFolder

__all__ = ["difference", "keep_settings", "run_holds_work", "settings_of_cell", "settings_of_run"]

FILE = "settings.json"
PARTNERS = "partners_of_seeds"

Provenance = dict[str, Any]


def settings_of_run(config: RunConfig) -> Provenance:
    """Everything that decides a training, wherever it is written."""
    return _plain({name: value for name, value in vars(config).items() if name != "output_dir"})


def settings_of_cell(study: Study, key: CellKey) -> Provenance:
    """Everything that decides what the records of a cell say."""
    kind = type(key.named.method)
    own = {
        "method": f"{kind.__module__}:{kind.__qualname__}",
        "arguments": vars(key.named.method),
        "trained_by": key.named.algorithm,
        **{name: getattr(study, name) for name in ("num_questions", "num_samples", "ablate_messages")},
    }
    if key.named.method.least_seeds > 1:
        own[PARTNERS] = [t.seed for t in study.trainings(key.task, key.named, key.seed)]  # who sits beside whom
    if key.named.trained_on is not None:
        own["trained_on"] = key.named.trained_on
    return settings_of_run(study.config(key.task, key.named, key.seed)) | _plain(own)


def difference(place: Path, settings: Mapping[str, Any]) -> str | None:
    """The first setting that was another one when something was made here, "NAME OLD, not NEW"; None if there is none.

    Settings that only one side knows, for another version wrote the other, are not compared; and none where nothing was kept.
    """
    kept = mapping_of(place / FILE)
    names = (name for name, value in settings.items() if name in kept and kept[name] != value)
    return next((f"{name} {kept[name]!r}, not {settings[name]!r}" for name in names), None)


def keep_settings(place: Path, settings: Mapping[str, Any]) -> None:
    """Write them into a folder, which is made."""
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / FILE, json.dumps(settings, indent=1) + "\n")


def run_holds_work(place: Path) -> bool:
    """Whether a run folder holds something that is worth keeping: it is complete, or was interrupted after a checkpoint."""
    status = RunFolder(place).status
    return status == "complete" or (status != "failed" and (place / "checkpoint.pt").is_file())


def _plain(settings: Mapping[str, Any]) -> Provenance:
    """As JSON gives them back; what JSON cannot hold (attributes of an own method) becomes the name of its type."""
    plain: Provenance = json.loads(json.dumps(settings, default=lambda value: type(value).__qualname__))
    return plain
