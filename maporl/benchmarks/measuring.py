"""Cells of one task measured together: every method's discussions of a question in one lockstep, what they share once."""

from __future__ import annotations

import gc
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maporl.agents import Team
from maporl.algorithms.evaluation import subset
from maporl.algorithms.records import Record, record, write_records
from maporl.algorithms.rollout import Play, rollout_together
from maporl.algorithms.training import check_context
from maporl.benchmarks.ablation import spoken_again, unheard
from maporl.benchmarks.cell_folder import describe, one_line, write_cell
from maporl.benchmarks.methods import AloneThenTeam
from maporl.benchmarks.seats import Seats
from maporl.benchmarks.study import CellKey, Study, seats_of
from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.run import torch_settings, with_threads
from maporl.types import Episode, Question

__all__ = ["measure"]

STREAM = 11
"""Of a study's sampling: an answer's randomness depends on the cell's seed, the sample, the question and the speaker."""

AT_ONCE = 4096
"""Discussions in one lockstep: enough to fill batches, few enough to keep in memory."""

Watch = Callable[[int, int], None]
Stream = tuple[int, bool]  # (number of the random stream, greedy)


@dataclass
class _Part:
    """One team on one environment: a cell has several where a lone agent is measured in every seat."""

    seat: str | None
    env: DiscussionEnv
    team: Team
    questions: Mapping[str, Question]


@dataclass
class _Cell:
    """A cell while it is measured."""

    key: CellKey
    parts: list[_Part]
    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    oracle: bool = False
    error: Exception | None = None

    @property
    def samples(self) -> int:
        return self.key.named.method.samples


