"""Runs a study: what is missing of it, cell by cell, in one or several processes, whatever fails in between.

Order: untrained rows (of a task all together), trainings, trained rows as soon as what they need is trained, and at last the
votes of lone agents, for how many samples a vote takes depends on what the teams have spent.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import chain
from pathlib import Path
from queue import Empty
from typing import Any, cast

from maporl import __version__
from maporl.benchmarks.cell_folder import describe, one_line, read_cell, write_cell, write_whole
from maporl.benchmarks.methods import SelfConsistency
from maporl.benchmarks.naming import Named, named
from maporl.benchmarks.study import CellKey, Study, Training, matched_samples

__all__ = ["News", "run_study"]


@dataclass(frozen=True)
class News:
    """What happens in a study.

    Attributes:
        kind: "plan", "training" (an iteration of one), "training over", "evaluation" (some questions of one), "cell" (one is over).
        name: Of the training or cell; the task that is evaluated.
        done, total: Iterations or questions; for "plan" cells that are done, and all cells and trainings to do.
        metrics: Of a training's iteration.
        error: One line, if it failed.
    """

    kind: str
    name: str
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] | None = None
    error: str = ""


Watch = Callable[[News], None]


def run_study(study: Study, watch: Watch | None = None, command: str = "") -> Path:
    """Run what is missing of a study; returns its folder, which `load_results` reads, at any time.

    Cells that are complete are left as they are, failed ones are tried again, and trainings go on after their last checkpoint. A folder
    may be given more methods, tasks and seeds, and keeps what it has of others.

    Args:
        study: Methods, tasks, seeds.
        watch: Told about everything.
        command: What was typed, for the report.

    Raises:
        ValueError: The folder holds a study with other settings, or a slip in the settings.
    """
    folder = Path(study.output_dir)
    before = _before(study, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (study if before is None else _united(before, study)).save(folder / "study.yaml.part")
    (folder / "study.yaml.part").replace(folder / "study.yaml")
    write_whole(folder / "machine.json", json.dumps(_machine(command), indent=2) + "\n")
    with _workers(study.num_workers, watch or (lambda news: None)) as workers:
        _Matrix(study, folder, workers).run()
    return folder


Job = tuple[Future[Any], Callable[[Any], None]]  # what runs, and what takes its result


class _Matrix:
    """One pass over a study."""

    def __init__(self, study: Study, folder: Path, workers: _Workers) -> None:
        self.study, self.folder, self.workers, self.news = study, folder, workers, workers.watch
        self._trainings: dict[tuple[str, str, int], list[Training] | str] = {}  # or why there can be none
        self.kept = _planned(folder)  # what an earlier study has left here
        self.waiting: list[CellKey] = []  # trained cells
        self.training: dict[Path, Training] = {}  # not over yet
        self.failed: dict[Path, str] = {}  # trainings, and why

    def run(self) -> None:
        cells = list(self.study.cells())
        rows = [c for c in cells if not _is_vote(c.named)]
        votes = [c for c in cells if _is_vote(c.named)]
        todo = [c for c in cells if not self._done(c)]
        self.training = {t.folder: t for c in todo for t in self._needs(c) if not self._trained(t)}
        self._plan(cells)
        self.news(News("plan", "", done=len(cells) - len(todo), total=len(cells) + len(self.training)))
        missing = [c for c in todo if not _is_vote(c.named)]
        self.waiting = [c for c in missing if c.named.algorithm is not None]
        self._finish(chain(self._evaluate([c for c in missing if c.named.algorithm is None]), self._train_all()))
        votes = self._matched(votes)
        self._plan([*rows, *votes])
        missing = [c for c in votes if not self._done(c)]
        self.news(News("plan", "", done=len(rows) + len(votes) - len(missing), total=len(rows) + len(votes)))
        self._finish(self._evaluate(missing))

    def _finish(self, jobs: Iterable[Job]) -> None:
        """Start jobs and wait for them, and for the evaluations of what they have trained."""
        running: dict[Future[Any], Callable[[Any], None]] = {}
        for future, following in jobs:  # in this process each is over when it is started, and told at once
            running[future] = following
            self._settle(running, timeout=0)
        running |= dict(self._evaluate(self._ready()))
        while running:
            self._settle(running, timeout=0.2)
            running |= dict(self._evaluate(self._ready()))

    def _settle(self, running: dict[Future[Any], Callable[[Any], None]], timeout: float) -> None:
        over, _ = wait(running, timeout, return_when=FIRST_COMPLETED)
        self.workers.listen()
        for future in over:
            following = running.pop(future)
            following(future.result())

    def _train_all(self) -> Iterator[Job]:
        for training in list(self.training.values()):
            yield self.workers.submit(_train, self.folder, training), self._after_training(training)

    def _evaluate(self, cells: Sequence[CellKey]) -> Iterator[Job]:
        """One job a task for cells whose trainings are over."""
        sound = [c for c in cells if not self._broken(c)]
        for task in dict.fromkeys(c.task for c in sound):
            mine = [c for c in sound if c.task == task]
            job = self.workers.submit(_measure, self.study, mine, self.folder)
            yield job, lambda result, mine=mine: self._tell(mine)  # type: ignore[misc]

    def _after_training(self, training: Training) -> Callable[[str], None]:
        def following(error: str) -> None:
            self.training.pop(training.folder)
            if error:
                self.failed[training.folder] = error
            self.news(News("training over", str(training.folder), error=error))

        return following

    def _ready(self) -> list[CellKey]:
        """Trained cells that wait for nothing any more; taken off the list."""
        ready = [not any(t.folder in self.training for t in self._needs(c)) for c in self.waiting]
        found = [c for c, over in zip(self.waiting, ready, strict=True) if over]
        self.waiting = [c for c, over in zip(self.waiting, ready, strict=True) if not over]
        return found

    def _broken(self, cell: CellKey) -> bool:
        """Whether a training that a cell needs has failed, or cannot even be planned; the cell then has failed, too."""
        failed = [f"{t.folder}: {self.failed[t.folder]}" for t in self._needs(cell) if t.folder in self.failed]
        errors = [f"its training failed, {error}" for error in failed]
        if isinstance(unplanned := self._trainings[_row(cell)], str):
            errors.append(unplanned)
        if errors:
            write_cell(self.folder, {**describe(cell), "status": "failed", "error": errors[0]})
            self._tell([cell])
        return bool(errors)

    def _tell(self, cells: Sequence[CellKey]) -> None:
        for cell in cells:
            found = read_cell(self.folder, cell) or {}
            self.news(News("cell", cell.name, error=found.get("error") or ""))

    def _matched(self, votes: Sequence[CellKey]) -> list[CellKey]:
        """The votes asked for, and those that cost as much as each team does: a decision of the design, not of the user."""
        found = {_row(c): c for c in votes}
        for task in self.study.tasks:
            for team in self.study.named:
                spent = self._costs(task, team)
                single = self.study.baseline(team)
                each = self._costs(task, single)
                if not team.method.team or spent is None or each is None:
                    continue
                for on in ("completion", "all"):
                    vote = self.study.vote_of(single, matched_samples(spent, each, on))
                    for seed in self.study.seeds:
                        key = (task, vote.word, seed)
                        cell = found.get(key, CellKey(task, vote, seed))
                        found[key] = replace(cell, matched=(*cell.matched, (team.word, on)))
        for cell in found.values():
            self._describe_again(cell)
        return list(found.values())

    def _costs(self, task: str, named: Named) -> dict[str, float] | None:
        """What an answer of a method costs, the mean over its seeds; None if no seed is there."""
        cells = [read_cell(self.folder, CellKey(task, named, seed)) for seed in self.study.seeds]
        costs = [c["costs"] for c in cells if c is not None and c["status"] == "complete"]
        return {name: sum(c[name] for c in costs) / len(costs) for name in costs[0]} if costs else None

    def _describe_again(self, cell: CellKey) -> None:
        """A vote that is done may be matched to other teams by now."""
        found = read_cell(self.folder, cell)
        if found is not None and found["matched_to"] != describe(cell)["matched_to"]:
            write_cell(self.folder, {**found, **describe(cell)})

    def _needs(self, cell: CellKey) -> list[Training]:
        """What has to be trained for a cell; nothing where the task or a setting is at fault (see `_broken`)."""
        key = _row(cell)
        if key not in self._trainings:
            try:
                self._trainings[key] = self.study.trainings(cell.task, cell.named, cell.seed)
            except Exception as error:
                self._trainings[key] = one_line(error)
        found = self._trainings[key]
        return [] if isinstance(found, str) else found

    def _done(self, cell: CellKey) -> bool:
        found = read_cell(self.folder, cell)
        return found is not None and found["status"] == "complete"

    def _trained(self, training: Training) -> bool:
        with suppress(OSError, json.JSONDecodeError):
            written = json.loads((self.folder / training.folder / "status.json").read_text(encoding="utf-8"))
            return bool(written["status"] == "complete")
        return False

    def _plan(self, cells: Sequence[CellKey]) -> None:
        """What the study consists of, for reports that are made while it runs."""
        entries = [{**describe(c), "runs": [t.folder.as_posix() for t in self._needs(c)]} for c in cells]
        known = {entry["folder"] for entry in entries}
        entries += [entry for entry in self.kept if entry["folder"] not in known]
        write_whole(self.folder / "plan.json", json.dumps(entries, indent=1) + "\n")


def _row(cell: CellKey) -> tuple[str, str, int]:
    return cell.task, cell.named.word, cell.seed


def _is_vote(entry: Named) -> bool:
    """Of how many, those that cost as much as a team have to wait for the teams to say."""
    return entry.method.samples > 1 or isinstance(entry.method, SelfConsistency)


def _measure(study: Study, cells: Sequence[CellKey], folder: Path, send: Watch) -> None:
    """A job: measure cells of one task."""
    from maporl.agents.make_model import without_progress_bars
    from maporl.benchmarks.measuring import measure

    def watch(done: int, total: int) -> None:
        send(News("evaluation", f"{cells[0].task}, {len(cells)} cells", done, total))

    with without_progress_bars():
        measure(study, cells, folder, watch)


def _train(folder: Path, training: Training, send: Watch) -> str:
    """A job: one training run, begun or gone on with; returns what went wrong, in one line, or ""."""
    import warnings

    from maporl.agents.make_model import without_progress_bars
    from maporl.benchmarks.trainers import train

    place = folder / training.folder

    def watch(event: str, iteration: int, metrics: Mapping[str, float]) -> None:
        if event == "iteration":
            send(News("training", str(training.folder), iteration, training.config.num_iterations, dict(metrics)))

    try:
        with without_progress_bars(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hundreds of runs would each say that nothing is left to learn
            train(training, place, watch)
    except Exception as error:
        place.mkdir(parents=True, exist_ok=True)
        (place / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return one_line(error)
    return ""


class _Workers:
    """Where jobs run: here, one after the other, or in processes of their own."""

    def __init__(self, pool: Executor | None, news: Any, watch: Watch) -> None:
        self.pool, self.news, self.watch = pool, news, watch

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run ``job(*arguments, send)``; `send` takes its news."""
        if self.pool is not None:
            return self.pool.submit(job, *arguments, _Sender(self.news))
        future: Future[Any] = Future()
        try:
            future.set_result(job(*arguments, self.watch))
        except Exception as error:
            future.set_exception(error)
        return future

    def listen(self) -> None:
        """Pass on what the processes have told."""
        while self.news is not None:
            try:
                self.watch(self.news.get_nowait())
            except Empty:
                return


