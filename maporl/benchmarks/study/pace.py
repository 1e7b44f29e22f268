"""What a message takes in a study's trainings and evaluations: measured in seconds, on its real settings, before it is run.

Nothing is kept of what is sampled: the study that follows is, to the bit, the one without.
"""

from __future__ import annotations

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maporl.benchmarks.study.expected import (
    evaluation_kind,
    messages_of_cell,
    messages_of_training,
    pieces,
    training_kind,
)
from maporl.benchmarks.study.keys import CellKey, TrainingKey
from maporl.benchmarks.study.study import Study
from maporl.training.config import RunConfig

__all__ = ["Paces", "measured", "of_a_long_study"]

ENOUGH = 1.0
"""Seconds after which a try is long enough: each one is of twice as many discussions as the one before, up to a whole iteration."""


LONG = 5000
"""Messages of a study that takes more than some seconds."""


@dataclass(frozen=True)
class Paces:
    """What was measured.

    Attributes:
        per_message: Kind (see `maporl.benchmarks.study.time_left`) -> seconds of a message, at most as many as a plan counts.
        problems: Kind -> why nothing could be measured of it.
        seconds: That the measurement took.
    """

    per_message: dict[str, float]
    problems: dict[str, str]
    seconds: float


def of_a_long_study(study: Study, cells: Sequence[CellKey], trainings: Sequence[TrainingKey]) -> dict[str, float]:
    """The paces of what is still to be trained, for the time left; {} where all is over before that is worth it. What evaluations take is
    seen without, when those of the untrained rows begin."""
    if sum(piece.messages for piece in pieces(study, cells, trainings).values()) < LONG:
        return {}
    return measured(study, (), trainings).per_message


def measured(study: Study, cells: Iterable[CellKey], trainings: Iterable[TrainingKey]) -> Paces:
    """The paces of a study: of one training of each row and task, and of the dearest discussion of each task."""
    began, paces = time.perf_counter(), Paces({}, {}, 0.0)
    dearest: dict[str, CellKey] = {}
    for cell in (c for c in cells if not c.named.method.vote):
        first = dearest.setdefault(cell.task, cell)
        if messages_of_cell(study, cell.task, cell.named) > messages_of_cell(study, first.task, first.named):
            dearest[cell.task] = cell
    tries: dict[str, Callable[[], float]] = {}
    for task, cell in dearest.items():
        tries[evaluation_kind(task)] = lambda c=cell: _evaluation(study.config(c.task, c.named, c.seed))  # type: ignore[misc]
    for training in trainings:
        tries.setdefault(training_kind(training), lambda t=training: _training(t.config))  # type: ignore[misc]
    for kind, tried in tries.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                paces.per_message[kind] = tried()
        except Exception as error:  # whatever stands in the way of the study will be told by it
            paces.problems[kind] = " ".join(f"{error}".split()) or type(error).__name__
        gc.collect()  # its models
    return replace(paces, seconds=time.perf_counter() - began)


def _evaluation(config: RunConfig) -> float:
    """Seconds of a message of whole discussions, by the untrained team."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.rollouts.play import rollout
    from maporl.training.loop import PREFLIGHT
    from maporl.training.threads import torch_settings, with_threads

    env = config.build_env()
    try:
        questions = env.questions("train")
    except ValueError:  # a test set only
        questions = env.questions("test")
    with without_progress_bars(), torch_settings(config):
        team = config.build_team(env)
        with_threads(config, team)

        def said(number: int) -> int:
            episodes = rollout(env, team, questions[:number], seed=(config.seed, PREFLIGHT))
            return sum(len(list(episode.said)) for episode in episodes)

        said(8)  # what only the first does
        seconds, messages = _longest(said, 64, len(questions))
    return seconds / messages


def _training(config: RunConfig) -> float:
    """Seconds of a training, over the messages that it samples at most.

    Raises:
        ValueError: A trainer that does not learn from its own discussions update by update, or a slip in the settings.
    """
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.errors import UserValueError
    from maporl.training.callbacks import Callback
    from maporl.training.preflight import undone_update
    from maporl.training.run_folder import RunFolder
    from maporl.training.threads import torch_settings
    from maporl.training.trainer import Run
    from maporl.training.trainers.on_policy import OnPolicy

    if not issubclass(config.trainer, OnPolicy):
        raise UserValueError(f"what {config.algorithm} takes is known when it has run")
    with tempfile.TemporaryDirectory() as place, without_progress_bars(), torch_settings(config):
        began = time.perf_counter()
        run = Run(config, RunFolder(Path(place) / "run"), Callback())
        trainer = OnPolicy(run)
        collector, sampling = trainer.collector, 0.0
        size, whole = collector.size.discussions, config.episodes_per_iteration

        def learned(number: int) -> int:
            nonlocal sampling
            began = time.perf_counter()
            episodes = collector.trying(number)
            sampling = (time.perf_counter() - began) / number
            undone_update(trainer.algorithm, episodes)
            return number

        few = max(8 // size, 1) * size
        learned(min(4 * few, whole))  # as before every training: is there anything to learn?
        starting = time.perf_counter() - began
        seconds, number = _longest(learned, few, whole)
        messages = messages_of_training(config)
        learning = config.num_iterations * whole
        evaluated = messages / trainer.messages_of(config, run.env) * whole - learning
        return (starting + seconds / number * learning + sampling * evaluated) / messages


def _longest(work: Callable[[int], int], number: int, most: int) -> tuple[float, int]:
    """Seconds of the longest try of `work`, which is given how much to do, and what it says that it did."""
    number = min(number, most)
    while True:
        began = time.perf_counter()
        done = work(number)
        seconds = time.perf_counter() - began
        if seconds >= ENOUGH or number == most:
            return seconds, done
        number = min(2 * number, most)