def measure(study: Study, cells: Sequence[CellKey], folder: Path, watch: Watch | None = None) -> None:
    """Measure cells of one task and write them; one that fails is written as failed, and the others go on.

    Args:
        study: What they belong to.
        cells: Cells of one task; what they need of training is done.
        folder: The study's.
        watch: Told (questions done, questions in all).
    """
    if not cells:
        return
    config = study.settings
    with torch_settings(config), _little_garbage(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        seats = Seats()
        ready: list[_Cell] = []
        envs: dict[str, DiscussionEnv] = {}
        for key in cells:
            try:
                ready.append(_prepared(study, key, folder, seats, envs))
            except Exception as error:
                _fail(folder, key, error)
        if ready:
            with_threads(config, ready[0].parts[0].team)
        _measured(study, ready, folder, watch or (lambda done, total: None))


@contextmanager
def _little_garbage() -> Iterator[None]:
    """What is there by now (torch, transformers ...) stays: to look through it for garbage once takes as long as thousands of messages."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _measured(study: Study, cells: Sequence[_Cell], folder: Path, watch: Watch) -> None:
    """All cells together; if that fails, one by one, so that only the one to blame does."""
    if not cells:
        return
    try:
        _play_all(study, cells, watch)
    except Exception as error:
        if len(cells) == 1:
            _fail(folder, cells[0].key, error)
            return
        for cell in cells:
            cell.records, cell.seconds, cell.error = [], 0.0, None
            _measured(study, [cell], folder, watch)
        return
    for cell in cells:
        if cell.error is None:
            try:
                _write(folder, cell)
            except Exception as error:  # an answer that JSON cannot hold
                cell.error = error
        if cell.error is not None:
            _fail(folder, cell.key, cell.error)


def _prepared(study: Study, key: CellKey, folder: Path, seats: Seats, envs: dict[str, DiscussionEnv]) -> _Cell:
    """The teams and environments of a cell.

    Raises:
        ValueError: A slip in its settings, another task's questions, or a discussion that does not fit the model's window.
    """

    def environment(config: RunConfig) -> DiscussionEnv:
        word = repr((config.env, config.env_args, config.data, config.num_agents, config.num_rounds))
        if word not in envs:
            envs[word] = config.build_env()
        return envs[word]

    task = environment(study.budget(key.task, None))
    asked = subset(task.questions("test"), study.num_questions or len(task.questions("test")))
    config = study.config(key.task, key.named, key.seed)
    parts = []
    for seat, view, team_of in _teams(study, key, folder, seats, task, config):
        env = environment(view)
        known = {q.id: q for q in env.questions("test")}
        if missing := [q.id for q in asked if q.id not in known]:
            raise ValueError(
                f"method {key.named.word!r} asks other questions than the task ({missing[0]} is missing); keep the task's questions."
            )
        questions = {q.id: known[q.id] for q in asked}
        team = team_of(env)
        check_context(env, team, list(questions.values()))
        parts.append(_Part(seat, env, team, questions))
    return _Cell(key, parts)


def _teams(
    study: Study, key: CellKey, folder: Path, seats: Seats, task: DiscussionEnv, config: RunConfig
) -> Iterator[tuple[str | None, RunConfig, Callable[[DiscussionEnv], Team]]]:
    """(seat, configuration, team for its environment) of every part of a cell."""
    method = key.named.method
    trainings = study.trainings(key.task, key.named, key.seed)
    runs = {t.seat: folder / t.folder for t in trainings}
    if isinstance(method, AloneThenTeam):
        yield None, config, lambda env: seats.joined(runs, config, env)
    elif trainings:
        for training in trainings:
            view = config if method.best_seat else _viewed(config, training.seat if method.lone else "")
            yield (
                training.seat or None,
                view,
                lambda env, run=runs[training.seat]: seats.trained(run, config, env),  # type: ignore[misc]
            )
    else:
        for seat in (seats_of(task, "test") if method.lone else ()) or ("",):
            yield seat or None, _viewed(config, seat), lambda env: seats.untrained(config, env)


def _viewed(config: RunConfig, seat: str) -> RunConfig:
    return replace(config, env_args={**config.env_args, "view": seat}) if seat else config


def _play_all(study: Study, cells: Sequence[_Cell], watch: Watch) -> None:
    """Play, judge and record, some questions at a time. A cell whose own answer fails takes no part in what follows."""
    ids = list(cells[0].parts[0].questions)
    width = sum(len(_streams(study, cell)) * len(cell.parts) for cell in cells)
    step = max(1, AT_ONCE // max(width, 1))
    for first in range(0, len(ids), step):
        began = time.perf_counter()
        chosen = ids[first : first + step]
        cells = [cell for cell in cells if cell.error is None]
        plays: dict[tuple[Any, ...], Play] = {}
        wanted: dict[tuple[int, int, int, bool], tuple[Any, ...]] = {}
        for c, cell in enumerate(cells):
            for p, part in enumerate(cell.parts):
                for stream, greedy in _streams(study, cell):
                    seed = (cell.key.seed, STREAM, stream) if not greedy else (0,)
                    # A frozen agent says the same in all rows that ask it the same from the same random numbers.
                    seats = tuple((seat, id(agent)) for seat, agent in sorted(part.team.seats.items()))
                    same = (id(part.env), seats, seed, greedy)
                    wanted[c, p, stream, greedy] = same
                    starts = [part.questions[i] for i in chosen]
                    plays.setdefault(same, Play(part.env, part.team, starts, seed, greedy, first=first))
        played = dict(zip(plays, rollout_together(list(plays.values())), strict=True))
        ablated = {name: None for (c, *_), name in wanted.items() if study.ablate_messages and cells[c].samples == 1}
        again = unheard({name: (plays[name], played[name]) for name in ablated})
        for c, cell in enumerate(cells):
            for p, part in enumerate(cell.parts):
                names = {s: wanted[c, p, *s] for s in _streams(study, cell)}
                told = {s: played[n] for s, n in names.items()}
                try:
                    cell.records += _records(study, cell, part, told, {s: again.get(n) for s, n in names.items()})
                except Exception as error:  # in the method's own code
                    cell.error = error
        _share_time(cells, len(chosen), time.perf_counter() - began)
        watch(min(first + step, len(ids)), len(ids))


def _streams(study: Study, cell: _Cell) -> list[Stream]:
    """(stream, greedy) of every discussion of a question: `num_samples` answers of `samples` discussions each, and one greedy."""
    sampled = [(stream, False) for stream in range(study.num_samples * cell.samples)]
    return sampled if cell.samples > 1 else [*sampled, (0, True)]


def _records(
    study: Study,
    cell: _Cell,
    part: _Part,
    played: Mapping[Stream, Sequence[Episode]],
    last_rounds: Mapping[Stream, Sequence[Episode | None] | None],
) -> Iterator[Record]:
    method, size = cell.key.named.method, cell.samples
    # One answer each: its number, whether greedy, and its discussions of all questions, one column a discussion.
    groups: list[tuple[int, bool, list[Sequence[Episode]]]] = [
        (s, False, [played[stream, False] for stream in range(s * size, (s + 1) * size)])
        for s in range(study.num_samples)
    ]
    if (0, True) in played:
        groups.append((0, True, [played[0, True]]))
    for sample, greedy, columns in groups:
        again = last_rounds[sample, greedy] if size == 1 else None
        for n, episodes in enumerate(zip(*columns, strict=True)):
            answer = method.answer(part.env, episodes)
            cell.oracle = cell.oracle or answer.oracle
            made = record(_as_one(episodes), answer, greedy=greedy, sample=sample, seat=part.seat)
            if again is not None:
                made["ablated"] = spoken_again(method, part.env, again[n])
            yield made


def _as_one(episodes: Sequence[Episode]) -> Episode:
    """The samples of a vote as one discussion of agents that do not hear one another."""
    if len(episodes) == 1:
        return episodes[0]
    question, agents = episodes[0].transcript.question, episodes[0].transcript.agents
    lone = len(agents) == 1  # else it is a vote among whole discussions
    name = {(i, a): f"sample_{i}" if lone else f"sample_{i}/{a}" for i in range(len(episodes)) for a in agents}
    turns = [replace(t, agent=name[i, t.agent]) for i, e in enumerate(episodes) for t in e.transcript.turns]
    steps = [replace(s, agent=name[i, s.agent]) for i, e in enumerate(episodes) for s in e.steps]
    told = next(iter(question.private.values()), "")
    private = {"every sample": told} if lone else {n: question.private.get(a, "") for (_, a), n in name.items()}
    order = sorted(range(len(turns)), key=lambda i: turns[i].round)
    transcript = replace(
        episodes[0].transcript,
        question=replace(question, private=private),
        agents=tuple(name.values()),
        turns=tuple(turns[i] for i in order),
    )
    return Episode(transcript, tuple(steps[i] for i in order), episodes[0].contains_future)


def _share_time(cells: Sequence[_Cell], questions: int, seconds: float) -> None:
    """A lockstep's time, shared out by the tokens that each cell would have cost alone."""
    tokens = []
    for cell in cells:
        recent = cell.records[-questions * len(cell.parts) * len({(r["sample"], r["greedy"]) for r in cell.records}) :]
        tokens.append(sum(t["prompt_tokens"] + t["completion_tokens"] for r in recent for t in r["turns"]))
    for cell, spent in zip(cells, tokens, strict=True):
        cell.seconds += seconds * (spent / sum(tokens) if sum(tokens) else 1 / len(cells))


def _write(folder: Path, cell: _Cell) -> None:
    write_records(folder / cell.key.folder / "records.jsonl", cell.records)
    sampled = [r for r in cell.records if not r["greedy"]]
    turns = [t for r in sampled for t in r["turns"]]
    costs = {
        "questions": float(len({r["question_id"] for r in sampled})),
        "generations": len(turns) / len(sampled),
        "prompt_tokens": sum(t["prompt_tokens"] for t in turns) / len(sampled),
        "completion_tokens": sum(t["completion_tokens"] for t in turns) / len(sampled),
        "eval_s": cell.seconds,
    }
    (folder / cell.key.folder / "traceback.txt").unlink(missing_ok=True)  # of an earlier try
    write_cell(folder, {**describe(cell.key), "status": "complete", "oracle": cell.oracle, "costs": costs})


def _fail(folder: Path, key: CellKey, error: Exception) -> None:
    """Write a cell down as failed: one line for the report, the whole trace for who mends it."""
    place = folder / key.folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    write_cell(folder, {**describe(key), "status": "failed", "error": one_line(error)})
