"""Measures cells of one task together: the discussions of all methods in one lockstep, equal ones only once."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maporl.agents import Loader, Team
from maporl.agents.models.checkpoints import TINY
from maporl.benchmarks.methods.ablation import spoken_again, unheard
from maporl.benchmarks.study.cell_folder import Begun, fail
from maporl.benchmarks.study.keys import CellKey
from maporl.benchmarks.study.seating import Planned, Seating, Tasks, by_models, seatings, voices
from maporl.benchmarks.study.study import Study
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers.verifier import VerifierUnavailable
from maporl.errors import UserValueError
from maporl.rollouts.play import Play, rollout_together
from maporl.rollouts.records import Record, record
from maporl.training.config import RunConfig
from maporl.training.evaluation import subset
from maporl.training.loop import check_context
from maporl.training.threads import torch_settings, with_threads
from maporl.types import Episode, Question

__all__ = ["measure"]

STREAM = 11
"""A study's random stream. An answer's randomness depends on the cell's seed, the sample, the question and the speaker."""

AT_ONCE = 1024
"""Discussions in one lockstep, after which records are written: enough to fill batches, few enough to lose with an interruption."""

AT_ONCE_SLOW = 128
"""The same for a model above `TINY` on a CPU, where larger batches are no faster."""

OnAnswered = Callable[[int, int], None]
Stream = tuple[int, bool]  # (number of the random stream, greedy)


@dataclass
class _Part:
    """One team on one environment: a cell has several where a lone agent is measured in every seat."""

    seat: str | None
    config: RunConfig
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


def measure(study: Study, cells: Sequence[CellKey], folder: Path, watch: OnAnswered | None = None) -> None:
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
        tasks = Tasks()
        planned: list[Planned] = []
        for key in cells:
            try:
                planned.append((key, seatings(study, key, folder, tasks)))
            except Exception as error:
                fail(study, folder, key, error)
        groups = by_models(planned)
        for n, group in enumerate(groups):
            _measure_group(study, group, folder, tasks, lambda d, t, n=n: tell(n * t + d, len(groups) * t))  # type: ignore[misc]
            if n + 1 < len(groups):
                gc.collect()  # its models


def _measure_group(study: Study, cells: Sequence[Planned], folder: Path, tasks: Tasks, watch: OnAnswered) -> None:
    loader = Loader()
    ready: list[_Cell] = []
    for key, parts in cells:
        try:
            ready.append(_prepared(study, key, parts, folder, loader, tasks))
        except Exception as error:
            fail(study, folder, key, error)
    if ready:
        with_threads(study.settings, ready[0].parts[0].team)
        _measured(study, ready, folder, watch)


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Without looking for garbage in what is loaded by now (torch, transformers ...): once takes as long as thousands of messages."""
    often = gc.get_threshold()
    gc.set_threshold(*often[:2], 10_000)  # the young only; gc.unfreeze would undo a host's own freeze
    try:
        yield
    finally:
        gc.set_threshold(*often)


def _measured(study: Study, cells: Sequence[_Cell], folder: Path, watch: OnAnswered) -> None:
    """All cells together; if that fails, one by one, so that only the one to blame does."""
    try:
        return _play_all(study, cells, folder, watch)
    except VerifierUnavailable as error:
        # It was waited for long enough: not once more for every row that asks it.
        stranded = [cell for cell in cells if not cell.over and _asks(cell, error.verifier, cells)]
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


def _asks(cell: _Cell, verifier: Any, cells: Sequence[_Cell]) -> bool:
    """Whether a cell asks a verifier. Every environment makes its own instances; those that are configured alike count as one."""
    asked = [name for c in cells for part in c.parts for own, name in _verifiers(part) if own is verifier]
    return any(name in asked for part in cell.parts for _, name in _verifiers(part))


def _verifiers(part: _Part) -> list[tuple[Any, Any]]:
    """(verifier, what configures it) of an environment; the task's own is configured by the task."""
    slots, given = part.env.verifiers, part.config.env_args
    configured = [
        (slots.verifier, given.get("verifier") or {"of": part.config.env}),
        (slots.ground_truth, given.get("ground_truth")),
        (slots.team_verifier, given.get("team_verifier")),
    ]
    return [(verifier, name) for verifier, name in configured if verifier is not None and name is not None]


def _prepared(
    study: Study, key: CellKey, seatings: Sequence[Seating], folder: Path, loader: Loader, tasks: Tasks
) -> _Cell:
    """The teams and environments of a cell.

    Raises:
        ValueError: Another task's questions, or a discussion that does not fit the model's window.
    """
    task = tasks.of(study.budget(key.task, None))
    asked = subset(task.questions("test"), study.num_questions or len(task.questions("test")))
    parts = []
    for seating in seatings:
        env = tasks.of(seating.config)
        by_id = {q.id: q for q in env.questions("test")}
        if missing := [q.id for q in asked if q.id not in by_id]:
            raise UserValueError(
                f"method {key.named.word!r} asks other questions than the task ({missing[0]} is missing). Where those depend on the number "
                "of agents, give the row what keeps them (as num_witnesses of two_witnesses in env_args), or every row as many agents."
            )
        questions = {q.id: by_id[q.id] for q in asked}
        team = loader.team(seating.roster, voices(seating.config))
        check_context(env, team, list(questions.values()))
        parts.append(_Part(seating.seat, seating.config, env, team, questions))
    return _Cell(key, parts, Begun.of(study, folder, key))


def _play_all(study: Study, cells: Sequence[_Cell], folder: Path, watch: OnAnswered) -> None:
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
        _play_piece(study, now, folder, ids[first:stop], first, lambda done: watch(done, len(ids)))
        watch(stop, len(ids))


def _at_once(cells: Sequence[_Cell]) -> int:
    models = {policy for cell in cells for part in cell.parts for policy in part.team.policies}
    slow = any(p.device.type == "cpu" and sum(w.numel() for w in p.model.parameters()) >= TINY for p in models)
    return min(AT_ONCE, AT_ONCE_SLOW) if slow else AT_ONCE


def _play_piece(
    study: Study, cells: Sequence[_Cell], folder: Path, ids: Sequence[str], first: int, watch: Callable[[int], None]
) -> None:
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
    waves = max((len(p.env.rules.waves) for p in plays.values()), default=1)  # then comes what is made of them
    began = time.perf_counter()
    episodes = rollout_together([*plays.values()], lambda n: watch(first + len(ids) * min(n, waves) // (waves + 1)))
    played = dict(zip(plays, episodes, strict=True))
    seconds = time.perf_counter() - began
    completions = [
        completion for episodes in played.values() for episode in episodes for completion in episode.completions
    ]
    tokens = sum(len(completion.prompt_ids) + completion.sampled_tokens for completion in completions)
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
    """A key of the discussions of a part: equal keys mean the same task, agents and random numbers (their seed comes last), so equal
    discussions, which are played once for all rows."""
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
    private_text = next(iter(question.private.values()), "")
    private = {"every sample": private_text} if lone else {n: question.private.get(a, "") for (_, a), n in name.items()}
    transcript = replace(
        episodes[0].transcript,
        question=replace(question, private=private),
        agents=tuple(name.values()),
        turns=tuple(turn for turn, _ in spoken),
    )
    return Episode(transcript, tuple(reward for _, reward in spoken), contains_future=episodes[0].contains_future)
