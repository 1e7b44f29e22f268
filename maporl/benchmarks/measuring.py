"""Cells of one task measured together: every method's discussions of a question in one lockstep, what they share once."""

from __future__ import annotations

import gc
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maporl.agents import Team
from maporl.agents.checkpoints import TINY
from maporl.algorithms.evaluation import subset
from maporl.algorithms.records import Record, record
from maporl.algorithms.rollout import Play, rollout_together
from maporl.algorithms.training import check_context
from maporl.benchmarks.ablation import spoken_again, unheard
from maporl.benchmarks.cell_folder import Begun, fail
from maporl.benchmarks.methods import AloneThenTeam, PartnerSwap
from maporl.benchmarks.seats import Seats, model_name
from maporl.benchmarks.study import CellKey, Study, seats_of
from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers.verifier import VerifierUnavailable
from maporl.run_folder import RunFolder
from maporl.threads import torch_settings, with_threads
from maporl.types import Episode, Question

__all__ = ["measure"]

STREAM = 11
"""Of a study's sampling: an answer's randomness depends on the cell's seed, the sample, the question and the speaker."""

AT_ONCE = 1024
"""Discussions in one lockstep, after which records are written: enough to fill batches, few enough to lose with an interruption."""

AT_ONCE_SLOW = 128
"""Of a model above `TINY` on a CPU, where larger batches are no faster."""

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
    begun: Begun
    over: bool = False

    @property
    def samples(self) -> int:
        return self.key.named.method.samples


def measure(study: Study, cells: Sequence[CellKey], folder: Path, watch: Watch | None = None) -> None:
    """Measure cells of one task and write them; one that fails is written as failed, and the others go on.

    What an interrupted measurement has left of them is not measured again.

    Args:
        study: What they belong to.
        cells: Cells of one task; what they need of training is done.
        folder: The study's.
        watch: Told (questions done, questions in all).
    """
    tell = watch or (lambda done, total: None)
    with torch_settings(study.settings), _little_garbage(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        groups = _by_models(study, cells, folder)
        envs: dict[str, DiscussionEnv] = {}
        for n, group in enumerate(groups):
            _measure_group(study, group, folder, envs, lambda d, t, n=n: tell(n * t + d, len(groups) * t))  # type: ignore[misc]
            if n + 1 < len(groups):
                gc.collect()  # its models


def _by_models(study: Study, cells: Sequence[CellKey], folder: Path) -> list[list[CellKey]]:
    """Cells that need the same base models, which make room for others when these are measured; every run of ``sft`` is a model."""

    def models(key: CellKey) -> frozenset[str]:
        try:
            runs = [RunFolder(folder / t.folder).config for t in study.trainings(key.task, key.named, key.seed)]
        except Exception:  # its own to tell
            return frozenset()
        found = [c.model for c in runs or [study.config(key.task, key.named, key.seed)]]
        return frozenset(
            model_name(m) for model in found for m in ([model] if isinstance(model, str) else model.values())
        )

    groups: list[tuple[frozenset[str], list[CellKey]]] = []
    for needed, key in sorted(((models(key), key) for key in cells), key=lambda pair: -len(pair[0])):
        fitting = next((group for there, group in groups if needed <= there), None)
        if fitting is None:
            groups.append((needed, fitting := []))
        fitting.append(key)
    return [group for _, group in groups]


def _measure_group(
    study: Study, cells: Sequence[CellKey], folder: Path, envs: dict[str, DiscussionEnv], watch: Watch
) -> None:
    seats = Seats()
    ready: list[_Cell] = []
    for key in cells:
        try:
            ready.append(_prepared(study, key, folder, seats, envs))
        except Exception as error:
            fail(study, folder, key, error)
    if ready:
        with_threads(study.settings, ready[0].parts[0].team)
        _measured(study, ready, folder, watch)


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
    try:
        return _play_all(study, cells, folder, watch)
    except VerifierUnavailable as error:
        # It was waited for long enough: not once more for every row that asks it.
        stranded = [cell for cell in cells if not cell.over and _asks(cell, getattr(error, "verifier", None))]
        for cell in stranded or [cell for cell in cells if not cell.over]:
            fail(study, folder, cell.key, error)
            cell.over = True
        groups = [[cell for cell in cells if not cell.over]]
    except Exception as error:
        if len(cells) == 1:
            return fail(study, folder, cells[0].key, error)
        groups = [[cell] for cell in cells if not cell.over]
    # Outside of the blocks above, which keep alive what the failed lockstep held: it may have been too much for the memory.
    for group in filter(None, groups):
        _measured(study, group, folder, watch)


def _asks(cell: _Cell, judge: Any) -> bool:
    """Whether a judge, or one like it (every environment makes its own), has a say in a cell."""

    def named(one: Any) -> str:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(one))

    return any(named(judge) == named(mine) for part in cell.parts for mine in part.env.verifiers.all)


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
    return _Cell(key, parts, Begun.of(study, folder, key))