@dataclass(frozen=True)
class _Sender:
    """Sends news from another process."""

    queue: Any

    def __call__(self, news: News) -> None:
        self.queue.put(news)


@contextmanager
def _workers(number: int, watch: Watch) -> Iterator[_Workers]:
    if number == 1:
        yield _Workers(None, None, watch)
        return
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    with context.Manager() as manager, ProcessPoolExecutor(number, mp_context=context) as pool:
        workers = _Workers(pool, manager.Queue(), watch)
        try:
            yield workers
        except BrokenProcessPool as error:
            raise MemoryError(
                "a process of the study died, most likely for lack of memory; the same command goes on with what is missing: give it "
                "fewer --num_workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
            workers.listen()


def _planned(folder: Path) -> list[dict[str, Any]]:
    """The cells of an earlier plan that are over."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        planned = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return [entry for entry in planned if (folder / entry["folder"] / "cell.json").is_file()]
    return []


def _united(before: Study, study: Study) -> Study:
    """What a folder holds when `study` is over: the settings are the same, methods, tasks and seeds those of either."""
    words = {named(spec).word for spec in study.methods}
    return replace(
        study,
        methods=(*study.methods, *(spec for spec in before.methods if named(spec).word not in words)),
        tasks={**cast(Mapping[str, Any], before.tasks), **cast(Mapping[str, Any], study.tasks)},
        seeds=(*study.seeds, *(seed for seed in before.seeds if seed not in study.seeds)),
        algorithms={**before.algorithms, **study.algorithms},
    )


def _before(study: Study, folder: Path) -> Study | None:
    """The study that a folder holds: methods, tasks and seeds may be added to it, what is there already must mean the same.

    Raises:
        ValueError: It does not; names what differs.
    """
    file = folder / "study.yaml"
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"output_dir {str(folder)!r} holds something that is no study; choose another.")
        return None
    before = Study.load(file)
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(before, name), getattr(study, name))
        for name in ("num_questions", "num_samples", "ablate_messages")
    }
    pairs |= {name: (value, getattr(study.settings, name)) for name, value in vars(before.settings).items()}
    mine, theirs = (cast(Mapping[str, Any], s.tasks) for s in (before, study))
    pairs |= {f"tasks {word!r}": (mine[word], theirs[word]) for word in mine if word in theirs}
    used = [{n.algorithm for n in s.named if n.algorithm} for s in (before, study)]
    pairs |= {
        f"algorithms {a!r}": (before.algorithms.get(a, {}), study.algorithms.get(a, {})) for a in used[0] & used[1]
    }
    specs = [{named(spec).word: spec for spec in s.methods} for s in (before, study)]
    pairs |= {f"method {word!r}": (spec, specs[1][word]) for word, spec in specs[0].items() if word in specs[1]}
    for name, (old, new) in pairs.items():
        if old != new and not (name.startswith("method ") and _alike(old, new)):
            raise ValueError(
                f"output_dir {str(folder)!r} holds a study with {name} {old!r}, not {new!r}; choose another folder, or delete it."
            )
    return before


def _alike(one: Any, two: Any) -> bool:
    """Whether two ways to write a method mean the same one."""
    (a, b) = (named(one), named(two))
    same = type(a.method) is type(b.method) and vars(a.method) == vars(b.method)
    return same and (a.algorithm, a.settings) == (b.algorithm, b.settings)


def _machine(command: str) -> dict[str, Any]:
    """What figures depend on beside the settings."""
    packages = ("torch", "transformers", "peft", "trl", "pettingzoo", "gymnasium", "numpy", "scipy")
    return {
        "command": command,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": sys.version.split()[0],
        "versions": {"maporl": __version__, **{name: metadata.version(name) for name in packages}},
    }
