"""What was measured, read back from study folders and run folders; also while they are being written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.moments import moments
from maporl.errors import UserValueError
from maporl.rollouts.records import VERSION, Record, read_records
from maporl.settings import read_yaml_file
from maporl.text_files import read_json

__all__ = ["Cell", "Results", "load_results"]

NO_MEANING = {"methods", "tasks", "algorithms", "seeds", "ablate_messages", "num_workers", "title", "output_dir"}
"""Keys of study.yaml that do not change what every word in it means."""


@dataclass(frozen=True)
class Cell:
    """One method on one task with one seed.

    Attributes:
        task, method, label, seed: Which; `label` is the method's name for people.
        status: "complete", "failed", "running" (or interrupted) or "waiting".
        error: One line on what failed.
        team: More than one agent discusses.
        trained, algorithm: Something was trained for it; by what.
        oracle: A verifier that knows the gold answer chose the answer: an upper bound, no baseline.
        best_seat: The method reports only the best of several teams, in each of which another seat was trained
            (`maporl.benchmarks.study.best_seat`); otherwise it reports the mean over seats.
        matched: For a vote of a lone agent: (method of the team it spends as much as, "completion" | "all" tokens).
        baseline: The single agent that it is to be compared with; None for that one itself.
        run_name: Of a plain run, each of whose record files is a cell: the name of its training.
        split: Of a plain run: what was asked, "validation", "test", "training" (what it learned from) or "other"; "" of a study.
        iteration: Of a plain run: after how many iterations, or in which one of the training; None: it does not say.
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
    algorithm: str | None = None
    oracle: bool = False
    best_seat: bool = False
    matched: tuple[tuple[str, str], ...] = ()
    baseline: str | None = None
    run_name: str = ""
    split: str = ""
    iteration: int | None = None
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
        cells: In the order of tasks, methods and seeds; those of a plain run in the order of time.
        settings: For people: command, versions, machine, configuration.
        problems: Files that could not be read, one line each.
    """

    title: str
    cells: tuple[Cell, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def compared(self) -> list[Cell]:
        """What methods are compared by: all cells of studies, and of a plain run its test. Its other evaluations are steps on the way."""
        return [cell for cell in self.cells if cell.split in ("", "test")]

    def by_method(self) -> dict[tuple[str, str], list[Cell]]:
        """The cells of every (task, method) that is compared."""
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.compared:
            groups.setdefault((cell.task, cell.method), []).append(cell)
        return groups


def load_results(paths: Sequence[str | Path]) -> Results:
    """The cells of study folders (``maporl benchmark``) and run folders (``maporl train``).

    Raises:
        ValueError: A path that is neither.
    """
    cells: list[Cell] = []
    settings: dict[str, Any] = {}
    problems: list[str] = []
    given = list({Path(p).resolve(): Path(p) for p in paths}.values())  # one that is named twice counts once
    studies = [path for path in given if (path / "study.yaml").is_file()]
    runs = [path for path in given if path not in studies and (path / "config.yaml").is_file()]
    names = _names(runs)
    meanings: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    for path in given:
        if path in studies:
            study = _read(path / "study.yaml", problems, dict, "left out")
            study_cells = list(_cells_of_study(path, problems))
            problems += _other_meanings(path, study, study_cells, meanings)
            settings |= study | _read(path / "machine.json", problems, dict, "left out")
            cells += study_cells
        elif path in runs:
            cells += _cells_of_run(path, names[path], problems)
        else:
            raise UserValueError(
                f"{str(path)!r} is neither a study nor a run: it holds no study.yaml and no config.yaml; name a folder that maporl "
                "benchmark or maporl train wrote."
            )
    first: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        if first.setdefault((cell.task, cell.method, cell.seed), cell) is not cell:
            problems.append(
                f"{cell.folder}: {cell.task}, {cell.method}, seed {cell.seed} is there already; the first one counts"
            )
    title = str(settings.get("title") or ", ".join(Path(p).resolve().name for p in paths))
    return Results(title, tuple(cells), settings, tuple(problems))


def _names(runs: Sequence[Path]) -> dict[Path, str]:
    """A name for each run: the last parts of its path, as many as tell it from the other runs."""
    parts = {run: run.resolve().parts for run in runs}
    names = {}
    for run, own in parts.items():
        others = [other for twin, other in parts.items() if twin is not run]
        depth = next(d for d in range(1, len(own) + 1) if all(other[-d:] != own[-d:] for other in others))
        names[run] = "/".join(own[-depth:])
    return names


def _other_meanings(
    path: Path,
    study: Mapping[str, Any],
    cells: Sequence[Cell],
    meanings: dict[tuple[str, str], tuple[Path, dict[str, Any]]],
) -> list[str]:
    """A problem for every method that an earlier study ran under the same name with other settings.

    `meanings` holds (study, settings) by task and method of the earlier ones; those of this study are added.
    """
    other: dict[tuple[Path, str], list[str]] = {}
    for key, cell in {(cell.task, cell.method): cell for cell in cells}.items():
        own = _meaning(study, cell)
        first, earlier = meanings.setdefault(key, (path, own))
        names = sorted(name for name in {*own, *earlier} if own.get(name) != earlier.get(name))
        if names:
            other.setdefault((first, ", ".join(names)), []).append(f"{key[1]} on {key[0]}")
    return [
        f"{path}: other settings ({names}) than in {first}, and yet one row: {', '.join(words)}"
        for (first, names), words in other.items()
    ]


def _meaning(study: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """The settings of a cell's method on its task, as far as a study changes them."""

    def mapping(value: Any, key: str) -> dict[str, Any]:
        inner = value.get(key) if isinstance(value, Mapping) else None
        return dict(inner) if isinstance(inner, Mapping) else {}

    specs = [spec for spec in study.get("methods") or () if isinstance(spec, Mapping)]
    spec = next((dict(s) for s in specs if (s.get("label") or s.get("name")) == cell.method), {"name": cell.method})
    shared = {key: value for key, value in study.items() if key not in NO_MEANING}
    own = {key: value for key, value in spec.items() if key not in ("label", "settings")}
    trained = mapping(study.get("algorithms"), cell.algorithm or "")
    return {**shared, **mapping(study.get("tasks"), cell.task), **trained, **own, **mapping(spec, "settings")}