def _teams(
    study: Study, key: CellKey, folder: Path, seats: Seats, task: DiscussionEnv, config: RunConfig
) -> Iterator[tuple[str | None, RunConfig, Callable[[DiscussionEnv], Team]]]:
    """(seat, configuration, team for its environment) of every part of a cell."""
    method = key.named.method
    trainings = study.trainings(key.task, key.named, key.seed)
    runs = {t.seat: folder / t.folder for t in trainings}
    if isinstance(method, AloneThenTeam):
        yield None, config, lambda env: seats.joined(runs, config, env)
    elif isinstance(method, PartnerSwap):
        yield None, config, lambda env: seats.swapped([folder / t.folder for t in trainings], config, env)
    elif trainings:
        there = seats_of(task, "test")  # agents trained on another task may have had another view, or none
        for training in trainings:
            own = [training.seat] if training.seat in there else there or [""]
            for seat in own if method.lone else [""]:
                yield (
                    training.seat or seat or None,
                    _viewed(config, seat),
                    lambda env, run=runs[training.seat]: seats.trained(run, config, env),  # type: ignore[misc]
                )
    else:
        for seat in (seats_of(task, "test") if method.lone else ()) or ("",):
            yield seat or None, _viewed(config, seat), lambda env: seats.untrained(config, env)


def _viewed(config: RunConfig, seat: str) -> RunConfig:
    return replace(config, env_args={**config.env_args, "view": seat}) if seat else config


