"""Runs a study: what is missing of it, cell by cell, in one or several processes, whatever fails in between.

Order: untrained rows (of a task all together), trainings, trained rows as soon as all trainings of their task and seed are over, and at
last the votes of lone agents, for how many samples a vote takes depends on what the teams have spent.
"""

from __future__ import annotations

import gc
import json
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

from maporl.atomic_files import write_whole
from maporl.benchmarks.methods.naming import Named, named
from maporl.benchmarks.study.best_seat import best_seat
from maporl.benchmarks.study.cell_folder import clash, describe, fail, is_complete, one_line, read_cell, write_cell
from maporl.benchmarks.study.expected import pieces
from maporl.benchmarks.study.expected import votes as votes_of
from maporl.benchmarks.study.keys import CellKey, TrainingKey
from maporl.benchmarks.study.pace import of_a_long_study
from maporl.benchmarks.study.provenance import difference, run_holds_work, settings_of_run
from maporl.benchmarks.study.study import TOKENS, Study, matched_samples
from maporl.benchmarks.study.time_left import Piece
from maporl.benchmarks.study.workers import News, OnNews, Workers, workers
from maporl.errors import UserValueError, warn
from maporl.output_folder import check_output
from maporl.text_files import read_json
from maporl.training.config import RunConfig
from maporl.training.machine import machine
from maporl.training.run_folder import RunFolder

__all__ = ["News", "OnNews", "run_study"]


def run_study(study: Study, watch: OnNews | None = None, command: str = "", measure: bool = False) -> Path:
    """Run what is missing of a study; returns its folder, which `load_results` reads, at any time.

    Cells that are complete are left as they are, those that were interrupted are gone on with, failed ones are tried again, and
    trainings go on after their last checkpoint. A folder may be given more methods, tasks and seeds, and keeps what it has of others.

    Args:
        study: Methods, tasks, seeds.
        watch: Told about everything.
        command: What was typed, for the report.
        measure: Measure first, in seconds, how long the parts of a long study take, for the time left (`maporl.benchmarks.study.pace`).

    Raises:
        ValueError: The folder holds cells or trainings that were made with other settings, or a slip in the settings.
    """
    folder = Path(study.output_dir)
    whole = _united(study, folder)
    matrix = _Matrix(study, whole, folder)
    for leak in whole.leaks:
        warn(leak)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "study.yaml", whole.save)
    write_whole(folder / "machine.json", json.dumps(machine(command=command), indent=2) + "\n")
    with workers(study.num_workers, watch or (lambda news: None)) as running:
        matrix.run(running, measure)
    return folder


Job = tuple[Future[Any], Callable[[Any], None]]  # what runs, and what takes its result