def _read(file: Path, problems: list[str], kind: type, instead: str) -> Any:
    """The content of a YAML or JSON file; an empty `kind` if the file is missing, or (with a problem) unreadable or of another type."""
    if not file.is_file():
        return kind()
    try:
        content = read_json(file) if file.suffix == ".json" else read_yaml_file(file)
    except (OSError, ValueError) as error:
        problems.append(f"{file}: cannot be read ({' '.join(str(error).split())}); {instead}")
        return kind()
    if not isinstance(content, kind):
        problems.append(f"{file}: holds a {type(content).__name__}, not a {kind.__name__}; {instead}")
        return kind()
    return content


def _cells_of_study(path: Path, problems: list[str]) -> Iterator[Cell]:
    plan = path / "plan.json"
    for entry in _read(plan, problems, list, "its cells are left out; run the study again"):
        if not isinstance(entry, dict) or not isinstance(entry.get("folder"), str):
            problems.append(f"{plan}: an entry that names no folder is left out; run the study again")
            continue
        if entry.get("version") != VERSION:
            problems.append(_foreign(plan, entry))
            return
        folder = path / entry["folder"]
        about = {**entry, "status": "running" if folder.is_dir() else "waiting"}
        written = _read(folder / "cell.json", problems, dict, "taken as interrupted")
        if written and written.get("version") != VERSION:
            problems.append(_foreign(folder, written))
            continue
        about |= written
        if about["status"] == "complete" and not _size(folder / "records.jsonl"):
            problems.append(f"{folder}: complete, but its records are gone; taken as interrupted, run the study again")
            about["status"] = "running"
        try:
            yield _cell(about, folder, tuple(path / run for run in entry.get("runs", ())))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{folder}: its entry has an unexpected form ({error!r}); left out, run the study again")


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _foreign(place: Path, content: Mapping[str, Any]) -> str:
    return f"{place}: of version {content.get('version')}, not {VERSION}; left out, run it again"


def _cell(about: Mapping[str, Any], folder: Path, runs: tuple[Path, ...]) -> Cell:
    return Cell(
        task=about["task"],
        method=about["method"],
        label=about["label"],
        seed=int(about["seed"]),
        status=about["status"],
        folder=folder,
        records_file=folder / "records.jsonl",
        error=about.get("error"),
        team=bool(about.get("team")),
        trained=bool(about.get("trained")),
        algorithm=about.get("algorithm"),
        oracle=bool(about.get("oracle")),
        best_seat=bool(about.get("best_seat")),
        matched=tuple((m["method"], m["on"]) for m in about.get("matched_to") or ()),
        baseline=about.get("baseline"),
        costs=dict(about.get("costs") or {}),
        runs=runs,
    )


def _cells_of_run(path: Path, name: str, problems: list[str]) -> Iterator[Cell]:
    """A training run, in the order of time: its evaluations, the training discussions that it recorded, and its test, which may not
    exist yet."""
    config = _read(path / "config.yaml", problems, dict, "the run is left out")
    if not config:
        return
    try:
        seed, num_agents = int(config.get("seed") or 0), int(config.get("num_agents") or 2)
    except (TypeError, ValueError) as error:
        problems.append(f"{path / 'config.yaml'}: cannot be read ({error}); the run is left out")
        return
    status = _read(path / "status.json", problems, dict, "taken as running")
    for moment in moments(path):
        yield Cell(
            task=str(config.get("env", "")),
            method=f"{name}/{'training ' * (moment.split == 'training')}{moment.file.stem}",
            label=f"{name}, {moment.label}",
            seed=seed,
            status=status["status"] if status.get("status") in ("complete", "failed") else "running",
            error=status.get("error"),
            folder=path,
            records_file=moment.file,
            team=num_agents > 1,
            trained=True,
            run_name=name,
            split=moment.split,
            iteration=moment.iteration,
            runs=(path,),
        )