def _play_all(study: Study, cells: Sequence[_Cell], folder: Path, watch: Watch) -> None:
    """Some questions at a time, until every cell has failed or is complete; cells that an interruption left further on join in there."""
    ids = list(cells[0].parts[0].questions)
    at_once = _at_once(cells)
    while True:
        for cell in cells:
            if not cell.over and cell.begun.questions >= len(ids):
                cell.begun.complete(study, folder, cell.key)
                cell.over = True
        going = [cell for cell in cells if not cell.over]
        if not going:
            return
        first = min(cell.begun.questions for cell in going)
        later = [cell.begun.questions for cell in going if cell.begun.questions > first]
        now = [cell for cell in going if cell.begun.questions == first]
        width = len({_same(cell, part, s) for cell in now for part in cell.parts for s in _streams(study, cell)})
        stop = min([len(ids), *later, first + max(1, at_once // width)])
        _play_piece(study, now, folder, ids[first:stop], first)
        watch(stop, len(ids))


def _at_once(cells: Sequence[_Cell]) -> int:
    models = {policy for cell in cells for part in cell.parts for policy in part.team.policies}
    slow = any(p.device.type == "cpu" and sum(w.numel() for w in p.model.parameters()) >= TINY for p in models)
    return min(AT_ONCE, AT_ONCE_SLOW) if slow else AT_ONCE


def _play_piece(study: Study, cells: Sequence[_Cell], folder: Path, ids: Sequence[str], first: int) -> None:
    """Play, judge and record some questions. A cell whose own answer fails takes no part in what follows."""
    plays: dict[tuple[Any, ...], Play] = {}
    heard: set[tuple[Any, ...]] = set()  # plays of which the last round is spoken again
    for cell in cells:
        for part in cell.parts:
            for stream in _streams(study, cell):
                same = _same(cell, part, stream)
                if same not in plays:
                    starts = [part.questions[i] for i in ids]
                    plays[same] = Play(part.env, part.team, starts, same[-1], stream[1], first=first)
                if study.ablate_messages and cell.samples == 1:
                    heard.add(same)
    began = time.perf_counter()
    played = dict(zip(plays, rollout_together(list(plays.values())), strict=True))
    seconds = time.perf_counter() - began
    said = [completion for episodes in played.values() for episode in episodes for completion in episode.completions]
    tokens = sum(len(completion.prompt_ids) + completion.sampled_tokens for completion in said)
    again = unheard({same: (plays[same], played[same]) for same in plays if same in heard})
    for cell in cells:
        try:
            records = list(_records(study, cell, len(ids), played, again))
            # What a row costs is what it would alone: neither greedy answers nor what it shares with others make it dearer or cheaper.
            cell.begun.add(records, len(ids), seconds / max(tokens, 1))
        except Exception as error:  # in the method's own code, or an answer that JSON cannot hold
            fail(study, folder, cell.key, error)
            cell.over = True


def _same(cell: _Cell, part: _Part, stream: Stream) -> tuple[Any, ...]:
    """What is equal for discussions that are: a frozen agent says the same in all rows that ask it the same from the same random
    numbers, whose seed comes last."""
    number, greedy = stream
    seats = tuple((seat, id(agent)) for seat, agent in sorted(part.team.seats.items()))
    return id(part.env), seats, greedy, (0,) if greedy else (cell.key.seed, STREAM, number)


def _streams(study: Study, cell: _Cell) -> list[Stream]:
    """(stream, greedy) of every discussion of a question: `num_samples` answers of `samples` discussions each, and one greedy."""
    sampled = [(stream, False) for stream in range(study.num_samples * cell.samples)]
    return sampled if cell.samples > 1 else [*sampled, (0, True)]


def _records(
    study: Study,
    cell: _Cell,
    questions: int,
    played: Mapping[tuple[Any, ...], Sequence[Episode]],
    again: Mapping[tuple[Any, ...], Sequence[Episode | None]],
) -> Iterator[Record]:
    """Question by question, so that a file does not depend on the pieces in which it was measured."""
    method, size = cell.key.named.method, cell.samples
    streams = _streams(study, cell)
    answers = [streams[i : i + size] for i in range(0, len(streams), size)]  # the discussions of each
    names = [{s: _same(cell, part, s) for s in streams} for part in cell.parts]
    for n in range(questions):
        for part, same in zip(cell.parts, names, strict=True):
            for sample, used in enumerate(answers):
                greedy = used[0][1]
                episodes = [played[same[s]][n] for s in used]
                answer = part.env.labelled(method.answer(part.env, episodes))
                number = 0 if greedy else sample
                made = record(_as_one(episodes), answer, greedy=greedy, sample=number, seat=part.seat)
                if size == 1 and (last_rounds := again.get(same[used[0]])) is not None:
                    made["ablated"] = spoken_again(method, part.env, last_rounds[n])
                yield made


def _as_one(episodes: Sequence[Episode]) -> Episode:
    """The samples of a vote as one discussion of agents that do not hear one another."""
    if len(episodes) == 1:
        return episodes[0]
    question, agents = episodes[0].transcript.question, episodes[0].transcript.agents
    lone = len(agents) == 1  # else it is a vote among whole discussions
    name = {(i, a): f"sample_{i}" if lone else f"sample_{i}/{a}" for i in range(len(episodes)) for a in agents}
    spoken = [
        (replace(turn, agent=name[i, turn.agent]), reward)
        for i, e in enumerate(episodes)
        for turn, reward in zip(e.transcript.turns, e.rewards, strict=True)
        if turn.said
    ]
    spoken.sort(key=lambda pair: pair[0].round)
    told = next(iter(question.private.values()), "")
    private = {"every sample": told} if lone else {n: question.private.get(a, "") for (_, a), n in name.items()}
    transcript = replace(
        episodes[0].transcript,
        question=replace(question, private=private),
        agents=tuple(name.values()),
        turns=tuple(turn for turn, _ in spoken),
    )
    return Episode(transcript, tuple(reward for _, reward in spoken), contains_future=episodes[0].contains_future)