class _Matrix:
    """One pass over a study.

    Args:
        study: What is to be done.
        whole: What the folder then holds: with the methods, tasks and seeds of earlier studies.
        folder: Where.

    Raises:
        ValueError: Of `_check`.
    """

    def __init__(self, study: Study, whole: Study, folder: Path) -> None:
        self.study, self.whole, self.folder = study, whole, folder
        self._trainings: dict[tuple[str, str, int], list[TrainingKey] | str] = {}  # or why there can be none
        self.failed: dict[Path, str] = {}  # trainings, and why
        self.cells = list(study.cells())
        self.todo = [c for c in self.cells if not is_complete(whole, folder, c)]
        # Those of a task and seed one after the other, so that its rows can be measured early.
        needed = {t.folder: t for c in self.todo for t in self._needs(c) if not self._trained(t)}
        order = {key: n for n, key in enumerate(dict.fromkeys((c.task, c.seed) for c in self.cells))}
        last = len(order)  # of another command's seed, beside whose agents others sit
        by_unit = sorted(needed.items(), key=lambda item: order.get((item[1].task, item[1].seed), last))
        self.training = dict(by_unit)  # not over yet
        self._check()
        self.kept = _planned(folder)  # what an earlier study has left here
        self.waiting: list[CellKey] = []  # trained cells

    def _check(self) -> None:
        """Refuse a folder that holds results of other settings, which are neither taken for what is asked for now nor deleted.

        Raises:
            ValueError: It would be; names what differs, and the folder.
        """
        made = [(c.name, c.folder, clash(self.whole, self.folder, c)) for c in self.whole.cells()]
        asked: dict[Path, RunConfig] = {}
        for training in (t for c in self.cells for t in self._needs(c)):
            first = asked.setdefault(training.folder, training.config)
            if settings_of_run(first) != settings_of_run(training.config):
                raise UserValueError(
                    f"two rows would share the training {training.folder.as_posix()!r} with different settings; give one of them a label."
                )
            place = self.folder / training.folder
            if run_holds_work(place):
                other = difference(place, settings_of_run(training.config))
                made.append((training.folder.as_posix(), training.folder, other))
        for name, place, other in made:
            if other is not None:
                raise UserValueError(
                    f"output_dir {str(self.folder)!r} holds {name} with {other}; choose another folder, or delete {self.folder / place}."
                )

    def run(self, mine: Workers, measure: bool = False) -> None:
        """Do what is missing."""
        self.workers, self.news = mine, mine.watch
        rows = [c for c in self.cells if not c.named.method.vote]
        votes = [c for c in self.cells if c.named.method.vote]
        self._plan(self.cells)
        planned = {
            **pieces(self.whole, self.todo, self.training.values()),
            **(votes_of(self.study) if self.todo else {}),
        }
        paces = of_a_long_study(self.whole, self.todo, list(self.training.values())) if measure else {}
        self._tell_plan(len(self.cells) - len(self.todo), len(self.cells) + len(self.training), planned, paces)
        missing = [c for c in self.todo if not c.named.method.vote]
        self.waiting = [c for c in missing if c.named.algorithm is not None]
        untrained = [c for c in missing if c.named.algorithm is None]
        self._finish(chain(self._evaluate(untrained), self._train_all()))
        votes = self._matched(votes)
        self._describe_again([*rows, *votes])
        self._plan([*rows, *votes])
        missing = [c for c in votes if not is_complete(self.whole, self.folder, c)]
        total = len(rows) + len(votes)
        self._tell_plan(total - len(missing), total, pieces(self.whole, missing, ()), {})
        self._finish(self._evaluate(missing))

    def _tell_plan(self, done: int, total: int, planned: Mapping[str, Piece], paces: Mapping[str, float]) -> None:
        self.news(News("plan", "", done, total, pieces=planned, paces=paces, workers=self.workers.number))

    def _finish(self, jobs: Iterator[Job]) -> None:
        """Do jobs, as many at a time as there are workers, first of all the evaluations of what is trained by now."""
        running: dict[Future[Any], Callable[[Any], None]] = {}
        while True:
            while len(running) < self.workers.number and (job := next(chain(self._evaluate_trained(), jobs), None)):
                running |= [job]
            if not running:
                return
            over, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            self.workers.listen()
            for future in over:
                running.pop(future)(future.result())

    def _train_all(self) -> Iterator[Job]:
        for training in list(self.training.values()):
            yield self.workers.submit(_train, self.folder, training), self._after_training(training)

    def _evaluate_trained(self) -> Iterator[Job]:
        """Trained cells of a task and seed of which all trainings are over; on one copy of what they share."""
        busy = {(c.task, c.seed) for c in self.waiting if any(t.folder in self.training for t in self._needs(c))}
        while units := [(c.task, c.seed) for c in self.waiting if (c.task, c.seed) not in busy]:
            ready = [c for c in self.waiting if (c.task, c.seed) == units[0]]
            self.waiting = [c for c in self.waiting if (c.task, c.seed) != units[0]]
            yield from self._evaluate(ready)

    def _evaluate(self, cells: Sequence[CellKey]) -> Iterator[Job]:
        """One job a task for cells whose trainings are over."""
        sound = [c for c in cells if not self._broken(c)]
        for task in dict.fromkeys(c.task for c in sound):
            mine = [c for c in sound if c.task == task]
            job = self.workers.submit(_measure, self.whole, mine, self.folder)
            yield job, lambda result, mine=mine: self._tell(mine)  # type: ignore[misc]

    def _after_training(self, training: TrainingKey) -> Callable[[str], None]:
        def following(error: str) -> None:
            self.training.pop(training.folder)
            if error:
                self.failed[training.folder] = error
            self.news(News("training over", str(training.folder), error=error))

        return following

    def _broken(self, cell: CellKey) -> bool:
        """Whether a training that a cell needs has failed, or cannot even be planned; the cell then has failed, too."""
        failed = [f"{t.folder}: {self.failed[t.folder]}" for t in self._needs(cell) if t.folder in self.failed]
        errors = [f"its training failed, {error}" for error in failed]
        if isinstance(unplanned := self._trainings[_row(cell)], str):
            errors.append(unplanned)
        if errors:
            fail(self.whole, self.folder, cell, errors[0])
            self._tell([cell])
        return bool(errors)

    def _tell(self, cells: Sequence[CellKey]) -> None:
        for cell in cells:
            found = read_cell(self.folder / cell.folder) or {}
            self.news(News("cell", cell.name, error=found.get("error") or ""))

    def _matched(self, votes: Sequence[CellKey]) -> list[CellKey]:
        """The votes asked for, and those that cost as much as each team does: a decision of the design, not of the user.

        Of every seed that the folder has of a team: what an answer costs is the mean over all of them.
        """
        matched = {_row(c): c for c in votes}
        for task in self.study.tasks:
            for team in (n for n in self.study.named if n.method.team):
                single = self.whole.baseline(team)
                spent, each = self._costs(task, team), self._costs(task, single)
                if not spent or not each:
                    continue
                for on in ("completion", "all"):
                    vote = self.whole.vote_of(single, matched_samples(_mean(spent), _mean(each), on))
                    for seed in dict.fromkeys((*self.study.seeds, *(s for s in spent if s in each))):
                        key = (task, vote.word, seed)
                        cell = matched.get(key, CellKey(task, vote, seed))
                        matched[key] = replace(cell, matched=(*cell.matched, (team.word, on)))
        return list(matched.values())

    def _costs(self, task: str, entry: Named) -> dict[int, Mapping[str, float]]:
        """What an answer of a method costs, by seed; of several teams it is the one that counts."""
        costs: dict[int, Mapping[str, float]] = {}
        for seed in self.whole.seeds:
            key = CellKey(task, entry, seed)
            cell = read_cell(self.folder / key.folder)
            if cell is None or cell["status"] != "complete":
                continue
            costs[seed] = cell["costs"]
            if entry.method.best_seat and (seats := cell.get("seat_costs")):
                costs[seed] = seats[best_seat({t.seat: self.folder / t.folder for t in self._needs(key)})]
        return costs

    def _needs(self, cell: CellKey) -> list[TrainingKey]:
        """What has to be trained for a cell; nothing where the task or a setting is at fault (see `_broken`)."""
        key = _row(cell)
        if key not in self._trainings:
            try:
                self._trainings[key] = self.whole.trainings(cell.task, cell.named, cell.seed)
            except Exception as error:
                self._trainings[key] = one_line(error)
        trainings = self._trainings[key]
        return [] if isinstance(trainings, str) else trainings

    def _trained(self, training: TrainingKey) -> bool:
        return RunFolder(self.folder / training.folder).status == "complete"

    def _plan(self, cells: Sequence[CellKey]) -> None:
        """What the study consists of, for reports that are made while it runs."""
        entries = [{**describe(self.whole, c), "runs": [t.folder.as_posix() for t in self._needs(c)]} for c in cells]
        known = {entry["folder"] for entry in entries}
        entries += [entry for entry in self.kept if entry["folder"] not in known]
        write_whole(self.folder / "plan.json", json.dumps(entries, indent=1) + "\n")

    def _describe_again(self, cells: Sequence[CellKey]) -> None:
        """What is over may be described otherwise by now: matched to other teams, or to none, compared with others, called otherwise."""
        teams = {(task, n.word) for task in self.study.tasks for n in self.study.named}
        asked = {n.word for n in self.whole.named}
        folders = {c.folder.as_posix() for c in cells}
        kept = []
        for entry in (entry for entry in self.kept if entry["folder"] not in folders):
            others = [m for m in entry["matched_to"] if (entry["task"], m["method"]) not in teams]
            if others or entry["matched_to"] == others or entry["method"] in asked:
                kept.append({**entry, "matched_to": others})
        self.kept = kept  # without votes that were there for a team of this study alone, which has others now
        for described in (*(describe(self.whole, cell) for cell in cells), *kept):
            cell = read_cell(self.folder / described["folder"])
            changed = {name: value for name, value in described.items() if name != "runs"}
            if cell is not None and {**cell, **changed} != cell:
                write_cell(self.folder, {**cell, **changed})


