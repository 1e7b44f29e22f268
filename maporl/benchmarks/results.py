"""What was measured, read back from study folders and run folders; also while they are being written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maporl.algorithms.records import VERSION, Record, read_records
from maporl.settings import read_yaml

__all__ = ["Cell", "Results", "load_results"]


@dataclass(frozen=True)
class Cell:
    """One method on one task with one seed.

    Attributes:
        task, method, label, seed: Which; `label` is the method's name for people.
        status: "complete", "failed", "running" (or interrupted) or "waiting".
        error: One line on what failed.
        team: More than one agent discusses.
        trained: Something was trained for it.
        oracle: A verifier that knows the gold answer chose the answer: an upper bound, no baseline.
        best_seat: Of several trainings, one a seat, the best is the row; else the row is the mean over seats.
        matched: For a vote of a lone agent: (method of the team it spends as much as, "completion" | "all" tokens).
        costs: "questions"; per question "generations", "prompt_tokens", "completion_tokens"; "eval_s".
        folder: Where it lives.
        records_file: Its discussions; may not exist yet.
        runs: Run folders of its trainings.
        problems: What was left out when its records were read.
    """

    task: str
    method: str
    label: str
    seed: int
    status: str
    folder: Path
    records_file: Path
    error: str | None = None
    team: bool = False
    trained: bool = False
    oracle: bool = False
    best_seat: bool = False
    matched: tuple[tuple[str, str], ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    runs: tuple[Path, ...] = ()
    problems: list[str] = field(default_factory=list, compare=False)

    def records(self) -> list[Record]:
        """Its discussions, read from disk; what is left out goes to `problems`."""
        self.problems.clear()
        return read_records(self.records_file, self.problems)


@dataclass(frozen=True)
class Results:
    """All cells of some studies and runs.

    Attributes:
        title: Of the whole.
        cells: In the order of tasks, methods and seeds.
        settings: For people: command, versions, machine, configuration.
        problems: Files that could not be read, one line each.
    """

    title: str
    cells: tuple[Cell, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def load_results(paths: Sequence[str | Path]) -> Results:
    """The cells of study folders (``maporl benchmark``) and run folders (``maporl train``).

    Raises:
        ValueError: A path that is neither.
    """
    cells: list[Cell] = []
    settings: dict[str, Any] = {}
    problems: list[str] = []
    for path in {Path(p).resolve(): Path(p) for p in paths}.values():  # one that is named twice counts once
        if (path / "study.yaml").is_file():
            settings |= _settings_of_study(path, problems)
            cells += _cells_of_study(path, settings, problems)
        elif (path / "config.yaml").is_file():
            cells += _cells_of_run(path)
        else:
            raise ValueError(
                f"{str(path)!r} is neither a study nor a run: it holds no study.yaml and no config.yaml; name a folder that maporl "
                "benchmark or maporl train wrote."
            )
    seen: set[tuple[str, str, int]] = set()
    for cell in cells:
        if (cell.task, cell.method, cell.seed) in seen:
            problems.append(
                f"{cell.folder}: {cell.task}, {cell.method}, seed {cell.seed} is there already; the first one counts"
            )
        seen.add((cell.task, cell.method, cell.seed))
    title = str(settings.get("title") or ", ".join(Path(p).resolve().name for p in paths))
    return Results(title, tuple(cells), settings, tuple(problems))


def _settings_of_study(path: Path, problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("study.yaml", "machine.json"):
        found |= _read(path / name, problems, dict, "left out")
    return found


def _read(file: Path, problems: list[str], kind: type, instead: str) -> Any:
    """What a YAML or JSON file holds; an empty `kind` if it is not there, half written or holds something else."""
    if not file.is_file():
        return kind()
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else read_yaml(text)
    except (OSError, ValueError) as error:
        problems.append(f"{file}: cannot be read ({' '.join(str(error).split())}); {instead}")
        return kind()
    if not isinstance(found, kind):
        problems.append(f"{file}: holds a {type(found).__name__}, not a {kind.__name__}; {instead}")
        return kind()
    return found


def _cells_of_study(path: Path, settings: Mapping[str, Any], problems: list[str]) -> Iterator[Cell]:
    for entry in _read(path / "plan.json", problems, list, "its cells are left out; run the study again"):
        if entry.get("version") != VERSION:
            problems.append(_foreign(path / "plan.json", entry))
            return
        folder = path / entry["folder"]
        known = {**entry, "status": "running" if folder.is_dir() else "waiting"}
        written = _read(folder / "cell.json", problems, dict, "taken as interrupted")
        if written and written.get("version") != VERSION:
            problems.append(_foreign(folder, written))
            continue
        known |= written
        yield _cell(known, folder, tuple(path / run for run in entry.get("runs", ())))


def _foreign(place: Path, found: Mapping[str, Any]) -> str:
    return f"{place}: of version {found.get('version')}, not {VERSION}; left out, run it again"


def _cell(known: Mapping[str, Any], folder: Path, runs: tuple[Path, ...]) -> Cell:
    return Cell(
        task=known["task"],
        method=known["method"],
        label=known["label"],
        seed=int(known["seed"]),
        status=known["status"],
        folder=folder,
        records_file=folder / "records.jsonl",
        error=known.get("error"),
        team=bool(known.get("team")),
        trained=bool(known.get("trained")),
        oracle=bool(known.get("oracle")),
        best_seat=bool(known.get("best_seat")),
        matched=tuple((m["method"], m["on"]) for m in known.get("matched_to", ())),
        costs=known.get("costs", {}),
        runs=runs,
    )


def _cells_of_run(path: Path) -> Iterator[Cell]:
    """A training run: its evaluations (the test first), and the training discussions that it recorded."""
    config = read_yaml((path / "config.yaml").read_text(encoding="utf-8")) or {}
    status_file = path / "status.json"
    status = read_yaml(status_file.read_text(encoding="utf-8")) if status_file.is_file() else {"status": "running"}
    files = sorted(path.glob("evaluations/*.jsonl"), key=lambda file: (file.stem != "test", file.stem))
    files += sorted(path.glob("discussions/*.jsonl"))
    for file in files or [path / "evaluations" / "test.jsonl"]:
        where = "training " if file.parent.name == "discussions" else ""
        yield Cell(
            task=str(config.get("env", "")),
            method=f"{path.name}/{where}{file.stem}",
            label=f"{path.name}, {where}{file.stem.replace('_', ' ')}",
            seed=int(config.get("seed", 0)),
            status="running" if status["status"] == "interrupted" else status["status"],
            error=status.get("error"),
            folder=path,
            records_file=file,
            team=int(config.get("num_agents") or 2) > 1,
            trained=True,
            runs=(path,),
        )
