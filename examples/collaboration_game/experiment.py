"""Which trainings are compared, what the exact oracles say beside them, and all of it as rows."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from examples.collaboration_game.training import CO_TRAIN, LEARNERS, TRAIN_ONE, Point, Training, train
from maporl.envs.collaboration_game import GameRules
from maporl.envs.collaboration_oracles import Play, ascent, best_response, co_train, play

__all__ = ["Exact", "Experiment", "Findings", "Result", "boundary", "exact", "explore", "run"]


@dataclass(frozen=True)
class Experiment:
    """What is run.

    Attributes:
        rules: The game, of two agents.
        starts: Where the learning curves begin.
        basin: Where the trainings begin that ask from where co-training collaborates.
        seeds: Of every training.
        learners: Words of `LEARNERS`, for the basin.
        curves: Those of them for the learning curves.
        num_iterations, basin_iterations: Updates of a learning curve, and of a training of the basin.
        num_games: Of each update.
        exact_steps: Of the exact gradient ascent, at learning rate 1.

    Raises:
        ValueError: Nothing to run, or what `Training` raises.
    """

    rules: GameRules = field(default_factory=GameRules)
    starts: tuple[float, ...] = (0.3, 0.5, 0.8)
    basin: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.65, 0.675, 0.7, 0.725, 0.75, 0.8, 0.9)
    seeds: tuple[int, ...] = (0, 1, 2)
    learners: tuple[str, ...] = tuple(LEARNERS)
    curves: tuple[str, ...] = ("ippo", "mappo")
    num_iterations: int = 600
    basin_iterations: int = 100
    num_games: int = 64
    exact_steps: int = 50_000

    def __post_init__(self) -> None:
        for name in ("starts", "basin", "seeds", "learners", "curves"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; give at least one.")
        if self.exact_steps < 1:
            raise ValueError(f"exact_steps is {self.exact_steps}; it must be at least 1.")
        _ = self.learning, self.of_basin  # every training checks itself

    @cached_property
    def learning(self) -> list[Training]:
        """Those of the learning curves. Train-one is there once: with a single learner, and so a single critic, IPPO and MAPPO are the
        same computation."""
        kinds = [*((learner, CO_TRAIN) for learner in self.curves), (self.curves[0], TRAIN_ONE)]
        return [
            Training(self.rules, learner, mode, start, seed, self.num_iterations, self.num_games)
            for learner, mode in kinds
            for start in self.starts
            for seed in self.seeds
        ]

    @cached_property
    def of_basin(self) -> list[Training]:
        """Those of the basin of attraction."""
        return [
            Training(self.rules, learner, CO_TRAIN, start, seed, self.basin_iterations, self.num_games)
            for learner in self.learners
            for start in self.basin
            for seed in self.seeds
        ]


class Result(NamedTuple):
    """A training and the agents after every update."""

    training: Training
    points: list[Point]


def run(
    trainings: Sequence[Training], *, num_workers: int = 1, watch: Callable[[Result], None] = lambda result: None
) -> list[Result]:
    """Run each, in order, `num_workers` at a time; the results do not depend on how many. `watch` sees each that is over."""
    if num_workers > 1:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(num_workers, spawn, torch.set_num_threads, (1,)) as pool:
            return _watched(trainings, pool.map(train, trainings), watch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the figures of more would be others in their last digits
    try:
        return _watched(trainings, map(train, trainings), watch)
    finally:
        torch.set_num_threads(threads)


def _watched(
    trainings: Sequence[Training], found: Iterable[list[Point]], watch: Callable[[Result], None]
) -> list[Result]:
    results = []
    for training, points in zip(trainings, found, strict=True):
        results.append(Result(training, points))
        watch(results[-1])
    return results


@dataclass(frozen=True)
class Exact:
    """What is known exactly of a start.

    Attributes:
        start: Both agents' probability of collaborating at the beginning.
        best_response: What a best response to a partner frozen there does.
        together, alone: (step, early collaboration) of the exact gradient ascent at learning rate 1, of both agents and of one.
        together_end, alone_end: What they do at the end of it.
    """

    start: float
    best_response: Play
    together: list[tuple[int, float]]
    alone: list[tuple[int, float]]
    together_end: Play
    alone_end: Play


def exact(rules: GameRules, start: float, steps: int) -> Exact:
    """The oracles beside the trainings from `start`."""
    wanted = {0, steps, *np.geomspace(1, steps, 120).astype(int).tolist()}
    curves: list[list[tuple[int, float]]] = []
    ends: list[Play] = []
    for partners in (None, start):
        curve = []
        for step, policy in enumerate(itertools.islice(ascent(rules, start, partners), steps + 1)):
            if step in wanted:
                now = play(rules, policy, partners)
                curve.append((step, now.early_collaboration))
        curves.append(curve)
        ends.append(now)
    best = play(rules, best_response(rules, start), start)
    return Exact(start, best, curves[0], curves[1], ends[0], ends[1])


def boundary(rules: GameRules, *, resolution: float = 0.001) -> float | None:
    """The start above which exact co-training (1500 steps at learning rate 1) ends with more than one half collaborating early.

    None if it ends on one side from .01 and .99 alike.
    """

    def collaborates(start: float) -> bool:
        return play(rules, co_train(rules, start)).early_collaboration > 0.5

    low, high = 0.01, 0.99
    if collaborates(low) or not collaborates(high):
        return None
    while high - low > resolution:
        middle = (low + high) / 2
        low, high = (low, middle) if collaborates(middle) else (middle, high)
    return (low + high) / 2


@dataclass(frozen=True)
class Findings:
    """All that the experiment has found.

    Attributes:
        experiment: What was run.
        learning, basin: Its trainings.
        oracles: Of each start of the learning curves.
        boundary: See `boundary`.
    """

    experiment: Experiment
    learning: list[Result]
    basin: list[Result]
    oracles: list[Exact]
    boundary: float | None


def explore(
    experiment: Experiment, *, num_workers: int = 1, watch: Callable[[Result], None] = lambda result: None
) -> Findings:
    """Run all of it; see `run`."""
    trainings = [*experiment.learning, *experiment.of_basin]
    results = run(trainings, num_workers=num_workers, watch=watch)
    number = len(experiment.learning)
    oracles = [exact(experiment.rules, start, experiment.exact_steps) for start in experiment.starts]
    return Findings(experiment, results[:number], results[number:], oracles, boundary(experiment.rules))