def _row(cell: CellKey) -> tuple[str, str, int]:
    return cell.task, cell.named.word, cell.seed


def _mean(costs: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Over seeds."""
    return {n: sum(c[n] for c in costs.values()) / len(costs) for n in TOKENS}


def _measure(study: Study, cells: Sequence[CellKey], folder: Path, send: OnNews) -> None:
    """A job: measure cells of one task."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.benchmarks.study.measuring import measure

    names = tuple(cell.name for cell in cells)

    def watch(done: int, total: int) -> None:
        seeds = " ".join(map(str, dict.fromkeys(cell.seed for cell in cells)))
        send(News("evaluation", f"{cells[0].task}, {len(cells)} cells, seed {seeds}", done, total, cells=names))

    watch(0, 0)
    gc.collect()  # a policy is a cycle: that of the job before would stay beside this one's
    with without_progress_bars():
        measure(study, cells, folder, watch)


def _train(folder: Path, training: TrainingKey, send: OnNews) -> str:
    """A job: one training run, begun or gone on with; returns what went wrong, in one line, or ""."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.benchmarks.study.trainers import train
    from maporl.training.callbacks import Callback

    gc.collect()  # as above
    place, total = folder / training.folder, training.config.num_iterations
    send(News("training", str(training.folder), 0, total))

    class Tell(Callback):
        def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
            send(News("training", str(training.folder), iteration, total, dict(metrics)))

    try:
        with without_progress_bars(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hundreds of runs would each say that nothing is left to learn
            train(training, place, [Tell()])
    except Exception as error:
        place.mkdir(parents=True, exist_ok=True)
        (place / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return one_line(error)
    return ""


def _planned(folder: Path) -> list[dict[str, Any]]:
    """The cells of an earlier plan that are over."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = [(entry, read_cell(folder / entry["folder"])) for entry in read_json(folder / "plan.json")]
        return [{**entry, "matched_to": cell.get("matched_to", [])} for entry, cell in found if cell is not None]
    return []


def _united(study: Study, folder: Path) -> Study:
    """What a folder holds when `study` is over: its settings, and the methods, tasks and seeds of earlier ones beside its own.

    Raises:
        ValueError: The folder holds something else.
    """
    file = folder / "study.yaml"
    check_output(folder, own=(file.name,))
    if not file.is_file():
        return study
    before = Study.load(file)
    words = {named(spec).word for spec in study.methods}
    trained = {entry.algorithm for entry in study.named}
    return replace(
        study,
        methods=(*study.methods, *(spec for spec in before.methods if named(spec).word not in words)),
        tasks={**cast(Mapping[str, Any], before.tasks), **cast(Mapping[str, Any], study.tasks)},
        seeds=(*study.seeds, *(seed for seed in before.seeds if seed not in study.seeds)),
        algorithms={**{a: s for a, s in before.algorithms.items() if a not in trained}, **study.algorithms},
    )
